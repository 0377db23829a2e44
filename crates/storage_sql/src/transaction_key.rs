//! Under which key a client's transaction is found.

use lyceum_model::{Timestamp, TransactionId};
use sha2::{Digest, Sha256};

/// Transactions of so many milliseconds lie together.
const BUCKET_MS: u64 = 8 * 60 * 60 * 1000;

/// All buckets that there are, by skipping from one to the next.
macro_rules! buckets {
    () => {
        "WITH RECURSIVE buckets (bucket) AS (\
         SELECT MIN(bucket) FROM transactions \
         UNION ALL \
         SELECT (SELECT MIN(t.bucket) FROM transactions t WHERE t.bucket > b.bucket) \
         FROM buckets b WHERE b.bucket IS NOT NULL) "
    };
}
pub(crate) use buckets;

/// 128 bits of a hash of the whole id.
pub(crate) fn key_of(id: &TransactionId) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in [
        id.user_id.as_str(),
        id.device_id.as_str(),
        &id.scope,
        &id.transaction_id,
    ] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize()[..16]);
    key
}

pub(crate) fn bucket_of(at: Timestamp) -> i64 {
    i64::try_from(at.0 / BUCKET_MS).unwrap_or(i64::MAX)
}
