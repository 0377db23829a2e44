//! Whether users are there (Client-Server API, "Presence").

use lyceum_model::{AccountChange, MatrixError, Position, Presence, PresenceState, Timestamp};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;

use crate::Server;

/// The longest status message, in bytes.
const STATUS_BYTES_MAX: usize = 4096;

/// Why presence was not told or set.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The two share no room.
    #[error("no shared room")]
    NotVisible,
    /// The status message is too long.
    #[error("the status message is too long")]
    StatusTooLong,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PresenceError> for MatrixError {
    fn from(error: PresenceError) -> Self {
        match error {
            PresenceError::NotVisible => {
                Self::forbidden("You are not allowed to see their presence.")
            }
            PresenceError::StatusTooLong => Self::invalid_param("The status message is too long"),
            PresenceError::Commit(error) => error.into(),
            PresenceError::Storage(error) => error.into(),
        }
    }
}

/// What becomes of the status message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It stays.
    Unchanged,
    /// It is set, or taken away.
    Set(Option<String>),
}

/// Sets a user's presence. Where presence is off, nothing is kept.
pub async fn set(
    server: &Server,
    user_id: &UserId,
    state: PresenceState,
    status: Status,
) -> Result<(), PresenceError> {
    let status = match status {
        Status::Set(status) => {
            let status = status.filter(|status| !status.is_empty());
            if status
                .as_ref()
                .is_some_and(|status| status.len() > STATUS_BYTES_MAX)
            {
                return Err(PresenceError::StatusTooLong);
            }
            status
        }
        Status::Unchanged => {
            let known = server.store.presence(&[user_id.to_owned()]).await?;
            known
                .into_iter()
                .next()
                .and_then(|presence| presence.status)
        }
    };
    if !server.config.presence.enabled {
        return Ok(());
    }
    let presence = Presence {
        user_id: user_id.to_owned(),
        state,
        status,
        last_active: server
            .last_active(user_id)
            .unwrap_or_else(|| server.clock.now()),
        position: Position::default(),
    };
    server.commit(AccountChange::PutPresence(presence)).await?;
    Ok(())
}

/// The presence of a user, as another one may see it. Who never had one is offline, and all are
/// where presence is off.
pub async fn get(
    server: &Server,
    viewer: &UserId,
    user_id: &UserId,
) -> Result<Presence, PresenceError> {
    if viewer != user_id && !share_a_room(server, viewer, user_id).await? {
        return Err(PresenceError::NotVisible);
    }
    let known = if server.config.presence.enabled {
        server.store.presence(&[user_id.to_owned()]).await?
    } else {
        Vec::new()
    };
    let mut presence = known.into_iter().next().unwrap_or_else(|| Presence {
        user_id: user_id.to_owned(),
        state: PresenceState::Offline,
        status: None,
        last_active: Timestamp::default(),
        position: Position::default(),
    });
    if presence.state != PresenceState::Offline
        && let Some(active) = server.last_active(user_id)
    {
        presence.last_active = presence.last_active.max(active);
    }
    Ok(presence)
}

/// Whether two users are members of a common room.
pub async fn share_a_room(
    server: &Server,
    one: &UserId,
    other: &UserId,
) -> Result<bool, StorageError> {
    Ok(!server.mutual_rooms(one, other).await?.is_empty())
}
