//! A checked event of a room, in the form in which servers exchange it (a PDU).

use std::sync::Arc;

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What names a piece of room state: the event type and the state key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateKey {
    /// The event type, such as `m.room.member`.
    pub kind: Arc<str>,
    /// The state key, often empty.
    pub key: Arc<str>,
}

impl StateKey {
    /// The name of the state `kind` with `key`.
    pub fn new(kind: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        Self {
            kind: kind.into(),
            key: key.into(),
        }
    }
}

/// How an event refers to another one (`content.m.relates_to`, Client-Server API, "Forming
/// relationships between events"), as far as the server acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelatesTo {
    /// `rel_type`, such as `m.thread`, `m.replace`, `m.annotation`, `m.reference`.
    pub kind: Box<str>,
    /// The event it refers to.
    pub parent: OwnedEventId,
    /// `key` of an annotation.
    pub key: Option<Box<str>>,
}

/// An event that passed the checks of its room version and got its id.
///
/// It is immutable; a redaction makes a new one with the same id.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id: in room versions 3 and later the reference hash.
    pub id: OwnedEventId,
    /// The room it belongs to; also set for a version 12 create event, whose JSON has none.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: Arc<str>,
    /// Present on state events.
    pub state_key: Option<Arc<str>>,
    /// The sender's server's time.
    pub origin_server_ts: u64,
    /// One more than the greatest depth of `prev_events`, at most 2^53 - 1.
    pub depth: u64,
    /// The events before it in the graph.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow it.
    pub auth_events: Vec<OwnedEventId>,
    /// What a redaction redacts, wherever the room version keeps that.
    pub redacts: Option<OwnedEventId>,
    /// Its relation to another event, if it has one.
    pub relates_to: Option<RelatesTo>,
    /// The content, as JSON.
    pub content: Box<RawValue>,
    /// `unsigned` as this server keeps it beside the PDU: `prev_content`, `prev_sender` and
    /// `replaces_state` of a state event that replaced another. Never sent to other servers.
    pub unsigned: Option<Box<RawValue>>,
    /// The whole PDU as canonical JSON, with hashes, signatures and `unsigned`; `event_id` only
    /// in room versions 1 and 2.
    pub json: Arc<str>,
}

/// Why a stored or received JSON text is not an event.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEvent {
    /// It is not JSON of the right shape.
    #[error("the event is not well formed: {0}")]
    Json(#[from] serde_json::Error),
    /// A room event without a room id (only a version 12 create event may omit it).
    #[error("the event names no room")]
    NoRoom,
}

impl Event {
    /// Reads a PDU whose id is known. Checks its shape only, neither hashes nor signatures nor
    /// rules; `room_id` serves a create event that does not carry it.
    ///
    /// Accepts both forms of `prev_events` and `auth_events` (room versions 1 and 2 pair each id
    /// with a hash).
    pub fn from_pdu(
        id: OwnedEventId,
        room_id: Option<OwnedRoomId>,
        json: Arc<str>,
    ) -> Result<Self, InvalidEvent> {
        let wire: WireEvent = serde_json::from_str(&json)?;
        let relations: Option<WireRelations> = if wire.content.get().contains("m.relates_to") {
            serde_json::from_str(wire.content.get()).ok()
        } else {
            None
        };
        let redacts = wire.redacts.or_else(|| {
            (&*wire.kind == "m.room.redaction")
                .then(|| {
                    serde_json::from_str::<WireRedacts>(wire.content.get())
                        .ok()?
                        .redacts
                })
                .flatten()
        });
        Ok(Self {
            id,
            room_id: room_id.or(wire.room_id).ok_or(InvalidEvent::NoRoom)?,
            sender: wire.sender,
            kind: wire.kind,
            state_key: wire.state_key,
            origin_server_ts: wire.origin_server_ts,
            depth: wire.depth,
            prev_events: wire
                .prev_events
                .into_iter()
                .map(WireReference::id)
                .collect(),
            auth_events: wire
                .auth_events
                .into_iter()
                .map(WireReference::id)
                .collect(),
            redacts,
            relates_to: relations
                .and_then(|relations| relations.relates_to)
                .and_then(|relation| {
                    Some(RelatesTo {
                        kind: relation.rel_type?,
                        parent: relation.event_id?,
                        key: relation.key,
                    })
                }),
            content: wire.content,
            unsigned: wire.unsigned,
            json,
        })
    }

    /// Its place in the room's state, if it is a state event.
    pub fn state_name(&self) -> Option<StateKey> {
        let key = self.state_key.clone()?;
        Some(StateKey {
            kind: self.kind.clone(),
            key,
        })
    }

    /// Whether it is the state `kind` with an empty state key.
    pub fn is_state(&self, kind: &str) -> bool {
        &*self.kind == kind && self.state_key.as_deref() == Some("")
    }

    /// The thread it belongs to, if it is a threaded message.
    pub fn thread_root(&self) -> Option<&OwnedEventId> {
        self.relates_to
            .as_ref()
            .filter(|relation| &*relation.kind == "m.thread")
            .map(|relation| &relation.parent)
    }

    /// About how many bytes it occupies in memory, for caches with a limit.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.json.len()
            + self.content.get().len()
            + 64 * (self.prev_events.len() + self.auth_events.len())
            + 160
    }
}

#[derive(Deserialize)]
struct WireEvent {
    #[serde(default)]
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: Arc<str>,
    #[serde(default)]
    state_key: Option<Arc<str>>,
    origin_server_ts: u64,
    depth: u64,
    prev_events: Vec<WireReference>,
    auth_events: Vec<WireReference>,
    #[serde(default)]
    redacts: Option<OwnedEventId>,
    content: Box<RawValue>,
    #[serde(default)]
    unsigned: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireReference {
    Id(OwnedEventId),
    WithHash(OwnedEventId, serde::de::IgnoredAny),
}

impl WireReference {
    fn id(self) -> OwnedEventId {
        match self {
            Self::Id(id) | Self::WithHash(id, _) => id,
        }
    }
}

#[derive(Deserialize)]
struct WireRelations {
    #[serde(rename = "m.relates_to")]
    relates_to: Option<WireRelation>,
}

#[derive(Deserialize)]
struct WireRelation {
    rel_type: Option<Box<str>>,
    event_id: Option<OwnedEventId>,
    key: Option<Box<str>>,
}

#[derive(Deserialize)]
struct WireRedacts {
    redacts: Option<OwnedEventId>,
}
