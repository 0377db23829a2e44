//! What clients keep for a user, about the account or a room (Client-Server API, "Client
//! Config").

use lyceum_model::{AccountChange, Batch, Expect, MatrixError, Position};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{RoomId, UserId};
use serde_json::{Map, Value};

use crate::{Server, push_rules};

/// The largest content, in bytes of JSON.
const CONTENT_BYTES_MAX: usize = 1024 * 1024;
/// The longest type, in bytes.
const KIND_BYTES_MAX: usize = 255;
/// Types that have endpoints of their own.
const OWN_ENDPOINTS: [&str; 2] = ["m.fully_read", push_rules::KIND];

/// Why account data was not told or set.
#[derive(Debug, thiserror::Error)]
pub enum AccountDataError {
    /// There is none of this type.
    #[error("no such account data")]
    NotFound,
    /// The type has endpoints of its own.
    #[error("{0} has its own endpoint")]
    OwnEndpoint(String),
    /// The type's name is too long.
    #[error("the type is too long")]
    KindTooLong,
    /// The content is too large.
    #[error("the content is too large")]
    TooLarge,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AccountDataError> for MatrixError {
    fn from(error: AccountDataError) -> Self {
        match error {
            AccountDataError::NotFound => Self::not_found("Account data not found"),
            AccountDataError::OwnEndpoint(kind) => Self::new(
                405,
                "M_BAD_JSON",
                format!("Cannot set {kind} through this API."),
            ),
            AccountDataError::KindTooLong => Self::invalid_param("The type is too long"),
            AccountDataError::TooLarge => Self::too_large("The account data is too large"),
            AccountDataError::Commit(error) => error.into(),
            AccountDataError::Storage(error) => error.into(),
        }
    }
}

/// A piece of account data, as JSON.
pub async fn get(
    server: &Server,
    user_id: &UserId,
    room_id: Option<&RoomId>,
    kind: &str,
) -> Result<String, AccountDataError> {
    if room_id.is_none() && kind == push_rules::KIND {
        return Ok(push_rules::load(server, user_id)
            .await?
            .content()
            .to_string());
    }
    let entry = server
        .store
        .account_data_entry(user_id, room_id, kind)
        .await?;
    entry
        .and_then(|entry| entry.content)
        .ok_or(AccountDataError::NotFound)
}

/// Sets a piece of account data.
pub async fn set(
    server: &Server,
    user_id: &UserId,
    room_id: Option<&RoomId>,
    kind: &str,
    content: Map<String, Value>,
) -> Result<(), AccountDataError> {
    if OWN_ENDPOINTS.contains(&kind) {
        return Err(AccountDataError::OwnEndpoint(kind.to_owned()));
    }
    if kind.len() > KIND_BYTES_MAX {
        return Err(AccountDataError::KindTooLong);
    }
    let content = Value::Object(content).to_string();
    if content.len() > CONTENT_BYTES_MAX {
        return Err(AccountDataError::TooLarge);
    }
    let _turn = server.accounts.turn(user_id).await;
    let change = AccountChange::AccountData {
        user_id: user_id.to_owned(),
        room_id: room_id.map(ToOwned::to_owned),
        kind: kind.to_owned(),
        content: Some(content),
    };
    server.commit(change).await?;
    Ok(())
}

/// Replaces what was read, unless another node was faster. `read_at`: the commit that set it;
/// `None`: there was nothing.
pub(crate) async fn replace(
    server: &Server,
    user_id: &UserId,
    room_id: Option<&RoomId>,
    kind: &str,
    read_at: Option<Position>,
    content: String,
) -> Result<(), CommitError> {
    let (user_id, room_id) = (user_id.to_owned(), room_id.map(ToOwned::to_owned));
    let mut batch = Batch::new();
    batch.expect(Expect::AccountData(
        user_id.clone(),
        room_id.clone(),
        kind.to_owned(),
        read_at,
    ));
    batch.push(AccountChange::AccountData {
        user_id,
        room_id,
        kind: kind.to_owned(),
        content: Some(content),
    });
    server.commit(batch).await?;
    Ok(())
}
