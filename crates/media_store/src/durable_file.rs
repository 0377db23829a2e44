//! Files that appear whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Distinguishes temporary files of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file under a temporary name; it is deleted unless [`TemporaryFile::keep_as`] succeeds.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: File,
    path: PathBuf,
    is_kept: bool,
}

impl TemporaryFile {
    /// Makes an empty one in `directory`, which must be in the same file system as its end.
    pub(crate) fn create(directory: &Path) -> io::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            is_kept: false,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name, durably: when this returns, the file survives a loss of power.
    pub(crate) fn keep_as(mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        create_directory(directory)?;
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        sync_directory(directory)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // If this fails the next start removes it.
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// Makes a directory durably, if it is not there; its parent must be.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Ok(()) => directory.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes what was created, renamed or removed in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
