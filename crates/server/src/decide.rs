//! Deciding anew what another node was faster with.

use std::{future::Future, time::Duration};

use lyceum_storage::CommitError;

/// How often something is decided at most. On this node decisions about the same thing wait for
/// each other, so only other nodes can be faster, and each time one of them is done.
const ATTEMPTS_MAX: u8 = 32;
/// From this attempt on there is a pause of some milliseconds before, so that nobody starves.
const HASTY_ATTEMPTS: u8 = 4;

/// A failure that says whether it helps to decide anew.
pub(crate) trait MayBeStale {
    /// Whether a fact no longer held on which the decision rested.
    fn is_stale(&self) -> bool;
}

impl MayBeStale for CommitError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_))
    }
}

/// Loads, decides and commits until what the decision rested on still holds when it is stored.
pub(crate) async fn decide<T, E, F>(mut decision: impl FnMut() -> F + Send) -> Result<T, E>
where
    E: MayBeStale + Send,
    F: Future<Output = Result<T, E>> + Send,
    T: Send,
{
    for attempt in 1..ATTEMPTS_MAX {
        pause_before(attempt).await;
        match decision().await {
            Err(error) if error.is_stale() => {}
            outcome => return outcome,
        }
    }
    decision().await
}

/// Lets others who decide about the same thing be done, after some attempts in vain.
pub(crate) async fn pause_before(attempt: u8) {
    if attempt >= HASTY_ATTEMPTS {
        let [chance] = crate::chance::bytes();
        tokio::time::sleep(Duration::from_millis(u64::from(chance % attempt))).await;
    }
}
