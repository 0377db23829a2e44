//! A user's push rules in the form that clients see and change.
//!
//! Invariants: every default rule is there, whatever was stored, with its conditions as defined;
//! only its `enabled` and `actions` are the user's. The user's own rules stand before the default
//! ones of their kind, only `.m.rule.master` before them.

use lyceum_model::MatrixError;
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::{compiled::CompiledRules, default_rules::default_rules, glob::Glob, push_event::BODY};

/// How many rules of their own a user may have.
pub const USER_RULES_MAX: usize = 1000;
/// How many patterns with wildcards or on `content.body` these may contain: each one is searched
/// for in each message.
pub const TEXT_PATTERNS_MAX: usize = 100;
/// How many conditions a rule may have.
pub const CONDITIONS_MAX: usize = 32;
/// Actions that are a word; the last two are historical.
const KNOWN_ACTIONS: [&str; 3] = ["notify", "dont_notify", "coalesce"];
/// How many actions a rule may have.
pub const ACTIONS_MAX: usize = 32;
/// The longest pattern, in characters.
pub const PATTERN_LENGTH_MAX: usize = 256;
/// The longest name of a rule, in bytes.
pub const RULE_ID_BYTES_MAX: usize = 512;
/// The largest rule, in bytes of its JSON.
pub const RULE_BYTES_MAX: usize = 16_384;

const MASTER: &str = ".m.rule.master";

/// The kinds of rules, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    /// `override`.
    Override,
    /// `content`.
    Content,
    /// `room`.
    Room,
    /// `sender`.
    Sender,
    /// `underride`.
    Underride,
}

impl RuleKind {
    /// All kinds, in order.
    pub const ALL: [Self; 5] = [
        Self::Override,
        Self::Content,
        Self::Room,
        Self::Sender,
        Self::Underride,
    ];

    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Content => "content",
            Self::Room => "room",
            Self::Sender => "sender",
            Self::Underride => "underride",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A rule as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct PushRule {
    /// Its name, unique among the rules of its kind.
    pub rule_id: String,
    /// Whether the server brought it.
    pub is_default: bool,
    /// Whether it is asked at all.
    pub is_enabled: bool,
    /// What it does.
    pub actions: Vec<Value>,
    /// `override` and `underride` only.
    pub conditions: Option<Vec<Value>>,
    /// `content` only.
    pub pattern: Option<String>,
}

impl PushRule {
    /// As clients get it.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "rule_id": self.rule_id,
            "default": self.is_default,
            "enabled": self.is_enabled,
            "actions": self.actions,
        });
        if let Some(conditions) = &self.conditions {
            json["conditions"] = Value::Array(conditions.clone());
        }
        if let Some(pattern) = &self.pattern {
            json["pattern"] = Value::from(pattern.as_str());
        }
        json
    }
}

