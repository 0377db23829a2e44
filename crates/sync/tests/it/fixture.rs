//! Events for the tests: short ids, depth as time.
#![allow(
    clippy::needless_pass_by_value,
    reason = "`json!` is written where it is passed"
)]

use std::sync::Arc;

use lyceum_model::{Event, Placement, Position, Seq, StoredEvent};
use lyceum_sync::client_event::ClientEvent;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};

pub(crate) const ROOM: &str = "!room:x";

/// An event of the room `!room:x`: `$id`, from `@sender:x`, at depth `depth` and a time of
/// thousand times that.
pub(crate) fn event(id: &str, sender: &str, kind: &str, content: Value, depth: u64) -> Arc<Event> {
    from_parts(id, sender, kind, None, content, depth, json!({}))
}

pub(crate) fn message(id: &str, sender: &str, depth: u64) -> Arc<Event> {
    event(
        id,
        sender,
        "m.room.message",
        json!({"body": id, "msgtype": "m.text"}),
        depth,
    )
}

pub(crate) fn state(
    id: &str,
    sender: &str,
    kind: &str,
    key: &str,
    content: Value,
    depth: u64,
) -> Arc<Event> {
    from_parts(id, sender, kind, Some(key), content, depth, json!({}))
}

/// A member event that the user sent: `membership` of `@name:x`.
pub(crate) fn member(id: &str, name: &str, membership: &str, depth: u64) -> Arc<Event> {
    let key = format!("@{name}:x");
    state(
        id,
        name,
        "m.room.member",
        &key,
        json!({"membership": membership}),
        depth,
    )
}

pub(crate) fn from_parts(
    id: &str,
    sender: &str,
    kind: &str,
    state_key: Option<&str>,
    content: Value,
    depth: u64,
    more: Value,
) -> Arc<Event> {
    let mut pdu = json!({
        "auth_events": [],
        "content": content,
        "depth": depth,
        "hashes": {"sha256": "hash"},
        "origin_server_ts": depth * 1000,
        "prev_events": [],
        "room_id": ROOM,
        "sender": format!("@{sender}:x"),
        "signatures": {"x": {"ed25519:1": "signature"}},
        "type": kind,
    });
    if let Some(key) = state_key {
        pdu["state_key"] = json!(key);
    }
    for (name, value) in more.as_object().unwrap() {
        pdu[name] = value.clone();
    }
    Arc::new(Event::from_pdu(event_id(id), None, pdu.to_string().into()).unwrap())
}

pub(crate) fn client(event: &Event) -> Arc<ClientEvent> {
    Arc::new(ClientEvent::new(event))
}

pub(crate) fn stored(event: &Arc<Event>, seq: i64) -> StoredEvent {
    StoredEvent {
        event: event.clone(),
        seq: Some(Seq(seq)),
        position: Position(1),
        placement: Placement::Timeline,
        redacted_because: None,
        sent_as: None,
    }
}

pub(crate) fn event_id(id: &str) -> OwnedEventId {
    EventId::parse(format!("${id}")).unwrap()
}

pub(crate) fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:x")).unwrap()
}

pub(crate) fn room(name: &str) -> OwnedRoomId {
    RoomId::parse(format!("!{name}:x")).unwrap()
}

pub(crate) fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        panic!("not JSON ({error}): {}", String::from_utf8_lossy(bytes));
    })
}

/// The ids of events, with spaces between.
pub(crate) fn ids<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>) -> String {
    let ids: Vec<&str> = events
        .into_iter()
        .map(|event| &event.id.as_str()[1..])
        .collect();
    ids.join(" ")
}
