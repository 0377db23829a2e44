//! Which member events a device has been told already, so that lazy loading need not repeat them
//! (Client-Server API, "Lazy-loading room members": redundant membership events).
//!
//! Invariants: an event counts as told only when the client came back with the `next_batch` of
//! the answer that held it; who syncs from an older place is told everything again. The size is
//! bounded; what is forgotten costs repetition, never a missing member.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use lyceum_model::Position;
use ruma_common::{EventId, RoomId, UserId};

/// About what one remembered event costs.
const ENTRY_BYTES: usize = 32;

/// What one device has been told.
#[derive(Debug)]
pub struct SentMembers {
    entries_max: usize,
    /// By a hash of room and user, a hash of the member event. When `young` is full it becomes
    /// `old`, and what was in `old` is forgotten.
    young: BTreeMap<u64, u64>,
    old: BTreeMap<u64, u64>,
    /// Where the client stood at its newest sync.
    since: Option<Position>,
    /// What the newest answer told, and its `next_batch`.
    unconfirmed: Option<(Position, Vec<(u64, u64)>)>,
    noted: Vec<(u64, u64)>,
}

impl SentMembers {
    /// Nothing told yet; remembers in about `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            // What is unconfirmed, what is noted, and the two generations share the bytes.
            entries_max: bytes_max / ENTRY_BYTES / 4,
            young: BTreeMap::new(),
            old: BTreeMap::new(),
            since: None,
            unconfirmed: None,
            noted: Vec::new(),
        }
    }

    /// A sync from `since` begins; `None`: the client knows nothing.
    pub fn begin(&mut self, since: Option<Position>) {
        self.noted.clear();
        let unconfirmed = self.unconfirmed.take();
        match unconfirmed {
            Some((next_batch, told)) if Some(next_batch) == since => {
                for (member, event) in told {
                    self.remember(member, event);
                }
            }
            _ if since.is_some() && since == self.since => {}
            _ => {
                self.young.clear();
                self.old.clear();
            }
        }
        self.since = since;
    }

    /// The answer is made.
    pub fn end(&mut self, next_batch: Position) {
        self.unconfirmed = Some((next_batch, std::mem::take(&mut self.noted)));
    }

    /// About how many bytes it occupies.
    pub fn bytes(&self) -> usize {
        let unconfirmed = self.unconfirmed.as_ref().map_or(0, |(_, told)| told.len());
        let entries = self.young.len() + self.old.len() + self.noted.len() + unconfirmed;
        size_of::<Self>() + entries * ENTRY_BYTES
    }

    /// Whether the client knows that this is the user's member event.
    pub(crate) fn knows(&self, room_id: &RoomId, user_id: &UserId, event_id: &EventId) -> bool {
        let member = hash(&(room_id.as_str(), user_id.as_str()));
        self.young.get(&member).or_else(|| self.old.get(&member)) == Some(&hash(event_id.as_str()))
    }

    /// The answer being made tells the client of this member event.
    pub(crate) fn note(&mut self, room_id: &RoomId, user_id: &str, event_id: &EventId) {
        if self.noted.len() < self.entries_max {
            self.noted
                .push((hash(&(room_id.as_str(), user_id)), hash(event_id.as_str())));
        } else {
            // It replaces what was told before, but there is no room to keep it.
            let member = hash(&(room_id.as_str(), user_id));
            self.young.remove(&member);
            self.old.remove(&member);
        }
    }

    fn remember(&mut self, member: u64, event: u64) {
        if self.young.len() >= self.entries_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(member, event);
    }
}

/// The same within one process, which is all that is needed.
fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
