//! Push rules in the form in which they are evaluated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma_common::UserId;
use serde_json::Value;

use super::{
    actions::Actions,
    glob::{Glob, folded},
    push_event::{BODY, Path, PushEvent},
    rule_set::{PushRule, PushRules, RuleKind},
};

/// What anybody needs for `room` notifications where the power levels do not say
/// (`m.room.power_levels`, `notifications`).
const NOTIFICATION_LEVEL_DEFAULT: i64 = 50;

static NOTHING: Actions = Actions::NOTHING;

/// A user's enabled rules. It does not contain the user's own id: equal for all who changed
/// nothing, and to be kept once ([`SharedRules`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompiledRules {
    /// `override` and `content`.
    before: Vec<Rule>,
    rooms: BTreeMap<Box<str>, Actions>,
    senders: BTreeMap<Box<str>, Actions>,
    /// `underride`.
    after: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    conditions: Box<[Condition]>,
    actions: Actions,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Matches(Path, Glob),
    MatchesOwnId(Path),
    BodyHas(Glob),
    BodyHasDisplayName,
    Is(Path, Scalar),
    Contains(Path, Scalar),
    ContainsOwnId(Path),
    MemberCount(Comparison, u64),
    SenderMayNotify(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Text(Box<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What conditions ask about the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomFacts {
    /// How many have joined.
    pub member_count: u64,
    /// The power level of the event's sender; `i64::MAX` for a creator who is above all levels.
    pub sender_power: i64,
    /// `notifications` of the power levels.
    pub notification_levels: BTreeMap<String, i64>,
}

impl RoomFacts {
    /// The `notifications` of the content of `m.room.power_levels`.
    pub fn levels_from(power_levels: &Value) -> BTreeMap<String, i64> {
        let Some(levels) = power_levels.get("notifications").and_then(Value::as_object) else {
            return BTreeMap::new();
        };
        levels
            .iter()
            .filter_map(|(key, level)| {
                // Old rooms may have levels as strings.
                let level = level
                    .as_i64()
                    .or_else(|| level.as_str()?.trim().parse().ok())?;
                Some((key.clone(), level))
            })
            .collect()
    }
}

/// What conditions ask about the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserFacts<'a> {
    /// Whose rules are evaluated.
    pub user_id: &'a UserId,
    /// Their name in the room.
    pub display_name: Option<&'a str>,
}

/// What `rules` say of an event to one user. For many users see [`CompiledRules::prepare`].
pub fn evaluate(
    rules: &CompiledRules,
    event: &PushEvent,
    room: &RoomFacts,
    user: &UserFacts<'_>,
) -> Actions {
    rules.prepare(event, room).for_user(user).clone()
}

impl CompiledRules {
    pub(super) fn new(rules: &PushRules) -> Self {
        let user_id = rules.user_id();
        let compile = |kind: RuleKind| {
            rules
                .in_order(kind)
                .filter(|rule| rule.is_enabled)
                .filter_map(|rule| compile_rule(kind, rule, user_id))
                .collect::<Vec<_>>()
        };
        let by_id = |kind: RuleKind| {
            rules
                .in_order(kind)
                .filter(|rule| rule.is_enabled)
                .map(|rule| {
                    (
                        rule.rule_id.as_str().into(),
                        Actions::from_json(&rule.actions),
                    )
                })
                .collect::<BTreeMap<Box<str>, Actions>>()
        };
        let mut before = compile(RuleKind::Override);
        before.extend(compile(RuleKind::Content));
        before.shrink_to_fit();
        Self {
            before,
            rooms: by_id(RuleKind::Room),
            senders: by_id(RuleKind::Sender),
            after: compile(RuleKind::Underride),
        }
    }

    /// Decides what does not depend on the user: once for each event and rule set.
    pub fn prepare<'r>(&'r self, event: &'r PushEvent, room: &RoomFacts) -> Prepared<'r> {
        let mut prepared = Prepared {
            event,
            candidates: Vec::new(),
            otherwise: &NOTHING,
        };
        if prepared.consider(&self.before, room) {
            return prepared;
        }
        let by_id = event
            .room_id()
            .and_then(|room_id| self.rooms.get(room_id))
            .or_else(|| self.senders.get(event.sender()?));
        match by_id {
            Some(actions) => prepared.otherwise = actions,
            None => {
                prepared.consider(&self.after, room);
            }
        }
        prepared
    }
}

/// What one rule set says of one event, but for what depends on the user.
#[derive(Debug, Clone)]
pub struct Prepared<'r> {
    event: &'r PushEvent,
    /// Rules that match if these conditions hold, in order.
    candidates: Vec<(Vec<&'r Condition>, &'r Actions)>,
    otherwise: &'r Actions,
}

