//! `/keys/query` and `/keys/claim`: what is told of keys, and to whom.

use std::collections::BTreeMap;

use lyceum_model::{CrossSigningKey, CrossSigningUsage, DeviceKeys, KeySignature, OneTimeKey};
use ruma_common::{OwnedDeviceId, OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::{KeyError, cross_signing::cross_signing_public_key, key_map};

/// How many users, or devices, one request may ask for.
pub const QUERIED_USERS_MAX: usize = 10_000;

/// What storage found.
#[derive(Debug, Clone, Copy)]
pub struct Queried<'a> {
    /// Identity keys.
    pub devices: &'a [DeviceKeys],
    /// The devices' names, as far as they may be told.
    pub display_names: &'a BTreeMap<(OwnedUserId, OwnedDeviceId), String>,
    /// Cross-signing keys.
    pub cross_signing: &'a [CrossSigningKey],
    /// Signatures over any of these keys.
    pub signatures: &'a [KeySignature],
}

/// The parts of an answer to `/keys/query`, each by user id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueryAnswer {
    /// By user and device id.
    pub device_keys: Map<String, Value>,
    /// Master keys.
    pub master_keys: Map<String, Value>,
    /// Self-signing keys.
    pub self_signing_keys: Map<String, Value>,
    /// The viewer's own user-signing key.
    pub user_signing_keys: Map<String, Value>,
}

/// Reads `device_keys` of a query: which devices of which users, an empty list meaning all.
pub fn parse_query(body: &Value) -> Result<BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>, KeyError> {
    let users = body
        .get("device_keys")
        .ok_or(KeyError::Missing("device_keys"))?;
    let users = users
        .as_object()
        .ok_or(KeyError::Malformed("device_keys"))?;
    if users.len() > QUERIED_USERS_MAX {
        return Err(KeyError::TooLarge);
    }
    let mut wanted = BTreeMap::new();
    for (user_id, devices) in users {
        let user_id = UserId::parse(user_id).map_err(|_| KeyError::Malformed("device_keys"))?;
        let devices = match devices {
            // Old clients ask with an object or null.
            Value::Null => Vec::new(),
            Value::Object(devices) if devices.is_empty() => Vec::new(),
            Value::Array(devices) => devices
                .iter()
                .map(|device| Some(OwnedDeviceId::from(device.as_str()?)))
                .collect::<Option<Vec<_>>>()
                .ok_or(KeyError::Malformed("device_keys"))?,
            _ => return Err(KeyError::Malformed("device_keys")),
        };
        wanted.insert(user_id, devices);
    }
    Ok(wanted)
}

/// Reads `one_time_keys` of a claim: user, device and algorithm of each wanted key.
pub fn parse_claim(body: &Value) -> Result<Vec<(OwnedUserId, OwnedDeviceId, String)>, KeyError> {
    const NAME: &str = "one_time_keys";
    let users = body.get(NAME).ok_or(KeyError::Missing(NAME))?;
    let users = users.as_object().ok_or(KeyError::Malformed(NAME))?;
    let mut wanted = Vec::new();
    for (user_id, devices) in users {
        let user_id = UserId::parse(user_id).map_err(|_| KeyError::Malformed(NAME))?;
        for (device_id, algorithm) in devices.as_object().ok_or(KeyError::Malformed(NAME))? {
            let algorithm = algorithm.as_str().ok_or(KeyError::Malformed(NAME))?;
            let device_id = OwnedDeviceId::from(device_id.as_str());
            wanted.push((user_id.clone(), device_id, algorithm.to_owned()));
            if wanted.len() > QUERIED_USERS_MAX {
                return Err(KeyError::TooLarge);
            }
        }
    }
    Ok(wanted)
}

/// `one_time_keys` of the answer to a claim.
pub fn claim_answer(claimed: &[(OwnedUserId, OwnedDeviceId, OneTimeKey)]) -> Map<String, Value> {
    let mut users = Map::new();
    for (user_id, device_id, key) in claimed {
        let devices = users.entry(user_id.as_str()).or_insert_with(|| json!({}));
        devices[device_id.as_str()] = Value::Object(key_map([key]));
    }
    users
}

