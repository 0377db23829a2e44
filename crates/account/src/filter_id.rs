//! The name of a stored filter: made from its content, so that equal filters are kept once.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How many characters an id has.
pub const FILTER_ID_LENGTH: usize = 22;

/// A filter's id and the JSON to keep, with keys in order. The id never begins with `{`, so it
/// cannot be taken for an inline filter.
pub fn of(filter: &Value) -> (String, String) {
    let json = filter.to_string();
    let mut id = URL_SAFE_NO_PAD.encode(Sha256::digest(&json));
    id.truncate(FILTER_ID_LENGTH);
    (id, json)
}
