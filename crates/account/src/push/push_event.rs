//! An event as conditions look at it.

use lyceum_model::Event;
use serde_json::{Map, Value, json};

use super::glob::searched;

/// The property that is matched by words.
pub(super) const BODY: &str = "content.body";

/// An event, taken apart once for all users.
#[derive(Debug, Clone)]
pub struct PushEvent {
    fields: Map<String, Value>,
    /// `content.body` in small letters.
    body: Option<Box<[char]>>,
}

impl PushEvent {
    /// The event as clients see it: `type`, `sender`, `room_id`, `event_id`, `state_key`,
    /// `origin_server_ts`, `redacts` and `content`.
    pub fn new(event: &Event) -> Self {
        let content: Value = serde_json::from_str(event.content.get()).unwrap_or_default();
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
        put("type", json!(&*event.kind));
        put("sender", json!(event.sender.as_str()));
        put("room_id", json!(event.room_id.as_str()));
        put("event_id", json!(event.id.as_str()));
        put("origin_server_ts", json!(event.origin_server_ts));
        if let Some(state_key) = &event.state_key {
            put("state_key", json!(&**state_key));
        }
        if let Some(redacts) = &event.redacts {
            put("redacts", json!(redacts.as_str()));
        }
        put("content", content);
        Self::from_fields(fields)
    }

    /// An event in the form that clients get.
    pub fn from_json(event: &Value) -> Self {
        Self::from_fields(event.as_object().cloned().unwrap_or_default())
    }

    fn from_fields(fields: Map<String, Value>) -> Self {
        let body = fields
            .get("content")
            .and_then(|content| content.get("body"));
        let body = body.and_then(Value::as_str).map(searched);
        Self { fields, body }
    }

    /// Who sent it.
    pub fn sender(&self) -> Option<&str> {
        self.text("sender")
    }

    /// Its room.
    pub(super) fn room_id(&self) -> Option<&str> {
        self.text("room_id")
    }

    pub(super) fn body(&self) -> Option<&[char]> {
        self.body.as_deref()
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Value> {
        let (first, rest) = path.0.split_first()?;
        rest.iter()
            .try_fold(self.fields.get(&**first)?, |value, name| {
                value.as_object()?.get(&**name)
            })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }
}

/// The way to a property (Appendices, "Dot-separated property paths").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(Box<[Box<str>]>);

impl Path {
    pub(super) fn parse(path: &str) -> Self {
        let mut names: Vec<Box<str>> = Vec::new();
        let mut name = String::new();
        let mut characters = path.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '.' => names.push(std::mem::take(&mut name).into()),
                '\\' => match characters.next_if(|next| matches!(next, '.' | '\\')) {
                    Some(escaped) => name.push(escaped),
                    None => name.push('\\'),
                },
                other => name.push(other),
            }
        }
        names.push(name.into());
        Self(names.into())
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn paths() {
        let check = |path: &str, expect: &[&str]| {
            let expect = expect.iter().map(|name| (*name).into()).collect();
            assert_eq!(Path::parse(path), Path(expect), "{path}");
        };
        check("content.body", &["content", "body"]);
        check(
            r"content.m\.relates_to.rel_type",
            &["content", "m.relates_to", "rel_type"],
        );
        check(r"content.m\\foo", &["content", r"m\foo"]);
        check(r"content.\x", &["content", r"\x"]);
        check("", &[""]);
        check("a.", &["a", ""]);
        check(r"a\", &[r"a\"]);
    }
}
