//! Backups of room keys (Client-Server API, "Server-side key backups").

use lyceum_account::backup::{self, BackupError};
use lyceum_model::{AccountChange, BackupSession, BackupVersion, Batch, Expect, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{RoomId, UserId};
use serde_json::Value;

use crate::{
    Server,
    decide::{MayBeStale, decide},
};

/// How many keys one request may bring.
const SESSIONS_MAX: usize = 50_000;

/// Why nothing was done about a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupAccessError {
    /// There is no such backup.
    #[error("no such backup")]
    NotFound,
    /// There is no such key in it.
    #[error("no such key")]
    KeyNotFound,
    /// Too many keys at once.
    #[error("too many keys at once")]
    TooMany,
    /// The rules of backups say no.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<BackupAccessError> for MatrixError {
    fn from(error: BackupAccessError) -> Self {
        match error {
            BackupAccessError::NotFound => Self::not_found("Unknown backup version"),
            BackupAccessError::KeyNotFound => Self::not_found("No room_keys found"),
            BackupAccessError::TooMany => Self::too_large("Too many keys at once"),
            BackupAccessError::Backup(error) => error.into(),
            BackupAccessError::Commit(error) => error.into(),
            BackupAccessError::Storage(error) => error.into(),
        }
    }
}

impl MayBeStale for BackupAccessError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_stale())
    }
}

/// Which keys of a backup.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// All.
    All,
    /// Those of a room.
    Room(&'a RoomId),
    /// One.
    Session(&'a RoomId, &'a str),
}

impl Part<'_> {
    fn room_id(&self) -> Option<&RoomId> {
        match self {
            Self::All => None,
            Self::Room(room_id) | Self::Session(room_id, _) => Some(room_id),
        }
    }

    fn session_id(&self) -> Option<&str> {
        match self {
            Self::All | Self::Room(_) => None,
            Self::Session(_, session_id) => Some(session_id),
        }
    }
}

/// How a backup stands after its keys changed.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its etag.
    pub etag: u64,
    /// How many keys it holds.
    pub count: u64,
}

/// Makes a new backup version; its number.
pub async fn create(
    server: &Server,
    user_id: &UserId,
    body: &Value,
) -> Result<u64, BackupAccessError> {
    let (algorithm, auth_data) = backup::parse_version(body)?;
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_create(server, user_id, &algorithm, &auth_data)).await
}

async fn try_create(
    server: &Server,
    user_id: &UserId,
    algorithm: &str,
    auth_data: &str,
) -> Result<u64, BackupAccessError> {
    let newest = server.store.backup(user_id, None).await?;
    let version = server.store.newest_backup_number(user_id).await? + 1;
    let mut batch = Batch::new();
    let newest = newest.map(|newest| newest.version);
    batch.expect(Expect::NewestBackup(user_id.to_owned(), newest));
    batch.push(AccountChange::PutBackup(BackupVersion {
        user_id: user_id.to_owned(),
        version,
        algorithm: algorithm.to_owned(),
        auth_data: auth_data.to_owned(),
        etag: 0,
        count: 0,
    }));
    server.commit(batch).await?;
    Ok(version)
}

/// A backup version, or the newest one.
pub async fn version(
    server: &Server,
    user_id: &UserId,
    version: Option<u64>,
) -> Result<BackupVersion, BackupAccessError> {
    server
        .store
        .backup(user_id, version)
        .await?
        .ok_or(BackupAccessError::NotFound)
}

/// Replaces the `auth_data` of a backup.
pub async fn update(
    server: &Server,
    user_id: &UserId,
    number: u64,
    body: &Value,
) -> Result<(), BackupAccessError> {
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_update(server, user_id, number, body)).await
}

async fn try_update(
    server: &Server,
    user_id: &UserId,
    number: u64,
    body: &Value,
) -> Result<(), BackupAccessError> {
    let current = version(server, user_id, Some(number)).await?;
    let auth_data = backup::check_version_update(&current, body)?;
    let change = AccountChange::PutBackup(BackupVersion {
        auth_data,
        ..current.clone()
    });
    server.commit(unless_changed(&current, change)).await?;
    Ok(())
}

/// A change that is made if no keys came or went meanwhile, nor the backup itself.
fn unless_changed(backup: &BackupVersion, change: AccountChange) -> Batch {
    let mut batch = Batch::new();
    batch.expect(Expect::BackupEtag(
        backup.user_id.clone(),
        backup.version,
        backup.etag,
    ));
    batch.push(change);
    batch
}

