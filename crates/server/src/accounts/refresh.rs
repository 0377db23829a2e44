//! Renewing an access token (Client-Server API, "Refreshing access tokens").

use lyceum_account::token;
use lyceum_model::{AccessToken, AccountChange, Batch, Expect, MatrixError, TokenKind};
use lyceum_storage::{CommitError, StorageError};

use super::tokens::{self, Issued};
use crate::Server;

/// How long a used refresh token can be used again, for clients that lost the answer. Using the
/// new one ends the old one at once.
const USED_TOKEN_LIFETIME_MS: u64 = 5 * 60 * 1000;
/// How many tokens a device has, at most; more come only from clients that refresh without need.
const DEVICE_TOKENS_MAX: usize = 8;

/// Why a token was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The refresh token is unknown or used up.
    #[error("unknown refresh token")]
    Unknown,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<RefreshError> for MatrixError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Unknown => {
                Self::unknown_token("The refresh token is not valid").with("soft_logout", true)
            }
            RefreshError::Locked => Self::new(401, "M_USER_LOCKED", "This account has been locked")
                .with("soft_logout", true),
            RefreshError::Commit(error) => error.into(),
            RefreshError::Storage(error) => error.into(),
        }
    }
}

/// New tokens for the device of a refresh token.
pub async fn refresh(server: &Server, refresh_token: &str) -> Result<Issued, RefreshError> {
    let now = server.clock.now();
    let hash = token::hash(refresh_token);
    let shown = server
        .store
        .token(&hash)
        .await?
        .ok_or(RefreshError::Unknown)?;
    let is_current = shown.expires.is_none_or(|expires| expires > now);
    if shown.kind != TokenKind::Refresh || !is_current {
        return Err(RefreshError::Unknown);
    }
    let device_id = shown.device_id.clone().ok_or(RefreshError::Unknown)?;
    let user = server
        .store
        .user(&shown.user_id)
        .await?
        .ok_or(RefreshError::Unknown)?;
    if user.is_deactivated {
        return Err(RefreshError::Unknown);
    }
    if user.is_locked {
        return Err(RefreshError::Locked);
    }
    let mut batch = Batch::new();
    batch.expect(Expect::TokenExists(hash));
    let all = server.store.tokens_of(&shown.user_id).await?;
    let of_device = all
        .iter()
        .filter(|token| token.device_id.as_ref() == Some(&device_id));
    let of_device: Vec<&AccessToken> = of_device.collect();
    if of_device.len() >= DEVICE_TOKENS_MAX {
        let user_id = shown.user_id.clone();
        let device_id = device_id.clone();
        batch.push(AccountChange::RemoveDeviceTokens { user_id, device_id });
    } else {
        for token in of_device {
            if token.kind == TokenKind::Refresh && token.hash != hash {
                batch.push(AccountChange::RemoveToken(token.hash));
            }
        }
    }
    let again_until = now.plus_ms(USED_TOKEN_LIFETIME_MS);
    let expires = shown
        .expires
        .map_or(again_until, |expires| expires.min(again_until));
    batch.push(AccountChange::PutToken(AccessToken {
        expires: Some(expires),
        ..shown.clone()
    }));
    let issued = tokens::issue_tokens(server, &shown.user_id, device_id, true, now, &mut batch);
    match server.commit(batch).await {
        Ok(_) => Ok(issued),
        Err(CommitError::Stale(_)) => Err(RefreshError::Unknown),
        Err(error) => Err(error.into()),
    }
}
