//! Finding files, and waiting for those that were promised.

use std::time::Duration;

use lyceum_media_store::{Blob, MediaError};
use lyceum_model::{MatrixError, Media, MediaId};
use lyceum_storage::StorageError;

use super::disk_answer;
use crate::Server;

/// A file whose bytes are there.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// Its record.
    pub media: Media,
    /// The name of its bytes.
    pub sha256: [u8; 32],
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is none, its promise was not kept in time, or an admin keeps it from being seen.
    #[error("no such file")]
    NotFound,
    /// It was promised and has not come.
    #[error("the file has not come yet")]
    NotYetUploaded,
    /// Its record is there, its bytes are not.
    #[error("the bytes of a file are gone")]
    Lost,
    /// The disk is at fault.
    #[error(transparent)]
    Disk(#[from] MediaError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<FindError> for MatrixError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::NotFound => Self::not_found("There is no such file"),
            FindError::NotYetUploaded => {
                Self::not_yet_uploaded("The file has not been uploaded yet")
            }
            FindError::Lost => {
                tracing::error!("the bytes of a file are gone from the disk");
                Self::internal("The server could not read the file")
            }
            FindError::Disk(error) => disk_answer(&error),
            FindError::Storage(error) => error.into(),
        }
    }
}

/// Whether quarantine keeps a file from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quarantine {
    Heeded,
    Passed,
}

impl Server {
    /// A file by its id; one that was promised is awaited for so long.
    pub async fn find_file(&self, id: &MediaId, wait: Duration) -> Result<FoundFile, FindError> {
        let found = match self.look_for(id, Quarantine::Heeded).await? {
            Some(found) => found,
            None if wait.is_zero() => return Err(FindError::NotYetUploaded),
            None => self.await_file(id, wait).await?,
        };
        self.note_access(&found.media);
        Ok(found)
    }

    /// The same for an admin who looks at what others may not see.
    pub async fn find_quarantined_file(&self, id: &MediaId) -> Result<FoundFile, FindError> {
        let found = self.look_for(id, Quarantine::Passed).await?;
        found.ok_or(FindError::NotYetUploaded)
    }

    async fn await_file(&self, id: &MediaId, wait: Duration) -> Result<FoundFile, FindError> {
        let deadline = tokio::time::sleep(wait);
        let stopped = self.supervisor.stopped();
        tokio::pin!(deadline, stopped);
        loop {
            let Some(arrival) = self.files.arrivals.of(id) else {
                return Err(FindError::NotYetUploaded);
            };
            let arrived = arrival.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            // It may have come before it was waited for.
            if let Some(found) = self.look_for(id, Quarantine::Heeded).await? {
                return Ok(found);
            }
            tokio::select! {
                () = arrived => {}
                () = &mut deadline => return Err(FindError::NotYetUploaded),
                () = &mut stopped => return Err(FindError::NotYetUploaded),
            }
        }
    }

    /// `None`: it was promised and may still come.
    async fn look_for(
        &self,
        id: &MediaId,
        quarantine: Quarantine,
    ) -> Result<Option<FoundFile>, FindError> {
        let media = self.store.media(id).await?.ok_or(FindError::NotFound)?;
        if media.quarantined_by.is_some() && quarantine == Quarantine::Heeded {
            return Err(FindError::NotFound);
        }
        match media.sha256 {
            Some(sha256) => Ok(Some(FoundFile { media, sha256 })),
            None if self.is_awaited(&media) => Ok(None),
            None => Err(FindError::NotFound),
        }
    }

    /// Opens a file.
    pub async fn open_file(&self, found: &FoundFile) -> Result<Blob, FindError> {
        match self.media.open_blob(&found.sha256).await? {
            Some(blob) => Ok(blob),
            None => Err(self.missing(found).await?),
        }
    }

    /// What it means that a file's bytes are not there: somebody may have removed it just now.
    pub(super) async fn missing(&self, found: &FoundFile) -> Result<FindError, FindError> {
        let media = self.store.media(&found.media.id).await?;
        let is_there = media.is_some_and(|media| media.sha256 == Some(found.sha256));
        Ok(if is_there {
            FindError::Lost
        } else {
            FindError::NotFound
        })
    }
}