/// Why a change of push rules is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushRuleError {
    /// There is no such rule, or it is a default one, which cannot be deleted.
    #[error("The push rule was not found.")]
    NotFound,
    /// The rule to stand next to is not one of the user's.
    #[error("before/after rule not found: {0}")]
    NeighbourNotFound(String),
    /// Names with a dot in front are the server's.
    #[error("A rule_id that starts with a dot belongs to the server")]
    ReservedId,
    /// The name is empty, too long or has a slash.
    #[error("This rule_id is not allowed")]
    InvalidId,
    /// A key is missing.
    #[error("Missing '{0}'")]
    Missing(&'static str),
    /// A key has the wrong form.
    #[error("'{0}' is not well formed")]
    Malformed(&'static str),
    /// An action that nobody knows.
    #[error("Unrecognised action")]
    UnknownAction,
    /// A limit is reached.
    #[error("Too many or too large push rules")]
    TooLarge,
}

impl From<PushRuleError> for MatrixError {
    fn from(error: PushRuleError) -> Self {
        let message = error.to_string();
        match error {
            PushRuleError::NotFound => Self::not_found(message),
            PushRuleError::NeighbourNotFound(_) => Self::unknown(message),
            PushRuleError::ReservedId | PushRuleError::InvalidId | PushRuleError::UnknownAction => {
                Self::invalid_param(message)
            }
            PushRuleError::Missing(_) => Self::missing_param(message),
            PushRuleError::Malformed(_) => Self::bad_json(message),
            PushRuleError::TooLarge => Self::too_large(message),
        }
    }
}

/// The rules of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
struct RulesOfKind {
    own: Vec<PushRule>,
    default: Vec<PushRule>,
}

impl RulesOfKind {
    fn in_order(&self) -> impl Iterator<Item = &PushRule> {
        let first = usize::from(
            self.default
                .first()
                .is_some_and(|rule| rule.rule_id == MASTER),
        );
        let (master, default) = self.default.split_at(first);
        master.iter().chain(&self.own).chain(default)
    }

    fn get_mut(&mut self, rule_id: &str) -> Result<&mut PushRule, PushRuleError> {
        self.own
            .iter_mut()
            .chain(&mut self.default)
            .find(|rule| rule.rule_id == rule_id)
            .ok_or(PushRuleError::NotFound)
    }

    fn place_of_own(&self, rule_id: &str) -> Option<usize> {
        self.own.iter().position(|rule| rule.rule_id == rule_id)
    }
}

/// All rules of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct PushRules {
    user_id: OwnedUserId,
    kinds: [RulesOfKind; 5],
}

impl PushRules {
    /// The rules of a user. `stored` is the content of their account data `m.push_rules`;
    /// whatever of it is damaged or unknown is passed over.
    pub fn load(user_id: &UserId, stored: Option<&str>) -> Self {
        let stored: Value = stored
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let kinds = RuleKind::ALL.map(|kind| {
            let stored = stored
                .get("global")
                .and_then(|global| global.get(kind.as_str()));
            let stored = stored
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let mut rules = RulesOfKind {
                own: Vec::new(),
                default: default_rules(kind, user_id),
            };
            for rule in stored.iter().filter_map(|rule| stored_rule(kind, rule)) {
                if rule.rule_id.starts_with('.') {
                    if let Ok(default) = rules.get_mut(&rule.rule_id) {
                        default.is_enabled = rule.is_enabled;
                        default.actions = rule.actions;
                    }
                } else if rules.place_of_own(&rule.rule_id).is_none() {
                    rules.own.push(rule);
                }
            }
            rules
        });
        Self {
            user_id: user_id.to_owned(),
            kinds,
        }
    }

    /// Everything: the answer to `GET /pushrules/`, and the content of `m.push_rules`.
    pub fn content(&self) -> Value {
        json!({ "global": self.global() })
    }

    /// The answer to `GET /pushrules/global/`.
    pub fn global(&self) -> Value {
        let kinds: Map<String, Value> = RuleKind::ALL
            .into_iter()
            .map(|kind| (kind.as_str().to_owned(), self.of_kind(kind)))
            .collect();
        Value::Object(kinds)
    }

    /// The rules of a kind, in order.
    pub fn of_kind(&self, kind: RuleKind) -> Value {
        self.in_order(kind).map(PushRule::to_json).collect()
    }

    /// One rule.
    pub fn get(&self, kind: RuleKind, rule_id: &str) -> Result<&PushRule, PushRuleError> {
        self.in_order(kind)
            .find(|rule| rule.rule_id == rule_id)
            .ok_or(PushRuleError::NotFound)
    }

