//! Logging out (Client-Server API, "Logout").

use lyceum_account::token;
use lyceum_model::{AccessToken, AccountChange, Batch, MatrixError, TokenKind};
use lyceum_storage::{CommitError, StorageError};

use crate::Server;

/// Why somebody could not log out.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// The token is not known (any more).
    #[error("unknown token")]
    UnknownToken,
    /// The token is an application service's; it ends with the registration.
    #[error("an application service cannot log out")]
    ApplicationService,
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
            LogoutError::Commit(error) => error.into(),
            LogoutError::Storage(error) => error.into(),
        }
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
    let user_id = token.user_id;
    let mut batch = Batch::new();
    for device in server.store.devices(std::slice::from_ref(&user_id)).await? {
        let user_id = user_id.clone();
        batch.push(AccountChange::RemoveDevice {
            user_id,
            device_id: device.device_id,
        });
    }
    for token in server.store.tokens_of(&user_id).await? {
        if token.device_id.is_none() {
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
