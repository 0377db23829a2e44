//! What is remembered of a one-time key that was handed out.

use lyceum_model::OneTimeKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Tells a one-time key from others of its device: 64 bits of a hash of its id and the key itself,
/// its signatures aside.
pub fn fingerprint(key: &OneTimeKey) -> i64 {
    let value: Value = serde_json::from_str(&key.json).unwrap_or_default();
    let public = value.get("key").unwrap_or(&value);
    let mut hasher = Sha256::new();
    hasher.update(&key.key_id);
    hasher.update([0]);
    hasher.update(public.as_str().unwrap_or(&key.json));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize()[..8]);
    i64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::{OneTimeKey, fingerprint};

    fn of(key_id: &str, json: &str) -> i64 {
        fingerprint(&OneTimeKey {
            key_id: key_id.to_owned(),
            json: json.to_owned(),
        })
    }

    #[test]
    fn signatures_do_not_matter_and_all_else_does() {
        let one = of("s:A", r#"{"key":"abc","signatures":{"@a:b":{}}}"#);
        assert_eq!(
            of("s:A", r#"{"signatures":{"@a:b":{"x":"y"}},"key":"abc"}"#),
            one
        );
        assert_ne!(of("s:A", r#"{"key":"abd"}"#), one);
        assert_ne!(of("s:B", r#"{"key":"abc"}"#), one);
        assert_ne!(of("c:A", "\"abc\""), of("c:A", "\"abd\""));
        assert_ne!(of("c:A", "1"), of("c:A", "2"));
    }
}
