//! The media store, tested from outside.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod blobs;
mod cleaning;
mod pictures;
mod thumbnails;
