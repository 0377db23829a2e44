//! What the writer knows: numbers, rooms and places of events, and what waits to be written.
//!
//! Everything here is either stored or will be before the running transaction ends. When a
//! transaction fails, or another node has written, all of it is forgotten and read again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use lyceum_model::{Event, Placement, Position, RoomHead, Seq};
use lyceum_storage::{StorageError, state_trie::NodeHash};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId};

use crate::{
    event_body::{put_id, take_id},
    event_number::seq_of,
    sql::{Row, Sql, params},
};

/// Entries that each kind of knowledge may have between groups.
const ENTRIES_MAX: usize = 20_000;

/// Counters, stored by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) position: i64,
    pub(crate) users: i64,
    pub(crate) rooms: i64,
    pub(crate) roots: i64,
    /// The newest sweep of states that has begun.
    pub(crate) sweep: i64,
    /// How often something was taken out of rooms, and how often that was when the newest whole
    /// sweep began.
    pub(crate) removals: i64,
    pub(crate) removals_swept: i64,
}

impl Counters {
    pub(crate) fn load(sql: &mut dyn Sql) -> Result<Self, StorageError> {
        let mut counters = Self::default();
        for mut row in sql.query("SELECT name, value FROM counters", params![])? {
            let name: String = row.take(0)?;
            let value = row.take(1)?;
            match &*name {
                "position" => counters.position = value,
                "users" => counters.users = value,
                "rooms" => counters.rooms = value,
                "roots" => counters.roots = value,
                "sweep" => counters.sweep = value,
                "removals" => counters.removals = value,
                "removals_swept" => counters.removals_swept = value,
                _ => {}
            }
        }
        Ok(counters)
    }

    /// Names and values.
    pub(crate) fn list(&self) -> [(&'static str, i64); 7] {
        [
            ("position", self.position),
            ("users", self.users),
            ("rooms", self.rooms),
            ("roots", self.roots),
            ("sweep", self.sweep),
            ("removals", self.removals),
            ("removals_swept", self.removals_swept),
        ]
    }
}

/// A room as the writer needs it.
#[derive(Debug, Clone)]
pub(crate) struct RoomRow {
    pub(crate) version: RoomVersionId,
    pub(crate) revision: u64,
    pub(crate) heads: Vec<RoomHead>,
    /// The number of the present state's root.
    pub(crate) state: i64,
    /// Where the oldest history begins; 1 if there is none.
    pub(crate) first_seq: i64,
    pub(crate) last_seq: i64,
    pub(crate) last_position: Position,
    /// How many events stand outside the timeline.
    pub(crate) aside: i64,
    pub(crate) joined: i64,
    pub(crate) is_published: bool,
}

/// The columns that [`RoomRow::read`] reads.
macro_rules! room_columns {
    () => {
        "version, revision, heads, state, first_seq, last_seq, last_position, aside, joined, \
         is_published"
    };
}
pub(crate) use room_columns;

impl RoomRow {
    pub(crate) fn new(version: RoomVersionId) -> Self {
        Self {
            version,
            revision: 0,
            heads: Vec::new(),
            state: 0,
            first_seq: 1,
            last_seq: 0,
            last_position: Position(0),
            aside: 0,
            joined: 0,
            is_published: false,
        }
    }

