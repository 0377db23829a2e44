//! Files on disk, named by the SHA-256 of their bytes, and small pictures of them.
//!
//! Invariants: a blob is whole or absent, and was synced to disk before its upload is
//! acknowledged; equal bytes are kept once. Thumbnails are a cache: they may be deleted at any
//! time. Any bytes given as an image yield a thumbnail or an error, never a crash, within limits
//! of pixels, memory and time. Nothing here knows Matrix ids, users, or who may see what.

mod blob_store;
mod cleaning;
mod durable_file;
mod thumbnail;
mod upload;

pub use blob_store::{Blob, MediaError, MediaStore};
pub use cleaning::{Dropped, Lifetimes};
pub use thumbnail::{
    FRAMES_MAX, Method, Requested, Size, Thumbnail, ThumbnailAnswer, ThumbnailError,
    ThumbnailLimits, WAITING_MAX, WORKERS,
};
pub use upload::{Stored, Upload};
