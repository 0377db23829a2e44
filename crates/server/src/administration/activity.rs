//! What a user did lately, read from the timelines of their rooms: for finding spammers.

use lyceum_model::{Event, Membership, Position, Seq, Timestamp};
use lyceum_room::membership_of;
use lyceum_storage::{Direction, StorageError, TimelinePage};
use ruma_common::{RoomId, UserId};

use crate::Server;

/// How many events are read at a time.
const CHUNK: usize = 256;
/// How many events of a room are looked at.
const LOOKED_AT_MAX: usize = 200_000;

impl Server {
    /// How many invites a user has sent since a time.
    pub async fn invites_sent(
        &self,
        user_id: &UserId,
        since: Timestamp,
    ) -> Result<u64, StorageError> {
        let mut count = 0;
        for standing in self.store.memberships(user_id).await? {
            count += self
                .count_since(&standing.room_id, since, |event| {
                    event.sender == user_id
                        && &*event.kind == "m.room.member"
                        && event.state_key.as_deref() != Some(user_id.as_str())
                        && membership_of(event) == Some(Membership::Invite)
                })
                .await?;
        }
        Ok(count)
    }

    /// How many rooms a user has joined since a time, also those that they left again.
    pub async fn rooms_joined(
        &self,
        user_id: &UserId,
        since: Timestamp,
    ) -> Result<u64, StorageError> {
        let mut count = 0;
        for standing in self.store.memberships(user_id).await? {
            let joins = self
                .count_since(&standing.room_id, since, |event| {
                    &*event.kind == "m.room.member"
                        && event.state_key.as_deref() == Some(user_id.as_str())
                        && membership_of(event) == Some(Membership::Join)
                        && !was_joined_before(event)
                })
                .await?;
            count += u64::from(joins > 0);
        }
        Ok(count)
    }

    async fn count_since(
        &self,
        room_id: &RoomId,
        since: Timestamp,
        is_counted: impl Fn(&Event) -> bool,
    ) -> Result<u64, StorageError> {
        let (mut count, mut looked_at) = (0, 0);
        let mut from = Seq(i64::MAX);
        loop {
            let page = TimelinePage {
                room_id: room_id.to_owned(),
                from,
                until: None,
                up_to: Position(u64::MAX >> 1),
                direction: Direction::Backward,
                limit: CHUNK,
            };
            let chunk = self.store.timeline(page).await?;
            for stored in &chunk {
                from = stored.seq.unwrap_or(from);
                if stored.event.origin_server_ts < since.0 {
                    return Ok(count);
                }
                count += u64::from(is_counted(&stored.event));
            }
            looked_at += chunk.len();
            if chunk.len() < CHUNK || looked_at >= LOOKED_AT_MAX {
                return Ok(count);
            }
        }
    }
}

/// Whether a join only changed a profile.
fn was_joined_before(event: &Event) -> bool {
    let unsigned = event.unsigned.as_ref().map(|unsigned| unsigned.get());
    let unsigned: Option<serde_json::Value> =
        unsigned.and_then(|unsigned| serde_json::from_str(unsigned).ok());
    unsigned.is_some_and(|unsigned| unsigned["prev_content"]["membership"] == "join")
}
