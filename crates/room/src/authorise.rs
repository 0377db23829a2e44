//! Whether an event may follow a state.
//!
//! Most events are ordinary: neither members nor power nor creation depend on them. Those are
//! judged by what was parsed once of the state; all others, and rooms with unreadable state, by
//! ruma's full rules. A property test holds the two together.

use std::sync::Arc;

use lyceum_model::Event;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UserId,
    room_version_rules::AuthorizationRules,
};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules};
use serde_json::value::RawValue;

use crate::{denied::Denied, rules::RoomRules, state::State};

/// An event as ruma's rules want to see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthEvent {
    event: Arc<Event>,
    kind: TimelineEventType,
    names_its_room: bool,
    is_rejected: bool,
}

impl AuthEvent {
    /// An event that was not rejected.
    pub fn new(event: Arc<Event>, rules: &RoomRules) -> Self {
        let names_its_room = !(rules.room_id_is_create_hash() && &*event.kind == "m.room.create");
        let kind = TimelineEventType::from(&*event.kind);
        Self {
            event,
            kind,
            names_its_room,
            is_rejected: false,
        }
    }

    /// The event, marked as rejected by the rules.
    pub fn rejected(event: Arc<Event>, rules: &RoomRules) -> Self {
        Self {
            is_rejected: true,
            ..Self::new(event, rules)
        }
    }
}

impl ruma_state_res::Event for AuthEvent {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.names_its_room.then_some(&self.event.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.event.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(self.event.origin_server_ts.try_into().unwrap_or_default())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.event.content
    }

    fn state_key(&self) -> Option<&str> {
        self.event.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.event.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.event.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.event.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.is_rejected
    }
}

/// Whether an event of `kind` is judged by the sender's membership and power alone.
fn is_ordinary(kind: &str, rules: &AuthorizationRules) -> bool {
    match kind {
        "m.room.create" | "m.room.member" | "m.room.power_levels" | "m.room.third_party_invite" => {
            false
        }
        "m.room.aliases" => !rules.special_case_room_aliases,
        "m.room.redaction" => !rules.special_case_room_redaction,
        _ => true,
    }
}

/// The verdict on an ordinary event; `None`: only the full rules can tell.
pub(crate) fn judge_ordinary(
    sender: &UserId,
    kind: &str,
    state_key: Option<&str>,
    state: &State,
    rules: &RoomRules,
) -> Option<Result<(), Denied>> {
    if !is_ordinary(kind, &rules.ruma.authorization) {
        return None;
    }
    let create_event = state.get("m.room.create", "")?;
    let create = state.create_facts(rules)?;
    let power_levels = state.power_levels(rules);
    if !create.is_sound || !power_levels.is_sound {
        return None;
    }
    let refuse = |reason: String| Some(Err(Denied::Forbidden(reason)));
    if !create.is_federated && create_event.sender.server_name() != sender.server_name() {
        return refuse("this room is closed to other servers".to_owned());
    }
    if !state.is_joined(sender) {
        return refuse(format!("{sender} is not a member of this room"));
    }
    let needed = power_levels.event(kind, state_key.is_some());
    if power_levels.user(sender) < needed {
        return refuse(format!("events of type {kind} need power level {needed}"));
    }
    if state_key.is_some_and(|key| key.starts_with('@') && key != sender.as_str()) {
        return refuse("the state key names another user".to_owned());
    }
    Some(Ok(()))
}

/// The full rules over one state.
pub(crate) fn judge_by_rules(
    event: &Arc<Event>,
    state: &State,
    rules: &RoomRules,
) -> Result<(), Denied> {
    let event = AuthEvent::new(event.clone(), rules);
    let find = |kind: &StateEventType, key: &str| {
        Some(AuthEvent::new(
            state.get(&kind.to_string(), key)?.clone(),
            rules,
        ))
    };
    check_state_dependent_auth_rules(&rules.ruma.authorization, event, find)
        .map_err(Denied::Forbidden)
}

/// The rules for a create event.
pub(crate) fn judge_create(event: &Arc<Event>, rules: &RoomRules) -> Result<(), Denied> {
    let nothing = |_: &EventId| None::<AuthEvent>;
    let event = AuthEvent::new(event.clone(), rules);
    check_state_independent_auth_rules(&rules.ruma.authorization, event, nothing)
        .map_err(Denied::InvalidParam)
}
