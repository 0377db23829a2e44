//! Who asked to be forgotten when closing the account: remembered for a while, since it is asked
//! for each event of the past.

use std::collections::HashMap;

use lyceum_model::Timestamp;
use lyceum_storage::StorageError;
use parking_lot::Mutex;
use ruma_common::{OwnedUserId, UserId};

use crate::Server;

/// How many users' answers are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// How long an answer is remembered; another node may change it meanwhile.
const REMEMBERED_MS_MAX: u64 = 30_000;

/// Users of whom it was asked lately, with when that was.
#[derive(Debug, Default)]
pub struct Erased {
    known: Mutex<HashMap<OwnedUserId, (bool, Timestamp)>>,
}

impl Erased {
    /// Remembers whether a user is erased.
    pub(super) fn remember(&self, user_id: &UserId, is_erased: bool, now: Timestamp) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(user_id.to_owned(), (is_erased, now));
    }

    fn recall(&self, user_id: &UserId, now: Timestamp) -> Option<bool> {
        let (is_erased, at) = *self.known.lock().get(user_id)?;
        (now.ms_since(at) < REMEMBERED_MS_MAX).then_some(is_erased)
    }
}

/// Whether a user of this server was erased.
pub async fn is_erased(server: &Server, user_id: &UserId) -> Result<bool, StorageError> {
    if !server.is_local(user_id) {
        return Ok(false);
    }
    let now = server.clock.now();
    if let Some(is_erased) = server.accounts.erased.recall(user_id, now) {
        return Ok(is_erased);
    }
    let user = server.store.user(user_id).await?;
    let is_erased = user.is_some_and(|user| user.is_erased);
    server.accounts.erased.remember(user_id, is_erased, now);
    Ok(is_erased)
}
