//! A user signs keys: own devices, or other users (`POST /keys/signatures/upload`).

use std::collections::BTreeSet;

use lyceum_account::keys::{self, KeyError, SignatureFacts};
use lyceum_model::{AccountChange, Batch, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value};

use crate::Server;

/// How many users' keys one request may sign.
const TARGETS_MAX: usize = 1_000;

/// Why signatures were not taken in.
#[derive(Debug, thiserror::Error)]
pub enum SignaturesError {
    /// They are not right as a whole.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Too many at once.
    #[error("too many users at once")]
    TooMany,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SignaturesError> for MatrixError {
    fn from(error: SignaturesError) -> Self {
        match error {
            SignaturesError::Key(error) => error.into(),
            SignaturesError::TooMany => Self::too_large("Too many users' keys at once"),
            SignaturesError::Commit(error) => error.into(),
            SignaturesError::Storage(error) => error.into(),
        }
    }
}

/// Takes in signatures; those that are refused, by user and key.
pub async fn upload(
    server: &Server,
    user_id: &UserId,
    body: &Value,
) -> Result<Map<String, Value>, SignaturesError> {
    let owned = user_id.to_owned();
    let targets = keys::signature_targets(body);
    if targets.len() > TARGETS_MAX {
        return Err(SignaturesError::TooMany);
    }
    let users: BTreeSet<OwnedUserId> = targets.into_iter().chain([owned.clone()]).collect();
    let users: Vec<OwnedUserId> = users
        .into_iter()
        .filter(|user_id| server.is_local(user_id))
        .collect();
    let _turn = server.accounts.turn(user_id).await;
    let devices = server.store.device_keys(&[owned]).await?;
    let cross_signing = server.store.cross_signing_keys(&users).await?;
    let facts = SignatureFacts {
        devices: &devices,
        cross_signing: &cross_signing,
    };
    let uploaded = keys::check_signatures(user_id, body, &facts)?;
    let mut batch = Batch::new();
    for signature in uploaded.signatures {
        batch.push(AccountChange::PutSignature(signature));
    }
    for changed in uploaded.changed {
        batch.push(if changed == user_id {
            AccountChange::DeviceListChanged(changed)
        } else {
            // What one user signs of another is shown to nobody else.
            AccountChange::KeysChangedFor {
                viewer: user_id.to_owned(),
                user_id: changed,
            }
        });
    }
    if !batch.changes.is_empty() {
        server.commit(batch).await?;
    }
    Ok(uploaded.failures)
}
