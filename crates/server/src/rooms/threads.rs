//! The threads of a room, those with the newest messages first (Client-Server API, "Threading").
//!
//! The timeline is read backwards: where the newest message of a thread is met, the thread has its
//! place in the list.

use std::{collections::BTreeSet, sync::Arc};

use lyceum_model::{Event, Position, Seq, StoredEvent};
use lyceum_storage::{Direction, StorageError};
use lyceum_sync::client_event::{ClientEvent, ShownEvent};
use ruma_common::{DeviceId, EventId};

use crate::{Server, rooms::Reader};

/// How many threaded messages are read at a time.
const CHUNK: usize = 64;
/// How often that is done for one answer; the client may go on from there.
const CHUNKS_MAX: usize = 4;
/// How many messages of a thread are looked at to find the newest one that a reader sees.
const NEWEST_LOOKED_AT_MAX: usize = 32;

/// Which threads are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadsIncluded {
    /// All.
    All,
    /// Those in which the reader has written.
    Participated,
}

/// A stretch of the list of threads.
#[derive(Debug, Default)]
pub struct ThreadList {
    /// The events with which the threads begin.
    pub roots: Vec<ShownEvent>,
    /// The gap before this place is where to go on; `None`: there are no more.
    pub next: Option<Seq>,
}

/// Where in the list of threads to read.
#[derive(Debug, Clone, Copy)]
pub struct ThreadsQuery {
    /// The gap before this place is where to begin.
    pub from: Seq,
    /// Only events of commits up to this one.
    pub up_to: Position,
    /// Which are wanted.
    pub included: ThreadsIncluded,
    /// At most so many.
    pub limit: usize,
}

impl Server {
    /// A room's threads.
    pub async fn threads(
        &self,
        reader: &Reader,
        device_id: Option<&DeviceId>,
        query: ThreadsQuery,
    ) -> Result<ThreadList, StorageError> {
        let mut list = ThreadList::default();
        let mut seen = BTreeSet::new();
        let mut from = query.from;
        let (up_to, direction) = (query.up_to, Direction::Backward);
        let is_threaded = |event: &Event| event.thread_root().is_some();
        for _ in 0..CHUNKS_MAX {
            let replies = self
                .read_timeline(reader, from, None, up_to, direction, CHUNK, &is_threaded)
                .await?;
            for (stored, _) in &replies.events {
                let (Some(root), Some(seq)) = (stored.event.thread_root(), stored.seq) else {
                    continue;
                };
                if !seen.insert(root.clone())
                    || !self
                        .is_newest_of_thread(reader, root, stored, up_to)
                        .await?
                {
                    continue;
                }
                let Some(shown) = self.thread_root(reader, device_id, root).await? else {
                    continue;
                };
                if query.included == ThreadsIncluded::Participated && !has_participated(&shown) {
                    continue;
                }
                if list.roots.len() >= query.limit {
                    // There is more, beginning with this one.
                    list.next = Some(Seq(seq.0.saturating_add(1)));
                    return Ok(list);
                }
                list.roots.push(shown);
            }
            let Some(next) = replies.next else {
                return Ok(list);
            };
            from = next;
        }
        list.next = Some(from);
        Ok(list)
    }

    /// Whether no newer message of the thread is seen by the reader: else the thread's place in
    /// the list is further ahead.
    async fn is_newest_of_thread(
        &self,
        reader: &Reader,
        root: &EventId,
        reply: &StoredEvent,
        up_to: Position,
    ) -> Result<bool, StorageError> {
        let newest = self
            .store
            .relations(root, Some("m.thread"), None, NEWEST_LOOKED_AT_MAX)
            .await?;
        for stored in newest {
            if stored.event.id == reply.event.id {
                return Ok(true);
            }
            if stored.position <= up_to && self.visibility(reader, &stored).await?.0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The first event of a thread, if the reader may see it. That of an ignored user is shown
    /// without its content.
    async fn thread_root(
        &self,
        reader: &Reader,
        device_id: Option<&DeviceId>,
        root: &EventId,
    ) -> Result<Option<ShownEvent>, StorageError> {
        let found = self.store.events(&[root.to_owned()]).await?;
        let is_here = |stored: &StoredEvent| {
            stored.event.room_id == reader.room.room_id && stored.seq.is_some()
        };
        let Some(stored) = found.into_iter().next().filter(is_here) else {
            return Ok(None);
        };
        let unbiased = Reader {
            ignored: Arc::default(),
            ..reader.clone()
        };
        let (is_visible, membership) = self.visibility(&unbiased, &stored).await?;
        if !is_visible {
            return Ok(None);
        }
        let mut shown = self.show(reader, device_id, &stored, membership).await?;
        if reader.ignored.contains(&stored.event.sender) {
            let Ok(redacted) = lyceum_room::redacted(&stored.event, &reader.room.rules) else {
                return Ok(None);
            };
            shown.event = Arc::new(ClientEvent::new(&redacted));
        }
        Ok(Some(shown))
    }
}

fn has_participated(root: &ShownEvent) -> bool {
    let relations = root.relations.as_ref();
    relations
        .and_then(|relations| relations.thread.as_ref())
        .is_some_and(|thread| thread.current_user_participated)
}