    /// Reads the columns from `first` on.
    pub(crate) fn read(row: &mut Row, first: usize) -> Result<Self, StorageError> {
        let version: String = row.take(first)?;
        let heads: Vec<u8> = row.take(first + 2)?;
        Ok(Self {
            version: RoomVersionId::try_from(version)
                .map_err(|error| StorageError::Broken(format!("a room's version: {error}")))?,
            revision: row.take(first + 1)?,
            heads: decode_heads(&heads)?,
            state: row.take(first + 3)?,
            first_seq: row.take(first + 4)?,
            last_seq: row.take(first + 5)?,
            last_position: row.take(first + 6)?,
            aside: row.take(first + 7)?,
            joined: row.take(first + 8)?,
            is_published: row.take(first + 9)?,
        })
    }
}

pub(crate) fn encode_heads(heads: &[RoomHead]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(heads.len() * 41);
    for head in heads {
        put_id(&mut bytes, &head.event_id);
        bytes.extend_from_slice(&head.depth.to_le_bytes());
    }
    bytes
}

fn decode_heads(mut bytes: &[u8]) -> Result<Vec<RoomHead>, StorageError> {
    let mut heads = Vec::new();
    while !bytes.is_empty() {
        let event_id = take_id(&mut bytes)?;
        let Some((depth, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(StorageError::Broken(
                "a room's heads are damaged".to_owned(),
            ));
        };
        heads.push(RoomHead {
            event_id,
            depth: u64::from_le_bytes(*depth),
        });
        bytes = rest;
    }
    Ok(heads)
}

/// A room id with its number, and the room if it is known.
#[derive(Debug)]
pub(crate) struct RoomEntry {
    pub(crate) number: i64,
    pub(crate) row: Option<RoomRow>,
}

/// Where a known event stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) number: i64,
    pub(crate) placement: Placement,
    pub(crate) is_redacted: bool,
    pub(crate) state_before: Option<i64>,
    pub(crate) state_after: Option<i64>,
    pub(crate) link: Option<i64>,
}

impl Place {
    pub(crate) fn seq(&self) -> Option<Seq> {
        seq_of(self.number).or_else(|| self.link.and_then(seq_of))
    }
}

/// A row of events that waits to be written.
#[derive(Debug)]
pub(crate) struct NewEvent {
    pub(crate) number: i64,
    pub(crate) hash: Option<i64>,
    pub(crate) position: i64,
    pub(crate) placement: i64,
    pub(crate) state_before: Option<i64>,
    pub(crate) state_after: Option<i64>,
    pub(crate) link: Option<i64>,
    pub(crate) body: Arc<[u8]>,
    pub(crate) sent_as: Option<Vec<u8>>,
}

/// A relation that waits to be written.
#[derive(Debug)]
pub(crate) struct NewRelation {
    pub(crate) parent: i64,
    pub(crate) seq: i64,
    pub(crate) number: i64,
    pub(crate) kind: Box<str>,
}

/// A transaction that waits to be written.
#[derive(Debug)]
pub(crate) struct NewTransaction {
    pub(crate) bucket: i64,
    pub(crate) key: [u8; 16],
    pub(crate) at: i64,
    pub(crate) outcome: Option<Vec<u8>>,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) users: Vec<(i64, OwnedUserId)>,
    pub(crate) rooms: Vec<(i64, OwnedRoomId)>,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) relations: Vec<NewRelation>,
    pub(crate) transactions: Vec<NewTransaction>,
    pub(crate) roots: Vec<(i64, NodeHash)>,
    pub(crate) nodes: HashMap<NodeHash, Arc<[u8]>>,
    pub(crate) changed_rooms: HashSet<OwnedRoomId>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) counters: Counters,
    /// As they stand in the database.
    pub(crate) stored_counters: Counters,
    pub(crate) users: HashMap<OwnedUserId, i64>,
    pub(crate) rooms: HashMap<OwnedRoomId, RoomEntry>,
    /// `None`: not known, as far as this group goes.
    pub(crate) places: HashMap<OwnedEventId, Option<Place>>,
    /// Events that this group noted as not known: few, so that the end of a group need not look
    /// through all places, which costs as much as a small commit and the processor's caches.
    placeless: Vec<OwnedEventId>,
    /// Whether a transaction has happened.
    pub(crate) transactions: HashMap<[u8; 16], bool>,
    pub(crate) root_numbers: HashMap<NodeHash, i64>,
    pub(crate) root_hashes: HashMap<i64, NodeHash>,
    /// Events of this group, by number.
    pub(crate) fresh: HashMap<i64, Arc<Event>>,
    pub(crate) pending: Pending,
}

impl Ledger {
    /// Reads the counters and forgets all else.
    pub(crate) fn read(sql: &mut dyn Sql) -> Result<Self, StorageError> {
        Counters::load(sql).map(Self::at)
    }

    /// Knows nothing but the counters.
    pub(crate) fn at(counters: Counters) -> Self {
        Self {
            counters,
            stored_counters: counters,
            ..Self::default()
        }
    }

    /// A group is stored: forgets what was of this group only, and what is too much.
    pub(crate) fn end_group(&mut self) {
        self.stored_counters = self.counters;
        self.fresh.clear();
        self.transactions.clear();
        for event_id in self.placeless.drain(..) {
            if self.places.get(&event_id).is_some_and(Option::is_none) {
                self.places.remove(&event_id);
            }
        }
        if self.places.len() > ENTRIES_MAX {
            self.places.clear();
        }
        if self.users.len() > ENTRIES_MAX {
            self.users.clear();
        }
        if self.rooms.len() > ENTRIES_MAX {
            self.rooms.clear();
        }
        if self.root_numbers.len() > ENTRIES_MAX {
            self.root_numbers.clear();
            self.root_hashes.clear();
        }
    }

    /// Notes where an event stands; `None`: it is not known, as far as this group goes.
    pub(crate) fn note_place(&mut self, event_id: OwnedEventId, place: Option<Place>) {
        if place.is_none() {
            self.placeless.push(event_id.clone());
        }
        self.places.insert(event_id, place);
    }

    /// The number of a user, if they have one.
    pub(crate) fn find_user(
        &mut self,
        sql: &mut dyn Sql,
        user_id: &UserId,
    ) -> Result<Option<i64>, StorageError> {
        if let Some(number) = self.users.get(user_id) {
            return Ok(Some(*number));
        }
        let row = sql.first(
            "SELECT number FROM users WHERE user_id = ?1",
            params![user_id],
        )?;
        let Some(mut row) = row else { return Ok(None) };
        let number = row.take(0)?;
        self.users.insert(user_id.to_owned(), number);
        Ok(Some(number))
    }

    /// The number of a user, who gets one if they have none.
    pub(crate) fn user(
        &mut self,
        sql: &mut dyn Sql,
        user_id: &UserId,
    ) -> Result<i64, StorageError> {
        if let Some(number) = self.find_user(sql, user_id)? {
            return Ok(number);
        }
        self.counters.users += 1;
        let number = self.counters.users;
        self.users.insert(user_id.to_owned(), number);
        self.pending.users.push((number, user_id.to_owned()));
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use ruma_common::owned_event_id;

    use super::*;

    #[test]
    fn heads_are_read_as_written() {
        let heads = vec![
            RoomHead {
                event_id: owned_event_id!("$ifTGKHvFGBiyYNpLlqXqPTkDpr9QRvgRSRqZJVVjKWE"),
                depth: 1 << 53,
            },
            RoomHead {
                event_id: owned_event_id!("$old:example.org"),
                depth: 0,
            },
        ];
        let bytes = encode_heads(&heads);
        assert_eq!(decode_heads(&bytes).unwrap(), heads);
        assert!(decode_heads(&bytes[..bytes.len() - 1]).is_err());
    }
}
