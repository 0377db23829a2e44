//! Waiting for files that were promised.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use lyceum_model::{MediaId, MediaIdText, Touch};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// For how many different files somebody may wait at a time on this node.
const AWAITED_MAX: usize = 10_000;

/// Who waits for which file.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<HashMap<MediaIdText, Weak<Notify>>>);

impl Arrivals {
    /// What will be notified when the record of this file is next written; `None`: too many files
    /// are awaited.
    pub(super) fn of(&self, id: &MediaId) -> Option<Arc<Notify>> {
        let mut awaited = self.0.lock();
        let text = format!("{}/{}", id.server_name, id.media_id);
        if let Some(notify) = awaited.get(&text).and_then(Weak::upgrade) {
            return Some(notify);
        }
        if awaited.len() >= AWAITED_MAX {
            awaited.retain(|_, notify| notify.strong_count() > 0);
        }
        if awaited.len() >= AWAITED_MAX {
            return None;
        }
        let notify = Arc::new(Notify::new());
        awaited.insert(text, Arc::downgrade(&notify));
        Some(notify)
    }

    /// Wakes who waits for one of these files.
    pub(super) fn publish(&self, touches: &[Touch]) {
        for touch in touches {
            if let Touch::Media(id) = touch {
                let notify = self.0.lock().remove(id);
                if let Some(notify) = notify.and_then(|notify| notify.upgrade()) {
                    notify.notify_waiters();
                }
            }
        }
    }
}
