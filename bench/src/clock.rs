//! The driver's clock: the only place of this crate that reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The present moment on the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a load driver measures time, it decides nothing by it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for names that differ from run to run.
#[expect(
    clippy::disallowed_methods,
    reason = "only names of this run's accounts come from it"
)]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
