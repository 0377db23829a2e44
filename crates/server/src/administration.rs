//! What admins and learning platforms do to a server: accounts, rooms, files, limits, reports.
//!
//! Invariants: who asks was let in by the edge; each operation decides on loaded facts and commits
//! what it changes in one batch; what only admins' tools need is kept as small JSON documents
//! under settings, changed by compare and set, so that every node sees it.

mod accounts;
mod activity;
mod documents;
pub mod external_ids;
mod facts;
pub mod files;
pub mod history_purge;
pub mod jobs;
mod journal;
pub mod notices;
pub mod people;
mod profile_spread;
pub mod provisioning;
pub mod redaction;
pub mod reports;
pub mod room_deletion;
pub mod room_details;
mod room_entry;
mod room_heads;

pub use facts::{Facts, RateOverride};

use lyceum_model::{MatrixError, Touch};
use lyceum_storage::{CommitError, StorageError, Store};
use std::sync::Arc;

use crate::decide::MayBeStale;

/// What operations of admins share.
#[derive(Debug, Default)]
pub struct Administration {
    facts: facts::Remembered,
}

impl Administration {
    /// What every request must know.
    pub async fn facts(&self, store: &dyn Store) -> Result<Arc<Facts>, StorageError> {
        self.facts.get(store).await
    }

    /// Forgets what a commit made untrue.
    pub fn publish(&self, touches: &[Touch]) {
        self.facts.publish(touches);
    }
}

/// Why an admin's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// It is refused, with this answer.
    #[error(transparent)]
    Refused(#[from] MatrixError),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl MayBeStale for AdministrationError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_stale())
    }
}

impl From<AdministrationError> for MatrixError {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::Refused(error) => error,
            AdministrationError::Commit(error) => error.into(),
            AdministrationError::Storage(error) => error.into(),
        }
    }
}

impl From<lyceum_room::Denied> for AdministrationError {
    fn from(denied: lyceum_room::Denied) -> Self {
        Self::Refused(denied.into())
    }
}

impl From<crate::rooms::RoomError> for AdministrationError {
    fn from(error: crate::rooms::RoomError) -> Self {
        Self::Refused(error.into())
    }
}
