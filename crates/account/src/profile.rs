//! What a profile may hold (Client-Server API, "Profiles", with the free fields of v1.16).
//!
//! A field's value is kept as JSON text. Who may change a profile, and how members' events follow
//! it, is not known here.

use std::collections::BTreeMap;

use lyceum_model::MatrixError;
use serde_json::{Map, Value};

/// The longest name of a field, in bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// The largest profile, in bytes of its JSON.
pub const PROFILE_BYTES_MAX: usize = 65_536;
/// The longest display name, in characters.
pub const DISPLAY_NAME_LENGTH_MAX: usize = 256;
/// The longest avatar URL, in bytes.
pub const AVATAR_URL_BYTES_MAX: usize = 1000;
/// The longest name of a time zone, in bytes.
pub const TIME_ZONE_BYTES_MAX: usize = 255;

/// Why a profile field is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The name is too long.
    #[error("The profile key is longer than {KEY_BYTES_MAX} bytes")]
    KeyTooLarge,
    /// The name is outside the grammar.
    #[error("Invalid profile key")]
    InvalidKey,
    /// The body does not have the field.
    #[error("Missing key '{0}' in the body")]
    Missing(String),
    /// The body is no object with one field.
    #[error("The body must be an object with the one property that the path names")]
    NotOneField,
    /// The value has the wrong type.
    #[error("'{0}' must be a string")]
    NotAString(String),
    /// The display name is too long.
    #[error("Displayname is too long (max {DISPLAY_NAME_LENGTH_MAX})")]
    DisplayNameTooLong,
    /// The avatar is not an `mxc://` address, or too long.
    #[error("The avatar must be an mxc:// URI of at most {AVATAR_URL_BYTES_MAX} bytes")]
    AvatarUrl,
    /// The time zone cannot be one.
    #[error("This cannot be the name of a time zone")]
    TimeZone,
    /// The whole profile would be too large.
    #[error("The profile would be larger than {PROFILE_BYTES_MAX} bytes")]
    TooLarge,
}

impl From<ProfileError> for MatrixError {
    fn from(error: ProfileError) -> Self {
        let message = error.to_string();
        match error {
            ProfileError::KeyTooLarge => Self::new(400, "M_KEY_TOO_LARGE", message),
            ProfileError::TooLarge => Self::new(400, "M_PROFILE_TOO_LARGE", message),
            ProfileError::Missing(_) => Self::missing_param(message),
            ProfileError::NotOneField => Self::bad_json(message),
            ProfileError::InvalidKey
            | ProfileError::NotAString(_)
            | ProfileError::DisplayNameTooLong
            | ProfileError::AvatarUrl
            | ProfileError::TimeZone => Self::invalid_param(message),
        }
    }
}

/// Whether a profile may have a field of this name: a known one, or one of the common namespaced
/// identifier grammar (Appendices).
pub fn check_key(key: &str) -> Result<(), ProfileError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(ProfileError::KeyTooLarge);
    }
    if matches!(key, "displayname" | "avatar_url") || is_namespaced_identifier(key) {
        Ok(())
    } else {
        Err(ProfileError::InvalidKey)
    }
}

fn is_namespaced_identifier(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_lowercase())
        && key
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'))
}

/// The value that the body `{key: value}` gives a field, as JSON; `None` if the field is to be
/// removed: `null` or an empty text for the display name and the avatar.
pub fn field_from_body(key: &str, body: &Value) -> Result<Option<String>, ProfileError> {
    check_key(key)?;
    let Some(fields) = body.as_object() else {
        return Err(ProfileError::NotOneField);
    };
    let Some(value) = fields.get(key) else {
        return Err(ProfileError::Missing(key.to_owned()));
    };
    let text = match (key, value) {
        ("displayname" | "avatar_url", Value::Null) => return Ok(None),
        ("displayname" | "avatar_url", Value::String(text)) if text.is_empty() => return Ok(None),
        ("displayname" | "avatar_url" | "m.tz", Value::String(text)) => text,
        ("displayname" | "avatar_url" | "m.tz", _) => {
            return Err(ProfileError::NotAString(key.to_owned()));
        }
        _ => return Ok(Some(value.to_string())),
    };
    match key {
        "displayname" if text.chars().count() > DISPLAY_NAME_LENGTH_MAX => {
            Err(ProfileError::DisplayNameTooLong)
        }
        "avatar_url"
            if text.len() > AVATAR_URL_BYTES_MAX
                || !text
                    .strip_prefix("mxc://")
                    .is_some_and(|rest| rest.contains('/')) =>
        {
            Err(ProfileError::AvatarUrl)
        }
        "m.tz" if !is_time_zone(text) => Err(ProfileError::TimeZone),
        _ => Ok(Some(value.to_string())),
    }
}

fn is_time_zone(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TIME_ZONE_BYTES_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+'))
}

/// Whether the whole profile stays small enough when `key` is set to `value`.
pub fn check_size(
    current: &BTreeMap<String, String>,
    key: &str,
    value: &str,
) -> Result<(), ProfileError> {
    // Each field costs its name in quotes, a colon, its value and a comma or brace.
    let cost = |key: &str, value: &str| key.len() + value.len() + 4;
    let others: usize = current
        .iter()
        .filter(|(name, _)| *name != key)
        .map(|(name, value)| cost(name, value))
        .sum();
    if 1 + others + cost(key, value) > PROFILE_BYTES_MAX {
        return Err(ProfileError::TooLarge);
    }
    Ok(())
}

/// The profile as clients get it; damaged values are left out.
pub fn json(fields: &BTreeMap<String, String>) -> Value {
    let fields: Map<String, Value> = fields
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), serde_json::from_str(value).ok()?)))
        .collect();
    Value::Object(fields)
}