    /// Adds a rule, or replaces the one of the same name, which stays enabled or disabled.
    ///
    /// `before` and `after` name another of the user's rules next to which it is put; with both,
    /// `before` counts. With neither, a new rule comes first of the user's own and an old one
    /// stays where it is.
    pub fn put(
        &mut self,
        kind: RuleKind,
        rule_id: &str,
        body: &Value,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<(), PushRuleError> {
        let mut rule = new_rule(kind, rule_id, body)?;
        let rules = &self.kinds[kind as usize];
        for neighbour in [before, after].into_iter().flatten() {
            if rules.place_of_own(neighbour).is_none() {
                return Err(PushRuleError::NeighbourNotFound(neighbour.to_owned()));
            }
        }
        let old_place = rules.place_of_own(rule_id);
        self.check_limits(&rule, old_place.map(|place| &rules.own[place]))?;

        let rules = &mut self.kinds[kind as usize];
        if let Some(place) = old_place {
            rule.is_enabled = rules.own[place].is_enabled;
            let is_own_neighbour = before.or(after) == Some(rule_id);
            if before.or(after).is_none() || is_own_neighbour {
                rules.own[place] = rule;
                return Ok(());
            }
            rules.own.remove(place);
        }
        let place = match (before, after) {
            (Some(before), _) => rules.place_of_own(before).unwrap_or(0),
            (None, Some(after)) => rules.place_of_own(after).map_or(0, |place| place + 1),
            (None, None) => 0,
        };
        rules.own.insert(place, rule);
        Ok(())
    }

    /// Deletes one of the user's own rules.
    pub fn delete(&mut self, kind: RuleKind, rule_id: &str) -> Result<(), PushRuleError> {
        let rules = &mut self.kinds[kind as usize];
        let place = rules.place_of_own(rule_id).ok_or(PushRuleError::NotFound)?;
        rules.own.remove(place);
        Ok(())
    }

    /// Enables or disables a rule, a default one too.
    pub fn set_enabled(
        &mut self,
        kind: RuleKind,
        rule_id: &str,
        is_enabled: bool,
    ) -> Result<(), PushRuleError> {
        self.kinds[kind as usize].get_mut(rule_id)?.is_enabled = is_enabled;
        Ok(())
    }

    /// Replaces what a rule does, of a default one too. `actions` is the list.
    pub fn set_actions(
        &mut self,
        kind: RuleKind,
        rule_id: &str,
        actions: &Value,
    ) -> Result<(), PushRuleError> {
        let rule = self.kinds[kind as usize].get_mut(rule_id)?;
        rule.actions = checked_actions(actions)?;
        Ok(())
    }

    /// The form that is evaluated.
    pub fn compile(&self) -> CompiledRules {
        CompiledRules::new(self)
    }

    /// Whose rules these are.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    pub(super) fn in_order(&self, kind: RuleKind) -> impl Iterator<Item = &PushRule> {
        self.kinds[kind as usize].in_order()
    }

    fn check_limits(
        &self,
        rule: &PushRule,
        replaced: Option<&PushRule>,
    ) -> Result<(), PushRuleError> {
        let own = || self.kinds.iter().flat_map(|rules| &rules.own);
        let rules = own().count() + 1 - usize::from(replaced.is_some());
        let patterns = own().map(text_patterns).sum::<usize>() + text_patterns(rule)
            - replaced.map_or(0, text_patterns);
        let is_too_large = rules > USER_RULES_MAX
            || patterns > TEXT_PATTERNS_MAX
            || rule.to_json().to_string().len() > RULE_BYTES_MAX;
        if is_too_large {
            Err(PushRuleError::TooLarge)
        } else {
            Ok(())
        }
    }
}

/// How many patterns of the rule are searched for in texts, rather than compared.
fn text_patterns(rule: &PushRule) -> usize {
    let text = |condition: &&Value| {
        let key = condition.get("key").and_then(Value::as_str);
        let pattern = condition.get("pattern").and_then(Value::as_str);
        pattern.is_some_and(|pattern| key == Some(BODY) || Glob::has_wildcards(pattern))
    };
    usize::from(rule.pattern.is_some()) + rule.conditions.iter().flatten().filter(text).count()
}

