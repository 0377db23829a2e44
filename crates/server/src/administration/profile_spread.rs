//! Putting a changed profile into the member events of the rooms in which a user is. It goes on
//! in the background; who is in many rooms is noted, so that it goes on after the next start.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ruma_common::{OwnedUserId, UserId};

use super::documents;
use crate::{Server, rooms::RoomError};

/// Before the next room others get a turn.
const PAUSE: Duration = Duration::from_millis(1);
/// In so many rooms it is done before anybody could stop the server.
const ROOMS_NOT_NOTED: usize = 8;
/// The document that holds whose profile has not reached all rooms.
const UNFINISHED: &str = "profiles.unfinished";

type Unfinished = BTreeSet<OwnedUserId>;

impl Server {
    /// Puts a user's changed profile into the rooms in which it is.
    pub fn spread_profile(self: &Arc<Self>, user_id: &UserId) {
        let server = self.clone();
        let user_id = user_id.to_owned();
        self.supervisor.spawn("spread a profile", async move {
            if let Err(error) = server.spread_profile_now(&user_id).await {
                tracing::warn!(%error, "a changed profile did not reach all rooms");
            }
        });
    }

    /// Goes on with what a stop or a crash interrupted.
    pub(crate) async fn resume_profiles(self: &Arc<Self>) {
        match documents::read::<Unfinished>(&*self.store, UNFINISHED).await {
            Ok(unfinished) => {
                for user_id in unfinished {
                    self.spread_profile(&user_id);
                }
            }
            Err(error) => {
                tracing::error!(%error, "interrupted changes of profiles could not be read");
            }
        }
    }

    async fn spread_profile_now(&self, user_id: &OwnedUserId) -> Result<(), RoomError> {
        let rooms = self.joined_rooms(user_id).await?;
        let is_noted = rooms.len() > ROOMS_NOT_NOTED;
        if is_noted {
            self.note_unfinished(user_id, true).await;
        }
        for room_id in rooms {
            if self.supervisor.is_stopping() {
                return Ok(());
            }
            let profile = self.profile(user_id).await?;
            let changed = self.change(&room_id, |room| {
                let (profile, now) = (profile.clone(), self.clock.now());
                let signer = &self.signer;
                Ok(lyceum_room::update_profile(
                    room, user_id, profile, signer, now,
                )?)
            });
            match changed.await {
                // A room that forbids it keeps the old one; others they left meanwhile.
                Ok(()) | Err(RoomError::Denied(_) | RoomError::UnknownRoom) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        if is_noted {
            self.note_unfinished(user_id, false).await;
        }
        Ok(())
    }

    /// Without the note all goes on, but a crash would end it.
    async fn note_unfinished(&self, user_id: &OwnedUserId, is_unfinished: bool) {
        let change = |unfinished: &mut Unfinished| match is_unfinished {
            true => unfinished.insert(user_id.clone()),
            false => unfinished.remove(user_id),
        };
        if let Err(error) = documents::update(self, UNFINISHED, change).await {
            tracing::warn!(%error, %user_id, "a change of a profile could not be noted");
        }
    }
}
