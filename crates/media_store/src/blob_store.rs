//! Where blobs lie, and how they are read and removed.

use std::{
    fmt::Write as _,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::task::spawn_blocking;

use crate::{
    cleaning::{self, Dropped, Lifetimes},
    durable_file::{create_directory, sync_directory},
    thumbnail::{Pool, Requested, ThumbnailAnswer, ThumbnailError, ThumbnailLimits},
    upload::Upload,
};

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// More bytes came than allowed; nothing is kept.
    #[error("the file is larger than {size_max} bytes")]
    TooLarge {
        /// How many are allowed.
        size_max: u64,
    },
    /// The disk is at fault.
    #[error("the file could not be written or read: {0}")]
    Io(#[from] io::Error),
}

impl MediaError {
    /// Whether the disk is full, or a quota used up.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::TooLarge { .. } => false,
            Self::Io(error) => {
                matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                )
            }
        }
    }
}

/// A blob that is open for reading.
#[derive(Debug)]
pub struct Blob {
    /// Its bytes, from the start.
    pub file: tokio::fs::File,
    /// How many there are.
    pub size: u64,
}

/// A directory of blobs. Cheap to clone; its methods must be called within a tokio runtime.
#[derive(Debug, Clone)]
pub struct MediaStore {
    places: Arc<Places>,
    thumbnails: Arc<Pool>,
}

/// Where things lie below the directory.
#[derive(Debug)]
pub(crate) struct Places {
    blobs: PathBuf,
    uploads: PathBuf,
    thumbnails: PathBuf,
    /// Blobs that nothing names, before they go.
    unnamed: PathBuf,
}

impl Places {
    pub(crate) fn blob(&self, sha256: &[u8; 32]) -> PathBuf {
        let name = hex(sha256);
        self.blobs.join(&name[..2]).join(name)
    }

    pub(crate) fn uploads(&self) -> &Path {
        &self.uploads
    }

    pub(crate) fn thumbnail(&self, sha256: &[u8; 32], suffix: &str) -> PathBuf {
        self.thumbnails(sha256)
            .join(format!("{}-{suffix}", hex(sha256)))
    }

    pub(crate) fn unnamed(&self, sha256: &[u8; 32]) -> PathBuf {
        self.unnamed.join(hex(sha256))
    }

    /// The directory of the blobs whose names begin with this byte.
    pub(crate) fn blobs_from(&self, first: u8) -> PathBuf {
        self.blobs.join(format!("{first:02x}"))
    }

    /// The directory of the thumbnails of blobs whose names begin with this byte.
    pub(crate) fn thumbnails_from(&self, first: u8) -> PathBuf {
        self.thumbnails.join(format!("{first:02x}"))
    }

    /// The directory of blobs that nothing names.
    pub(crate) fn all_unnamed(&self) -> &Path {
        &self.unnamed
    }

    /// The directory of this blob's thumbnails, among those of others.
    fn thumbnails(&self, sha256: &[u8; 32]) -> PathBuf {
        self.thumbnails.join(&hex(sha256)[..2])
    }
}

impl MediaStore {
    /// Opens the directory, making it if needed; the directory above it must exist. Removes what
    /// interrupted uploads left. One process at a time may have it open.
    pub fn open(directory: &Path, limits: ThumbnailLimits) -> Result<Self, MediaError> {
        let places = Places {
            blobs: directory.join("blobs"),
            uploads: directory.join("uploads"),
            thumbnails: directory.join("thumbnails"),
            unnamed: directory.join("unnamed"),
        };
        for directory in [
            directory,
            &places.blobs,
            &places.uploads,
            &places.thumbnails,
            &places.unnamed,
        ] {
            create_directory(directory)?;
        }
        for entry in fs::read_dir(&places.uploads)? {
            fs::remove_file(entry?.path())?;
        }
        let places = Arc::new(places);
        let thumbnails = Arc::new(Pool::new(Arc::clone(&places), limits));
        Ok(Self { places, thumbnails })
    }

    /// Begins an upload of at most `size_max` bytes.
    pub fn begin_upload(&self, size_max: u64) -> Upload {
        Upload::new(Arc::clone(&self.places), size_max)
    }

    /// Opens a blob; `None` if it is not there.
    pub async fn open_blob(&self, sha256: &[u8; 32]) -> Result<Option<Blob>, MediaError> {
        let path = self.places.blob(sha256);
        let opened = blocking(move || {
            let file = fs::File::open(path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        match opened.await {
            Ok((file, size)) => Ok(Some(Blob {
                file: tokio::fs::File::from_std(file),
                size,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a blob is there.
    pub async fn exists(&self, sha256: &[u8; 32]) -> Result<bool, MediaError> {
        let path = self.places.blob(sha256);
        Ok(blocking(move || fs::exists(path)).await?)
    }

    /// Removes a blob and its thumbnails; whether the blob was there. Who still has it open can
    /// read on.
    pub async fn remove(&self, sha256: &[u8; 32]) -> Result<bool, MediaError> {
        let places = Arc::clone(&self.places);
        let sha256 = *sha256;
        let removed = blocking(move || {
            let was_there = remove_blob(&places.blob(&sha256))?;
            remove_thumbnails(&places.thumbnails(&sha256), &hex(&sha256))?;
            Ok(was_there)
        });
        Ok(removed.await?)
    }

    /// The names of the blobs that begin with this byte and came, or came again, longer ago than
    /// `age_min`.
    pub async fn blobs(&self, first: u8, age_min: Duration) -> Result<Vec<[u8; 32]>, MediaError> {
        let directory = self.places.blobs_from(first);
        Ok(blocking(move || cleaning::blobs(&directory, age_min)).await?)
    }

    /// Puts a blob that nothing names out of the way, and removes its thumbnails; whether it was
    /// there, and came longer ago than `age_min`. If the same bytes come again, they are a new
    /// blob.
    pub async fn set_aside(
        &self,
        sha256: &[u8; 32],
        age_min: Duration,
    ) -> Result<bool, MediaError> {
        let places = Arc::clone(&self.places);
        let sha256 = *sha256;
        let moved = blocking(move || {
            let is_moved = cleaning::set_aside(&places, &sha256, age_min)?;
            if is_moved {
                remove_thumbnails(&places.thumbnails(&sha256), &hex(&sha256))?;
            }
            Ok(is_moved)
        });
        Ok(moved.await?)
    }

    /// Removes thumbnails and set aside blobs whose names begin with this byte and whose time is
    /// over, and thumbnails of blobs that are not there.
    pub async fn drop_old(&self, first: u8, lifetimes: Lifetimes) -> Result<Dropped, MediaError> {
        let places = Arc::clone(&self.places);
        Ok(blocking(move || cleaning::drop_old(&places, first, lifetimes)).await?)
    }

    /// A small picture of a blob: from the cache, or made by one of the workers. Concurrent
    /// requests for the same one share the work.
    pub async fn thumbnail(
        &self,
        sha256: &[u8; 32],
        requested: Requested,
    ) -> Result<ThumbnailAnswer, ThumbnailError> {
        self.thumbnails.get(sha256, requested).await
    }
}

fn remove_blob(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => {
            path.parent().map_or(Ok(()), sync_directory)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_thumbnails(directory: &Path, name: &str) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|file| file.starts_with(name))
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Runs what waits for the disk off the request's thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other("the work was interrupted")),
    }
}

pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing into a string cannot fail");
    }
    text
}
