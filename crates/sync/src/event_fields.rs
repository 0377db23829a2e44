//! Choosing fields of an event by dot-separated paths (`event_fields` of a filter; Appendices,
//! "Dot-separated property paths").

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::json_text;

/// More steps than this in one path are refused.
pub const PATH_STEPS_MAX: usize = 32;

/// Which fields of an event a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFields {
    root: Branch,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Branch {
    steps: BTreeMap<String, Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Whole,
    Parts(Branch),
}

impl EventFields {
    /// The fields that these paths name; `None` if one of them has more than
    /// [`PATH_STEPS_MAX`] steps.
    pub fn new<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> Option<Self> {
        let mut root = Branch::default();
        for path in paths {
            let steps = split(path.as_ref());
            if steps.len() > PATH_STEPS_MAX {
                return None;
            }
            root.add(steps);
        }
        Some(Self { root })
    }

    /// Writes those fields of the object `json` that are wanted.
    pub(crate) fn select(&self, json: &str, out: &mut Vec<u8>) {
        if !self.root.select(json, out) {
            out.extend_from_slice(b"{}");
        }
    }
}

impl Branch {
    fn add(&mut self, mut steps: Vec<String>) {
        let Some(last) = steps.pop() else { return };
        let mut branch = self;
        for step in steps {
            let next = branch
                .steps
                .entry(step)
                .or_insert_with(|| Step::Parts(Self::default()));
            match next {
                Step::Whole => return,
                Step::Parts(parts) => branch = parts,
            }
        }
        branch.steps.insert(last, Step::Whole);
    }

    /// Writes the wanted part of `json`; `false` if there is none, and then nothing is written.
    fn select(&self, json: &str, out: &mut Vec<u8>) -> bool {
        let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
            return false;
        };
        let start = out.len();
        out.push(b'{');
        for (name, value) in members {
            let Some(step) = self.steps.get(&name) else {
                continue;
            };
            let before = out.len();
            json_text::any_key(out, &name);
            match step {
                Step::Whole => out.extend_from_slice(value.get().as_bytes()),
                Step::Parts(parts) => {
                    if !parts.select(value.get(), out) {
                        out.truncate(before);
                    }
                }
            }
        }
        if out.len() == start + 1 {
            out.truncate(start);
            return false;
        }
        out.push(b'}');
        true
    }
}

/// The steps of a path: split at dots; `\.` is a dot and `\\` a backslash within a step, other
/// backslashes stand for themselves.
fn split(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = match (character, characters.peek()) {
            ('\\', Some(next @ ('.' | '\\'))) => Some(*next),
            _ => None,
        };
        let character = match (character, escaped) {
            (_, Some(escaped)) => {
                characters.next();
                escaped
            }
            ('.', None) => {
                steps.push(String::new());
                continue;
            }
            (character, None) => character,
        };
        if let Some(step) = steps.last_mut() {
            step.push(character);
        }
    }
    steps
}
