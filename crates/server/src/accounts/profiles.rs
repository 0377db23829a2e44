//! What users tell about themselves (Client-Server API, "Profiles").

use std::{collections::BTreeMap, sync::Arc};

use lyceum_account::profile::{self, ProfileError};
use lyceum_model::{AccountChange, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;
use serde_json::Value;

use crate::Server;

/// Fields that rooms show too.
const ROOM_FIELDS: [&str; 2] = ["displayname", "avatar_url"];

/// Why a profile was not told or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileAccessError {
    /// There is no such user, or nothing of the kind in the profile.
    #[error("no such profile")]
    NotFound,
    /// The field is not allowed.
    #[error(transparent)]
    Field(#[from] ProfileError),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ProfileAccessError> for MatrixError {
    fn from(error: ProfileAccessError) -> Self {
        match error {
            ProfileAccessError::NotFound => Self::not_found("Profile was not found"),
            ProfileAccessError::Field(error) => error.into(),
            ProfileAccessError::Commit(error) => error.into(),
            ProfileAccessError::Storage(error) => error.into(),
        }
    }
}

/// The profile of a user of this server: fields with their values as JSON.
pub async fn profile(
    server: &Server,
    user_id: &UserId,
) -> Result<BTreeMap<String, String>, ProfileAccessError> {
    let user = server.store.user(user_id).await?;
    if user.is_none_or(|user| user.is_erased) {
        return Err(ProfileAccessError::NotFound);
    }
    Ok(fields(server, user_id).await?)
}

/// Sets a field to what the body says.
pub async fn set_field(
    server: &Arc<Server>,
    user_id: &UserId,
    key: &str,
    body: &Value,
) -> Result<(), ProfileAccessError> {
    profile::check_key(key)?;
    let value = profile::field_from_body(key, body)?;
    change_field(server, user_id, key, value).await
}

/// Removes a field.
pub async fn remove_field(
    server: &Arc<Server>,
    user_id: &UserId,
    key: &str,
) -> Result<(), ProfileAccessError> {
    profile::check_key(key)?;
    change_field(server, user_id, key, None).await
}

async fn change_field(
    server: &Arc<Server>,
    user_id: &UserId,
    key: &str,
    value: Option<String>,
) -> Result<(), ProfileAccessError> {
    {
        let _turn = server.accounts.turn(user_id).await;
        let current = profile(server, user_id).await?;
        if current.get(key) == value.as_ref() {
            return Ok(());
        }
        if let Some(value) = &value {
            profile::check_size(&current, key, value)?;
        }
        let change = AccountChange::ProfileField {
            user_id: user_id.to_owned(),
            key: key.to_owned(),
            value,
        };
        server.commit(change).await?;
    }
    if ROOM_FIELDS.contains(&key) {
        server.spread_profile(user_id);
    }
    Ok(())
}

async fn fields(
    server: &Server,
    user_id: &UserId,
) -> Result<BTreeMap<String, String>, StorageError> {
    let mut profiles = server.store.profiles(&[user_id.to_owned()]).await?;
    Ok(profiles.remove(user_id).unwrap_or_default())
}
