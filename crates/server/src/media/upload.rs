//! Taking in files: bytes first, then the record.

use lyceum_media_store::{MediaError, Stored, Upload};
use lyceum_model::{Batch, Expect, MatrixError, Media, MediaChange, MediaId};
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
    /// A new id.
    New,
    /// The id that was promised to this upload, which does not name it.
    Next(Box<Media>),
    /// The promised id that it names.
    Named(Box<Media>),
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
    /// Nothing came for too long.
    #[error("the upload came too slowly")]
    TooSlow,
    /// It ended before all bytes had come.
    #[error("the upload was interrupted")]
    Interrupted,
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
            UploadError::TooSlow => Self::new(408, "M_UNKNOWN", "The upload came too slowly"),
            UploadError::Interrupted => Self::unknown("The upload was interrupted"),
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
    /// Begins the upload of a file that names no id. If it is the next one that was promised, it
    /// is awaited no more, however it ends.
    pub async fn begin_upload(
        &self,
        session: &Session,
        description: Description,
        fulfilment: Fulfilment,
    ) -> Result<IncomingFile, UploadError> {
        let promised = match fulfilment {
            Fulfilment::ById => None,
            Fulfilment::ByNextUpload => self.promise_of_next_upload(&session.user_id).await?,
        };
        let target = promised.map_or(Target::New, |media| Target::Next(Box::new(media)));
        self.begin(session, description, target)
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
        self.begin(session, description, Target::Named(Box::new(media)))
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
        let quarantined_by = self.store.quarantine_of(&stored.sha256).await?;
        let file = Arrived {
            stored,
            description,
            quarantined_by,
        };
        let kept = match target {
            Target::New => self.keep_new(&user_id, &file).await,
            Target::Named(media) => self.fulfil(*media, &file).await,
            Target::Next(media) => match self.fulfil(*media, &file).await {
                // Somebody uploaded to the id itself meanwhile.
                Err(UploadError::AlreadyThere) => self.keep_new(&user_id, &file).await,
                kept => kept,
            },
        };
        drop(slot);
        let id = kept?;
        if file.quarantined_by.is_some() {
            self.note_quarantine(&id, true).await?;
        }
        Ok(id)
    }

    async fn keep_new(
        &self,
        user_id: &OwnedUserId,
        file: &Arrived,
    ) -> Result<MediaId, UploadError> {
        let media = file.with_record(self.new_media(user_id));
        let id = media.id.clone();
        let mut batch = Batch::new();
        batch.expect(Expect::MediaAbsent(id.clone()));
        batch.push(MediaChange::Put(media));
        self.commit(batch).await?;
        Ok(id)
    }

    /// Gives a promised file its bytes.
    async fn fulfil(&self, media: Media, file: &Arrived) -> Result<MediaId, UploadError> {
        let media = file.with_record(media);
        let id = media.id.clone();
        let mut batch = Batch::new();
        batch.expect(Expect::MediaPending(id.clone()));
        batch.push(MediaChange::Put(media));
        match self.commit(batch).await {
            Ok(_) => Ok(id),
            Err(CommitError::Stale(_)) => Err(UploadError::AlreadyThere),
            Err(error) => Err(error.into()),
        }
    }
}

/// A file all of whose bytes have come.
struct Arrived {
    stored: Stored,
    description: Description,
    /// Who keeps files of the same bytes from being seen.
    quarantined_by: Option<OwnedUserId>,
}

impl Arrived {
    /// The record, told of the bytes.
    fn with_record(&self, media: Media) -> Media {
        Media {
            sha256: Some(self.stored.sha256),
            size: self.stored.size,
            content_type: self.description.content_type.clone(),
            file_name: self.description.file_name.clone(),
            upload_until: None,
            quarantined_by: self.quarantined_by.clone(),
            ..media
        }
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
