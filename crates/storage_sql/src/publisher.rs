//! Tells the listener of every commit, in the order of positions and without gaps.

use std::sync::atomic::{AtomicU64, Ordering};

use lyceum_model::Position;
use lyceum_storage::Published;
use parking_lot::{Mutex, MutexGuard};

/// Who is told of commits.
pub(crate) type Listener = Box<dyn Fn(Published) + Send + Sync>;

/// Tells of commits.
pub(crate) struct Publisher {
    position: AtomicU64,
    listener: Mutex<Option<Listener>>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Publisher")
            .field("position", &self.position())
            .finish()
    }
}

impl Publisher {
    pub(crate) fn new(position: Position) -> Self {
        Self {
            position: AtomicU64::new(position.0),
            listener: Mutex::default(),
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        *self.listener.lock() = Some(listener);
    }

    /// The newest published commit.
    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }

    /// The right to publish. Who writes takes it before the commit becomes visible and keeps it
    /// until the commit is published, so that nobody else publishes it.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn {
            publisher: self,
            listener: self.listener.lock(),
        }
    }
}

/// The right to publish.
pub(crate) struct Turn<'a> {
    publisher: &'a Publisher,
    listener: MutexGuard<'a, Option<Listener>>,
}

impl Turn<'_> {
    /// Publishes a commit, unless it was published already. It must be the next one.
    pub(crate) fn publish(&mut self, published: Published) {
        let position = published.position;
        if position <= self.publisher.position() {
            return;
        }
        if let Some(listener) = &*self.listener {
            listener(published);
        }
        self.publisher.position.store(position.0, Ordering::Release);
    }

    /// The newest published commit.
    pub(crate) fn position(&self) -> Position {
        self.publisher.position()
    }
}
