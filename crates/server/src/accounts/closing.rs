//! Closing an account for good (Client-Server API, "Deactivating an account").

use lyceum_model::{AccountChange, Batch, Expect, MatrixError, Position};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;

use super::interactive_auth::Passed;
use crate::{
    Server,
    decide::{MayBeStale, decide},
};

/// What becomes of the data of a closed account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// Its profile, its keys and what it wrote stay.
    Kept,
    /// They go, and who joins a room later no longer sees what the user wrote.
    Erased,
}

/// Why an account was not closed.
#[derive(Debug, thiserror::Error)]
pub enum ClosingError {
    /// There is no such account.
    #[error("no such account")]
    NoSuchUser,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl MayBeStale for ClosingError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(CommitError::Stale(Expect::UserIs(_))))
    }
}

impl From<ClosingError> for MatrixError {
    fn from(error: ClosingError) -> Self {
        match error {
            ClosingError::NoSuchUser => Self::not_found("There is no such account"),
            ClosingError::Commit(error) => error.into(),
            ClosingError::Storage(error) => error.into(),
        }
    }
}

/// Closes an account: it leaves its rooms, then loses its password, devices, addresses, account
/// data and key backups. Who is interrupted can begin again, since the account itself goes last.
pub async fn close(
    server: &Server,
    user_id: &UserId,
    remains: Remains,
    passed: &Passed,
) -> Result<(), ClosingError> {
    if server.store.user(user_id).await?.is_none() {
        return Err(ClosingError::NoSuchUser);
    }
    server.leave_all_rooms(user_id).await;
    decide(|| try_close(server, user_id, remains, passed)).await?;
    if remains == Remains::Erased {
        let now = server.clock.now();
        server.accounts.erased.remember(user_id, true, now);
    }
    Ok(())
}

async fn try_close(
    server: &Server,
    user_id: &UserId,
    remains: Remains,
    passed: &Passed,
) -> Result<(), ClosingError> {
    let mut user = server
        .store
        .user(user_id)
        .await?
        .ok_or(ClosingError::NoSuchUser)?;
    let owned = user_id.to_owned();
    let mut batch = Batch::new();
    batch.expect(Expect::UserIs(Box::new(user.clone())));
    passed.close(&mut batch);
    for device in server.store.devices(std::slice::from_ref(&owned)).await? {
        let user_id = owned.clone();
        batch.push(AccountChange::RemoveDevice {
            user_id,
            device_id: device.device_id,
        });
    }
    for token in server.store.tokens_of(user_id).await? {
        batch.push(AccountChange::RemoveToken(token.hash));
    }
    for threepid in server.store.threepids(user_id).await? {
        batch.push(AccountChange::RemoveThreepid {
            medium: threepid.medium,
            address: threepid.address,
        });
    }
    user.password_hash = None;
    user.is_deactivated = true;
    user.is_admin = false;
    match remains {
        Remains::Kept => forget_settings(server, user_id, &mut batch).await?,
        Remains::Erased => {
            user.is_erased = true;
            batch.push(AccountChange::EraseUserData(owned.clone()));
        }
    }
    batch.push(AccountChange::PutUser(user));
    batch.push(AccountChange::DeviceListChanged(owned));
    server.commit(batch).await?;
    Ok(())
}

/// What only the user's own clients needed goes: account data, push rules and tags with it, and
/// key backups.
async fn forget_settings(
    server: &Server,
    user_id: &UserId,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let store = &server.store;
    let all = store
        .account_data(user_id, Position(0), server.feed.position())
        .await?;
    for entry in all.into_iter().filter(|entry| entry.content.is_some()) {
        batch.push(AccountChange::AccountData {
            user_id: user_id.to_owned(),
            room_id: entry.room_id,
            kind: entry.kind,
            content: None,
        });
    }
    for version in 1..=store.newest_backup_number(user_id).await? {
        batch.push(AccountChange::RemoveBackup {
            user_id: user_id.to_owned(),
            version,
        });
    }
    Ok(())
}
