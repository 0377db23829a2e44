//! Small pictures of images, made on demand.
//!
//! Requests are led to a few standard sizes, so that there are few thumbnails of an image. A
//! fixed number of workers makes them, off the request's thread, from a bounded queue.

mod pixels;
mod pool;
mod sizes;

use bytes::Bytes;

pub use pixels::FRAMES_MAX;
pub(crate) use pool::Pool;
pub use pool::{WAITING_MAX, WORKERS};
pub use sizes::Size;

/// How an image is made to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Cut so that it fills the size.
    Crop,
    /// Whole, as large as fits into the size.
    Scale,
}

impl Method {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Scale => "scale",
        }
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "crop" => Self::Crop,
            "scale" => Self::Scale,
            _ => return None,
        })
    }
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested {
    /// Pixels across, at least.
    pub width: u32,
    /// Pixels down, at least.
    pub height: u32,
    /// How to fit.
    pub method: Method,
    /// Whether it may move.
    pub animated: bool,
}

/// What one thumbnail may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThumbnailLimits {
    /// The largest file that is looked at, in bytes.
    pub source_bytes_max: u64,
    /// The largest image, in pixels.
    pub pixels_max: u64,
    /// The pixels of all frames of an animation together; a longer one stands still.
    pub animation_pixels_max: u64,
    /// What a decoder may allocate, in bytes.
    pub memory_bytes_max: u64,
    /// How long reading and decoding may take, in milliseconds.
    pub time_ms_max: u64,
}

impl Default for ThumbnailLimits {
    fn default() -> Self {
        Self {
            source_bytes_max: 100 * 1024 * 1024,
            pixels_max: 32_000_000,
            animation_pixels_max: 100_000_000,
            memory_bytes_max: 256 * 1024 * 1024,
            time_ms_max: 10_000,
        }
    }
}

/// A small picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// The file.
    pub bytes: Bytes,
    /// `image/png`, `image/jpeg` or `image/gif`.
    pub content_type: &'static str,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// What to send to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThumbnailAnswer {
    /// This picture.
    Made(Thumbnail),
    /// The blob itself: it is an image that is not larger than what was wanted.
    Original,
}

/// Why there is no thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThumbnailError {
    /// The wanted size is 0.
    #[error("the requested size is not valid")]
    InvalidSize,
    /// There is no such blob.
    #[error("there is no such file")]
    NotFound,
    /// It is no image of a known format, or a damaged one.
    #[error("the file is no image that can be decoded")]
    NotAnImage,
    /// It is beyond the limits.
    #[error("the image is too large")]
    TooLarge,
    /// Too many others wait.
    #[error("too many thumbnails are being made")]
    Busy,
    /// The disk is at fault.
    #[error("the thumbnail could not be read or written: {0}")]
    Io(String),
}
