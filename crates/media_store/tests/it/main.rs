//! The media store, tested from outside.

mod blobs;
mod pictures;
mod thumbnails;
