//! Who is there because a client of theirs syncs (Client-Server API, "Presence": `set_presence`).
//!
//! Presence is written when it changes, not with every sync; who no longer syncs goes offline.

use std::collections::HashMap;

use lyceum_model::{AccountChange, Batch, MatrixError, Presence, PresenceState, Timestamp};
use parking_lot::Mutex;
use ruma_common::{OwnedUserId, UserId};

use crate::{
    Server,
    presence::{self, Status},
};

/// Who did not sync for so long is offline.
const ABSENT_AFTER_MS: u64 = 75_000;
/// How often the time of the last activity is written while somebody stays online.
const REFRESH_MS: u64 = 5 * 60_000;
/// Somebody whom storage holds for online without activity for so long is not.
const FORGOTTEN_AFTER_MS: u64 = 2 * REFRESH_MS;
/// How many users' presence is written in one batch.
const BATCH_MAX: usize = 1_000;

/// Users whose clients sync with this node.
#[derive(Debug, Default)]
pub(crate) struct Attendance {
    users: Mutex<HashMap<OwnedUserId, Attending>>,
}

#[derive(Debug, Clone, Copy)]
struct Attending {
    state: PresenceState,
    seen: Timestamp,
    written: Timestamp,
}

impl Server {
    /// A client of the user syncs, and says how present the user is.
    pub async fn present(&self, user_id: &UserId, state: PresenceState) -> Result<(), MatrixError> {
        if state == PresenceState::Offline {
            return Ok(());
        }
        let now = self.clock.now();
        {
            let mut users = self.attendance.users.lock();
            if let Some(known) = users.get_mut(user_id)
                && known.state == state
                && now.ms_since(known.written) < REFRESH_MS
            {
                known.seen = now;
                return Ok(());
            }
            users.insert(
                user_id.to_owned(),
                Attending {
                    state,
                    seen: now,
                    written: now,
                },
            );
        }
        Ok(presence::set(self, user_id, state, Status::Unchanged).await?)
    }

    /// Takes those offline who no longer sync.
    pub(crate) async fn mark_absent(&self) {
        let now = self.clock.now();
        let absent: Vec<OwnedUserId> = {
            let mut users = self.attendance.users.lock();
            let gone = users
                .iter()
                .filter(|(_, attending)| now.ms_since(attending.seen) > ABSENT_AFTER_MS)
                .map(|(user_id, _)| user_id.clone())
                .take(BATCH_MAX)
                .collect::<Vec<_>>();
            for user_id in &gone {
                users.remove(user_id);
            }
            gone
        };
        if !absent.is_empty()
            && let Err(error) = self.take_offline(&absent).await
        {
            tracing::warn!(%error, "absent users could not be shown as offline");
        }
    }

    /// After a start: whoever was online when the server ended may be gone.
    pub(crate) async fn forget_attendance(&self) {
        let now = self.clock.now();
        let to = self.store.position();
        let known = self
            .store
            .presence_changes(lyceum_model::Position(0), to, 10 * BATCH_MAX)
            .await;
        let gone: Vec<_> = known
            .unwrap_or_default()
            .into_iter()
            .filter(|presence| {
                presence.state != PresenceState::Offline
                    && now.ms_since(presence.last_active) > FORGOTTEN_AFTER_MS
            })
            .map(|presence| presence.user_id)
            .collect();
        for users in gone.chunks(BATCH_MAX) {
            if let Err(error) = self.take_offline(users).await {
                tracing::warn!(%error, "absent users could not be shown as offline");
                return;
            }
        }
    }

    async fn take_offline(&self, users: &[OwnedUserId]) -> Result<(), MatrixError> {
        let mut batch = Batch::new();
        for known in self.store.presence(users).await? {
            batch.push(AccountChange::PutPresence(Presence {
                state: PresenceState::Offline,
                ..known
            }));
        }
        if !batch.changes.is_empty() {
            self.commit(batch).await?;
        }
        Ok(())
    }
}