/// The answer to a query for `wanted`. A `viewer` of this server sees their own user-signing key
/// and the signatures they made over others' keys; other servers (`None`) see what everybody
/// sees. A wanted user without keys gets an empty object.
pub fn query_answer(
    viewer: Option<&UserId>,
    wanted: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    found: &Queried<'_>,
) -> QueryAnswer {
    let signatures = index_signatures(found.signatures);
    let mut answer = QueryAnswer::default();
    for user_id in wanted.keys() {
        answer.device_keys.insert(user_id.to_string(), json!({}));
    }
    for keys in found.devices {
        let Some(devices) = wanted.get(&keys.user_id) else {
            continue;
        };
        if !devices.is_empty() && !devices.contains(&keys.device_id) {
            continue;
        }
        let Ok(mut json) = serde_json::from_str::<Value>(&keys.json) else {
            continue;
        };
        let target = (&*keys.user_id, keys.device_id.as_str());
        add_signatures(&mut json, signatures.get(&target), &keys.user_id, None);
        set_unsigned(&mut json, found, keys);
        let Some(device_keys) = answer.device_keys.get_mut(keys.user_id.as_str()) else {
            continue;
        };
        device_keys[keys.device_id.as_str()] = json;
    }
    for key in found.cross_signing {
        if !wanted.contains_key(&key.user_id) {
            continue;
        }
        let part = match key.usage {
            CrossSigningUsage::Master => &mut answer.master_keys,
            CrossSigningUsage::SelfSigning => &mut answer.self_signing_keys,
            CrossSigningUsage::UserSigning if viewer == Some(&*key.user_id) => {
                &mut answer.user_signing_keys
            }
            CrossSigningUsage::UserSigning => continue,
        };
        let Ok(mut json) = serde_json::from_str::<Value>(&key.json) else {
            continue;
        };
        if let Some(public) = cross_signing_public_key(key) {
            let target = (&*key.user_id, public.as_str());
            add_signatures(&mut json, signatures.get(&target), &key.user_id, viewer);
        }
        part.insert(key.user_id.to_string(), json);
    }
    answer
}

type SignaturesByTarget<'a> = BTreeMap<(&'a UserId, &'a str), Vec<&'a KeySignature>>;

fn index_signatures(signatures: &[KeySignature]) -> SignaturesByTarget<'_> {
    let mut index = SignaturesByTarget::new();
    for signature in signatures {
        index
            .entry((&signature.target, &signature.target_key))
            .or_default()
            .push(signature);
    }
    index
}

/// Adds those signatures that may be seen: the owner's, and the viewer's own.
fn add_signatures(
    json: &mut Value,
    signatures: Option<&Vec<&KeySignature>>,
    owner: &UserId,
    viewer: Option<&UserId>,
) {
    for signature in signatures.into_iter().flatten() {
        let signer = &*signature.signer;
        if signer != owner && Some(signer) != viewer {
            continue;
        }
        let Some(fields) = json.as_object_mut() else {
            return;
        };
        let all = fields.entry("signatures").or_insert_with(|| json!({}));
        let Some(all) = all.as_object_mut() else {
            return;
        };
        let theirs = all.entry(signer.as_str()).or_insert_with(|| json!({}));
        if let Some(theirs) = theirs.as_object_mut() {
            theirs.insert(signature.signer_key_id.clone(), json!(signature.signature));
        }
    }
}

fn set_unsigned(json: &mut Value, found: &Queried<'_>, keys: &DeviceKeys) {
    let Some(fields) = json.as_object_mut() else {
        return;
    };
    fields.remove("unsigned");
    let name = found
        .display_names
        .get(&(keys.user_id.clone(), keys.device_id.clone()));
    if let Some(name) = name {
        fields.insert(
            "unsigned".to_owned(),
            json!({ "device_display_name": name }),
        );
    }
}