/// Removes a backup with its keys, if that has not happened yet.
pub async fn remove(
    server: &Server,
    user_id: &UserId,
    number: u64,
) -> Result<(), BackupAccessError> {
    let _turn = server.accounts.turn(user_id).await;
    if server.store.backup(user_id, Some(number)).await?.is_none() {
        let newest = server.store.newest_backup_number(user_id).await?;
        let was_there = (1..=newest).contains(&number);
        return was_there.then_some(()).ok_or(BackupAccessError::NotFound);
    }
    let change = AccountChange::RemoveBackup {
        user_id: user_id.to_owned(),
        version: number,
    };
    server.commit(change).await?;
    Ok(())
}

/// Puts keys into the newest backup, each where it is better than the one that is there.
pub async fn put_sessions(
    server: &Server,
    user_id: &UserId,
    number: u64,
    part: Part<'_>,
    uploaded: Vec<BackupSession>,
) -> Result<Standing, BackupAccessError> {
    if uploaded.len() > SESSIONS_MAX {
        return Err(BackupAccessError::TooMany);
    }
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_put_sessions(server, user_id, number, part, &uploaded)).await?;
    standing(server, user_id, number).await
}

async fn try_put_sessions(
    server: &Server,
    user_id: &UserId,
    number: u64,
    part: Part<'_>,
    uploaded: &[BackupSession],
) -> Result<(), BackupAccessError> {
    let newest = server
        .store
        .backup(user_id, None)
        .await?
        .ok_or(BackupAccessError::NotFound)?;
    if number != newest.version {
        // An older one is refused otherwise than one that is not there.
        version(server, user_id, Some(number)).await?;
    }
    backup::check_write(number, Some(newest.version))?;
    let existing = stored_sessions(server, user_id, number, part).await?;
    let sessions = backup::merge(&existing, uploaded.to_vec());
    if sessions.is_empty() {
        return Ok(());
    }
    let change = AccountChange::PutBackupSessions {
        user_id: user_id.to_owned(),
        version: number,
        sessions,
        etag: backup::next_etag(newest.etag),
    };
    let mut batch = unless_changed(&newest, change);
    batch.expect(Expect::NewestBackup(user_id.to_owned(), Some(number)));
    server.commit(batch).await?;
    Ok(())
}

/// Keys of a backup.
pub async fn sessions(
    server: &Server,
    user_id: &UserId,
    number: u64,
    part: Part<'_>,
) -> Result<Vec<BackupSession>, BackupAccessError> {
    version(server, user_id, Some(number)).await?;
    let sessions = stored_sessions(server, user_id, number, part).await?;
    if sessions.is_empty() && matches!(part, Part::Session(..)) {
        return Err(BackupAccessError::KeyNotFound);
    }
    Ok(sessions)
}

/// Takes keys from a backup.
pub async fn remove_sessions(
    server: &Server,
    user_id: &UserId,
    number: u64,
    part: Part<'_>,
) -> Result<Standing, BackupAccessError> {
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_remove_sessions(server, user_id, number, part)).await?;
    standing(server, user_id, number).await
}

async fn try_remove_sessions(
    server: &Server,
    user_id: &UserId,
    number: u64,
    part: Part<'_>,
) -> Result<(), BackupAccessError> {
    let current = version(server, user_id, Some(number)).await?;
    let existing = stored_sessions(server, user_id, number, part).await?;
    if existing.is_empty() {
        return Ok(());
    }
    let change = AccountChange::RemoveBackupSessions {
        user_id: user_id.to_owned(),
        version: number,
        room_id: part.room_id().map(ToOwned::to_owned),
        session_id: part.session_id().map(ToOwned::to_owned),
        etag: backup::next_etag(current.etag),
    };
    server.commit(unless_changed(&current, change)).await?;
    Ok(())
}

async fn stored_sessions(
    server: &Server,
    user_id: &UserId,
    number: u64,
    part: Part<'_>,
) -> Result<Vec<BackupSession>, StorageError> {
    server
        .store
        .backup_sessions(user_id, number, part.room_id(), part.session_id())
        .await
}

async fn standing(
    server: &Server,
    user_id: &UserId,
    number: u64,
) -> Result<Standing, BackupAccessError> {
    let current = version(server, user_id, Some(number)).await?;
    Ok(Standing {
        etag: current.etag,
        count: current.count,
    })
}
