//! Small pictures of files.

use std::io::SeekFrom;

use lyceum_media_store::{Blob, MediaError, Requested, Thumbnail, ThumbnailAnswer, ThumbnailError};
use lyceum_model::MatrixError;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{FindError, FoundFile};
use crate::Server;

/// When to come again while too many thumbnails are being made.
const BUSY_RETRY_MS: u64 = 1_000;
/// How many bytes tell the format of an image.
const HEAD_BYTES: u64 = 12;

/// A small picture of a file.
#[derive(Debug)]
pub enum Picture {
    /// It was made.
    Made(Thumbnail),
    /// The file itself is small enough.
    Original {
        /// The file.
        blob: Blob,
        /// What it is by its first bytes; what its uploader called it does not count.
        content_type: &'static str,
    },
}

/// Why there is no small picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read.
    #[error(transparent)]
    Find(#[from] FindError),
    /// None can be made.
    #[error(transparent)]
    Thumbnail(#[from] ThumbnailError),
}

impl From<PictureError> for MatrixError {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::Find(error) => error.into(),
            PictureError::Thumbnail(error) => thumbnail_answer(error),
        }
    }
}

fn thumbnail_answer(error: ThumbnailError) -> MatrixError {
    match error {
        ThumbnailError::InvalidSize => {
            MatrixError::invalid_param("A thumbnail is at least one pixel wide and high")
        }
        ThumbnailError::NotFound => FindError::NotFound.into(),
        ThumbnailError::NotAnImage => MatrixError::unknown("No thumbnail can be made of this file"),
        ThumbnailError::TooLarge => {
            MatrixError::too_large("The file is too large to make a thumbnail of it")
        }
        ThumbnailError::Busy => MatrixError::limit_exceeded(BUSY_RETRY_MS),
        ThumbnailError::Io(error) => {
            tracing::error!(%error, "a thumbnail could not be read or written");
            MatrixError::internal("The server could not make the thumbnail")
        }
    }
}

impl Server {
    /// A small picture of a file.
    pub async fn picture(
        &self,
        found: &FoundFile,
        requested: Requested,
    ) -> Result<Picture, PictureError> {
        match self.media.thumbnail(&found.sha256, requested).await {
            Ok(ThumbnailAnswer::Made(thumbnail)) => Ok(Picture::Made(thumbnail)),
            Ok(ThumbnailAnswer::Original) => {
                let mut blob = self.open_file(found).await?;
                let content_type = image_type(&mut blob).await?;
                Ok(Picture::Original { blob, content_type })
            }
            Err(ThumbnailError::NotFound) => Err(self.missing(found).await?.into()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn image_type(blob: &mut Blob) -> Result<&'static str, PictureError> {
    let disk = |error| FindError::Disk(MediaError::Io(error));
    let mut head = Vec::new();
    (&mut blob.file)
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .await
        .map_err(disk)?;
    blob.file.seek(SeekFrom::Start(0)).await.map_err(disk)?;
    Ok(image_type_of(&head).ok_or(ThumbnailError::NotAnImage)?)
}

/// The type of an image of which thumbnails are made.
fn image_type_of(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "image/webp",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::image_type_of;

    #[test]
    fn images_are_known_by_their_first_bytes() {
        let check = |head: &[u8], expect| assert_eq!(image_type_of(head), expect, "{head:?}");
        check(b"\x89PNG\r\n\x1a\n", Some("image/png"));
        check(b"\xff\xd8\xff\xe0", Some("image/jpeg"));
        check(b"GIF89a", Some("image/gif"));
        check(b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp"));
        check(b"RIFF\0\0\0\0WAVE", None);
        check(b"<html>", None);
        check(b"", None);
    }
}
