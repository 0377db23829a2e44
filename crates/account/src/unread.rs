//! How much a user has not read in a room: in the main timeline, in each thread, and in all
//! (Client-Server API, "Receiving notifications" and "Threaded read receipts").
//!
//! A [`Counter`] is fed every event of the room in the order of its [`Seq`], and every read
//! receipt. Invariants: an event counts once, however often it is fed; nothing that was read
//! counts again; a receipt never brings anything back. The last [`RECENT_MAX`] notifications are
//! known one by one; of older ones only the sum for each thread. What happens in their midst
//! cannot be taken off: then the counter says from where to [count again](Counter::blurred_from).
//! Its size is bounded.

use std::collections::BTreeMap;

use lyceum_model::Seq;
use ruma_common::{EventId, OwnedEventId};
use serde::{Deserialize, Serialize};

use crate::push::Actions;

/// How many notifications are known one by one.
pub const RECENT_MAX: usize = 128;
/// How many threads are counted apart; those that were quiet longest count to the main timeline.
pub const THREADS_MAX: usize = 128;
/// How many receipts may lie ahead of what was counted.
pub const MARKS_MAX: usize = 128;

/// Numbers of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// All of them.
    pub notify: u64,
    /// Those that are highlights too.
    pub highlight: u64,
}

impl Counted {
    fn add(&mut self, other: Self) {
        self.notify = self.notify.saturating_add(other.notify);
        self.highlight = self.highlight.saturating_add(other.highlight);
    }

    fn one(is_highlight: bool) -> Self {
        Self {
            notify: 1,
            highlight: u64::from(is_highlight),
        }
    }
}

/// What a receipt marks as read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReadScope {
    /// Everything up to its event, in all threads.
    Unthreaded,
    /// The main timeline.
    Main,
    /// The thread with this root.
    Thread(OwnedEventId),
}

impl ReadScope {
    /// What a receipt with this `thread_id` marks; `None` if that is no thread.
    pub fn from_receipt(thread: Option<&str>) -> Option<Self> {
        match thread {
            None => Some(Self::Unthreaded),
            Some("main") => Some(Self::Main),
            Some(root) => EventId::parse(root).ok().map(Self::Thread),
        }
    }

    fn covers(&self, thread: Option<&EventId>) -> bool {
        match self {
            Self::Unthreaded => true,
            Self::Main => thread.is_none(),
            Self::Thread(root) => thread == Some(&**root),
        }
    }
}

