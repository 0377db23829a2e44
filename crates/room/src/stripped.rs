//! The few pieces of state that are told to users who are not members yet (Client-Server API,
//! "Stripped state").

use lyceum_model::Event;
use ruma_common::UserId;
use serde_json::value::RawValue;

use crate::{pdu::quoted, state::State};

/// What describes a room to a potential member, in this order.
const DESCRIBING: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// What an invited or knocking user is told: what describes the room, the member event of
/// whoever invited, and last the user's own.
pub fn stripped_state(state: &State, user_id: &UserId) -> Vec<Box<RawValue>> {
    let mut events: Vec<&Event> = DESCRIBING
        .iter()
        .filter_map(|kind| Some(&**state.get(kind, "")?))
        .collect();
    if let Some(own) = state.member(user_id) {
        if own.event.sender != user_id
            && let Some(inviter) = state.member(&own.event.sender)
        {
            events.push(&inviter.event);
        }
        events.push(&own.event);
    }
    events.into_iter().map(stripped_event).collect()
}

/// A state event with nothing but content, sender, state key and type.
pub fn stripped_event(event: &Event) -> Box<RawValue> {
    let json = format!(
        r#"{{"content":{},"sender":{},"state_key":{},"type":{}}}"#,
        event.content.get(),
        quoted(event.sender.as_str()),
        quoted(event.state_key.as_deref().unwrap_or_default()),
        quoted(&event.kind),
    );
    RawValue::from_string(json).expect("put together from valid JSON")
}
