//! The ends of a room's event graph, and fewer of them.

use lyceum_model::{Batch, Expect, RoomChange, RoomHead, RoomHeads, StateBefore};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::RoomId;

use super::AdministrationError;
use crate::Server;

/// How often it is tried again when the room changes meanwhile.
const ATTEMPTS_MAX: usize = 8;

impl Server {
    /// The ends of a room's graph; none of a room that is not known.
    pub async fn room_heads(&self, room_id: &RoomId) -> Result<Vec<RoomHead>, StorageError> {
        let room = self.store.room(room_id).await?;
        Ok(room.map(|room| room.heads).unwrap_or_default())
    }

    /// Keeps the deepest end only; how many went. The state stays what it is.
    pub async fn drop_heads(&self, room_id: &RoomId) -> Result<usize, AdministrationError> {
        let mut stale = None;
        for _ in 0..ATTEMPTS_MAX {
            let Some(room) = self.store.room(room_id).await? else {
                return Ok(0);
            };
            let deepest = room
                .heads
                .iter()
                .max_by(|a, b| (a.depth, &b.event_id).cmp(&(b.depth, &a.event_id)));
            let Some(deepest) = deepest.filter(|_| room.heads.len() > 1).cloned() else {
                return Ok(0);
            };
            let mut batch = Batch::new();
            batch.expect(Expect::RoomRevision(room_id.to_owned(), room.revision));
            batch.push(RoomChange::Heads {
                room_id: room_id.to_owned(),
                heads: RoomHeads {
                    heads: vec![deepest],
                    state: StateBefore::Resolved {
                        base: None,
                        set: room.state.iter().map(|event| event.id.clone()).collect(),
                        removed: Vec::new(),
                    },
                },
            });
            match self.commit(batch).await {
                Ok(_) => return Ok(room.heads.len() - 1),
                Err(error @ CommitError::Stale(_)) => stale = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(stale
            .expect("the loop ends only after something was stale")
            .into())
    }
}
