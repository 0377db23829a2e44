//! Taking away what is left of files: promises that were not kept, thumbnails that are old or of
//! deleted files, and bytes that no record names, as a crash between file and record leaves them.
//!
//! Invariants: a portion is small; where it stops the next one goes on, and after a restart it
//! begins anywhere. Bytes that an upload might be about to name stay: they are younger than
//! [`BYTES_AGE_MIN`], for an upload makes bytes young that are there already.

use std::time::Duration;

use lyceum_media_store::{Lifetimes, MediaError};
use lyceum_model::{Batch, Expect, MediaChange, MediaId};
use lyceum_storage::{CommitError, MediaPage, StorageError};

use crate::{Server, chance};

/// How many records a portion looks at.
const RECORDS: usize = 500;
/// How many bytes' names are asked for at a time.
const HASHES: usize = 500;
/// How long after its time a promise is still known, so that whoever is late is told so.
const PROMISE_GRACE_MS: u64 = 60 * 60 * 1000;
/// Bytes that are younger may belong to an upload whose record is being stored.
const BYTES_AGE_MIN: Duration = Duration::from_secs(60 * 60);

/// Where the next portion begins.
#[derive(Debug)]
pub(super) struct Place {
    /// The first byte of the names of blobs.
    first: u8,
    /// Records after this one.
    after: Option<MediaId>,
}

impl Default for Place {
    fn default() -> Self {
        let [first] = chance::bytes();
        Self { first, after: None }
    }
}

/// Why a portion was not done.
#[derive(Debug, thiserror::Error)]
enum CleaningError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Disk(#[from] MediaError),
}

impl Server {
    /// Cleans a portion: one of 256 parts of the bytes, and some records.
    pub async fn clean_files(&self) {
        let (first, after) = {
            let mut place = self.files.cleaning.lock();
            let first = place.first;
            place.first = first.wrapping_add(1);
            (first, place.after.take())
        };
        match self.forget_overdue(after).await {
            Ok(after) => self.files.cleaning.lock().after = after,
            Err(error) => tracing::warn!(%error, "overdue uploads could not be forgotten"),
        }
        if let Err(error) = self.clean_bytes(first).await {
            tracing::warn!(%error, "files that are not needed could not be removed");
        }
    }

    /// Forgets promises that were not kept, among some records; after which one to go on.
    async fn forget_overdue(
        &self,
        after: Option<MediaId>,
    ) -> Result<Option<MediaId>, CleaningError> {
        let page = MediaPage {
            uploader: None,
            after,
            limit: RECORDS,
        };
        let records = self.store.media_list(page).await?;
        let last = records.last().map(|media| media.id.clone());
        let last = last.filter(|_| records.len() == RECORDS);
        let now = self.clock.now();
        for media in records {
            let is_overdue = media.sha256.is_none()
                && media
                    .upload_until
                    .is_some_and(|until| until.plus_ms(PROMISE_GRACE_MS) < now);
            if !is_overdue {
                continue;
            }
            let mut batch = Batch::new();
            batch.expect(Expect::MediaPending(media.id.clone()));
            batch.push(MediaChange::Remove(media.id));
            match self.commit(batch).await {
                // An upload that began in time may have kept it just now.
                Ok(_) | Err(CommitError::Stale(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(last)
    }

    async fn clean_bytes(&self, first: u8) -> Result<(), CleaningError> {
        let mut count = 0_u64;
        for hashes in self.media.blobs(first, BYTES_AGE_MIN).await?.chunks(HASHES) {
            let named = self.store.named_bytes(hashes).await?;
            let unnamed: Vec<[u8; 32]> = hashes
                .iter()
                .filter(|hash| named.binary_search(hash).is_err())
                .copied()
                .collect();
            if unnamed.is_empty() {
                continue;
            }
            let _bytes = self.removing_bytes().await;
            let named = self.store.named_bytes(&unnamed).await?;
            for hash in unnamed {
                if named.binary_search(&hash).is_err() {
                    count += u64::from(self.media.set_aside(&hash, BYTES_AGE_MIN).await?);
                }
            }
        }
        if count > 0 {
            tracing::info!(
                count,
                "files that nothing names were moved to media/unnamed"
            );
        }
        let lifetime = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        let lifetimes = Lifetimes {
            thumbnails: lifetime(self.config.media.thumbnail_lifetime_ms),
            unnamed: lifetime(self.config.media.unnamed_lifetime_ms),
        };
        self.media.drop_old(first, lifetimes).await?;
        Ok(())
    }
}
