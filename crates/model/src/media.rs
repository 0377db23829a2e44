//! What is known of an uploaded file; the bytes themselves lie in `media_store`.

use ruma_common::{OwnedServerName, OwnedUserId};

use crate::Timestamp;

/// Which file: `mxc://server_name/media_id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaId {
    /// Where it was uploaded.
    pub server_name: OwnedServerName,
    /// Its name there.
    pub media_id: String,
}

/// A file, or the promise of one (asynchronous upload, Client-Server API "Content repository").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its id.
    pub id: MediaId,
    /// Who uploaded it; `None` for files of other servers.
    pub uploader: Option<OwnedUserId>,
    /// When the id was made.
    pub created: Timestamp,
    /// SHA-256 of the bytes, once they are there.
    pub sha256: Option<[u8; 32]>,
    /// How many bytes.
    pub size: u64,
    /// `Content-Type` of the upload.
    pub content_type: Option<String>,
    /// The file name that was given.
    pub file_name: Option<String>,
    /// Until when a promised upload may come.
    pub upload_until: Option<Timestamp>,
    /// When it was last asked for, to the hour.
    pub last_access: Option<Timestamp>,
    /// The admin who keeps others from seeing it.
    pub quarantined_by: Option<OwnedUserId>,
    /// Whether it is exempt from quarantine.
    pub is_safe_from_quarantine: bool,
}

/// A change to the files.
#[derive(Debug, Clone)]
pub enum MediaChange {
    /// The record of a file is made or replaced.
    Put(Media),
    /// It is forgotten.
    Remove(MediaId),
    /// It was asked for.
    Accessed(MediaId, Timestamp),
}
