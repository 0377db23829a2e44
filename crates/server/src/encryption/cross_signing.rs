//! A user publishes cross-signing keys (`POST /keys/device_signing/upload`).

use lyceum_account::keys::{self, CrossSigningKeys, CrossSigningUpload, KeyError};
use lyceum_model::{AccountChange, Batch, CrossSigningKey, CrossSigningUsage, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedDeviceId, UserId};
use serde_json::Value;

use crate::{Server, accounts::interactive_auth::Passed};

/// Why cross-signing keys were not published.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// The keys are not right.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Others were published meanwhile, so that the user must prove who they are.
    #[error("the keys changed meanwhile")]
    NeedsAuthentication,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<CrossSigningError> for MatrixError {
    fn from(error: CrossSigningError) -> Self {
        match error {
            CrossSigningError::Key(error) => error.into(),
            CrossSigningError::NeedsAuthentication => Self::new(
                409,
                "M_UNKNOWN",
                "The cross-signing keys changed at the same time; please try again",
            ),
            CrossSigningError::Commit(error) => error.into(),
            CrossSigningError::Storage(error) => error.into(),
        }
    }
}

/// Whether the user must prove who they are before publishing these keys.
pub async fn needs_authentication(
    server: &Server,
    user_id: &UserId,
    body: &Value,
) -> Result<bool, CrossSigningError> {
    Ok(check(server, user_id, body).await?.needs_authentication)
}

/// Publishes the keys. `passed` is `None` where no authentication was needed.
pub async fn upload(
    server: &Server,
    user_id: &UserId,
    body: &Value,
    passed: Option<&Passed>,
) -> Result<(), CrossSigningError> {
    let _turn = server.accounts.turn(user_id).await;
    let uploaded = check(server, user_id, body).await?;
    let mut batch = Batch::new();
    match passed {
        Some(passed) => passed.close(&mut batch),
        None if uploaded.needs_authentication => {
            return Err(CrossSigningError::NeedsAuthentication);
        }
        None => {}
    }
    if uploaded.needs_authentication {
        // An admin's leave to do without was for the keys that are replaced.
        server.end_key_replacement(user_id, &mut batch);
    }
    if !uploaded.keys.is_empty() {
        let is_seen_by_others = |key: &CrossSigningKey| key.usage != CrossSigningUsage::UserSigning;
        batch.push(if uploaded.keys.iter().any(is_seen_by_others) {
            AccountChange::DeviceListChanged(user_id.to_owned())
        } else {
            AccountChange::KeysChangedFor {
                viewer: user_id.to_owned(),
                user_id: user_id.to_owned(),
            }
        });
        for key in uploaded.keys {
            batch.push(AccountChange::PutCrossSigningKey(key));
        }
    }
    if !batch.changes.is_empty() {
        server.commit(batch).await?;
    }
    Ok(())
}

async fn check(
    server: &Server,
    user_id: &UserId,
    body: &Value,
) -> Result<CrossSigningUpload, CrossSigningError> {
    let owned = [user_id.to_owned()];
    let existing = server.store.cross_signing_keys(&owned).await?;
    let devices = server.store.devices(&owned).await?;
    let device_ids: Vec<OwnedDeviceId> =
        devices.into_iter().map(|device| device.device_id).collect();
    let existing = CrossSigningKeys::from_slice(&existing, user_id);
    Ok(keys::check_cross_signing(
        user_id,
        body,
        &existing,
        &device_ids,
    )?)
}
