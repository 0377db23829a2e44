//! Keys of devices and users that sign as clients do.

use ruma_common::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
};
use ruma_signatures::{Ed25519KeyPair, sign_json};
use serde_json::{Value, json};

/// A key pair, made from one byte.
pub(crate) struct Key {
    pair: Ed25519KeyPair,
    /// The public key.
    pub(crate) public: String,
}

impl Key {
    /// `version` is what stands after `ed25519:`; `None`: the public key.
    pub(crate) fn new(seed: u8, version: Option<&str>) -> Self {
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        der.extend_from_slice(&[seed; 32]);
        let pair = Ed25519KeyPair::from_der(&der, String::new()).unwrap();
        let public = Base64::<Standard>::new(pair.public_key().to_vec()).encode();
        let version = version.map_or_else(|| public.clone(), str::to_owned);
        Self {
            pair: Ed25519KeyPair::from_der(&der, version).unwrap(),
            public,
        }
    }

    pub(crate) fn sign(&self, user_id: &str, json: Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(json).unwrap();
        sign_json(user_id, &self.pair, &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }
}

/// The signed identity keys of a device.
pub(crate) fn device_keys(user_id: &str, device_id: &str, seed: u8) -> Value {
    let key = Key::new(seed, Some(device_id));
    key.sign(
        user_id,
        json!({
            "user_id": user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                format!("curve25519:{device_id}"): Key::new(seed.wrapping_add(100), None).public,
                format!("ed25519:{device_id}"): key.public,
            },
        }),
    )
}

/// A signed one-time key (or, with `fallback`, a fallback key) of the device of [`device_keys`].
pub(crate) fn one_time_key(user_id: &str, device_id: &str, seed: u8, key: u8) -> Value {
    Key::new(seed, Some(device_id)).sign(user_id, json!({ "key": Key::new(key, None).public }))
}

/// A cross-signing key, signed by `signer` if there is one.
pub(crate) fn cross_signing_key(
    user_id: &str,
    usage: &str,
    seed: u8,
    signer: Option<&Key>,
) -> Value {
    let public = Key::new(seed, None).public;
    let key = json!({
        "user_id": user_id,
        "usage": [usage],
        "keys": { format!("ed25519:{public}"): public },
    });
    match signer {
        Some(signer) => signer.sign(user_id, key),
        None => key,
    }
}
