//! Figures for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Batches that were stored.
    pub commits: u64,
    /// Batches that were refused because a fact no longer held.
    pub stale: u64,
    /// Transactions in which batches were stored together.
    pub groups: u64,
    /// How many batches the newest group had.
    pub last_group_batches: u64,
    /// How long the newest group took to become durable (the fsync), in microseconds.
    pub last_commit_us: u64,
    /// How long the newest group took in all, in microseconds.
    pub last_group_us: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Bytes in the write-ahead log when it was last looked at; 0 for PostgreSQL.
    pub log_bytes: u64,
    /// Batches that wait for the writer.
    pub waiting_batches: u64,
    /// Questions that wait for a reader.
    pub waiting_questions: u64,
}

/// The figures as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) commits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) last_group_batches: AtomicU64,
    pub(crate) last_commit_us: AtomicU64,
    pub(crate) last_group_us: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
}

impl Counted {
    pub(crate) fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            commits: read(&self.commits),
            stale: read(&self.stale),
            groups: read(&self.groups),
            last_group_batches: read(&self.last_group_batches),
            last_commit_us: read(&self.last_commit_us),
            last_group_us: read(&self.last_group_us),
            failures: read(&self.failures),
            log_bytes: read(&self.log_bytes),
            waiting_batches: 0,
            waiting_questions: 0,
        }
    }
}

/// Measures time for figures; nothing is decided by it.
#[derive(Debug)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "measures; nothing is decided by it"
        )]
        Self(std::time::Instant::now())
    }

    pub(crate) fn us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
