//! JSON objects with signatures in them (Appendices, "Signing JSON").

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm};
use ruma_signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes};
use serde_json::Value;

use super::KeyError;

/// Standard alphabet, with or without padding, as clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes of an ed25519 or curve25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// A JSON object that can be signed.
#[derive(Debug)]
pub(super) struct SignedJson {
    object: CanonicalJsonObject,
    /// What is signed: the object without `signatures` and `unsigned`.
    payload: String,
}

impl SignedJson {
    pub(super) fn new(value: &Value, name: &'static str) -> Result<Self, KeyError> {
        let value =
            CanonicalJsonValue::try_from(value.clone()).map_err(|_| KeyError::NotCanonical)?;
        let CanonicalJsonValue::Object(object) = value else {
            return Err(KeyError::Malformed(name));
        };
        let payload =
            to_canonical_json_string_for_signing(&object).map_err(|_| KeyError::NotCanonical)?;
        Ok(Self { object, payload })
    }

    /// A stored key; `None` if it is damaged.
    pub(super) fn stored(json: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        Self::new(&value, "").ok()
    }

    /// The whole object as canonical JSON.
    pub(super) fn to_json(&self) -> String {
        CanonicalJsonValue::Object(self.object.clone()).to_string()
    }

    pub(super) fn get(&self, key: &str) -> Option<&CanonicalJsonValue> {
        self.object.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// Whether both say the same, signatures and `unsigned` aside.
    pub(super) fn has_payload_of(&self, other: &Self) -> bool {
        self.payload == other.payload
    }

    /// The text under `keys` with this name.
    pub(super) fn public_key(&self, key_id: &str) -> Option<&str> {
        self.get("keys")?.as_object()?.get(key_id)?.as_str()
    }

    /// The signature that `signer` made with the key `key_id`.
    pub(super) fn signature(&self, signer: &str, key_id: &str) -> Option<&str> {
        self.get("signatures")?
            .as_object()?
            .get(signer)?
            .as_object()?
            .get(key_id)?
            .as_str()
    }

    /// The names of the keys with which `signer` signed.
    pub(super) fn signing_keys(&self, signer: &str) -> Vec<&str> {
        let keys = self
            .get("signatures")
            .and_then(CanonicalJsonValue::as_object)
            .and_then(|signatures| signatures.get(signer)?.as_object());
        keys.into_iter()
            .flat_map(|keys| keys.keys().map(String::as_str))
            .collect()
    }

    /// Whether `signature` is that of the ed25519 key `public_key` (both base64).
    pub(super) fn is_signed(&self, public_key: &str, signature: &str) -> bool {
        let (Some(public_key), Ok(signature)) =
            (decode_public_key(public_key), BASE64.decode(signature))
        else {
            return false;
        };
        verify_canonical_json_bytes(
            &SigningKeyAlgorithm::Ed25519,
            &public_key,
            &signature,
            self.payload.as_bytes(),
        )
        .is_ok()
    }
}

/// The bytes of a public key, if it can be one.
pub(super) fn decode_public_key(text: &str) -> Option<Vec<u8>> {
    BASE64
        .decode(text)
        .ok()
        .filter(|bytes| bytes.len() == PUBLIC_KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::SignedJson;

    /// The public key of the seed in the Appendices, "Cryptographic Test Vectors".
    const PUBLIC_KEY: &str = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI";

    fn check(object: &Value, signature: &str, expect: bool) {
        let signed = SignedJson::new(object, "object").unwrap();
        assert_eq!(
            signed.is_signed(PUBLIC_KEY, signature),
            expect,
            "{object} {signature}"
        );
    }

    #[test]
    fn the_vectors_of_the_specification() {
        let empty = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ";
        let data = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw";
        check(&json!({}), empty, true);
        check(&json!({ "one": 1, "two": "Two" }), data, true);
        check(
            &json!({ "two": "Two", "signatures": {}, "one": 1, "unsigned": 2 }),
            data,
            true,
        );
        check(
            &json!({ "one": 1, "two": "Two" }),
            &format!("{data}=="),
            true,
        );
        check(&json!({ "one": 2, "two": "Two" }), data, false);
        check(&json!({ "one": 1, "two": "Two" }), empty, false);
        check(&json!({}), "", false);
        check(&json!({}), "not base64!", false);
    }
}
