//! Taking in files: bytes first, then the record.

use lyceum_media_store::{MediaError, Stored, Upload};
use lyceum_model::{Batch, Change, Expect, MatrixError, Media, MediaChange, MediaId};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::OwnedUserId;

use super::{Fulfilment, disk_answer, slots::Slot};
use crate::{Server, sessions::Session};

/// The longest file name, in bytes.
const FILE_NAME_BYTES_MAX: usize = 1_024;
/// The longest content type, in bytes; a longer one is not kept.
const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// When to come again where too many uploads are under way.
const BUSY_RETRY_MS: u64 = 1_000;

/// What an uploader says about a file.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Its name.
    pub file_name: Option<String>,
    /// `Content-Length`: how many bytes will come.
    pub size: Option<u64>,
}

/// A file that is being uploaded. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct IncomingFile {
    upload: Upload,
    description: Description,
    target: Target,
    user_id: OwnedUserId,
    slot: Slot,
}

#[derive(Debug)]
enum Target {
    /// A new id, or the one that is promised to the next upload.
    Unnamed(Fulfilment),
    /// The id that was promised.
    Promised(Box<Media>),
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// More bytes came, or were announced, than a file may have.
    #[error("a file may have at most {size_max} bytes")]
    TooLarge {
        /// How many it may have.
        size_max: u64,
    },
    /// Its name is too long.
    #[error("the file name is too long")]
    FileNameTooLong,
    /// Too many uploads are under way.
    #[error("too many uploads are under way")]
    Busy,
    /// The id was not made here, or its time has passed.
    #[error("no such promised file")]
    NotPromised,
    /// Somebody else made the id.
    #[error("the id was made by somebody else")]
    NotYours,
    /// The id has its bytes already.
    #[error("the file is there already")]
    AlreadyThere,
    /// The disk is at fault.
    #[error(transparent)]
    Disk(MediaError),
    /// The record could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<MediaError> for UploadError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::TooLarge { size_max } => Self::TooLarge { size_max },
            MediaError::Io(_) => Self::Disk(error),
        }
    }
}

impl From<UploadError> for MatrixError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { size_max } => disk_answer(&MediaError::TooLarge { size_max }),
            UploadError::FileNameTooLong => Self::invalid_param(format!(
                "A file name may have at most {FILE_NAME_BYTES_MAX} bytes"
            )),
            UploadError::Busy => Self::limit_exceeded(BUSY_RETRY_MS),
            UploadError::NotPromised => Self::not_found("Unknown media id, or it has expired"),
            UploadError::NotYours => Self::forbidden("Somebody else made this media id"),
            UploadError::AlreadyThere => {
                Self::cannot_overwrite_media("This media id has its file already")
            }
            UploadError::Disk(error) => disk_answer(&error),
            UploadError::Commit(error) => error.into(),
            UploadError::Storage(error) => error.into(),
        }
    }
}

impl IncomingFile {
    /// Takes in the next bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        Ok(self.upload.write(bytes).await?)
    }
}

impl Server {
    /// Begins the upload of a file that names no id.
    pub fn begin_upload(
        &self,
        session: &Session,
        description: Description,
        fulfilment: Fulfilment,
    ) -> Result<IncomingFile, UploadError> {
        self.begin(session, description, Target::Unnamed(fulfilment))
    }

    /// Begins the upload of a file whose id was made before.
    pub async fn begin_promised_upload(
        &self,
        session: &Session,
        id: &MediaId,
        description: Description,
    ) -> Result<IncomingFile, UploadError> {
        let media = self
            .store
            .media(id)
            .await?
            .ok_or(UploadError::NotPromised)?;
        if media.uploader.as_ref() != Some(&session.user_id) {
            let is_known = media.uploader.is_some();
            return Err(if is_known {
                UploadError::NotYours
            } else {
                UploadError::NotPromised
            });
        }
        if media.sha256.is_some() {
            return Err(UploadError::AlreadyThere);
        }
        if !self.is_awaited(&media) {
            return Err(UploadError::NotPromised);
        }
        self.begin(session, description, Target::Promised(Box::new(media)))
    }

