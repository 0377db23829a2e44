//! Access and refresh tokens, and the devices that they belong to (Client-Server API,
//! "Relationship between access tokens and devices").

use lyceum_account::{
    keys::cross_signing_public_key,
    names::{self, NameError},
    token,
};
use lyceum_model::{AccessToken, AccountChange, Batch, Device, MatrixError, Timestamp, TokenKind};
use lyceum_storage::StorageError;
use ruma_common::{OwnedDeviceId, UserId};

use crate::{Server, chance};

/// The longest name of a device, in characters.
pub(super) const DEVICE_NAME_LENGTH_MAX: usize = 100;

/// The device and tokens that somebody who logs in wants.
#[derive(Debug, Clone, Default)]
pub struct WantedSession {
    /// An id of the client's choice.
    pub device_id: Option<String>,
    /// The name of a new device.
    pub display_name: Option<String>,
    /// Whether the client can refresh its token.
    pub with_refresh_token: bool,
}

/// New tokens. Their texts are shown once and stored nowhere.
#[derive(Clone)]
pub struct Issued {
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The access token.
    pub access_token: String,
    /// The refresh token, if one was wanted.
    pub refresh_token: Option<String>,
    /// How long the access token lives.
    pub expires_in_ms: Option<u64>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// Why no session can be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The id is no device id.
    #[error(transparent)]
    DeviceId(#[from] NameError),
    /// The id is that of a cross-signing key.
    #[error("the device id is that of a cross-signing key")]
    CrossSigningKey,
    /// The user has as many devices as are allowed.
    #[error("too many devices")]
    TooManyDevices,
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<IssueError> for MatrixError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::DeviceId(error) => error.into(),
            IssueError::CrossSigningKey => {
                Self::forbidden("The device ID is that of a cross-signing key")
            }
            IssueError::TooManyDevices => {
                Self::forbidden("This account has too many devices; log out of some of them")
            }
            IssueError::Storage(error) => error.into(),
        }
    }
}

/// Makes tokens for a device of `user_id`: a known one, whose former tokens end, or a new one.
pub async fn issue(
    server: &Server,
    user_id: &UserId,
    wanted: &WantedSession,
    batch: &mut Batch,
) -> Result<Issued, IssueError> {
    let now = server.clock.now();
    let device_id = match &wanted.device_id {
        Some(text) => {
            let device_id = names::check_device_id(text)?;
            refuse_cross_signing_key(server, user_id, &device_id).await?;
            device_id
        }
        None => names::device_id(&chance::bytes()),
    };
    let devices = server.store.devices(&[user_id.to_owned()]).await?;
    if devices.iter().any(|device| device.device_id == device_id) {
        let user_id = user_id.to_owned();
        let device_id = device_id.clone();
        batch.push(AccountChange::RemoveDeviceTokens { user_id, device_id });
    } else {
        if devices.len() >= server.config.sessions.devices_max {
            return Err(IssueError::TooManyDevices);
        }
        batch.push(AccountChange::PutDevice(Device {
            user_id: user_id.to_owned(),
            device_id: device_id.clone(),
            display_name: wanted.display_name.as_deref().map(shortened),
            created: now,
            last_seen: None,
            last_seen_ip: None,
            user_agent: None,
        }));
    }
    Ok(issue_tokens(
        server,
        user_id,
        device_id,
        wanted.with_refresh_token,
        now,
        batch,
    ))
}

/// Makes tokens for a device that exists.
pub(super) fn issue_tokens(
    server: &Server,
    user_id: &UserId,
    device_id: OwnedDeviceId,
    with_refresh_token: bool,
    now: Timestamp,
    batch: &mut Batch,
) -> Issued {
    let lifetime_ms = server.config.sessions.access_token_lifetime_ms;
    let expires_in_ms = with_refresh_token.then_some(lifetime_ms);
    let mut put = |kind, hash, expires| {
        batch.push(AccountChange::PutToken(AccessToken {
            hash,
            kind,
            user_id: user_id.to_owned(),
            device_id: Some(device_id.clone()),
            expires,
            puppeted_by: None,
        }));
    };
    let access = token::access(&chance::bytes());
    put(
        TokenKind::Access,
        access.hash,
        expires_in_ms.map(|ms| now.plus_ms(ms)),
    );
    let refresh = with_refresh_token.then(|| token::refresh(&chance::bytes()));
    if let Some(refresh) = &refresh {
        put(TokenKind::Refresh, refresh.hash, None);
    }
    Issued {
        device_id,
        access_token: access.text,
        refresh_token: refresh.map(|refresh| refresh.text),
        expires_in_ms,
    }
}

async fn refuse_cross_signing_key(
    server: &Server,
    user_id: &UserId,
    device_id: &OwnedDeviceId,
) -> Result<(), IssueError> {
    let keys = server
        .store
        .cross_signing_keys(&[user_id.to_owned()])
        .await?;
    let mut public_keys = keys.iter().filter_map(cross_signing_public_key);
    if public_keys.any(|key| key == device_id.as_str()) {
        return Err(IssueError::CrossSigningKey);
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    name.chars().take(DEVICE_NAME_LENGTH_MAX).collect()
}