impl<'r> Prepared<'r> {
    /// What the event means for a user who has this rule set. One's own events mean nothing.
    pub fn for_user(&self, user: &UserFacts<'_>) -> &'r Actions {
        if self.event.sender() == Some(user.user_id.as_str()) {
            return &NOTHING;
        }
        self.candidates
            .iter()
            .find(|(conditions, _)| {
                conditions
                    .iter()
                    .all(|condition| condition.holds_for_user(self.event, user))
            })
            .map_or(self.otherwise, |(_, actions)| actions)
    }

    /// Whether the answer is the same for everybody but the sender.
    pub fn is_same_for_all(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Whether one of the rules matches for everybody, so that none after it is asked.
    fn consider(&mut self, rules: &'r [Rule], room: &RoomFacts) -> bool {
        'rules: for rule in rules {
            let mut open = Vec::new();
            for condition in &rule.conditions {
                match condition.holds(self.event, room) {
                    Some(true) => {}
                    Some(false) => continue 'rules,
                    None => open.push(condition),
                }
            }
            if open.is_empty() {
                self.otherwise = &rule.actions;
                return true;
            }
            self.candidates.push((open, &rule.actions));
        }
        false
    }
}

impl Condition {
    /// Whether it holds; `None`: that depends on the user.
    fn holds(&self, event: &PushEvent, room: &RoomFacts) -> Option<bool> {
        let text = |path: &Path| event.get(path).and_then(Value::as_str);
        match self {
            Self::Matches(path, glob) => Some(text(path).is_some_and(|text| glob.matches(text))),
            Self::MatchesOwnId(path) => text(path).is_none().then_some(false),
            Self::BodyHas(glob) => Some(event.body().is_some_and(|body| glob.matches_words(body))),
            Self::BodyHasDisplayName => event.body().is_none().then_some(false),
            Self::Is(path, scalar) => Some(event.get(path).is_some_and(|value| scalar.is(value))),
            Self::Contains(path, scalar) => Some(
                event
                    .get(path)
                    .and_then(Value::as_array)
                    .is_some_and(|values| values.iter().any(|value| scalar.is(value))),
            ),
            Self::ContainsOwnId(path) => {
                let values = event.get(path).and_then(Value::as_array);
                values.is_none_or(Vec::is_empty).then_some(false)
            }
            Self::MemberCount(comparison, count) => {
                Some(comparison.holds(room.member_count, *count))
            }
            Self::SenderMayNotify(key) => {
                let level = room.notification_levels.get(&**key).copied();
                Some(room.sender_power >= level.unwrap_or(NOTIFICATION_LEVEL_DEFAULT))
            }
        }
    }

