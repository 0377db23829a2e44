//! The workers that make thumbnails, and the cache of what they made.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

use super::{
    Requested, Size, Thumbnail, ThumbnailAnswer, ThumbnailError, ThumbnailLimits,
    pixels::{self, LargeImageTurn},
};
use crate::{
    blob_store::{Places, blocking},
    durable_file::TemporaryFile,
};

/// How many thumbnails are made at a time.
pub const WORKERS: usize = 2;
/// How many wait for a worker; others are told to come again.
pub const WAITING_MAX: usize = 64;

type Answer = Result<ThumbnailAnswer, ThumbnailError>;

/// A thumbnail that is or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    sha256: [u8; 32],
    size: Size,
    animated: bool,
}

impl Key {
    /// What distinguishes the file from others of the same blob.
    fn suffix(&self) -> String {
        let Size {
            width,
            height,
            method,
        } = self.size;
        let animated = if self.animated { "-animated" } else { "" };
        format!("{width}x{height}-{}{animated}", method.as_str())
    }
}

/// Makes thumbnails; its threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Filled at the first use, so that a server that makes no thumbnails has no threads.
    queue: Mutex<Option<mpsc::SyncSender<Key>>>,
}

#[derive(Debug)]
struct Shared {
    places: Arc<Places>,
    limits: ThumbnailLimits,
    turn: LargeImageTurn,
    /// Who waits for which thumbnail.
    waiting: Mutex<BTreeMap<Key, Vec<oneshot::Sender<Answer>>>>,
}

impl Pool {
    pub(crate) fn new(places: Arc<Places>, limits: ThumbnailLimits) -> Self {
        let (turn, waiting) = (LargeImageTurn::default(), Mutex::default());
        let shared = Shared {
            places,
            limits,
            turn,
            waiting,
        };
        Self {
            shared: Arc::new(shared),
            queue: Mutex::default(),
        }
    }

    pub(crate) async fn get(&self, sha256: &[u8; 32], requested: Requested) -> Answer {
        if requested.width == 0 || requested.height == 0 {
            return Err(ThumbnailError::InvalidSize);
        }
        let size = Size::standard(&requested);
        let key = Key {
            sha256: *sha256,
            size,
            animated: requested.animated,
        };
        if let Some(answer) = self.cached(key).await? {
            return Ok(answer);
        }
        match self.order(key)?.await {
            Ok(answer) => answer,
            // Its worker is gone: the store was closed.
            Err(_) => Err(ThumbnailError::Busy),
        }
    }

    async fn cached(&self, key: Key) -> Result<Option<ThumbnailAnswer>, ThumbnailError> {
        let path = self.shared.places.thumbnail(&key.sha256, &key.suffix());
        let read = blocking(move || match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let bytes = read
            .await
            .map_err(|error| ThumbnailError::Io(error.to_string()))?;
        Ok(bytes
            .and_then(Thumbnail::from_cache)
            .map(ThumbnailAnswer::Made))
    }

    /// Puts a thumbnail into the queue, or joins those who wait for it.
    fn order(&self, key: Key) -> Result<oneshot::Receiver<Answer>, ThumbnailError> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.shared.waiting();
        if let Some(others) = waiting.get_mut(&key) {
            others.push(sender);
            return Ok(receiver);
        }
        self.queue()?
            .try_send(key)
            .map_err(|_| ThumbnailError::Busy)?;
        waiting.insert(key, vec![sender]);
        Ok(receiver)
    }

    fn queue(&self) -> Result<mpsc::SyncSender<Key>, ThumbnailError> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = &*queue {
            return Ok(queue.clone());
        }
        let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..WORKERS {
            let (shared, receiver) = (Arc::clone(&self.shared), Arc::clone(&receiver));
            thread::Builder::new()
                .name("thumbnails".to_owned())
                .spawn(move || shared.work(&receiver))
                .map_err(|error| ThumbnailError::Io(error.to_string()))?;
        }
        *queue = Some(sender.clone());
        Ok(sender)
    }
}

impl Shared {
    fn work(&self, queue: &Mutex<mpsc::Receiver<Key>>) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(key) = next else { return };
            // Each picture has a thread of its own: when it ends, the allocator gives the memory
            // of the decoded picture back, which an idle worker would keep.
            let answer = thread::scope(|scope| scope.spawn(|| self.make(key)).join())
                .unwrap_or_else(|_| Err(ThumbnailError::NotAnImage));
            let waiting = self.waiting().remove(&key).unwrap_or_default();
            for sender in waiting {
                // Who no longer waits does not need it.
                let _unwanted = sender.send(answer.clone());
            }
        }
    }

    fn make(&self, key: Key) -> Answer {
        let io = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => ThumbnailError::NotFound,
            _ => ThumbnailError::Io(error.to_string()),
        };
        let file = fs::File::open(self.places.blob(&key.sha256)).map_err(io)?;
        if file.metadata().map_err(io)?.len() > self.limits.source_bytes_max {
            return Err(ThumbnailError::TooLarge);
        }
        let made = pixels::make(file, key.size, key.animated, &self.limits, &self.turn)?;
        let ThumbnailAnswer::Made(thumbnail) = &made else {
            return Ok(made);
        };
        // A thumbnail that cannot be kept is made again another time.
        let _uncached = self.keep(key, thumbnail);
        Ok(made)
    }

    fn keep(&self, key: Key, thumbnail: &Thumbnail) -> std::io::Result<()> {
        let mut file = TemporaryFile::create(self.places.uploads())?;
        file.write(&thumbnail.to_cache())?;
        file.keep_as(&self.places.thumbnail(&key.sha256, &key.suffix()))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<oneshot::Sender<Answer>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands before a cached picture: width and height, four bytes each, the last byte first.
const CACHE_HEAD_BYTES: usize = 8;

impl Thumbnail {
    fn to_cache(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(CACHE_HEAD_BYTES + self.bytes.len());
        file.extend_from_slice(&self.width.to_le_bytes());
        file.extend_from_slice(&self.height.to_le_bytes());
        file.extend_from_slice(&self.bytes);
        file
    }

    /// `None` if the file is damaged.
    fn from_cache(file: Vec<u8>) -> Option<Self> {
        let width = u32::from_le_bytes(*file.first_chunk()?);
        let height = u32::from_le_bytes(*file.get(4..)?.first_chunk()?);
        let bytes = bytes::Bytes::from(file).slice(CACHE_HEAD_BYTES..);
        let content_type = match &*bytes {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [0xff, 0xd8, ..] => "image/jpeg",
            [b'G', b'I', b'F', ..] => "image/gif",
            _ => return None,
        };
        Some(Self {
            bytes,
            content_type,
            width,
            height,
        })
    }
}
