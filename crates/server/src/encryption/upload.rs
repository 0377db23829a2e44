//! A device publishes its keys (`POST /keys/upload`).

use std::collections::BTreeMap;

use lyceum_account::keys::{self, KeyError, KnownDevice};
use lyceum_model::{AccountChange, Batch, Expect, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{DeviceId, UserId};
use serde_json::Value;

use crate::Server;

/// How many one-time keys of a device are kept.
const ONE_TIME_KEYS_MAX: u64 = 2_000;
/// The algorithm whose count is told even when it is 0, since clients wait for it.
const USUAL_ALGORITHM: &str = "signed_curve25519";

/// Why keys were not published.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The keys are not right.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There are too many already.
    #[error("too many one-time keys")]
    TooMany,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<UploadError> for MatrixError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Key(error) => error.into(),
            UploadError::TooMany => Self::too_large("This device has too many one-time keys"),
            UploadError::Commit(error) => error.into(),
            UploadError::Storage(error) => error.into(),
        }
    }
}

/// Takes in a device's keys; how many one-time keys it has then, by algorithm.
pub async fn upload(
    server: &Server,
    user_id: &UserId,
    device_id: &DeviceId,
    body: &Value,
) -> Result<BTreeMap<String, u64>, UploadError> {
    let _turn = server.accounts.turn(user_id).await;
    let store = &server.store;
    let all_keys = store.device_keys(&[user_id.to_owned()]).await?;
    let key_ids = keys::one_time_key_ids(body);
    let one_time_keys = if key_ids.is_empty() {
        Vec::new()
    } else {
        store.one_time_keys(user_id, device_id, &key_ids).await?
    };
    let known = KnownDevice {
        device_keys: all_keys.iter().find(|keys| keys.device_id == device_id),
        one_time_keys: &one_time_keys,
    };
    let uploaded = keys::check_upload(user_id, device_id, body, &known)?;
    let mut batch = Batch::new();
    if let Some(device_keys) = uploaded.device_keys {
        batch.push(AccountChange::PutDeviceKeys(device_keys));
        batch.push(AccountChange::DeviceListChanged(user_id.to_owned()));
    }
    if !uploaded.one_time_keys.is_empty() {
        let counts = store.key_counts(user_id, device_id).await?;
        let count = counts.one_time.values().sum::<u64>() + uploaded.one_time_keys.len() as u64;
        if count > ONE_TIME_KEYS_MAX {
            return Err(UploadError::TooMany);
        }
        batch.push(AccountChange::AddOneTimeKeys {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            keys: uploaded.one_time_keys,
        });
    }
    if !uploaded.fallback_keys.is_empty() {
        batch.push(AccountChange::PutFallbackKeys {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            keys: uploaded.fallback_keys,
        });
    }
    if !batch.changes.is_empty() {
        batch.expect(Expect::DeviceExists(
            user_id.to_owned(),
            device_id.to_owned(),
        ));
        server.commit(batch).await?;
    }
    let mut counts = store.key_counts(user_id, device_id).await?.one_time;
    counts.entry(USUAL_ALGORITHM.to_owned()).or_insert(0);
    Ok(counts)
}
