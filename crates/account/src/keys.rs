//! Encryption keys (Client-Server API, "End-to-end encryption"): what may be uploaded, which
//! signatures count, and what others are told.
//!
//! Invariants: what is accepted is canonical JSON, carries the ids of who uploaded it, and is
//! signed by the keys that must sign it; the server never signs anything here. Keys stay the JSON
//! that was uploaded, with whatever further properties it has.

mod cross_signing;
mod query;
mod signatures;
mod signed_json;
mod upload;

use lyceum_model::{MatrixError, OneTimeKey};

pub use cross_signing::{
    CrossSigningKeys, CrossSigningUpload, check_cross_signing, cross_signing_public_key,
};
pub use query::{
    QUERIED_USERS_MAX, Queried, QueryAnswer, claim_answer, parse_claim, parse_query, query_answer,
};
pub use signatures::{
    SIGNATURES_MAX, SignatureFacts, SignatureUpload, check_signatures, signature_targets,
};
pub use upload::{KeyUpload, KnownDevice, check_upload, one_time_key_ids};

/// The largest key object, in bytes of its JSON.
pub const KEY_BYTES_MAX: usize = 65_536;
/// The largest one-time key, in bytes of its JSON.
pub const ONE_TIME_KEY_BYTES_MAX: usize = 8_192;
/// How many one-time keys one request may bring.
pub const ONE_TIME_KEYS_MAX: usize = 1_000;
/// How many one-time keys of a device the server should keep.
pub const ONE_TIME_KEYS_OF_DEVICE_MAX: u64 = 5_000;
/// How many fallback keys one request may bring.
pub const FALLBACK_KEYS_MAX: usize = 16;
/// The longest `algorithm:key_id`, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 255;

/// Why keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key of the JSON is missing.
    #[error("Missing '{0}'")]
    Missing(&'static str),
    /// A key of the JSON has the wrong form.
    #[error("'{0}' is not well formed")]
    Malformed(&'static str),
    /// It is not canonical JSON: fractions, or integers out of range.
    #[error("The key is not canonical JSON")]
    NotCanonical,
    /// It carries another user's or device's id.
    #[error("The {0} in the keys does not match that of the access token")]
    ForeignId(&'static str),
    /// A signature is missing or wrong.
    #[error("Invalid signature: {0}")]
    InvalidSignature(&'static str),
    /// Another key of this name is there already.
    #[error("One time key {0} already exists")]
    AlreadyExists(String),
    /// A self-signing or user-signing key needs a master key.
    #[error("No master signing key is available")]
    NoMasterKey,
    /// A cross-signing key has the name of a device.
    #[error("Key ID in use")]
    KeyIdInUse,
    /// Too much at once.
    #[error("Too many or too large keys")]
    TooLarge,
}

impl From<KeyError> for MatrixError {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::Missing(_) | KeyError::NoMasterKey => Self::missing_param(message),
            KeyError::Malformed(_) | KeyError::NotCanonical => Self::bad_json(message),
            KeyError::ForeignId(_) => Self::invalid_param(message),
            // Clients know this one by Synapse's code and by how the sentence begins.
            KeyError::InvalidSignature(_) => Self::new(400, "M_INVALID_SIGNATURE", message),
            KeyError::AlreadyExists(_) => Self::unknown(message),
            KeyError::KeyIdInUse => Self::forbidden(message),
            KeyError::TooLarge => Self::too_large(message),
        }
    }
}

/// Keys as `/keys/claim` and `/keys/upload` have them: `{"algorithm:id": key}`.
fn key_map<'a>(
    keys: impl IntoIterator<Item = &'a OneTimeKey>,
) -> serde_json::Map<String, serde_json::Value> {
    keys.into_iter()
        .filter_map(|key| Some((key.key_id.clone(), serde_json::from_str(&key.json).ok()?)))
        .collect()
}
