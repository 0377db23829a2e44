//! Who shares a room with somebody. A room with its state may have thousands of members, so it is
//! looked at only where many people are asked about.

use std::collections::BTreeSet;

use lyceum_model::Membership;
use lyceum_storage::StorageError;
use ruma_common::{OwnedRoomId, OwnedUserId, UserId};

use crate::Server;

/// About so many people each is asked for their rooms; of more, the rooms are asked for them.
const LOOKED_UP_MAX: usize = 32;

impl Server {
    /// Those of `others` who are members of one of these rooms.
    pub(crate) async fn members_among(
        &self,
        rooms: &BTreeSet<OwnedRoomId>,
        others: BTreeSet<OwnedUserId>,
    ) -> Result<BTreeSet<OwnedUserId>, StorageError> {
        let mut found = BTreeSet::new();
        if others.len() <= LOOKED_UP_MAX {
            for other in others {
                let theirs = self.joined_rooms(&other).await?;
                if theirs.iter().any(|room_id| rooms.contains(room_id)) {
                    found.insert(other);
                }
            }
            return Ok(found);
        }
        let mut missing = others;
        for room_id in rooms {
            if missing.is_empty() {
                break;
            }
            let Some(room) = self.rooms.room(room_id).await? else {
                continue;
            };
            let (here, elsewhere) = missing.into_iter().partition(|other| room.is_joined(other));
            missing = elsewhere;
            found.extend(here);
        }
        Ok(found)
    }

    /// The rooms that two users are in, ordered by their ids.
    pub async fn mutual_rooms(
        &self,
        user_id: &UserId,
        other: &UserId,
    ) -> Result<Vec<OwnedRoomId>, StorageError> {
        let mut rooms = self.joined_rooms(user_id).await?;
        let of_other = self.joined_rooms(other).await?;
        rooms.retain(|room_id| of_other.binary_search(room_id).is_ok());
        Ok(rooms)
    }

    /// The rooms of which a user is a member, ordered by their ids.
    pub async fn joined_rooms(&self, user_id: &UserId) -> Result<Vec<OwnedRoomId>, StorageError> {
        let memberships = self.store.memberships(user_id).await?;
        let joined = memberships
            .into_iter()
            .filter(|own| own.membership == Membership::Join);
        Ok(joined.map(|own| own.room_id).collect())
    }
}