    fn begin(
        &self,
        session: &Session,
        description: Description,
        target: Target,
    ) -> Result<IncomingFile, UploadError> {
        let size_max = self.config.media.upload_bytes_max;
        if description.size.is_some_and(|size| size > size_max) {
            return Err(UploadError::TooLarge { size_max });
        }
        let description = checked(description)?;
        let slot = self
            .files
            .slots
            .take(&session.user_id)
            .ok_or(UploadError::Busy)?;
        Ok(IncomingFile {
            upload: self.media.begin_upload(size_max),
            description,
            target,
            user_id: session.user_id.clone(),
            slot,
        })
    }

    /// Keeps a file all of whose bytes have come, and tells its id.
    pub async fn keep_upload(&self, incoming: IncomingFile) -> Result<MediaId, UploadError> {
        let IncomingFile {
            upload,
            description,
            target,
            user_id,
            slot,
        } = incoming;
        let _bytes = self.files.bytes.read().await;
        let stored = upload.finish().await?;
        let kept = match target {
            Target::Promised(media) => {
                self.fulfil(*media, stored, &description, Batch::new())
                    .await
            }
            Target::Unnamed(Fulfilment::ById) => {
                self.keep_new(&user_id, stored, &description).await
            }
            Target::Unnamed(Fulfilment::ByNextUpload) => {
                self.keep_next(&user_id, stored, &description).await
            }
        };
        drop(slot);
        kept
    }

    async fn keep_next(
        &self,
        user_id: &OwnedUserId,
        stored: Stored,
        description: &Description,
    ) -> Result<MediaId, UploadError> {
        if let Some((media, batch)) = self.promise_for_next_upload(user_id).await? {
            match self.fulfil(media, stored, description, batch).await {
                Err(UploadError::AlreadyThere) => {}
                kept => return kept,
            }
        }
        self.keep_new(user_id, stored, description).await
    }

    async fn keep_new(
        &self,
        user_id: &OwnedUserId,
        stored: Stored,
        description: &Description,
    ) -> Result<MediaId, UploadError> {
        let media = with_bytes(self.new_media(user_id), stored, description);
        let id = media.id.clone();
        let mut batch = Batch::new();
        batch.expect(Expect::MediaAbsent(id.clone()));
        batch.push(MediaChange::Put(media));
        self.commit(batch).await?;
        Ok(id)
    }

    /// Gives a promised file its bytes; `batch` has what else belongs to it.
    async fn fulfil(
        &self,
        media: Media,
        stored: Stored,
        description: &Description,
        mut batch: Batch,
    ) -> Result<MediaId, UploadError> {
        let media = with_bytes(media, stored, description);
        let id = media.id.clone();
        batch.expect(Expect::MediaPending(id.clone()));
        batch
            .changes
            .insert(0, Change::Media(MediaChange::Put(media)));
        match self.commit(batch).await {
            Ok(_) => Ok(id),
            Err(CommitError::Stale(_)) => Err(UploadError::AlreadyThere),
            Err(error) => Err(error.into()),
        }
    }
}

fn with_bytes(media: Media, stored: Stored, description: &Description) -> Media {
    Media {
        sha256: Some(stored.sha256),
        size: stored.size,
        content_type: description.content_type.clone(),
        file_name: description.file_name.clone(),
        upload_until: None,
        ..media
    }
}

fn checked(description: Description) -> Result<Description, UploadError> {
    let file_name = description.file_name.filter(|name| !name.is_empty());
    if file_name
        .as_ref()
        .is_some_and(|name| name.len() > FILE_NAME_BYTES_MAX)
    {
        return Err(UploadError::FileNameTooLong);
    }
    let is_usable = |kind: &String| {
        (1..=CONTENT_TYPE_BYTES_MAX).contains(&kind.len())
            && kind.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    };
    let content_type = description.content_type.filter(is_usable);
    Ok(Description {
        content_type,
        file_name,
        size: description.size,
    })
}
