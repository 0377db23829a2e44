//! `/keys/signatures/upload`: signatures of a user over their own devices and master key, and
//! over other users' master keys.

use std::collections::BTreeSet;

use lyceum_model::{CrossSigningKey, CrossSigningUsage, DeviceKeys, KeySignature};
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::{
    KeyError,
    cross_signing::{CrossSigningKeys, public_key},
    signed_json::SignedJson,
};

/// How many keys one request may sign.
pub const SIGNATURES_MAX: usize = 1_000;

/// What storage knows of the keys concerned.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignatureFacts<'a> {
    /// The identity keys of the signer's own devices.
    pub devices: &'a [DeviceKeys],
    /// The cross-signing keys of the signer and of all whose keys are signed.
    pub cross_signing: &'a [CrossSigningKey],
}

/// What came of an upload of signatures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SignatureUpload {
    /// The signatures to keep.
    pub signatures: Vec<KeySignature>,
    /// What was refused: `failures` of the answer.
    pub failures: Map<String, Value>,
    /// Whose keys have new signatures.
    pub changed: BTreeSet<OwnedUserId>,
}

/// Whose keys the body signs: fetch their cross-signing keys.
pub fn signature_targets(body: &Value) -> Vec<OwnedUserId> {
    let users = body.as_object().into_iter().flat_map(Map::keys);
    users
        .filter_map(|user_id| UserId::parse(user_id).ok())
        .take(SIGNATURES_MAX)
        .collect()
}

/// Checks signatures one by one; a wrong one does not harm the others.
///
/// Only these count: the self-signing key over one's own device, an own device over one's own
/// master key, the user-signing key over another user's master key. Other signatures in the
/// objects are passed over.
pub fn check_signatures(
    user_id: &UserId,
    body: &Value,
    facts: &SignatureFacts<'_>,
) -> Result<SignatureUpload, KeyError> {
    let users = body.as_object().ok_or(KeyError::Malformed("body"))?;
    let mut upload = SignatureUpload::default();
    let mut count = 0;
    for (target, keys) in users {
        let keys = keys.as_object().ok_or(KeyError::Malformed("body"))?;
        count += keys.len();
        if count > SIGNATURES_MAX {
            return Err(KeyError::TooLarge);
        }
        let mut failures = Map::new();
        for (key_id, signed) in keys {
            let checked = UserId::parse(target)
                .map_err(|_| Refused::NotFound)
                .and_then(|target| {
                    let signatures = check_one(user_id, &target, key_id, signed, facts)?;
                    Ok((target, signatures))
                });
            match checked {
                Ok((target, signatures)) => {
                    upload.changed.insert(target);
                    upload.signatures.extend(signatures);
                }
                Err(refused) => {
                    failures.insert(key_id.clone(), refused.to_json());
                }
            }
        }
        if !failures.is_empty() {
            upload
                .failures
                .insert(target.clone(), Value::Object(failures));
        }
    }
    Ok(upload)
}

/// Why one signature is refused.
#[derive(Debug, Clone, Copy)]
enum Refused {
    NotFound,
    Different,
    Malformed,
    InvalidSignature,
}

impl Refused {
    fn to_json(self) -> Value {
        let (code, message) = match self {
            Self::NotFound => ("M_NOT_FOUND", "Unknown key, or not one that you can sign"),
            Self::Different => (
                "M_INVALID_PARAM",
                "The signed key differs from the known one",
            ),
            Self::Malformed => ("M_BAD_JSON", "The signed key is not well formed"),
            Self::InvalidSignature => ("M_INVALID_SIGNATURE", "Invalid signature"),
        };
        json!({ "errcode": code, "error": message })
    }
}

fn check_one(
    user_id: &UserId,
    target: &UserId,
    key_id: &str,
    signed: &Value,
    facts: &SignatureFacts<'_>,
) -> Result<Vec<KeySignature>, Refused> {
    let signed = SignedJson::new(signed, "body").map_err(|_| Refused::Malformed)?;
    let own = CrossSigningKeys::from_slice(facts.cross_signing, user_id);
    let device = facts
        .devices
        .iter()
        .find(|keys| *keys.user_id == *target && keys.device_id.as_str() == key_id);
    let (known, signers) = if let Some(device) = device.filter(|_| target == user_id) {
        (
            SignedJson::stored(&device.json),
            cross_signing_signer(own.self_signing),
        )
    } else {
        let theirs = CrossSigningKeys::from_slice(facts.cross_signing, target);
        let master = theirs.master.and_then(|key| SignedJson::stored(&key.json));
        // Keys are named by their public key, by some clients with the algorithm in front.
        let name = key_id.strip_prefix("ed25519:").unwrap_or(key_id);
        let master = master.filter(|key| public_key(key) == Some(name));
        let signers = if target == user_id {
            device_signers(user_id, facts.devices)
        } else {
            cross_signing_signer(own.user_signing)
        };
        (master, signers)
    };
    let known = known.ok_or(Refused::NotFound)?;
    if !signed.has_payload_of(&known) {
        return Err(Refused::Different);
    }
    let target_key = public_key(&known).unwrap_or(key_id);
    let mut signatures = Vec::new();
    for signer_key_id in signed.signing_keys(user_id.as_str()) {
        let Some((_, public)) = signers.iter().find(|(name, _)| name == signer_key_id) else {
            continue;
        };
        let signature = signed
            .signature(user_id.as_str(), signer_key_id)
            .filter(|signature| signed.is_signed(public, signature))
            .ok_or(Refused::InvalidSignature)?;
        signatures.push(KeySignature {
            signer: user_id.to_owned(),
            signer_key_id: signer_key_id.to_owned(),
            target: target.to_owned(),
            target_key: target_key.to_owned(),
            signature: signature.to_owned(),
        });
    }
    if signatures.is_empty() {
        Err(Refused::InvalidSignature)
    } else {
        Ok(signatures)
    }
}

/// The name and public key of a cross-signing key, as a signer.
fn cross_signing_signer(key: Option<&CrossSigningKey>) -> Vec<(String, String)> {
    let signer = key
        .filter(|key| key.usage != CrossSigningUsage::Master)
        .and_then(|key| {
            let key = SignedJson::stored(&key.json)?;
            let public = public_key(&key)?;
            Some((format!("ed25519:{public}"), public.to_owned()))
        });
    signer.into_iter().collect()
}

/// The names and public keys of a user's devices, as signers.
fn device_signers(user_id: &UserId, devices: &[DeviceKeys]) -> Vec<(String, String)> {
    devices
        .iter()
        .filter(|keys| *keys.user_id == *user_id)
        .filter_map(|keys| {
            let name = format!("ed25519:{}", keys.device_id);
            let public = SignedJson::stored(&keys.json)?
                .public_key(&name)?
                .to_owned();
            Some((name, public))
        })
        .collect()
}
