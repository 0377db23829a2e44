//! What a rule does with an event that it matches.

use serde_json::{Map, Value, json};

/// What an event means for a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actions {
    /// It is counted, and pushers are told.
    pub notify: bool,
    /// It is counted as a highlight too.
    pub highlight: bool,
    /// The sound to play.
    pub sound: Option<Box<str>>,
    /// Further tweaks for push gateways: name and JSON of the value.
    pub other_tweaks: Vec<(Box<str>, Box<str>)>,
}

impl Actions {
    /// Nothing at all.
    pub const NOTHING: Self = Self {
        notify: false,
        highlight: false,
        sound: None,
        other_tweaks: Vec::new(),
    };

    /// Reads the `actions` of a rule. The historical `dont_notify` and `coalesce`, and whatever
    /// is not known, do nothing.
    pub fn from_json(actions: &[Value]) -> Self {
        let mut result = Self::default();
        for action in actions {
            if action.as_str() == Some("notify") {
                result.notify = true;
            }
            let Some(tweak) = action.get("set_tweak").and_then(Value::as_str) else {
                continue;
            };
            match (tweak, action.get("value")) {
                ("highlight", None) => result.highlight = true,
                ("highlight", Some(value)) => result.highlight = value != &Value::Bool(false),
                ("sound", Some(Value::String(sound))) => result.sound = Some(sound.as_str().into()),
                (_, value) => {
                    let value = value.unwrap_or(&Value::Null).to_string();
                    result.other_tweaks.push((tweak.into(), value.into()));
                }
            }
        }
        result
    }

    /// The actions as `/notifications` shows them.
    pub fn actions_json(&self) -> Value {
        let mut actions = Vec::new();
        if self.notify {
            actions.push(json!("notify"));
        }
        for (name, value) in self.tweaks() {
            actions.push(json!({ "set_tweak": name, "value": value }));
        }
        Value::Array(actions)
    }

    /// The tweaks as a push gateway gets them (Push Gateway API, `tweaks`).
    pub fn tweaks_json(&self) -> Value {
        Value::Object(self.tweaks().collect::<Map<String, Value>>())
    }

    fn tweaks(&self) -> impl Iterator<Item = (String, Value)> + '_ {
        let sound = self
            .sound
            .iter()
            .map(|sound| ("sound".to_owned(), Value::from(&**sound)));
        let highlight = self
            .highlight
            .then(|| ("highlight".to_owned(), Value::Bool(true)))
            .into_iter();
        let others = self.other_tweaks.iter().map(|(name, value)| {
            (
                (**name).to_owned(),
                serde_json::from_str(value).unwrap_or_default(),
            )
        });
        sound.chain(highlight).chain(others)
    }
}
