//! Renewing an access token (Client-Server API, "Refreshing access tokens").

use lyceum_account::token;
use lyceum_model::{AccessToken, AccountChange, Batch, Expect, MatrixError, Timestamp, TokenKind};
use lyceum_storage::{CommitError, StorageError, Store};

use super::tokens::{self, Issued};
use crate::{Server, sessions::Session};

/// How many access tokens a device has, at most, those that ended lately included.
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
    let (refresh, mut access): (Vec<&AccessToken>, Vec<&AccessToken>) =
        of_device.partition(|token| token.kind == TokenKind::Refresh);
    let used_up = refresh.into_iter().filter(|token| token.hash != hash);
    // Those that ended first go first.
    access.sort_by_key(|token| token.expires.unwrap_or(Timestamp(u64::MAX)));
    let too_many = access.len().saturating_sub(DEVICE_TOKENS_MAX - 1);
    for token in used_up.chain(access.into_iter().take(too_many)) {
        batch.push(AccountChange::RemoveToken(token.hash));
    }
    let issued = tokens::issue_tokens(server, &shown.user_id, device_id, true, now, &mut batch);
    // The answer may be lost: what was shown stays valid as long as the new access token, or
    // until one of the new ones is used.
    let again_until = issued.expires_in_ms.map(|ms| now.plus_ms(ms));
    batch.push(AccountChange::PutToken(AccessToken {
        expires: again_until.or(Some(now)),
        ..shown.clone()
    }));
    match server.commit(batch).await {
        Ok(_) => Ok(issued),
        Err(CommitError::Stale(_)) => Err(RefreshError::Unknown),
        Err(error) => Err(error.into()),
    }
}

/// An access token is used: the refresh tokens by which it, and those before it, came about are
/// used up. What cannot be written now is done at the next first use.
pub(crate) async fn end_used_tokens(store: &dyn Store, session: &Session) {
    let (Some(expires), Some(device_id)) = (session.expires, &session.device_id) else {
        return;
    };
    if session.kind != TokenKind::Access {
        return;
    }
    let tokens = match store.tokens_of(&session.user_id).await {
        Ok(tokens) => tokens,
        Err(error) => return tracing::debug!(%error, "used refresh tokens could not be read"),
    };
    let mut batch = Batch::new();
    for token in tokens {
        let is_used = token.expires.is_some_and(|ends| ends <= expires);
        if token.kind == TokenKind::Refresh
            && token.device_id.as_ref() == Some(device_id)
            && is_used
        {
            batch.push(AccountChange::RemoveToken(token.hash));
        }
    }
    if !batch.changes.is_empty()
        && let Err(error) = store.submit(batch).await
    {
        tracing::debug!(%error, "used refresh tokens could not be removed");
    }
}