    /// Whether it holds for the user, where [`Self::holds`] left that open.
    fn holds_for_user(&self, event: &PushEvent, user: &UserFacts<'_>) -> bool {
        match self {
            Self::MatchesOwnId(path) => {
                event.get(path).and_then(Value::as_str).is_some_and(|text| {
                    text == user.user_id.as_str() || folded(text).eq(folded(user.user_id.as_str()))
                })
            }
            Self::ContainsOwnId(path) => {
                event
                    .get(path)
                    .and_then(Value::as_array)
                    .is_some_and(|values| {
                        values
                            .iter()
                            .any(|value| value.as_str() == Some(user.user_id.as_str()))
                    })
            }
            Self::BodyHasDisplayName => {
                let name = user.display_name.filter(|name| !name.trim().is_empty());
                name.zip(event.body())
                    .is_some_and(|(name, body)| Glob::literal(name).matches_words(body))
            }
            Self::Matches(..)
            | Self::BodyHas(_)
            | Self::Is(..)
            | Self::Contains(..)
            | Self::MemberCount(..)
            | Self::SenderMayNotify(_) => false,
        }
    }
}

impl Scalar {
    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => number.as_i64().map(Self::Integer),
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Self::Integer(wanted), Value::Number(value)) => value.as_i64() == Some(*wanted),
            (Self::Text(wanted), Value::String(value)) => **wanted == **value,
            _ => false,
        }
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<(Self, u64)> {
        let digits = text.trim_start_matches(['=', '<', '>']);
        let comparison = match &text[..text.len() - digits.len()] {
            "" | "==" => Self::Equal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some((comparison, digits.parse().ok()?))
    }

    fn holds(self, count: u64, wanted: u64) -> bool {
        match self {
            Self::Equal => count == wanted,
            Self::Less => count < wanted,
            Self::LessOrEqual => count <= wanted,
            Self::Greater => count > wanted,
            Self::GreaterOrEqual => count >= wanted,
        }
    }
}

/// The rule to evaluate; `None` if it can never match.
fn compile_rule(kind: RuleKind, rule: &PushRule, user_id: &UserId) -> Option<Rule> {
    let mut conditions = Vec::new();
    match kind {
        RuleKind::Content => {
            let pattern = rule.pattern.as_deref()?;
            conditions.push(Condition::BodyHas(Glob::new(pattern)));
        }
        RuleKind::Override | RuleKind::Underride => {
            for condition in rule.conditions.iter().flatten() {
                conditions.push(compile_condition(condition, user_id)?);
            }
        }
        RuleKind::Room | RuleKind::Sender => return None,
    }
    Some(Rule {
        conditions: conditions.into(),
        actions: Actions::from_json(&rule.actions),
    })
}

/// The condition to evaluate; `None` if it can never hold.
fn compile_condition(condition: &Value, user_id: &UserId) -> Option<Condition> {
    let text = |key: &str| condition.get(key).and_then(Value::as_str);
    Some(match text("kind")? {
        "event_match" => {
            let (key, pattern) = (text("key")?, text("pattern")?);
            if key == BODY {
                Condition::BodyHas(Glob::new(pattern))
            } else if pattern == user_id.as_str() {
                Condition::MatchesOwnId(Path::parse(key))
            } else {
                Condition::Matches(Path::parse(key), Glob::new(pattern))
            }
        }
        "event_property_is" => Condition::Is(
            Path::parse(text("key")?),
            Scalar::from_json(condition.get("value")?)?,
        ),
        "event_property_contains" => {
            let path = Path::parse(text("key")?);
            if text("value") == Some(user_id.as_str()) {
                Condition::ContainsOwnId(path)
            } else {
                Condition::Contains(path, Scalar::from_json(condition.get("value")?)?)
            }
        }
        "contains_display_name" => Condition::BodyHasDisplayName,
        "room_member_count" => {
            let (comparison, count) = Comparison::parse(text("is")?)?;
            Condition::MemberCount(comparison, count)
        }
        "sender_notification_permission" => Condition::SenderMayNotify(text("key")?.into()),
        _ => return None,
    })
}

/// Rule sets that are in use, each once.
#[derive(Debug, Default)]
pub struct SharedRules {
    known: BTreeSet<Arc<CompiledRules>>,
    /// When so many are known, those that nobody uses any more are let go.
    sweep_at: usize,
}

/// Below so many known rule sets nothing is swept.
const SWEEP_AT_MIN: usize = 64;

impl SharedRules {
    /// The one kept copy of these rules.
    pub fn share(&mut self, rules: CompiledRules) -> Arc<CompiledRules> {
        if let Some(known) = self.known.get(&rules) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at.max(SWEEP_AT_MIN) {
            self.known.retain(|rules| Arc::strong_count(rules) > 1);
            self.sweep_at = 2 * self.known.len();
        }
        let rules = Arc::new(rules);
        self.known.insert(Arc::clone(&rules));
        rules
    }

    /// How many different rule sets are kept.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
