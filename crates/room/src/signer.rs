//! The server's signing key.

use std::sync::Arc;

use lyceum_model::Timestamp;
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, JsonError, KeyPair};

/// What stands before the 32 bytes of an ed25519 seed in PKCS#8 (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Signs in the name of a server. Cheap to clone; shows no secret when printed.
#[derive(Debug, Clone)]
pub struct Signer {
    server_name: OwnedServerName,
    key_id: Arc<str>,
    key_pair: Arc<Ed25519KeyPair>,
}

/// Why there is no signer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvalidKey {
    /// A key version is letters, digits and `_`.
    #[error("the key version {0:?} is not made of letters, digits and underscores")]
    Version(String),
    /// The bytes are not an ed25519 key.
    #[error("not an ed25519 key: {0}")]
    Key(String),
}

impl Signer {
    /// A signer from a key's 32 secret bytes.
    pub fn from_seed(
        server_name: OwnedServerName,
        key_version: &str,
        seed: &[u8; 32],
    ) -> Result<Self, InvalidKey> {
        let mut der = PKCS8_PREFIX.to_vec();
        der.extend_from_slice(seed);
        Self::from_der(server_name, key_version, &der)
    }

    /// A signer from a key in PKCS#8.
    pub fn from_der(
        server_name: OwnedServerName,
        key_version: &str,
        der: &[u8],
    ) -> Result<Self, InvalidKey> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if key_version.is_empty() || !key_version.bytes().all(is_valid) {
            return Err(InvalidKey::Version(key_version.to_owned()));
        }
        let key_pair = Ed25519KeyPair::from_der(der, key_version.to_owned())
            .map_err(|error| InvalidKey::Key(error.to_string()))?;
        Ok(Self {
            server_name,
            key_id: format!("ed25519:{key_version}").into(),
            key_pair: Arc::new(key_pair),
        })
    }

    /// For whom it signs.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The key's id, such as `ed25519:a_1`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key in unpadded base64.
    pub fn public_key_base64(&self) -> String {
        Base64::<Standard, _>::new(self.key_pair.public_key()).encode()
    }

    /// Adds a signature to a JSON object (Appendices, "Signing JSON").
    pub fn sign_json(&self, object: &mut CanonicalJsonObject) -> Result<(), JsonError> {
        ruma_signatures::sign_json(self.server_name.as_str(), &*self.key_pair, object)
    }

    /// The public key with its owner's name, signed, for others to check signatures with until then
    /// (Server-Server API, "Publishing keys").
    pub fn published_key(&self, valid_until: Timestamp) -> Result<CanonicalJsonObject, JsonError> {
        let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
        let key = CanonicalJsonObject::from([("key".to_owned(), text(&self.public_key_base64()))]);
        let keys = CanonicalJsonObject::from([(self.key_id().to_owned(), key.into())]);
        let valid_until = i64::try_from(valid_until.0).unwrap_or(i64::MAX);
        let mut published = CanonicalJsonObject::from([
            ("server_name".to_owned(), text(self.server_name.as_str())),
            ("verify_keys".to_owned(), keys.into()),
            (
                "old_verify_keys".to_owned(),
                CanonicalJsonObject::new().into(),
            ),
            (
                "valid_until_ts".to_owned(),
                CanonicalJsonValue::Integer(valid_until.try_into().unwrap_or_default()),
            ),
        ]);
        self.sign_json(&mut published)?;
        Ok(published)
    }

    /// The signature over some bytes, in unpadded base64.
    pub fn sign(&self, message: &[u8]) -> String {
        self.key_pair.sign(message).base64()
    }
}
