//! `/keys/device_signing/upload`: a user's cross-signing keys.

use lyceum_model::{CrossSigningKey, CrossSigningUsage};
use ruma_common::{CanonicalJsonValue, OwnedDeviceId, UserId};
use serde_json::Value;

use super::{
    KEY_BYTES_MAX, KeyError,
    signed_json::{SignedJson, decode_public_key},
};

/// The cross-signing keys that a user has.
#[derive(Debug, Clone, Copy, Default)]
pub struct CrossSigningKeys<'a> {
    /// The one that signs the other two.
    pub master: Option<&'a CrossSigningKey>,
    /// The one that signs devices.
    pub self_signing: Option<&'a CrossSigningKey>,
    /// The one that signs others' master keys.
    pub user_signing: Option<&'a CrossSigningKey>,
}

impl<'a> CrossSigningKeys<'a> {
    /// Picks a user's keys out of those that storage found.
    pub fn from_slice(keys: &'a [CrossSigningKey], user_id: &UserId) -> Self {
        let find = |usage| {
            keys.iter()
                .find(|key| key.usage == usage && *key.user_id == *user_id)
        };
        Self {
            master: find(CrossSigningUsage::Master),
            self_signing: find(CrossSigningUsage::SelfSigning),
            user_signing: find(CrossSigningUsage::UserSigning),
        }
    }

    fn of(&self, usage: CrossSigningUsage) -> Option<&'a CrossSigningKey> {
        match usage {
            CrossSigningUsage::Master => self.master,
            CrossSigningUsage::SelfSigning => self.self_signing,
            CrossSigningUsage::UserSigning => self.user_signing,
        }
    }
}

/// What an upload of cross-signing keys changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossSigningUpload {
    /// Keys that are not there yet in this form.
    pub keys: Vec<CrossSigningKey>,
    /// Whether the user must prove again who they are: they have a master key, and the upload
    /// brings another key, or says something else of one.
    pub needs_authentication: bool,
}

/// The public key of a cross-signing key (base64), by which signatures name it.
pub fn cross_signing_public_key(key: &CrossSigningKey) -> Option<String> {
    let key = SignedJson::stored(&key.json)?;
    public_key(&key).map(str::to_owned)
}

/// Checks an upload of cross-signing keys. `device_ids` are the user's devices: no key may be
/// called like one of them.
pub fn check_cross_signing(
    user_id: &UserId,
    body: &Value,
    existing: &CrossSigningKeys<'_>,
    device_ids: &[OwnedDeviceId],
) -> Result<CrossSigningUpload, KeyError> {
    const PARTS: [(&str, CrossSigningUsage); 3] = [
        ("master_key", CrossSigningUsage::Master),
        ("self_signing_key", CrossSigningUsage::SelfSigning),
        ("user_signing_key", CrossSigningUsage::UserSigning),
    ];
    let mut master = existing
        .master
        .and_then(|key| SignedJson::stored(&key.json));
    let mut keys = Vec::new();
    let mut has_other_key = false;
    for (name, usage) in PARTS {
        let Some(key) = body.get(name).filter(|key| !key.is_null()) else {
            continue;
        };
        let key = check_key(user_id, key, name, usage)?;
        let public = public_key(&key).ok_or(KeyError::Malformed(name))?;
        if device_ids
            .iter()
            .any(|device_id| device_id.as_str() == public)
        {
            return Err(KeyError::KeyIdInUse);
        }
        if usage != CrossSigningUsage::Master {
            let master = master.as_ref().ok_or(KeyError::NoMasterKey)?;
            let signed_by = public_key(master).ok_or(KeyError::NoMasterKey)?;
            let signature = key.signature(user_id.as_str(), &format!("ed25519:{signed_by}"));
            if !signature.is_some_and(|signature| key.is_signed(signed_by, signature)) {
                return Err(KeyError::InvalidSignature(name));
            }
        }
        let known = existing
            .of(usage)
            .and_then(|known| SignedJson::stored(&known.json));
        let is_known = known
            .as_ref()
            .is_some_and(|known| known.has_payload_of(&key));
        has_other_key |= !is_known;
        let json = key.to_json();
        if known.is_none_or(|known| known.to_json() != json) {
            keys.push(CrossSigningKey {
                user_id: user_id.to_owned(),
                usage,
                json,
            });
        }
        if usage == CrossSigningUsage::Master {
            master = Some(key);
        }
    }
    if master.is_none() {
        return Err(KeyError::NoMasterKey);
    }
    Ok(CrossSigningUpload {
        keys,
        needs_authentication: existing.master.is_some() && has_other_key,
    })
}

fn check_key(
    user_id: &UserId,
    key: &Value,
    name: &'static str,
    usage: CrossSigningUsage,
) -> Result<SignedJson, KeyError> {
    if key.to_string().len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLarge);
    }
    let key = SignedJson::new(key, name)?;
    if key.text("user_id").ok_or(KeyError::Missing("user_id"))? != user_id.as_str() {
        return Err(KeyError::ForeignId("user_id"));
    }
    let usages = key.get("usage").ok_or(KeyError::Missing("usage"))?;
    let has_usage = usages.as_array().is_some_and(|usages| {
        usages
            .iter()
            .any(|listed| listed.as_str() == Some(usage.as_str()))
    });
    if !has_usage {
        return Err(KeyError::Malformed("usage"));
    }
    if key
        .get("signatures")
        .is_some_and(|signatures| signatures.as_object().is_none())
    {
        return Err(KeyError::Malformed("signatures"));
    }
    match public_key(&key) {
        Some(public) if decode_public_key(public).is_some() => Ok(key),
        _ => Err(KeyError::Malformed(name)),
    }
}

/// The one key under `keys`, which is named after itself.
pub(super) fn public_key(key: &SignedJson) -> Option<&str> {
    let keys = key.get("keys").and_then(CanonicalJsonValue::as_object)?;
    let mut keys = keys.iter();
    let (name, public) = keys.next()?;
    let public = public.as_str()?;
    (keys.next().is_none() && name.strip_prefix("ed25519:") == Some(public)).then_some(public)
}
