//! Tokens that allow to register (Client-Server API, "Token-authenticated registration").

use lyceum_model::{AccountChange, Batch, Expect};
use lyceum_storage::StorageError;

use crate::Server;

/// Whether a token allows to register now.
pub async fn is_valid(server: &Server, token: &str) -> Result<bool, StorageError> {
    if is_configured(server, token) {
        return Ok(true);
    }
    let now = server.clock.now();
    let Some(known) = server.store.registration_token(token).await? else {
        return Ok(false);
    };
    let is_current = known.expires.is_none_or(|expires| expires > now);
    let is_left = known
        .uses_allowed
        .is_none_or(|allowed| known.completed < allowed);
    Ok(is_current && is_left)
}

/// Counts one registration with this token in `batch`; `false` if the token has gone.
pub async fn count_use(
    server: &Server,
    token: &str,
    batch: &mut Batch,
) -> Result<bool, StorageError> {
    if is_configured(server, token) {
        return Ok(true);
    }
    if !is_valid(server, token).await? {
        return Ok(false);
    }
    let Some(mut known) = server.store.registration_token(token).await? else {
        return Ok(false);
    };
    batch.expect(Expect::RegistrationTokenUsed(
        token.to_owned(),
        known.completed,
    ));
    known.completed += 1;
    batch.push(AccountChange::PutRegistrationToken(known));
    Ok(true)
}

fn is_configured(server: &Server, token: &str) -> bool {
    server.config.registration.token.as_deref() == Some(token)
}
