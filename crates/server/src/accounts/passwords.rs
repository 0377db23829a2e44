//! Hashing and checking passwords, off the threads that answer requests.

use lyceum_account::{
    names::{self, Identifier},
    password::{self, PasswordError, PasswordPolicy},
};
use lyceum_model::{AccountChange, Batch, Expect, MatrixError, User};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{DeviceId, OwnedUserId, UserId};

use super::interactive_auth::Passed;
use crate::{
    Server, chance,
    decide::{MayBeStale, decide},
};

/// Whether a new password is allowed.
pub fn check_policy(server: &Server, password: &str) -> Result<(), PasswordError> {
    let policy = PasswordPolicy {
        length_min: server.config.passwords.length_min,
    };
    policy.check(password)
}

/// Hashes a new password, after checking it against the policy.
pub async fn hash(server: &Server, password: String) -> Result<String, PasswordError> {
    check_policy(server, &password)?;
    hash_unchecked(server, password).await
}

/// Hashes a password that was allowed before.
pub async fn hash_unchecked(server: &Server, password: String) -> Result<String, PasswordError> {
    let parameters = server.config.passwords.parameters();
    let salt: [u8; 16] = chance::bytes();
    off_the_threads(server, move || {
        password::hash(&password, &salt, &parameters)
    })
    .await
    .ok_or(PasswordError::Failed)?
}

/// Whether this is the user's password. Takes as long when there is no such user.
pub async fn is_password_of(server: &Server, user: Option<&User>, password: String) -> bool {
    let stored = user.and_then(|user| user.password_hash.clone());
    let parameters = server.config.passwords.parameters();
    let verified = off_the_threads(server, move || match stored {
        Some(stored) => password::verify(&password, &stored),
        None => {
            password::spend(&password, &parameters);
            false
        }
    });
    verified.await.unwrap_or(false)
}

/// The user of this server whom an identifier names, whether or not they exist.
pub async fn user_named(
    server: &Server,
    identifier: &Identifier,
) -> Result<Option<OwnedUserId>, StorageError> {
    let (medium, address) = match identifier {
        Identifier::User(user) => {
            let user_id = names::known_user_id(user, &server.config.server_name).ok();
            let Some(user_id) = user_id.filter(|user_id| server.is_local(user_id)) else {
                return Ok(None);
            };
            // Phones begin what is typed with a capital. Historical ids may have capitals.
            let small = names::in_small_letters(&user_id);
            if small == user_id || server.store.user(&user_id).await?.is_some() {
                return Ok(Some(user_id));
            }
            return Ok(Some(small));
        }
        Identifier::Threepid { medium, address } => (medium.as_str(), address.clone()),
        Identifier::Phone { phone, .. } => (
            "msisdn",
            phone.chars().filter(char::is_ascii_digit).collect(),
        ),
    };
    let threepid = server.store.threepid(medium, &address).await?;
    Ok(threepid.map(|threepid| threepid.user_id))
}

/// Runs costly work on a blocking thread, a few at a time; `None` if it panicked.
async fn off_the_threads<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let _permit = server.accounts.password_hashes.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordChangeError {
    /// The account is gone.
    #[error("no such account")]
    NoSuchUser,
    /// The new password is not allowed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PasswordChangeError> for MatrixError {
    fn from(error: PasswordChangeError) -> Self {
        match error {
            PasswordChangeError::NoSuchUser => Self::not_found("There is no such account"),
            PasswordChangeError::Password(error) => error.into(),
            PasswordChangeError::Commit(error) => error.into(),
            PasswordChangeError::Storage(error) => error.into(),
        }
    }
}

impl MayBeStale for PasswordChangeError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(CommitError::Stale(Expect::UserIs(_))))
    }
}

/// Which of the user's sessions end when the password changes.
#[derive(Debug, Clone, Copy)]
pub enum EndSessions<'a> {
    /// None.
    None,
    /// All but that of this device.
    AllBut(Option<&'a DeviceId>),
}

/// Sets a user's password.
pub async fn change(
    server: &Server,
    user_id: &UserId,
    password: String,
    end: EndSessions<'_>,
    passed: &Passed,
) -> Result<(), PasswordChangeError> {
    let hash = hash(server, password).await?;
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_change(server, user_id, &hash, end, passed)).await
}

async fn try_change(
    server: &Server,
    user_id: &UserId,
    hash: &str,
    end: EndSessions<'_>,
    passed: &Passed,
) -> Result<(), PasswordChangeError> {
    let mut user = server
        .store
        .user(user_id)
        .await?
        .ok_or(PasswordChangeError::NoSuchUser)?;
    let mut batch = Batch::new();
    batch.expect(Expect::UserIs(Box::new(user.clone())));
    user.password_hash = Some(hash.to_owned());
    passed.close(&mut batch);
    batch.push(AccountChange::PutUser(user));
    if let EndSessions::AllBut(kept) = end {
        let mut is_any_removed = false;
        for device in server.store.devices(&[user_id.to_owned()]).await? {
            if Some(&*device.device_id) != kept {
                let user_id = user_id.to_owned();
                batch.push(AccountChange::RemoveDevice {
                    user_id,
                    device_id: device.device_id,
                });
                is_any_removed = true;
            }
        }
        if is_any_removed {
            batch.push(AccountChange::DeviceListChanged(user_id.to_owned()));
        }
    }
    server.commit(batch).await?;
    Ok(())
}
