//! Turns: who reads something, changes it and writes it back is alone with it on this node.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

/// Turns are shared by names that hash alike.
const TURNS: usize = 256;

/// A turn for each name.
#[derive(Debug)]
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    /// Waits until nobody else has the turn for this name. Who has one must not ask for another
    /// of the same kind.
    pub(crate) async fn of(&self, name: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let index = (hasher.finish() % TURNS as u64) as usize;
        self.0[index].lock().await
    }
}
