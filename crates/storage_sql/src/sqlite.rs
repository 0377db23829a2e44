//! The embedded engine: one SQLite file.
//!
//! One connection writes, on the writer's thread; readers have their own and never wait for it.
//! The write-ahead log is moved into the database by a thread of its own, never on the writer's
//! path; when it has grown long, the writer is stopped for the moment that starting anew takes.

use std::{
    fs::{File, TryLockError},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lyceum_model::Position;
use lyceum_storage::{Published, StorageError};
use parking_lot::{Condvar, Mutex};

use crate::{
    figures::Counted,
    ledger::Ledger,
    migrations::migrate,
    publisher::Turn,
    readers::OpenSession,
    sql::Session,
    sqlite_session::{SqliteSession, Use},
    store::{Parts, SqlStore},
    writer::Engine,
};

/// When the log has so many bytes, it is started anew, unless said otherwise.
const LOG_BYTES_MAX: u64 = 32 << 20;
/// A file so many times as long is made short again.
const LOG_FILE_MAX: u64 = 4;
/// By so many bytes the log's file is made longer at once: the writer waits meanwhile.
const LOG_BYTES_PER_STEP: u64 = 1 << 20;
/// Pause after which the log is moved, if anything was written.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(2);
/// How many readers there are unless said otherwise.
const READERS: usize = 4;
/// How many lookups can happen at once without a thread of ours.
const LOOKUPS: usize = 4;
/// Pages of the database if nothing limits them.
const PAGES_UNLIMITED: u64 = 4_294_967_294;

/// How a SQLite store is opened.
#[derive(Debug, Clone, Copy)]
pub struct SqliteOptions {
    /// How many threads answer questions.
    pub readers: usize,
    /// How many bytes the database file may have; as full as a full disk beyond that.
    pub bytes_max: Option<u64>,
    /// When the write-ahead log has so many bytes, it is started anew.
    pub log_bytes_max: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: READERS,
            bytes_max: None,
            log_bytes_max: LOG_BYTES_MAX,
        }
    }
}

/// What belongs to SQLite only.
#[derive(Debug)]
pub struct Sqlite {
    checkpoints: Arc<Checkpoints>,
    checkpoint_thread: Mutex<Option<JoinHandle<()>>>,
    bytes_max: Arc<AtomicU64>,
    /// Held so that no other process opens the same file.
    lock: Mutex<Option<File>>,
}

/// A store in a SQLite file.
pub type SqliteStore = SqlStore<Sqlite>;

