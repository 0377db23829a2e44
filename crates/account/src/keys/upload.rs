//! `/keys/upload`: a device's identity keys, one-time keys and fallback keys.

use std::collections::BTreeSet;

use lyceum_model::{DeviceKeys, OneTimeKey};
use ruma_common::{CanonicalJsonValue, DeviceId, UserId};
use serde_json::Value;

use super::{
    FALLBACK_KEYS_MAX, KEY_BYTES_MAX, KEY_ID_BYTES_MAX, KeyError, ONE_TIME_KEY_BYTES_MAX,
    ONE_TIME_KEYS_MAX, signed_json::SignedJson,
};

/// What storage knows of the device that uploads.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownDevice<'a> {
    /// Its identity keys.
    pub device_keys: Option<&'a DeviceKeys>,
    /// Those of its one-time keys that [`one_time_key_ids`] names.
    pub one_time_keys: &'a [OneTimeKey],
}

/// What an upload changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyUpload {
    /// New identity keys; `None`: they stay as they are.
    pub device_keys: Option<DeviceKeys>,
    /// One-time keys that are not there yet.
    pub one_time_keys: Vec<OneTimeKey>,
    /// Fallback keys.
    pub fallback_keys: Vec<OneTimeKey>,
}

/// The names of the one-time keys in the body of an upload, at most as many as are allowed.
pub fn one_time_key_ids(body: &Value) -> Vec<String> {
    let keys = body.get("one_time_keys").and_then(Value::as_object);
    keys.into_iter()
        .flat_map(|keys| keys.keys().cloned())
        .take(ONE_TIME_KEYS_MAX)
        .collect()
}

/// Checks an upload of `device_id`: ids, shapes and limits.
///
/// Signatures must have their form, but are not checked: the specification asks clients to do it,
/// who cannot trust a server with it, and simple bots upload keys with none. A one-time key that is
/// there already may come again, but not with other content.
pub fn check_upload(
    user_id: &UserId,
    device_id: &DeviceId,
    body: &Value,
    known: &KnownDevice<'_>,
) -> Result<KeyUpload, KeyError> {
    let present = |key: &str| body.get(key).filter(|value| !value.is_null());
    let stored = known
        .device_keys
        .and_then(|keys| SignedJson::stored(&keys.json));
    let uploaded = match present("device_keys") {
        Some(keys) => Some(check_device_keys(user_id, device_id, keys)?),
        None => None,
    };

    let mut one_time_keys = Vec::new();
    if let Some(keys) = present("one_time_keys") {
        for key in check_keys(keys, "one_time_keys", ONE_TIME_KEYS_MAX)? {
            match known
                .one_time_keys
                .iter()
                .find(|known| known.key_id == key.key_id)
            {
                Some(same) if is_same_json(&same.json, &key.json) => {}
                Some(_) => return Err(KeyError::AlreadyExists(key.key_id)),
                None => one_time_keys.push(key),
            }
        }
    }
    // The unstable name is that of MSC2732, which older clients use.
    let fallback_keys = present("fallback_keys")
        .or_else(|| present("org.matrix.msc2732.fallback_keys"))
        .map(|keys| check_keys(keys, "fallback_keys", FALLBACK_KEYS_MAX))
        .transpose()?
        .unwrap_or_default();
    let algorithms: BTreeSet<&str> = fallback_keys.iter().map(OneTimeKey::algorithm).collect();
    if algorithms.len() != fallback_keys.len() {
        return Err(KeyError::Malformed("fallback_keys"));
    }

    let is_changed = |new: &SignedJson| {
        stored
            .as_ref()
            .is_none_or(|stored| stored.to_json() != new.to_json())
    };
    Ok(KeyUpload {
        device_keys: uploaded.filter(is_changed).map(|keys| DeviceKeys {
            user_id: user_id.to_owned(),
            device_id: device_id.to_owned(),
            json: keys.to_json(),
        }),
        one_time_keys,
        fallback_keys,
    })
}

