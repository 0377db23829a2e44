//! What users tell about themselves (Client-Server API, "Profiles").

use std::{collections::BTreeMap, sync::Arc};

use lyceum_account::profile::{self, ProfileError};
use lyceum_model::{AccountChange, MatrixError, User};
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
    shown_user(server, user_id).await?;
    Ok(fields(server, user_id).await?)
}

/// The account of a user who has a profile.
async fn shown_user(server: &Server, user_id: &UserId) -> Result<User, ProfileAccessError> {
    let user = server.store.user(user_id).await?;
    let user = user.filter(|user| !user.is_erased);
    user.ok_or(ProfileAccessError::NotFound)
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
    let is_shadow_banned = {
        let _turn = server.accounts.turn(user_id).await;
        let user = shown_user(server, user_id).await?;
        let current = fields(server, user_id).await?;
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
        user.is_shadow_banned
    };
    // In rooms, nobody else sees what they do.
    if ROOM_FIELDS.contains(&key) && !is_shadow_banned {
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
