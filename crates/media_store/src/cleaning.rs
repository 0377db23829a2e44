//! What is no longer wanted: thumbnails that are old or whose blob is gone, and blobs that nothing
//! names. The latter lie aside for a while before they go, since only the caller's records say
//! that nothing names them.

use std::{
    fs::{self, DirEntry, File},
    io::{self, ErrorKind},
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{blob_store::Places, durable_file::sync_directory};

/// How long things are kept. `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Thumbnails, from when they were made.
    pub thumbnails: Option<Duration>,
    /// Blobs that were set aside, from then.
    pub unnamed: Option<Duration>,
}

/// How many files went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Thumbnails.
    pub thumbnails: u64,
    /// Blobs.
    pub blobs: u64,
}

pub(crate) fn blobs(directory: &Path, age_min: Duration) -> io::Result<Vec<[u8; 32]>> {
    let mut found = Vec::new();
    for entry in entries(directory)? {
        if let Some(sha256) = name_of(&entry)
            && age_of(&entry.path())?.is_some_and(|age| age >= age_min)
        {
            found.push(sha256);
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub(crate) fn set_aside(places: &Places, sha256: &[u8; 32], age_min: Duration) -> io::Result<bool> {
    let (from, to) = (places.blob(sha256), places.unnamed(sha256));
    if age_of(&from)?.is_none_or(|age| age < age_min) {
        return Ok(false);
    }
    match fs::rename(&from, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    touch(&to)?;
    from.parent().map_or(Ok(()), sync_directory)?;
    sync_directory(places.all_unnamed())?;
    Ok(true)
}

pub(crate) fn drop_old(places: &Places, first: u8, lifetimes: Lifetimes) -> io::Result<Dropped> {
    let mut dropped = Dropped::default();
    for entry in entries(&places.thumbnails_from(first))? {
        let path = entry.path();
        let is_old = is_older(&path, lifetimes.thumbnails)?;
        let is_orphan = match name_of(&entry) {
            Some(sha256) => !places.blob(&sha256).try_exists()?,
            None => false,
        };
        if is_old || is_orphan {
            dropped.thumbnails += u64::from(remove(&path)?);
        }
    }
    for entry in entries(places.all_unnamed())? {
        let is_meant = name_of(&entry).is_some_and(|sha256| sha256[0] == first);
        if is_meant && is_older(&entry.path(), lifetimes.unnamed)? {
            dropped.blobs += u64::from(remove(&entry.path())?);
        }
    }
    Ok(dropped)
}

/// Makes a file as young as one that was written now.
#[allow(
    clippy::disallowed_methods,
    reason = "the times of files are the system's"
)]
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    File::options()
        .append(true)
        .open(path)?
        .set_modified(SystemTime::now())
}

/// What lies in a directory, which need not be there.
fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// How long ago a file was written; `None` if it is not there.
fn age_of(path: &Path) -> io::Result<Option<Duration>> {
    match fs::metadata(path) {
        // What seems to come from the future is young.
        Ok(metadata) => Ok(Some(metadata.modified()?.elapsed().unwrap_or_default())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_older(path: &Path, lifetime: Option<Duration>) -> io::Result<bool> {
    let Some(lifetime) = lifetime else {
        return Ok(false);
    };
    Ok(age_of(path)?.is_some_and(|age| age >= lifetime))
}

fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The blob by whose name a file's name begins.
fn name_of(entry: &DirEntry) -> Option<[u8; 32]> {
    let name = entry.file_name();
    let name = name.to_str()?.get(..64)?;
    let mut sha256 = [0; 32];
    for (index, byte) in sha256.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(sha256)
}