impl SqliteStore {
    /// Opens the database in this file, made if there is none. Nobody else may have it open.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StorageError> {
        let lock = lock(path)?;
        let mut session = SqliteSession::open(path, Use::Write)?;
        session.begin_write()?;
        let ledger = match migrate(&mut session).and_then(|()| Ledger::read(&mut session)) {
            Ok(ledger) => ledger,
            Err(error) => {
                session.rollback();
                return Err(error);
            }
        };
        session.commit()?;
        let position = Position(ledger.counters.position.cast_unsigned());
        let parts = Parts::new(position);
        let bytes_max = Arc::new(AtomicU64::new(options.bytes_max.unwrap_or(u64::MAX)));
        let checkpoints = Arc::new(Checkpoints::new(
            Arc::clone(&parts.counted),
            options.log_bytes_max,
        ));
        let page_bytes = session.page_bytes()?;
        let log_pages = Arc::default();
        session.watch_log(Arc::clone(&log_pages))?;
        let engine = SqliteWriter {
            session,
            checkpoints: Arc::clone(&checkpoints),
            bytes_max: Arc::clone(&bytes_max),
            bytes_set: u64::MAX,
            page_bytes,
            log_pages,
        };
        let checkpoint_thread = {
            let checkpoints = Arc::clone(&checkpoints);
            let path = path.to_owned();
            std::thread::Builder::new()
                .name("storage-log".to_owned())
                .spawn(move || checkpoints.run(&path))
                .map_err(|error| StorageError::Broken(format!("no thread: {error}")))?
        };
        let own = Sqlite {
            checkpoints,
            checkpoint_thread: Mutex::new(Some(checkpoint_thread)),
            bytes_max,
            lock: Mutex::new(Some(lock)),
        };
        let readers = (options.readers, &opener(path, Use::Read));
        let lookups = Some((LOOKUPS, opener(path, Use::LookUp)));
        Self::start(own, parts, engine, Some(ledger), readers, lookups)
    }

    /// Limits the size of the database file from the next write on.
    pub fn limit_bytes(&self, bytes_max: Option<u64>) {
        self.own
            .bytes_max
            .store(bytes_max.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl crate::store::Own for Sqlite {
    const IS_SHARED: bool = false;

    fn close(&self) {
        self.checkpoints.close();
        if let Some(thread) = self.checkpoint_thread.lock().take() {
            // It holds nothing that its end could break.
            let _ = thread.join();
        }
        *self.lock.lock() = None;
    }

    fn abandon(&self) {
        self.checkpoints.state.lock().is_abandoned = true;
    }
}

fn opener(path: &Path, purpose: Use) -> Arc<OpenSession> {
    let path = path.to_owned();
    Arc::new(move || -> Result<Box<dyn Session>, StorageError> {
        Ok(Box::new(SqliteSession::open(&path, purpose)?))
    })
}

/// The file beside the database whose name ends so.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Takes the file that says that the database is in use.
fn lock(path: &Path) -> Result<File, StorageError> {
    let name = beside(path, ".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => StorageError::Full,
            _ => StorageError::Unreachable(format!("{}: {error}", name.display())),
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Unreachable(format!(
            "{} is in use by another process",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(StorageError::Unreachable(error.to_string())),
    }
}

struct SqliteWriter {
    session: SqliteSession,
    checkpoints: Arc<Checkpoints>,
    bytes_max: Arc<AtomicU64>,
    bytes_set: u64,
    page_bytes: u64,
    /// How many pages the log had after the last commit.
    log_pages: Arc<AtomicU64>,
}

impl SqliteWriter {
    fn limit(&mut self) -> Result<(), StorageError> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        if bytes_max != self.bytes_set {
            let pages = if bytes_max == u64::MAX {
                PAGES_UNLIMITED
            } else {
                bytes_max / self.page_bytes
            };
            self.session.limit_pages(pages)?;
            self.bytes_set = bytes_max;
        }
        Ok(())
    }
}

impl Engine for SqliteWriter {
    fn session(&mut self) -> Result<&mut dyn Session, StorageError> {
        Ok(&mut self.session)
    }

    fn begin(&mut self, ledger: &mut Option<Ledger>) -> Result<(), StorageError> {
        self.limit()?;
        self.checkpoints.wait_for_turn();
        self.session.begin_write()?;
        if ledger.is_none() {
            *ledger = Some(Ledger::read(&mut self.session)?);
        }
        Ok(())
    }

    fn commit(&mut self, _: &[Published], _: &Turn<'_>) -> Result<Vec<Published>, StorageError> {
        self.session.commit()?;
        Ok(Vec::new())
    }

    fn recover(&mut self, _: &StorageError) {
        self.session.rollback();
    }

    fn rest(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        self.checkpoints.written(pages * self.page_bytes);
    }
}

/// How many looks at the log pass after a reader kept it from being started anew.
const LOOKS_SKIPPED: u32 = 8;

#[derive(Debug, Default)]
struct CheckpointState {
    /// Something was written since the log was looked at.
    is_written: bool,
    /// How many bytes the log has.
    log_bytes: u64,
    /// How many it had when it was looked at.
    bytes_seen: u64,
    /// The writer has begun a transaction, perhaps.
    is_writing: bool,
    /// The log is being started anew or made longer: the writer waits.
    is_writer_held: bool,
    is_closed: bool,
    /// How many looks pass before the log is started anew again.
    looks_to_skip: u32,
    /// The log stays as it is.
    is_abandoned: bool,
}

/// When the log is moved into the database.
#[derive(Debug)]
struct Checkpoints {
    state: Mutex<CheckpointState>,
    wake: Condvar,
    /// The writer has ended its transaction.
    rested: Condvar,
    released: Condvar,
    counted: Arc<Counted>,
    bytes_max: u64,
}

impl Checkpoints {
    fn new(counted: Arc<Counted>, bytes_max: u64) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            rested: Condvar::new(),
            released: Condvar::new(),
            counted,
            bytes_max,
        }
    }

    /// Waits while the log is started anew or made longer. The writer is between transactions.
    fn wait_for_turn(&self) {
        let mut state = self.state.lock();
        if state.is_writer_held {
            state.is_writing = false;
            self.rested.notify_one();
            self.released
                .wait_while(&mut state, |state| state.is_writer_held);
        }
        state.is_writing = true;
    }

    /// A group was written, after which the log has so many bytes.
    fn written(&self, log_bytes: u64) {
        self.counted.log_bytes.store(log_bytes, Ordering::Relaxed);
        let mut state = self.state.lock();
        let was_idle = !state.is_written;
        state.is_writing = false;
        state.is_written = true;
        state.log_bytes = log_bytes;
        if state.is_writer_held {
            self.rested.notify_one();
        }
        // It may have begun anew of itself.
        state.bytes_seen = state.bytes_seen.min(log_bytes);
        if was_idle || self.is_due(&state) {
            self.wake.notify_one();
        }
    }

    /// Whether the log is to be moved without waiting for a pause.
    fn is_due(&self, state: &CheckpointState) -> bool {
        let log_bytes = state.log_bytes;
        log_bytes >= self.bytes_max / 2 && log_bytes >= state.bytes_seen + self.bytes_max / 8
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
    }

    fn run(&self, path: &Path) {
        let mut session = None;
        // Of a short file it is tried once: that it stays short costs time only.
        let mut is_log_short = true;
        loop {
            {
                let mut state = self.state.lock();
                while !state.is_written && !state.is_closed {
                    self.wake.wait(&mut state);
                }
                if std::mem::take(&mut is_log_short) && !state.is_closed {
                    drop(state);
                    if let Err(error) = self.lengthen(path) {
                        tracing::debug!(%error, "the log's file stays short");
                    }
                    continue;
                }
                // Something was written: more will be, so wait for it.
                self.wake.wait_while_for(
                    &mut state,
                    |state| !self.is_due(state) && !state.is_closed,
                    CHECKPOINT_PAUSE,
                );
                if state.is_closed {
                    break;
                }
                state.is_written = false;
                state.bytes_seen = state.log_bytes;
            }
            if session.is_none() {
                session = SqliteSession::open(path, Use::Checkpoint).ok();
            }
            let Some(open) = session.as_mut() else {
                continue;
            };
            match self.checkpoint(open, path) {
                Ok(is_short) => is_log_short = is_short,
                Err(error) => {
                    // The log stays longer; whoever writes meets the same error, if it lasts.
                    tracing::debug!(%error, "the log could not be moved into the database");
                    session = None;
                }
            }
        }
        if self.state.lock().is_abandoned {
            return;
        }
        let last = match session {
            Some(session) => Ok(session),
            None => SqliteSession::open(path, Use::Checkpoint),
        };
        if let Err(error) = last.and_then(|mut session| session.checkpoint("TRUNCATE")) {
            tracing::debug!(%error, "the log stays beside the database");
        }
    }

    /// Makes the log's file as long as the log gets before it is started anew. A commit that only
    /// writes over what the file has is durable in half the time: the file system has nothing to
    /// note about it. Behind the log there may be anything; SQLite reads as far as the checksums
    /// are right.
    fn lengthen(&self, path: &Path) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::Broken(error.to_string());
        let mut session = SqliteSession::open(path, Use::Checkpoint)?;
        let name = beside(path, "-wal");
        let mut file = File::options().write(true).open(name).map_err(failed)?;
        let zeros = vec![0; LOG_BYTES_PER_STEP as usize];
        loop {
            if self.state.lock().is_closed {
                return Ok(());
            }
            let is_long = self.while_nobody_writes(|| {
                session.begin_write()?;
                let written = file.seek(SeekFrom::End(0)).and_then(|bytes| {
                    if bytes >= self.bytes_max / 2 {
                        return Ok(true);
                    }
                    file.write_all(&zeros)?;
                    Ok(false)
                });
                session.rollback();
                written.map_err(failed)
            })?;
            if is_long {
                return Ok(());
            }
            file.sync_data().map_err(failed)?;
        }
    }

    /// Does something short while the writer waits.
    fn while_nobody_writes<T>(&self, work: impl FnOnce() -> T) -> T {
        {
            let mut state = self.state.lock();
            state.is_writer_held = true;
            self.rested.wait_while(&mut state, |state| state.is_writing);
        }
        let result = work();
        self.state.lock().is_writer_held = false;
        self.released.notify_all();
        result
    }

    /// Moves the log, and starts it anew if it is half as long as it may be. Returns whether its
    /// file is short now.
    fn checkpoint(&self, session: &mut SqliteSession, path: &Path) -> Result<bool, StorageError> {
        session.checkpoint("PASSIVE")?;
        {
            let mut state = self.state.lock();
            if state.log_bytes < self.bytes_max / 2 {
                return Ok(false);
            }
            if state.looks_to_skip > 0 {
                state.looks_to_skip -= 1;
                return Ok(false);
            }
        }
        // The file keeps its length, unless somebody read for long and it grew too much.
        let file = std::fs::metadata(beside(path, "-wal"));
        let is_too_long = file.is_ok_and(|file| file.len() > LOG_FILE_MAX * self.bytes_max);
        let mode = if is_too_long { "TRUNCATE" } else { "RESTART" };
        // Nearly all of it has been moved just now; the rest is short.
        let (is_hindered, ..) = self.while_nobody_writes(|| session.checkpoint(mode))?;
        let mut state = self.state.lock();
        if is_hindered {
            // Somebody outside reads for long, a backup say: the log grows until they have done.
            state.looks_to_skip = LOOKS_SKIPPED;
            return Ok(false);
        }
        // The next commit writes at its beginning.
        state.bytes_seen = 0;
        state.log_bytes = 0;
        self.counted.log_bytes.store(0, Ordering::Relaxed);
        Ok(is_too_long)
    }
}