/// Reads a rule as it was stored.
fn stored_rule(kind: RuleKind, rule: &Value) -> Option<PushRule> {
    let rule_id = rule.get("rule_id")?.as_str()?.to_owned();
    Some(PushRule {
        is_default: rule_id.starts_with('.'),
        rule_id,
        is_enabled: rule.get("enabled").and_then(Value::as_bool).unwrap_or(true),
        actions: rule.get("actions")?.as_array()?.clone(),
        conditions: match kind {
            RuleKind::Override | RuleKind::Underride => Some(
                rule.get("conditions")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default(),
            ),
            RuleKind::Content | RuleKind::Room | RuleKind::Sender => None,
        },
        pattern: match kind {
            RuleKind::Content => Some(rule.get("pattern")?.as_str()?.to_owned()),
            RuleKind::Override | RuleKind::Room | RuleKind::Sender | RuleKind::Underride => None,
        },
    })
}

/// Reads a rule as a client sends it.
fn new_rule(kind: RuleKind, rule_id: &str, body: &Value) -> Result<PushRule, PushRuleError> {
    if rule_id.starts_with('.') {
        return Err(PushRuleError::ReservedId);
    }
    if rule_id.is_empty() || rule_id.len() > RULE_ID_BYTES_MAX || rule_id.contains(['/', '\\']) {
        return Err(PushRuleError::InvalidId);
    }
    let actions = body
        .get("actions")
        .ok_or(PushRuleError::Missing("actions"))?;
    let conditions = match kind {
        RuleKind::Override | RuleKind::Underride => Some(checked_conditions(body)?),
        RuleKind::Content | RuleKind::Room | RuleKind::Sender => None,
    };
    let pattern = match kind {
        RuleKind::Content => {
            let pattern = body
                .get("pattern")
                .ok_or(PushRuleError::Missing("pattern"))?;
            let pattern = pattern
                .as_str()
                .ok_or(PushRuleError::Malformed("pattern"))?;
            check_pattern(pattern)?;
            Some(pattern.to_owned())
        }
        RuleKind::Override | RuleKind::Room | RuleKind::Sender | RuleKind::Underride => None,
    };
    Ok(PushRule {
        rule_id: rule_id.to_owned(),
        is_default: false,
        is_enabled: true,
        actions: checked_actions(actions)?,
        conditions,
        pattern,
    })
}

fn checked_conditions(body: &Value) -> Result<Vec<Value>, PushRuleError> {
    let Some(conditions) = body.get("conditions").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let conditions = conditions
        .as_array()
        .ok_or(PushRuleError::Malformed("conditions"))?;
    if conditions.len() > CONDITIONS_MAX {
        return Err(PushRuleError::TooLarge);
    }
    for condition in conditions {
        if condition.get("kind").and_then(Value::as_str).is_none() {
            return Err(PushRuleError::Malformed("conditions"));
        }
        if let Some(pattern) = condition.get("pattern").and_then(Value::as_str) {
            check_pattern(pattern)?;
        }
    }
    Ok(conditions.clone())
}

fn check_pattern(pattern: &str) -> Result<(), PushRuleError> {
    if pattern.chars().count() > PATTERN_LENGTH_MAX {
        return Err(PushRuleError::TooLarge);
    }
    Ok(())
}

/// The list, as the client gets it back. The historical actions do nothing, but are kept: clients
/// that still send them look for them.
fn checked_actions(actions: &Value) -> Result<Vec<Value>, PushRuleError> {
    let actions = actions
        .as_array()
        .ok_or(PushRuleError::Malformed("actions"))?;
    if actions.len() > ACTIONS_MAX
        || Value::Array(actions.clone()).to_string().len() > RULE_BYTES_MAX
    {
        return Err(PushRuleError::TooLarge);
    }
    for action in actions {
        match action {
            Value::String(name) if KNOWN_ACTIONS.contains(&&**name) => {}
            Value::Object(fields) if fields.get("set_tweak").is_some_and(Value::is_string) => {}
            _ => return Err(PushRuleError::UnknownAction),
        }
    }
    Ok(actions.clone())
}