/// What a user has not read in a room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counter {
    /// Every event up to here was counted.
    #[serde(rename = "u")]
    up_to: Seq,
    /// The last notifications, in order.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    recent: Vec<Recent>,
    /// Notifications before those.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    older: Vec<Older>,
    /// Receipts for events that were not counted yet.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<(ReadScope, Seq)>,
    /// Something happened in the midst of a sum.
    #[serde(skip)]
    is_blurred: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recent {
    #[serde(rename = "s")]
    seq: Seq,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    thread: Option<OwnedEventId>,
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    is_highlight: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Older {
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    thread: Option<OwnedEventId>,
    /// 0: not known.
    #[serde(rename = "f", default)]
    first: Seq,
    #[serde(rename = "l")]
    last: Seq,
    #[serde(rename = "c")]
    counted: Counted,
}

impl Counter {
    /// A counter for which nothing up to `up_to` counts: for who joins there.
    pub fn starting_at(up_to: Seq) -> Self {
        Self {
            up_to,
            ..Self::default()
        }
    }

    /// Reads a stored counter; `None` if it is damaged.
    pub fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The counter as it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a counter has only text keys")
    }

    /// Every event up to here was counted; feed it those after.
    pub fn up_to(&self) -> Seq {
        self.up_to
    }

    /// Counts an event, whatever its actions. `thread` is the root of the thread that the event
    /// is in; `None`: the main timeline. Events that were counted before are passed over.
    pub fn add(&mut self, seq: Seq, thread: Option<&EventId>, actions: &Actions) {
        if seq <= self.up_to {
            return;
        }
        self.up_to = seq;
        let is_read = self
            .marks
            .iter()
            .any(|(scope, read)| *read >= seq && scope.covers(thread));
        self.marks.retain(|(_, read)| *read > seq);
        if !actions.notify || is_read {
            return;
        }
        if self.recent.len() >= RECENT_MAX {
            self.fold_oldest();
        }
        self.recent.push(Recent {
            seq,
            thread: thread.map(EventId::to_owned),
            is_highlight: actions.highlight,
        });
    }

    /// Takes in a receipt, public or private, or that the user themselves sent an event at `seq`.
    /// Says whether the numbers changed. A receipt behind an earlier one changes nothing.
    pub fn read_up_to(&mut self, scope: &ReadScope, seq: Seq) -> bool {
        if seq > self.up_to {
            self.mark(scope, seq);
        }
        let is_blurred = |sum: &Older| sum.first <= seq && seq < sum.last;
        let covered = |sum: &&Older| scope.covers(sum.thread.as_deref());
        self.is_blurred |= self.older.iter().filter(covered).any(is_blurred);
        let before = (self.recent.len(), self.older.len());
        self.recent
            .retain(|one| one.seq > seq || !scope.covers(one.thread.as_deref()));
        self.older
            .retain(|sum| sum.last > seq || !scope.covers(sum.thread.as_deref()));
        before != (self.recent.len(), self.older.len())
    }

    /// The event at `seq` was redacted: it is nothing that one is to be told of any more.
    pub fn forget(&mut self, seq: Seq) {
        let is_blurred = |sum: &Older| sum.first <= seq && seq <= sum.last;
        self.is_blurred |= self.older.iter().any(is_blurred);
        self.recent.retain(|one| one.seq != seq);
    }

    /// Behind which event to count again, with all receipts, to know what is unread: some of what
    /// is known by its sum only was read or redacted. `None`: this counter is right.
    pub fn blurred_from(&self) -> Option<Seq> {
        let first = self.older.iter().map(|sum| sum.first).min()?;
        (self.is_blurred && first > Seq(0)).then_some(Seq(first.0 - 1))
    }

    /// This counter will have to do.
    pub fn keep(&mut self) {
        self.is_blurred = false;
    }

    /// What is unread in the main timeline.
    pub fn main(&self) -> Counted {
        self.sum(|thread| thread.is_none())
    }

    /// What is unread in the main timeline and all threads.
    pub fn in_all(&self) -> Counted {
        self.sum(|_| true)
    }

    /// What is unread in each thread that has anything unread.
    pub fn threads(&self) -> BTreeMap<OwnedEventId, Counted> {
        let mut threads: BTreeMap<OwnedEventId, Counted> = BTreeMap::new();
        for (thread, counted) in self.parts() {
            if let Some(root) = thread {
                threads.entry(root.to_owned()).or_default().add(counted);
            }
        }
        threads
    }

    /// Whether nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.older.is_empty()
    }

    fn sum(&self, wanted: impl Fn(Option<&EventId>) -> bool) -> Counted {
        let mut sum = Counted::default();
        for (thread, counted) in self.parts() {
            if wanted(thread) {
                sum.add(counted);
            }
        }
        sum
    }

    fn parts(&self) -> impl Iterator<Item = (Option<&EventId>, Counted)> {
        let recent = self
            .recent
            .iter()
            .map(|one| (one.thread.as_deref(), Counted::one(one.is_highlight)));
        self.older
            .iter()
            .map(|sum| (sum.thread.as_deref(), sum.counted))
            .chain(recent)
    }

    fn mark(&mut self, scope: &ReadScope, seq: Seq) {
        match self.marks.iter_mut().find(|(known, _)| known == scope) {
            Some((_, known)) => *known = seq.max(*known),
            None => {
                if self.marks.len() >= MARKS_MAX {
                    self.marks.remove(0);
                }
                self.marks.push((scope.clone(), seq));
            }
        }
    }

    /// Moves the oldest single notification into the sum of its thread.
    fn fold_oldest(&mut self) {
        let oldest = self.recent.remove(0);
        let counted = Counted::one(oldest.is_highlight);
        let of_thread = Older {
            thread: oldest.thread,
            first: oldest.seq,
            last: oldest.seq,
            counted,
        };
        self.add_older(of_thread);
        let threads = self.older.iter().filter(|sum| sum.thread.is_some()).count();
        if threads > THREADS_MAX {
            let quietest = (0..self.older.len())
                .filter(|index| self.older[*index].thread.is_some())
                .min_by_key(|index| self.older[*index].last);
            if let Some(index) = quietest {
                let sum = self.older.remove(index);
                self.add_older(Older {
                    thread: None,
                    ..sum
                });
            }
        }
    }

    fn add_older(&mut self, other: Older) {
        match self.older.iter_mut().find(|sum| sum.thread == other.thread) {
            Some(sum) => {
                sum.first = sum.first.min(other.first);
                sum.last = sum.last.max(other.last);
                sum.counted.add(other.counted);
            }
            None => self.older.push(other),
        }
    }
}
