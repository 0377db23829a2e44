//! Who is asking: access tokens and what they allow, remembered between requests.

use std::{collections::HashMap, sync::Arc};

use lyceum_model::{MatrixError, Timestamp, TokenKind, Touch};
use lyceum_storage::{StorageError, Store};
use parking_lot::RwLock;
use ruma_common::{OwnedDeviceId, OwnedUserId, UserId};
use sha2::{Digest, Sha256};

use crate::accounts::refresh;

/// How many tokens are remembered.
const SESSIONS_MAX: usize = 100_000;

/// A valid token and its user.
#[derive(Debug, Clone)]
pub struct Session {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// What the token allows.
    pub kind: TokenKind,
    /// The user.
    pub user_id: OwnedUserId,
    /// The device, unless the token has none.
    pub device_id: Option<OwnedDeviceId>,
    /// When the token ends.
    pub expires: Option<Timestamp>,
    /// Whether the user is an admin.
    pub is_admin: bool,
    /// Whether the account is locked.
    pub is_locked: bool,
    /// Whether the account is suspended.
    pub is_suspended: bool,
    /// Whether what the user sends is shown to nobody else.
    pub is_shadow_banned: bool,
    /// The admin behind an impersonation.
    pub puppeted_by: Option<OwnedUserId>,
}

impl Session {
    /// One without a token, for what the server does in a user's name.
    pub fn without_token(user_id: OwnedUserId) -> Self {
        Self {
            token_hash: [0; 32],
            kind: TokenKind::Impersonation,
            user_id,
            device_id: None,
            expires: None,
            is_admin: false,
            is_locked: false,
            is_suspended: false,
            is_shadow_banned: false,
            puppeted_by: None,
        }
    }
}

/// Why a token does not open anything.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// It is not known (any more).
    #[error("unknown token")]
    Unknown,
    /// Its time has passed; a refresh token may renew it.
    #[error("the token has expired")]
    Expired,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Unauthenticated> for MatrixError {
    fn from(error: Unauthenticated) -> Self {
        match error {
            Unauthenticated::Unknown => {
                Self::unknown_token("Invalid access token passed.").with("soft_logout", false)
            }
            Unauthenticated::Expired => {
                Self::unknown_token("Access token has expired").with("soft_logout", true)
            }
            Unauthenticated::Locked => {
                Self::new(401, "M_USER_LOCKED", "This account has been locked")
                    .with("soft_logout", true)
            }
            Unauthenticated::Storage(error) => error.into(),
        }
    }
}

/// The tokens that were used lately.
#[derive(Debug, Default)]
pub struct Sessions {
    remembered: RwLock<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    by_hash: HashMap<[u8; 32], Arc<Session>>,
    by_user: HashMap<OwnedUserId, Vec<[u8; 32]>>,
    /// Counts what was forgotten, so that what was read before is not remembered after.
    forgotten: u64,
}

impl Sessions {
    /// The session of an access token.
    pub async fn identify(
        &self,
        store: &dyn Store,
        token: &str,
        now: Timestamp,
    ) -> Result<Arc<Session>, Unauthenticated> {
        let hash = hash_of(token);
        let remembered = self.remembered.read().by_hash.get(&hash).cloned();
        let is_first_use = remembered.is_none();
        let session = match remembered {
            Some(session) => session,
            None => self.load(store, hash).await?,
        };
        if session.expires.is_some_and(|expires| expires <= now) {
            return Err(Unauthenticated::Expired);
        }
        if session.is_locked {
            return Err(Unauthenticated::Locked);
        }
        if is_first_use {
            refresh::end_used_tokens(store, &session).await;
        }
        Ok(session)
    }

    async fn load(
        &self,
        store: &dyn Store,
        hash: [u8; 32],
    ) -> Result<Arc<Session>, Unauthenticated> {
        let before = self.remembered.read().forgotten;
        let token = store.token(&hash).await?.ok_or(Unauthenticated::Unknown)?;
        if token.kind == TokenKind::Refresh {
            return Err(Unauthenticated::Unknown);
        }
        let user = store
            .user(&token.user_id)
            .await?
            .ok_or(Unauthenticated::Unknown)?;
        if user.is_deactivated {
            return Err(Unauthenticated::Unknown);
        }
        // Who acts as another must still be an admin.
        if let Some(admin) = &token.puppeted_by {
            let admin = store.user(admin).await?;
            if admin.is_none_or(|admin| !admin.is_admin || admin.is_deactivated) {
                return Err(Unauthenticated::Unknown);
            }
        }
        let session = Arc::new(Session {
            token_hash: hash,
            kind: token.kind,
            user_id: token.user_id,
            device_id: token.device_id,
            expires: token.expires,
            is_admin: user.is_admin,
            is_locked: user.is_locked,
            is_suspended: user.is_suspended,
            is_shadow_banned: user.is_shadow_banned,
            puppeted_by: token.puppeted_by,
        });
        let mut remembered = self.remembered.write();
        if remembered.by_hash.len() >= SESSIONS_MAX {
            remembered.by_hash.clear();
            remembered.by_user.clear();
        }
        // A commit while we were reading may have ended this session: then it is not remembered.
        if remembered.forgotten == before {
            for user_id in [Some(&session.user_id), session.puppeted_by.as_ref()] {
                let Some(user_id) = user_id else { continue };
                let hashes = remembered.by_user.entry(user_id.clone()).or_default();
                if !hashes.contains(&hash) {
                    hashes.push(hash);
                }
            }
            remembered.by_hash.insert(hash, session.clone());
        }
        Ok(session)
    }

    /// Forgets what a commit made untrue.
    pub fn publish(&self, touches: &[Touch]) {
        for touch in touches {
            match touch {
                Touch::User(user_id) => self.forget_user(user_id),
                Touch::Token(hash) => {
                    let mut remembered = self.remembered.write();
                    remembered.forgotten += 1;
                    remembered.by_hash.remove(hash);
                }
                _ => {}
            }
        }
    }

    fn forget_user(&self, user_id: &UserId) {
        let mut remembered = self.remembered.write();
        remembered.forgotten += 1;
        for hash in remembered.by_user.remove(user_id).unwrap_or_default() {
            remembered.by_hash.remove(&hash);
        }
    }
}

/// SHA-256 of a token.
pub fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
