//! Who is there because a client of theirs syncs (Client-Server API, "Presence": `set_presence`).
//!
//! Presence is written when it changes, not with every sync; who no longer syncs goes offline. Who
//! syncs but does nothing else is away after a while ("Idle timeout"), until they write, read or
//! type.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use lyceum_model::{AccountChange, Batch, MatrixError, Presence, PresenceState, Timestamp};
use parking_lot::Mutex;
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::{
    Server,
    presence::{self, Status},
};

/// Who did not sync for so long is offline.
const ABSENT_AFTER_MS: u64 = 75_000;
/// Who syncs but did nothing for so long is away.
const IDLE_AFTER_MS: u64 = 5 * 60_000;
/// How often the time of the last activity is written while somebody stays online.
const REFRESH_MS: u64 = 5 * 60_000;
/// Somebody whom storage holds for online without activity for so long is not.
const FORGOTTEN_AFTER_MS: u64 = 2 * REFRESH_MS;
/// How many users' presence is written in one batch.
const BATCH_MAX: usize = 1_000;

/// How many devices of one user are told apart.
const DEVICES_MAX: usize = 64;

/// Users whose clients sync with this node.
#[derive(Debug, Default)]
pub(crate) struct Attendance {
    users: Mutex<HashMap<OwnedUserId, Attending>>,
}

/// Somebody with devices of which each says how present they are.
#[derive(Debug, Default)]
struct Attending {
    devices: BTreeMap<OwnedDeviceId, Device>,
    /// When the user did something last; coming here is something.
    active: Timestamp,
    /// What was written last, and when.
    written: Option<(PresenceState, Timestamp)>,
}

#[derive(Debug, Clone, Copy)]
struct Device {
    state: PresenceState,
    seen: Timestamp,
}

impl Attending {
    /// How present the most present device is. Forgets those that are gone.
    fn state(&mut self, now: Timestamp) -> Option<PresenceState> {
        self.devices
            .retain(|_, device| now.ms_since(device.seen) <= ABSENT_AFTER_MS);
        let is_there = |wanted| self.devices.values().any(|device| device.state == wanted);
        let state = [PresenceState::Online, PresenceState::Unavailable]
            .into_iter()
            .find(|state| is_there(*state))?;
        if now.ms_since(self.active) > IDLE_AFTER_MS {
            return Some(PresenceState::Unavailable);
        }
        Some(state)
    }

    /// What is to be written, if anything.
    fn due(&mut self, now: Timestamp) -> Option<PresenceState> {
        let state = self.state(now)?;
        let is_known = |(written, at): (_, Timestamp)| {
            written == state && (now.ms_since(at) < REFRESH_MS || self.active <= at)
        };
        if self.written.is_some_and(is_known) {
            return None;
        }
        self.written = Some((state, now));
        Some(state)
    }
}

impl Server {
    /// A client of the user syncs, and says how present the user is. Nobody waits for this, and
    /// nothing fails if it cannot be stored.
    pub async fn present(
        &self,
        user_id: &UserId,
        device_id: Option<&DeviceId>,
        state: PresenceState,
    ) {
        if state == PresenceState::Offline || !self.config.presence.enabled {
            return;
        }
        let now = self.clock.now();
        let due = {
            let mut users = self.attendance.users.lock();
            let attending = users.entry(user_id.to_owned()).or_default();
            if attending.devices.is_empty() {
                attending.active = now;
            }
            let device_id = device_id.unwrap_or_else(|| "".into());
            let is_full = attending.devices.len() >= DEVICES_MAX;
            if attending.devices.contains_key(device_id) || !is_full {
                let device = Device { state, seen: now };
                attending.devices.insert(device_id.to_owned(), device);
            }
            attending.due(now)
        };
        if let Some(state) = due {
            self.write_presence(user_id, state).await;
        }
    }

    /// A user does something by which others see that they are there: writes, reads, types. Nobody
    /// waits for its being written.
    pub fn active(self: &Arc<Self>, user_id: &UserId) {
        let now = self.clock.now();
        let due = {
            let mut users = self.attendance.users.lock();
            let Some(attending) = users.get_mut(user_id) else {
                return;
            };
            attending.active = now;
            attending.due(now)
        };
        if let Some(state) = due {
            let (server, user_id) = (self.clone(), user_id.to_owned());
            self.supervisor.spawn("presence", async move {
                server.write_presence(&user_id, state).await;
            });
        }
    }

    /// When a user was last active, as far as it is known here and not yet in storage.
    pub(crate) fn last_active(&self, user_id: &UserId) -> Option<Timestamp> {
        let users = self.attendance.users.lock();
        users.get(user_id).map(|attending| attending.active)
    }

    async fn write_presence(&self, user_id: &UserId, state: PresenceState) {
        let set = presence::set(self, user_id, state, Status::Unchanged);
        if let Err(error) = set.await {
            tracing::debug!(%error, "presence could not be stored");
            if let Some(attending) = self.attendance.users.lock().get_mut(user_id) {
                attending.written = None;
            }
        }
    }

    /// Takes those offline who no longer sync, and shows others as their devices that are left do.
    pub(crate) async fn mark_absent(&self) {
        let now = self.clock.now();
        let mut absent: Vec<OwnedUserId> = Vec::new();
        let mut changed: Vec<(OwnedUserId, PresenceState)> = Vec::new();
        {
            let mut users = self.attendance.users.lock();
            for (user_id, attending) in users.iter_mut() {
                if absent.len() + changed.len() >= BATCH_MAX {
                    break;
                }
                match attending.state(now) {
                    None => absent.push(user_id.clone()),
                    Some(state) => {
                        let is_other = attending.written.is_some_and(|(known, _)| known != state);
                        if is_other {
                            attending.written = Some((state, now));
                            changed.push((user_id.clone(), state));
                        }
                    }
                }
            }
            for user_id in &absent {
                users.remove(user_id);
            }
        }
        if !absent.is_empty()
            && let Err(error) = self.take_offline(&absent).await
        {
            tracing::warn!(%error, "absent users could not be shown as offline");
        }
        for (user_id, state) in changed {
            if let Err(error) = presence::set(self, &user_id, state, Status::Unchanged).await {
                tracing::warn!(%error, "presence could not be stored");
            }
        }
    }

    /// Whoever was online when a node ended may be gone. Where there are others, those who are away
    /// may well be at one of them; who is online has done something lately.
    pub(crate) async fn forget_attendance(&self) {
        let now = self.clock.now();
        let is_shared = self.store.is_shared();
        let is_there = |state| match state {
            PresenceState::Online => true,
            PresenceState::Unavailable => !is_shared,
            PresenceState::Offline => false,
        };
        let to = self.store.position();
        let known = self
            .store
            .presence_changes(lyceum_model::Position(0), to, 10 * BATCH_MAX)
            .await;
        let gone: Vec<_> = known
            .unwrap_or_default()
            .into_iter()
            .filter(|presence| {
                is_there(presence.state) && now.ms_since(presence.last_active) > FORGOTTEN_AFTER_MS
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
