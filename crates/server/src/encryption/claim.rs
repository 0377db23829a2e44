//! Somebody takes one-time keys to begin conversations (`POST /keys/claim`).

use std::collections::BTreeSet;

use lyceum_model::{AccountChange, Batch, Expect, MatrixError, OneTimeKey};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedDeviceId, OwnedServerName, OwnedUserId};

use crate::Server;

/// How often claiming is tried again when others take the same keys meanwhile.
const ATTEMPTS_MAX: usize = 32;
/// How many keys one request may claim.
const KEYS_MAX: usize = 10_000;

/// Why no keys were handed out.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Too many at once.
    #[error("too many keys at once")]
    TooMany,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ClaimError> for MatrixError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::TooMany => Self::too_large("Too many keys are claimed at once"),
            ClaimError::Commit(error) => error.into(),
            ClaimError::Storage(error) => error.into(),
        }
    }
}

/// What was handed out.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The keys.
    pub keys: Vec<(OwnedUserId, OwnedDeviceId, OneTimeKey)>,
    /// Servers that could not be asked.
    pub failures: BTreeSet<OwnedServerName>,
}

/// Hands out a key for each (user, device, algorithm) that has one: each one-time key once, the
/// fallback key when none is left.
pub async fn claim(
    server: &Server,
    wanted: Vec<(OwnedUserId, OwnedDeviceId, String)>,
) -> Result<Claimed, ClaimError> {
    if wanted.len() > KEYS_MAX {
        return Err(ClaimError::TooMany);
    }
    let (local, remote): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|(user_id, ..)| server.is_local(user_id));
    let failures = remote
        .into_iter()
        .map(|(user_id, ..)| user_id.server_name().to_owned())
        .collect();
    let mut stale = None;
    for _ in 0..ATTEMPTS_MAX {
        let found = server.store.claimable_keys(&local).await?;
        let mut batch = Batch::new();
        let mut keys = Vec::with_capacity(found.len());
        for ((user_id, device_id, _), claimable) in found {
            let key_id = claimable.key.key_id.clone();
            keys.push((user_id.clone(), device_id.clone(), claimable.key));
            if claimable.is_fallback {
                batch.push(AccountChange::FallbackKeyUsed {
                    user_id,
                    device_id,
                    key_id,
                });
            } else {
                batch.expect(Expect::OneTimeKeyExists(
                    user_id.clone(),
                    device_id.clone(),
                    key_id.clone(),
                ));
                batch.push(AccountChange::TakeOneTimeKey {
                    user_id,
                    device_id,
                    key_id,
                });
            }
        }
        if keys.is_empty() {
            return Ok(Claimed { keys, failures });
        }
        match server.commit(batch).await {
            Ok(_) => return Ok(Claimed { keys, failures }),
            Err(CommitError::Stale(expect)) => stale = Some(expect),
            Err(error) => return Err(error.into()),
        }
    }
    let expect = stale.expect("the loop ends only after something was stale");
    Err(CommitError::Stale(expect).into())
}
