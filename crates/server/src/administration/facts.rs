//! What every request must know of what admins set: other rate limits, blocked rooms, accounts
//! that end. Few, so they lie in memory, and are read anew after a commit that touched them.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{Timestamp, Touch};
use lyceum_storage::{CommitError, StorageError, Store};
use parking_lot::RwLock;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::documents;
use crate::Server;

const RATE_LIMITS: &str = "admin.rate_limits";
const BLOCKED_ROOMS: &str = "admin.blocked_rooms";
const ACCOUNT_ENDS: &str = "admin.account_ends";

/// Another limit on what a user may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateOverride {
    /// In the long run; 0: no limits at all.
    pub messages_per_second: u32,
    /// At once.
    pub burst_count: u32,
}

/// What every request must know.
#[derive(Debug, Default)]
pub struct Facts {
    rate_limits: BTreeMap<OwnedUserId, RateOverride>,
    blocked_rooms: BTreeMap<OwnedRoomId, OwnedUserId>,
    account_ends: BTreeMap<OwnedUserId, Timestamp>,
}

impl Facts {
    /// The other limit of a user, if an admin set one.
    pub fn rate_override(&self, user_id: &UserId) -> Option<RateOverride> {
        self.rate_limits.get(user_id).copied()
    }

    /// Who blocked a room, if anybody did.
    pub fn blocker(&self, room_id: &RoomId) -> Option<&OwnedUserId> {
        self.blocked_rooms.get(room_id)
    }

    /// Whether an account's time has passed.
    pub fn has_expired(&self, user_id: &UserId, now: Timestamp) -> bool {
        self.account_ends
            .get(user_id)
            .is_some_and(|end| *end <= now)
    }
}

/// The facts as last read.
#[derive(Debug, Default)]
pub(super) struct Remembered(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    facts: Option<Arc<Facts>>,
    /// Counts what was forgotten, so that what was read before is not remembered after.
    forgotten: u64,
}

impl Remembered {
    pub(super) async fn get(&self, store: &dyn Store) -> Result<Arc<Facts>, StorageError> {
        let before = {
            let known = self.0.read();
            if let Some(facts) = &known.facts {
                return Ok(facts.clone());
            }
            known.forgotten
        };
        let facts = Arc::new(Facts {
            rate_limits: documents::read(store, RATE_LIMITS).await?,
            blocked_rooms: documents::read(store, BLOCKED_ROOMS).await?,
            account_ends: documents::read(store, ACCOUNT_ENDS).await?,
        });
        let mut known = self.0.write();
        if known.forgotten == before {
            known.facts = Some(facts.clone());
        }
        Ok(facts)
    }

    pub(super) fn publish(&self, touches: &[Touch]) {
        let is_ours = |touch: &Touch| {
            matches!(touch, Touch::Setting(key)
                if [RATE_LIMITS, BLOCKED_ROOMS, ACCOUNT_ENDS].contains(&key.as_str()))
        };
        if touches.iter().any(is_ours) {
            let mut known = self.0.write();
            known.forgotten += 1;
            known.facts = None;
        }
    }
}

impl Server {
    /// Sets or removes another rate limit of a user.
    pub async fn override_rate(
        &self,
        user_id: &UserId,
        rate: Option<RateOverride>,
    ) -> Result<(), CommitError> {
        documents::update(
            self,
            RATE_LIMITS,
            |limits: &mut BTreeMap<OwnedUserId, RateOverride>| match rate {
                Some(rate) => {
                    limits.insert(user_id.to_owned(), rate);
                }
                None => {
                    limits.remove(user_id);
                }
            },
        )
        .await
    }

    /// Keeps everybody from joining a room, whether or not it is known here, or no longer.
    pub async fn block_room(
        &self,
        room_id: &RoomId,
        by: Option<&UserId>,
    ) -> Result<(), CommitError> {
        documents::update(
            self,
            BLOCKED_ROOMS,
            |blocked: &mut BTreeMap<OwnedRoomId, OwnedUserId>| match by {
                Some(by) => {
                    blocked
                        .entry(room_id.to_owned())
                        .or_insert_with(|| by.to_owned());
                }
                None => {
                    blocked.remove(room_id);
                }
            },
        )
        .await
    }

    /// Lets an account end at a time.
    pub async fn end_account_at(
        &self,
        user_id: &UserId,
        end: Timestamp,
    ) -> Result<(), CommitError> {
        documents::update(
            self,
            ACCOUNT_ENDS,
            |ends: &mut BTreeMap<OwnedUserId, Timestamp>| {
                ends.insert(user_id.to_owned(), end);
            },
        )
        .await
    }
}
