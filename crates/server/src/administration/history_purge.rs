//! Erasing the old events of a room. State stays, and so do events of this server's users unless
//! they are to go too.

use lyceum_model::{MatrixError, Position, RoomChange, Seq, StoredEvent};
use lyceum_storage::{Direction, StorageError, TimelinePage};
use ruma_common::{EventId, OwnedEventId, RoomId};
use serde::{Deserialize, Serialize};

use super::AdministrationError;
use crate::Server;

/// How many events are erased at a time.
const CHUNK: usize = 256;

/// What is to be erased.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PurgeWish {
    /// Events before this place.
    pub before: Seq,
    /// Also those that users of this server sent.
    pub with_local_events: bool,
}

impl Server {
    /// The place of an event of a room.
    pub async fn place_of(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Seq, AdministrationError> {
        let found = self.store.events(&[event_id.to_owned()]).await?;
        let stored = found
            .first()
            .ok_or_else(|| MatrixError::not_found(format!("Could not find event {event_id}")))?;
        if stored.event.room_id != *room_id {
            return Err(MatrixError::unknown("Event is for wrong room.").into());
        }
        let why = "The event is not part of the room's timeline";
        Ok(stored.seq.ok_or_else(|| MatrixError::unknown(why))?)
    }

    /// The place of the newest event that was sent at this time or before.
    pub async fn place_of_newest(
        &self,
        room_id: &RoomId,
        ts: u64,
    ) -> Result<Option<Seq>, StorageError> {
        let mut from = Seq(i64::MAX);
        loop {
            let chunk = self
                .stretch(room_id, from, None, Direction::Backward)
                .await?;
            for stored in &chunk {
                from = stored.seq.unwrap_or(from);
                if stored.event.origin_server_ts <= ts {
                    return Ok(stored.seq);
                }
            }
            if chunk.len() < CHUNK {
                return Ok(None);
            }
        }
    }

    /// Erases the old events of a room; can be done again where it stopped.
    pub async fn purge_history(
        &self,
        room_id: &RoomId,
        wish: PurgeWish,
    ) -> Result<(), AdministrationError> {
        let mut from = Seq(1);
        loop {
            let chunk = self
                .stretch(room_id, from, Some(wish.before), Direction::Forward)
                .await?;
            let event_ids: Vec<OwnedEventId> = chunk
                .iter()
                .filter(|stored| {
                    let is_local = self.is_local(&stored.event.sender);
                    stored.event.state_key.is_none() && (wish.with_local_events || !is_local)
                })
                .map(|stored| stored.event.id.clone())
                .collect();
            if let Some(last) = chunk.last().and_then(|stored| stored.seq) {
                from = Seq(last.0 + 1);
            }
            if !event_ids.is_empty() {
                self.commit(RoomChange::EraseEvents {
                    room_id: room_id.to_owned(),
                    event_ids,
                })
                .await?;
            }
            if chunk.len() < CHUNK {
                return Ok(());
            }
        }
    }

    async fn stretch(
        &self,
        room_id: &RoomId,
        from: Seq,
        until: Option<Seq>,
        direction: Direction,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let page = TimelinePage {
            room_id: room_id.to_owned(),
            from,
            until,
            up_to: Position(u64::MAX >> 1),
            direction,
            limit: CHUNK,
        };
        self.store.timeline(page).await
    }
}
