//! Finding an event by its time.
//!
//! Events stand in the timeline nearly in the order of their times: clocks of servers differ a
//! little. So the place is found by halving, and the best event in a window around it is taken.

use std::sync::Arc;

use lyceum_model::{Event, Seq, StoredEvent, Timestamp};
use lyceum_storage::{Direction, StorageError, TimelinePage};

use crate::{Server, rooms::Reader};

/// How many events around the place are compared.
const WINDOW: i64 = 64;
/// How often reading goes on past events that the reader does not see.
const READS_MAX: usize = 8;
/// The first place of any timeline, and the gap behind its last.
const START: Seq = Seq(i64::MIN + 1);
const END: Seq = Seq(i64::MAX);

impl Server {
    /// The event closest to a time, in this direction from it, that the reader sees.
    pub async fn event_by_time(
        &self,
        reader: &Reader,
        at: Timestamp,
        direction: Direction,
    ) -> Result<Option<Arc<Event>>, StorageError> {
        let place = self.place_of_time(reader, at).await?;
        let mut from = match direction {
            Direction::Forward => Seq(place.0.saturating_sub(WINDOW).max(START.0)),
            Direction::Backward => Seq(place.0.saturating_add(WINDOW)),
        };
        let wants = |event: &Event| match direction {
            Direction::Forward => event.origin_server_ts >= at.0,
            Direction::Backward => event.origin_server_ts <= at.0,
        };
        let (up_to, limit) = (self.feed.position(), WINDOW as usize);
        for _ in 0..READS_MAX {
            let shown = self
                .read_timeline(reader, from, None, up_to, direction, limit, &wants)
                .await?;
            let events = shown.events.into_iter().map(|(stored, _)| stored);
            let rank = |stored: &StoredEvent| (stored.event.origin_server_ts, stored.seq);
            let best = match direction {
                Direction::Forward => events.min_by_key(rank),
                Direction::Backward => events.max_by_key(rank),
            };
            if let Some(best) = best {
                return Ok(Some(best.event));
            }
            let Some(next) = shown.next else {
                return Ok(None);
            };
            from = next;
        }
        Ok(None)
    }

    /// About the first place whose event is not older than this.
    async fn place_of_time(&self, reader: &Reader, at: Timestamp) -> Result<Seq, StorageError> {
        let first = self.nearest(reader, START, Direction::Forward).await?;
        let last = self.nearest(reader, END, Direction::Backward).await?;
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(START);
        };
        let (mut low, mut high) = (first.0.0, last.0.0.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match self
                .nearest(reader, Seq(middle), Direction::Forward)
                .await?
            {
                Some((seq, time)) if time < at => low = seq.0.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(Seq(low))
    }

    async fn nearest(
        &self,
        reader: &Reader,
        from: Seq,
        direction: Direction,
    ) -> Result<Option<(Seq, Timestamp)>, StorageError> {
        let page = TimelinePage {
            room_id: reader.room.room_id.clone(),
            from,
            until: None,
            up_to: self.feed.position(),
            direction,
            limit: 1,
        };
        let found = self.store.timeline(page).await?;
        Ok(found
            .first()
            .and_then(|stored| Some((stored.seq?, Timestamp(stored.event.origin_server_ts)))))
    }
}
