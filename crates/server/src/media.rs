//! Uploaded files (Client-Server API, "Content repository"): their records, beside the bytes that
//! `media_store` keeps.
//!
//! Invariants: a record names bytes only after they are durable; an id stands for the same bytes
//! for ever; whoever waits for a file that was promised is woken by its record, on whichever node
//! it was written. Nothing here knows HTTP.

mod arrivals;
mod cleaning;
mod find;
mod promise;
mod slots;
mod thumbnail;
mod upload;

pub use find::{FindError, FoundFile};
pub use promise::{Fulfilment, Promise, PromiseError};
pub use thumbnail::{Picture, PictureError};
pub use upload::{Description, IncomingFile, UploadError};

use std::collections::BTreeMap;

use lyceum_media_store::MediaError;
use lyceum_model::{Batch, MatrixError, Media, MediaChange, MediaId, Timestamp, Touch};
use parking_lot::Mutex;
use ruma_common::UserId;
use tokio::sync::{RwLock, RwLockWriteGuard};

use crate::{Server, chance};

/// How precisely it is remembered when a file was last asked for.
const ACCESS_PRECISION_MS: u64 = 60 * 60 * 1000;
/// How many files' last uses wait to be written; beyond that they are not noted.
const ACCESSES_MAX: usize = 10_000;

/// What operations on files share.
#[derive(Debug, Default)]
pub struct Files {
    arrivals: arrivals::Arrivals,
    slots: slots::Slots,
    accessed: Mutex<BTreeMap<MediaId, Timestamp>>,
    cleaning: Mutex<cleaning::Place>,
    /// Held for reading from the moment bytes may be there until a record names them, and for
    /// writing while bytes that no record names are removed.
    bytes: RwLock<()>,
}

impl Files {
    /// Takes in a commit: wakes who waits for one of its files.
    pub fn publish(&self, touches: &[Touch]) {
        self.arrivals.publish(touches);
    }
}

impl Server {
    /// Must be held while bytes are removed because no record names them: an upload of the same
    /// bytes might be about to name them. The records must be asked while it is held.
    pub(crate) async fn removing_bytes(&self) -> RwLockWriteGuard<'_, ()> {
        self.files.bytes.write().await
    }

    /// An id that no file has.
    fn new_media_id(&self) -> MediaId {
        MediaId {
            server_name: self.config.server_name.clone(),
            media_id: lyceum_account::names::session_id(&chance::bytes()),
        }
    }

    /// The record of a file of a user here, without its bytes.
    fn new_media(&self, uploader: &UserId) -> Media {
        Media {
            id: self.new_media_id(),
            uploader: Some(uploader.to_owned()),
            created: self.clock.now(),
            sha256: None,
            size: 0,
            content_type: None,
            file_name: None,
            upload_until: None,
            last_access: None,
            quarantined_by: None,
            is_safe_from_quarantine: false,
        }
    }

    /// Remembers that a file was asked for; written to storage now and then.
    fn note_access(&self, media: &Media) {
        let now = self.clock.now();
        if media
            .last_access
            .is_some_and(|last| now.ms_since(last) < ACCESS_PRECISION_MS)
        {
            return;
        }
        let mut accessed = self.files.accessed.lock();
        if accessed.len() < ACCESSES_MAX {
            accessed.insert(media.id.clone(), now);
        }
    }

    /// Writes when files were last asked for.
    pub(crate) async fn write_accesses(&self) {
        let accessed = std::mem::take(&mut *self.files.accessed.lock());
        if accessed.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        for (id, at) in accessed {
            batch.push(MediaChange::Accessed(id, at));
        }
        if let Err(error) = self.commit(batch).await {
            tracing::warn!(%error, "the last use of files could not be written");
        }
    }
}

/// What a failing disk means to a client; logged here, once.
fn disk_answer(error: &MediaError) -> MatrixError {
    match error {
        MediaError::TooLarge { size_max } => {
            MatrixError::too_large(format!("A file may have at most {size_max} bytes"))
        }
        MediaError::Io(_) if error.is_storage_full() => {
            tracing::warn!("a file could not be stored: the disk is full");
            MatrixError::storage_full("The server's disk is full")
        }
        MediaError::Io(error) => {
            tracing::error!(%error, "a file could not be read or written");
            MatrixError::internal("The server could not read or write the file")
        }
    }
}
