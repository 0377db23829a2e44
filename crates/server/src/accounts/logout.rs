//! Logging out (Client-Server API, "Logout").

use lyceum_account::token;
use lyceum_model::{AccessToken, AccountChange, Batch, MatrixError, TokenKind};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;

use crate::{
    Server,
    decide::{MayBeStale, decide},
};

/// Why somebody could not log out.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// The token is not known (any more).
    #[error("unknown token")]
    UnknownToken,
    /// The token is an application service's; it ends with the registration.
    #[error("an application service cannot log out")]
    ApplicationService,
    /// The token is one for provisioning, which ends no others.
    #[error("a provisioning token ends itself only")]
    Provisioning,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<LogoutError> for MatrixError {
    fn from(error: LogoutError) -> Self {
        match error {
            LogoutError::UnknownToken => {
                Self::unknown_token("Invalid access token passed.").with("soft_logout", false)
            }
            LogoutError::ApplicationService => {
                Self::forbidden("An application service cannot log out")
            }
            LogoutError::Provisioning => Self::forbidden("A provisioning token cannot do this"),
            LogoutError::Commit(error) => error.into(),
            LogoutError::Storage(error) => error.into(),
        }
    }
}

impl MayBeStale for LogoutError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_stale())
    }
}

/// Ends the session of this access token, and its device. Works for locked accounts and tokens
/// whose time has passed, too.
pub async fn log_out(server: &Server, access_token: &str) -> Result<(), LogoutError> {
    let token = token_record(server, access_token).await?;
    let mut batch = Batch::new();
    match token.device_id {
        Some(device_id) => {
            let user_id = token.user_id.clone();
            batch.push(AccountChange::RemoveDevice { user_id, device_id });
            batch.push(AccountChange::DeviceListChanged(token.user_id));
        }
        None => {
            batch.push(AccountChange::RemoveToken(token.hash));
        }
    }
    server.commit(batch).await?;
    Ok(())
}

/// Ends all sessions of the user of this access token, and removes all devices.
pub async fn log_out_everywhere(server: &Server, access_token: &str) -> Result<(), LogoutError> {
    let token = token_record(server, access_token).await?;
    if token.kind == TokenKind::Provisioning {
        return Err(LogoutError::Provisioning);
    }
    decide(|| try_log_out_everywhere(server, &token.user_id)).await
}

async fn try_log_out_everywhere(server: &Server, user_id: &UserId) -> Result<(), LogoutError> {
    let user_id = user_id.to_owned();
    let mut batch = Batch::new();
    for device in server.store.devices(std::slice::from_ref(&user_id)).await? {
        let user_id = user_id.clone();
        batch.push(AccountChange::RemoveDevice {
            user_id,
            device_id: device.device_id,
        });
    }
    for token in server.store.tokens_of(&user_id).await? {
        // Those by which an admin acts as the user are the admin's, and end with the admin's own.
        if token.device_id.is_none() && token.kind != TokenKind::Impersonation {
            batch.push(AccountChange::RemoveToken(token.hash));
        }
    }
    server.end_impersonations(&user_id, &mut batch).await?;
    batch.push(AccountChange::DeviceListChanged(user_id));
    server.commit(batch).await?;
    Ok(())
}

async fn token_record(server: &Server, access_token: &str) -> Result<AccessToken, LogoutError> {
    if server.application_service_by_token(access_token).is_some() {
        return Err(LogoutError::ApplicationService);
    }
    let token = server.store.token(&token::hash(access_token)).await?;
    token
        .filter(|token| token.kind != TokenKind::Refresh)
        .ok_or(LogoutError::UnknownToken)
}
