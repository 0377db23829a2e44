//! Push rules (Client-Server API, "Push Notifications"): what clients see and change, and what an
//! event means for a user.
//!
//! [`PushRules`] is the form that clients know. [`CompiledRules`] is the form that is evaluated:
//! it does not contain the user's own id, so all users who changed nothing share one. An event is
//! taken apart once ([`PushEvent`]); what does not depend on the user is decided once for each
//! rule set ([`CompiledRules::prepare`]), and the rest for each user is next to nothing.
//!
//! Invariant: evaluation never fails and its time is bounded by the limits of [`PushRules`].

mod actions;
mod compiled;
mod default_rules;
mod glob;
mod push_event;
mod rule_set;

pub use actions::Actions;
pub use compiled::{CompiledRules, Prepared, RoomFacts, SharedRules, UserFacts, evaluate};
pub use push_event::PushEvent;
pub use rule_set::{
    ACTIONS_MAX, CONDITIONS_MAX, PATTERN_LENGTH_MAX, PushRule, PushRuleError, PushRules,
    RULE_BYTES_MAX, RULE_ID_BYTES_MAX, RuleKind, TEXT_PATTERNS_MAX, USER_RULES_MAX,
};
