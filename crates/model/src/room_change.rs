//! What may change about rooms, and what storage says about an event.

use std::sync::Arc;

use ruma_common::{
    OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId,
};
use serde::{Deserialize, Serialize};

use crate::{Event, Position, StateKey, Timestamp};

/// Where an event stands in its room's timeline on this server. Sent and received events count
/// up from 1; older history that is fetched later counts down from 0. It is storage's number:
/// ordered within a room, gapless upwards, never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// What a user is to a room (`content.membership` of `m.room.member`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// A member.
    Join,
    /// Invited, not yet a member.
    Invite,
    /// Asking to be let in.
    Knock,
    /// Was a member, or was kicked, or refused an invite.
    Leave,
    /// Kept out.
    Ban,
}

impl Membership {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }

    /// The membership of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "join" => Self::Join,
            "invite" => Self::Invite,
            "knock" => Self::Knock,
            "leave" => Self::Leave,
            "ban" => Self::Ban,
            _ => return None,
        })
    }
}

/// How an appended event takes part in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// At the end of the timeline: clients see it next.
    Timeline,
    /// Before everything known: history that was fetched later.
    History,
    /// Known but outside the timeline, for example state that came with a join.
    Outlier,
    /// Received later but refused by the room's present state: part of the graph, shown to nobody.
    SoftFailed,
    /// Refused by the rules: kept so that it is not fetched again.
    Rejected,
}

/// The state of a room before an event, told by what storage already knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBefore {
    /// Nothing: the create event.
    Empty,
    /// As it was after this event (in the store, or earlier in the same batch).
    After(OwnedEventId),
    /// As it was after `base`, with these entries set to these events (resolved forks).
    Resolved {
        /// Whose state to start from; `None`: from nothing.
        base: Option<OwnedEventId>,
        /// State events (stored, or earlier in the batch) that replace or add an entry.
        set: Vec<OwnedEventId>,
        /// Entries that are absent.
        removed: Vec<StateKey>,
    },
    /// Not known (outliers, rejected events).
    Unknown,
}

/// An end of a room's event graph: an event that no other one follows yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHead {
    /// The event.
    pub event_id: OwnedEventId,
    /// Its depth.
    pub depth: u64,
}

/// The ends of a room's graph and its present state, after a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHeads {
    /// The forward extremities, ordered by event id.
    pub heads: Vec<RoomHead>,
    /// The present state, resolved over the heads.
    pub state: StateBefore,
}

/// A change to rooms.
#[derive(Debug, Clone)]
pub enum RoomChange {
    /// A room becomes known to this server.
    Create {
        /// Its id.
        room_id: OwnedRoomId,
        /// Its version.
        version: RoomVersionId,
    },
    /// An event is added. Storage gives it its [`Seq`] when it belongs to the timeline.
    Append {
        /// The event.
        event: Arc<Event>,
        /// Where it goes.
        placement: Placement,
        /// The room's state before it.
        state_before: StateBefore,
    },
    /// The room's graph has new ends; counts up the room's revision by one. Each batch that
    /// appends to the timeline has one for each room, after its events. Storage derives each
    /// user's membership in the room from what changed in the present state.
    Heads {
        /// The room.
        room_id: OwnedRoomId,
        /// The new ends.
        heads: RoomHeads,
    },
    /// An event's content is taken away (Client-Server API, "Redactions").
    Redact {
        /// The event in its redacted form: same id, same place.
        redacted: Arc<Event>,
        /// The redaction event.
        because: OwnedEventId,
    },
    /// A user who left no longer wants to see a room; joining again undoes it.
    Forget {
        /// The room.
        room_id: OwnedRoomId,
        /// The user.
        user_id: OwnedUserId,
    },
    /// An alias names a room from now on.
    SetAlias(Alias),
    /// An alias names nothing any more.
    RemoveAlias(OwnedRoomAliasId),
    /// A room is shown in the public directory, or no longer.
    Publish {
        /// The room.
        room_id: OwnedRoomId,
        /// Whether it is shown.
        is_published: bool,
    },
    /// Who is typing in a room now, with the time at which each stops by itself.
    Typing {
        /// The room.
        room_id: OwnedRoomId,
        /// All who are typing, ordered by user id.
        users: Vec<(OwnedUserId, Timestamp)>,
    },
    /// A client's transaction has had its effect; a repetition gets the same answer.
    Transaction {
        /// Whose, and its name.
        id: TransactionId,
        /// What came of it.
        outcome: TransactionOutcome,
        /// When; storage may drop transactions older than a day.
        at: Timestamp,
    },
    /// Old events are erased from this server. State, the ends of the graph, the newest event,
    /// history that was fetched later, and events outside the timeline stay.
    EraseEvents {
        /// The room.
        room_id: OwnedRoomId,
        /// The events.
        event_ids: Vec<OwnedEventId>,
    },
    /// A room and all its events are erased from this server.
    Purge {
        /// The room.
        room_id: OwnedRoomId,
    },
}

/// An alias of a room on this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The alias.
    pub alias: OwnedRoomAliasId,
    /// The room it names.
    pub room_id: OwnedRoomId,
    /// Who made it.
    pub creator: OwnedUserId,
}

/// A client's transaction (Client-Server API, "Transaction identifiers"): its scope is the
/// device and the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// Who.
    pub user_id: OwnedUserId,
    /// The device; application services without one use an empty id.
    pub device_id: OwnedDeviceId,
    /// The endpoint and what else distinguishes it, such as `send/!room/m.room.message`.
    pub scope: String,
    /// The client's own name for it.
    pub transaction_id: String,
}

/// The device that sent an event, and its name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAs {
    /// The device; application services without one have an empty id.
    pub device_id: OwnedDeviceId,
    /// The transaction id.
    pub transaction_id: Box<str>,
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// An event was sent.
    Event(OwnedEventId),
    /// It was done; there is nothing to tell.
    Done,
}

/// An event as storage knows it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The event, in its redacted form if it was redacted.
    pub event: Arc<Event>,
    /// Its place in the timeline; `None` for outliers and refused events.
    pub seq: Option<Seq>,
    /// The commit that brought it.
    pub position: Position,
    /// How it takes part.
    pub placement: Placement,
    /// The redaction that took its content away.
    pub redacted_because: Option<Arc<Event>>,
    /// As what it was sent, if a client of this server sent it in a transaction.
    pub sent_as: Option<SentAs>,
}

/// Where an appended event ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The event.
    pub event_id: OwnedEventId,
    /// Its place in the timeline, if it has one.
    pub seq: Option<Seq>,
}
