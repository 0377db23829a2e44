//! Bytes on their way in.
//!
//! A small file waits in memory and costs one visit to the disk. A larger one is written to a
//! temporary file piece by piece; it gets its name when its last byte, and with it its hash, is
//! known.

use std::{io, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    blob_store::{MediaError, Places, blocking},
    cleaning::touch,
    durable_file::TemporaryFile,
};

/// How many bytes wait in memory before they are written.
const BUFFER_BYTES: usize = 128 * 1024;

/// A finished upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The blob's name.
    pub sha256: [u8; 32],
    /// How many bytes it has.
    pub size: u64,
}

/// An upload that is under way. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    places: Arc<Places>,
    size_max: u64,
    size: u64,
    buffer: Vec<u8>,
    written: Written,
}

/// What has left the buffer.
#[derive(Debug, Default)]
struct Written {
    hasher: Sha256,
    file: Option<TemporaryFile>,
    /// A write failed: the rest is of no use.
    is_broken: bool,
}

impl Upload {
    pub(crate) fn new(places: Arc<Places>, size_max: u64) -> Self {
        Self {
            places,
            size_max,
            size: 0,
            buffer: Vec::new(),
            written: Written::default(),
        }
    }

    /// How many bytes have come so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// [`MediaError::TooLarge`] as soon as too many have come, [`MediaError::Io`] if the disk
    /// fails; the upload is of no use then.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), MediaError> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.size_max {
            self.written.is_broken = true;
            self.buffer = Vec::new();
            self.written.file = None;
            return Err(MediaError::TooLarge {
                size_max: self.size_max,
            });
        }
        while !bytes.is_empty() {
            let free = BUFFER_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(free.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Stores the blob durably, unless it is there already.
    ///
    /// # Errors
    /// [`MediaError::Io`] if the disk fails; nothing is kept then.
    pub async fn finish(self) -> Result<Stored, MediaError> {
        let Self {
            places,
            size,
            buffer,
            mut written,
            ..
        } = self;
        let stored = blocking(move || {
            written.check()?;
            written.hasher.update(&buffer);
            let sha256: [u8; 32] = written.hasher.finalize().into();
            let path = places.blob(&sha256);
            if path.try_exists()? {
                // It came again, and who named it before may not any more.
                touch(&path)?;
            } else {
                let mut file = match written.file {
                    Some(file) => file,
                    None => TemporaryFile::create(places.uploads())?,
                };
                file.write(&buffer)?;
                file.keep_as(&path)?;
            }
            Ok(Stored { sha256, size })
        });
        Ok(stored.await?)
    }

    async fn flush(&mut self) -> Result<(), MediaError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        // If this future is dropped meanwhile, the upload stays broken.
        let broken = Written {
            is_broken: true,
            ..Written::default()
        };
        let mut written = std::mem::replace(&mut self.written, broken);
        let places = Arc::clone(&self.places);
        let flushed = blocking(move || {
            written.check()?;
            written.hasher.update(&buffer);
            if written.file.is_none() {
                written.file = Some(TemporaryFile::create(places.uploads())?);
            }
            if let Some(file) = &mut written.file {
                file.write(&buffer)?;
            }
            buffer.clear();
            Ok((written, buffer))
        });
        (self.written, self.buffer) = flushed.await?;
        Ok(())
    }
}

impl Written {
    fn check(&self) -> io::Result<()> {
        if self.is_broken {
            Err(io::Error::other("the upload failed earlier"))
        } else {
            Ok(())
        }
    }
}
