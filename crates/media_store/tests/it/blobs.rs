//! Blobs: what goes in comes out, durably named by its hash, within limits.

use std::{fs, path::Path};

use lyceum_media_store::{MediaError, MediaStore, Stored, ThumbnailLimits};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

/// Larger than what waits in memory.
const LARGE_BYTES: usize = 700_000;

fn open(directory: &Path) -> MediaStore {
    MediaStore::open(directory, ThumbnailLimits::default()).unwrap()
}

async fn put(store: &MediaStore, bytes: &[u8], piece: usize) -> Result<Stored, MediaError> {
    let mut upload = store.begin_upload(1_000_000);
    for piece in bytes.chunks(piece) {
        upload.write(piece).await?;
    }
    upload.finish().await
}

async fn get(store: &MediaStore, sha256: &[u8; 32]) -> Option<Vec<u8>> {
    let mut blob = store.open_blob(sha256).await.unwrap()?;
    let mut bytes = Vec::new();
    blob.file.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(blob.size, bytes.len() as u64);
    Some(bytes)
}

/// The names of all files below a directory.
fn files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(files(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let edge = 256 * 1024;
    for (length, piece) in [
        (0, 1),
        (1, 1),
        (1000, 7),
        (edge - 1, 60_000),
        (edge, edge),
        (edge + 1, 99_999),
        (LARGE_BYTES, 16_384),
    ] {
        let bytes = noise(length);
        let stored = put(&store, &bytes, piece).await.unwrap();
        assert_eq!(
            stored.sha256,
            <[u8; 32]>::from(Sha256::digest(&bytes)),
            "{length}"
        );
        assert_eq!(stored.size, length as u64);
        assert_eq!(
            get(&store, &stored.sha256).await.as_deref(),
            Some(&*bytes),
            "{length}"
        );
        assert!(store.exists(&stored.sha256).await.unwrap());
    }
    assert_eq!(
        files(&directory.path().join("uploads")),
        Vec::<String>::new()
    );
    assert_eq!(files(&directory.path().join("blobs")).len(), 7);
}

#[tokio::test]
async fn equal_bytes_are_kept_once_and_removed_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = put(&store, b"hello", 2).await.unwrap();
    let second = put(&store, b"hello", 5).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(files(&directory.path().join("blobs")).len(), 1);

    let mut reader = store.open_blob(&first.sha256).await.unwrap().unwrap();
    assert!(store.remove(&first.sha256).await.unwrap());
    assert!(!store.remove(&first.sha256).await.unwrap());
    assert!(!store.exists(&first.sha256).await.unwrap());
    assert_eq!(get(&store, &first.sha256).await, None);
    let mut bytes = Vec::new();
    reader.file.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"hello");
}

#[tokio::test]
async fn too_large_is_noticed_while_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for limit in [10, 600_000] {
        let mut upload = store.begin_upload(limit);
        let mut refused = None;
        for piece in noise(LARGE_BYTES).chunks(9) {
            if let Err(error) = upload.write(piece).await {
                refused = Some((error, upload.size()));
                break;
            }
        }
        let (error, size) = refused.unwrap();
        assert!(matches!(error, MediaError::TooLarge { size_max } if size_max == limit));
        assert!(size < limit + 9);
        assert!(upload.finish().await.is_err());
    }
    assert_eq!(files(directory.path()), Vec::<String>::new());
    let mut upload = store.begin_upload(10);
    upload.write(&noise(10)).await.unwrap();
    assert!(upload.finish().await.is_ok());
}

#[tokio::test]
async fn abandoned_uploads_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut upload = store.begin_upload(1_000_000);
    upload.write(&noise(LARGE_BYTES)).await.unwrap();
    assert_eq!(files(directory.path()).len(), 1);
    drop(upload);
    assert_eq!(files(directory.path()), Vec::<String>::new());

    // As after a crash: the file stays, the next start removes it.
    let stored = put(&store, b"kept", 4).await.unwrap();
    fs::write(directory.path().join("uploads").join("1-2"), "half").unwrap();
    let store = open(directory.path());
    assert_eq!(files(directory.path()).len(), 1);
    assert_eq!(
        get(&store, &stored.sha256).await.as_deref(),
        Some(&b"kept"[..])
    );
}

#[tokio::test]
async fn concurrent_uploads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let uploads = (0..16).map(|number| {
        let store = store.clone();
        // Half of them bring the same bytes.
        async move {
            put(&store, &noise(300_000 + number % 8), 50_000)
                .await
                .unwrap()
        }
    });
    let mut set = tokio::task::JoinSet::new();
    for upload in uploads {
        set.spawn(upload);
    }
    let stored = set.join_all().await;
    for one in &stored {
        assert_eq!(
            get(&store, &one.sha256).await.unwrap().len() as u64,
            one.size
        );
    }
    assert_eq!(files(directory.path()).len(), 8);
}

#[tokio::test]
async fn a_full_disk_is_told_apart() {
    let full = MediaError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
    assert!(full.is_storage_full());
    let broken = MediaError::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
    assert!(!broken.is_storage_full());
}
