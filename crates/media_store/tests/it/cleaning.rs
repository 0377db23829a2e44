//! What is taken away, and what stays.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lyceum_media_store::{
    Dropped, Lifetimes, MediaStore, Method, Requested, ThumbnailAnswer, ThumbnailLimits,
};

use crate::pictures::opaque;

const HOUR: Duration = Duration::from_secs(60 * 60);
const FOR_EVER: Lifetimes = Lifetimes {
    thumbnails: None,
    unnamed: None,
};
const HOURS: Lifetimes = Lifetimes {
    thumbnails: Some(HOUR),
    unnamed: Some(HOUR),
};

#[tokio::test]
async fn only_old_blobs_are_told_and_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let store = MediaStore::open(directory.path(), ThumbnailLimits::default()).unwrap();
    let sha256 = put(&store, b"some bytes").await;
    let first = sha256[0];
    assert!(store.blobs(first, HOUR).await.unwrap().is_empty());
    assert!(
        !store.set_aside(&sha256, HOUR).await.unwrap(),
        "it is young"
    );
    make_old(&file_of(directory.path(), "blobs"));
    assert_eq!(store.blobs(first, HOUR).await.unwrap(), [sha256]);
    assert!(
        store
            .blobs(first.wrapping_add(1), HOUR)
            .await
            .unwrap()
            .is_empty(),
        "it begins otherwise"
    );
    // The same bytes come again: whoever sent them is about to name them.
    put(&store, b"some bytes").await;
    assert!(store.blobs(first, HOUR).await.unwrap().is_empty());
    assert!(!store.set_aside(&sha256, HOUR).await.unwrap());
    assert!(store.exists(&sha256).await.unwrap());

    make_old(&file_of(directory.path(), "blobs"));
    assert!(store.set_aside(&sha256, HOUR).await.unwrap());
    assert!(!store.set_aside(&sha256, HOUR).await.unwrap(), "it is gone");
    assert!(!store.exists(&sha256).await.unwrap());
    // It lies aside from now on, however old it is.
    assert_eq!(
        store.drop_old(first, HOURS).await.unwrap(),
        Dropped::default()
    );
    make_old(&file_of(directory.path(), "unnamed"));
    assert_eq!(
        store.drop_old(first, FOR_EVER).await.unwrap(),
        Dropped::default()
    );
    let other = first.wrapping_add(1);
    assert_eq!(
        store.drop_old(other, HOURS).await.unwrap(),
        Dropped::default()
    );
    let dropped = store.drop_old(first, HOURS).await.unwrap();
    assert_eq!((dropped.thumbnails, dropped.blobs), (0, 1));
    // And it may come again.
    put(&store, b"some bytes").await;
    assert!(store.exists(&sha256).await.unwrap());
}

#[tokio::test]
async fn thumbnails_go_with_their_time_or_their_blob() {
    let directory = tempfile::tempdir().unwrap();
    let store = MediaStore::open(directory.path(), ThumbnailLimits::default()).unwrap();
    let picture = opaque(700, 700, image::ImageFormat::Png);
    let sha256 = put(&store, &picture).await;
    let first = sha256[0];
    let requested = Requested {
        width: 32,
        height: 32,
        method: Method::Crop,
        animated: false,
    };
    let make = async || match store.thumbnail(&sha256, requested).await.unwrap() {
        ThumbnailAnswer::Made(thumbnail) => thumbnail,
        ThumbnailAnswer::Original => panic!("the original"),
    };
    let made = make().await;
    assert_eq!(
        store.drop_old(first, HOURS).await.unwrap(),
        Dropped::default()
    );
    make_old(&file_of(directory.path(), "thumbnails"));
    assert_eq!(store.drop_old(first, HOURS).await.unwrap().thumbnails, 1);
    assert_eq!(make().await, made, "it is made again");
    // Whatever took the blob away left its thumbnail.
    fs::remove_file(file_of(directory.path(), "blobs")).unwrap();
    assert_eq!(store.drop_old(first, FOR_EVER).await.unwrap().thumbnails, 1);
}

async fn put(store: &MediaStore, bytes: &[u8]) -> [u8; 32] {
    let mut upload = store.begin_upload(u64::MAX);
    upload.write(bytes).await.unwrap();
    upload.finish().await.unwrap().sha256
}

/// The only file below one of the store's directories.
fn file_of(directory: &Path, name: &str) -> PathBuf {
    let mut path = directory.join(name);
    while path.is_dir() {
        let entries: Vec<_> = fs::read_dir(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 1, "{}", path.display());
        path = entries[0].path();
    }
    path
}

#[allow(
    clippy::disallowed_methods,
    reason = "the times of files are the system's"
)]
fn make_old(path: &Path) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
}