/// What is missing makes the keys malformed, not the request incomplete: they come as a whole.
fn check_device_keys(
    user_id: &UserId,
    device_id: &DeviceId,
    keys: &Value,
) -> Result<SignedJson, KeyError> {
    let mut keys = keys.clone();
    if let Some(fields) = keys.as_object_mut() {
        // What others see there is the server's to say.
        fields.remove("unsigned");
    }
    if keys.to_string().len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLarge);
    }
    let keys = SignedJson::new(&keys, "device_keys")?;
    if keys.text("user_id").ok_or(KeyError::Malformed("user_id"))? != user_id.as_str() {
        return Err(KeyError::ForeignId("user_id"));
    }
    if keys
        .text("device_id")
        .ok_or(KeyError::Malformed("device_id"))?
        != device_id.as_str()
    {
        return Err(KeyError::ForeignId("device_id"));
    }
    let algorithms = keys
        .get("algorithms")
        .ok_or(KeyError::Malformed("algorithms"))?;
    let are_texts = algorithms.as_array().is_some_and(|algorithms| {
        algorithms
            .iter()
            .all(|algorithm| algorithm.as_str().is_some())
    });
    if !are_texts {
        return Err(KeyError::Malformed("algorithms"));
    }
    let public_keys = keys.get("keys").ok_or(KeyError::Malformed("keys"))?;
    if !are_texts_by_name(public_keys) {
        return Err(KeyError::Malformed("keys"));
    }
    let signatures = keys
        .get("signatures")
        .ok_or(KeyError::Malformed("signatures"))?;
    if signatures.as_object().is_none() {
        return Err(KeyError::Malformed("signatures"));
    }
    Ok(keys)
}

fn check_keys(
    keys: &Value,
    name: &'static str,
    count_max: usize,
) -> Result<Vec<OneTimeKey>, KeyError> {
    let keys = keys.as_object().ok_or(KeyError::Malformed(name))?;
    if keys.len() > count_max {
        return Err(KeyError::TooLarge);
    }
    keys.iter()
        .map(|(key_id, key)| check_key(key_id, key, name))
        .collect()
}

fn check_key(key_id: &str, key: &Value, name: &'static str) -> Result<OneTimeKey, KeyError> {
    if key_id.len() > KEY_ID_BYTES_MAX {
        return Err(KeyError::TooLarge);
    }
    let (algorithm, id) = key_id.split_once(':').ok_or(KeyError::Malformed(name))?;
    if algorithm.is_empty() || id.is_empty() {
        return Err(KeyError::Malformed(name));
    }
    let is_signed = algorithm == "signed_curve25519";
    let json = match key {
        Value::String(_) if !is_signed => key.to_string(),
        Value::Object(_) => {
            let key = SignedJson::new(key, name)?;
            if is_signed {
                key.text("key").ok_or(KeyError::Missing("key"))?;
            }
            match key.get("signatures") {
                Some(signatures) if are_signatures(signatures) => {}
                None if !is_signed => {}
                Some(_) | None => return Err(KeyError::Malformed("signatures")),
            }
            if key.get("fallback").is_some_and(|it| it.as_bool().is_none()) {
                return Err(KeyError::Malformed("fallback"));
            }
            key.to_json()
        }
        _ => return Err(KeyError::Malformed(name)),
    };
    if json.len() > ONE_TIME_KEY_BYTES_MAX {
        return Err(KeyError::TooLarge);
    }
    Ok(OneTimeKey {
        key_id: key_id.to_owned(),
        json,
    })
}

/// Signatures by key, by user.
fn are_signatures(signatures: &CanonicalJsonValue) -> bool {
    let by_user = signatures.as_object();
    by_user.is_some_and(|by_user| by_user.values().all(are_texts_by_name))
}

fn are_texts_by_name(value: &CanonicalJsonValue) -> bool {
    let by_name = value.as_object();
    by_name.is_some_and(|by_name| by_name.values().all(|text| text.as_str().is_some()))
}

fn is_same_json(a: &str, b: &str) -> bool {
    let parse = |json| serde_json::from_str::<Value>(json).ok();
    a == b || parse(a).is_some_and(|a| Some(a) == parse(b))
}
