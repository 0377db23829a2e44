//! Which names users and devices may have, and how names that nobody chose are made.
//!
//! New users get ids of today's grammar; ids of the historical grammar are accepted wherever one
//! is read. Whether a name is taken or kept for an application service is not known here.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lyceum_model::MatrixError;
use ruma_common::{OwnedDeviceId, OwnedUserId, ServerName, UserId};
use serde_json::Value;

/// The longest user id, in bytes, with sigil and server name.
pub const USER_ID_BYTES_MAX: usize = 255;
/// The longest device id that a client may choose, in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 255;

/// Who asks for a new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registrant {
    /// A person, or an admin for one.
    Person,
    /// An application service, whose names often begin with an underscore.
    ApplicationService,
}

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of it.
    #[error("User ID cannot be empty")]
    Empty,
    /// A character outside the grammar.
    #[error("User ID can only contain characters a-z, 0-9, or '=_-./+'")]
    Characters,
    /// An underscore in front belongs to application services.
    #[error("User ID may not begin with _")]
    Underscore,
    /// The whole id is too long.
    #[error("User ID may not be longer than {USER_ID_BYTES_MAX} characters")]
    TooLong,
    /// It is no user id at all.
    #[error("This is not a valid user ID")]
    NotAUserId,
    /// A device id that is empty, too long or has control characters.
    #[error("This is not a valid device ID")]
    DeviceId,
    /// An `identifier` of an unknown type or without its keys.
    #[error("The user identifier is not valid: {0}")]
    Identifier(&'static str),
}

impl From<NameError> for MatrixError {
    fn from(error: NameError) -> Self {
        let message = error.to_string();
        match error {
            NameError::Empty
            | NameError::Characters
            | NameError::Underscore
            | NameError::TooLong => Self::invalid_username(message),
            NameError::NotAUserId | NameError::DeviceId => Self::invalid_param(message),
            NameError::Identifier(_) => Self::bad_json(message),
        }
    }
}

/// The localpart meant by the `username` of a registration: capitals are taken as small letters.
pub fn localpart_for_registration(username: &str) -> String {
    username.to_ascii_lowercase()
}

/// The id of a new user (Appendices, "User Identifiers").
pub fn new_user_id(
    localpart: &str,
    server_name: &ServerName,
    by: Registrant,
) -> Result<OwnedUserId, NameError> {
    if localpart.is_empty() {
        return Err(NameError::Empty);
    }
    if !localpart.bytes().all(is_localpart_byte) {
        return Err(NameError::Characters);
    }
    if by == Registrant::Person && localpart.starts_with('_') {
        return Err(NameError::Underscore);
    }
    let id = format!("@{localpart}:{server_name}");
    if id.len() > USER_ID_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    UserId::parse(id).map_err(|_| NameError::NotAUserId)
}

fn is_localpart_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+')
}

/// The user whom `text` names: a full id of any server, or the localpart of one of ours.
/// Historical ids are accepted.
pub fn known_user_id(text: &str, server_name: &ServerName) -> Result<OwnedUserId, NameError> {
    let id = if text.starts_with('@') && text.contains(':') {
        UserId::parse(text)
    } else {
        let localpart = text.strip_prefix('@').unwrap_or(text);
        if localpart.is_empty() {
            return Err(NameError::NotAUserId);
        }
        UserId::parse(format!("@{localpart}:{server_name}"))
    };
    let id = id.map_err(|_| NameError::NotAUserId)?;
    if id.as_str().len() > USER_ID_BYTES_MAX {
        return Err(NameError::NotAUserId);
    }
    Ok(id)
}

/// The id of today's grammar that somebody meant who wrote its localpart with capitals.
pub fn in_small_letters(user_id: &UserId) -> OwnedUserId {
    let localpart = localpart_for_registration(user_id.localpart());
    let id = format!("@{localpart}:{}", user_id.server_name());
    UserId::parse(id).unwrap_or_else(|_| user_id.to_owned())
}

/// A localpart for somebody who registers without choosing one: 10 small letters and digits,
/// the first a letter.
pub fn generated_localpart(random: &[u8; 10]) -> String {
    const CHARACTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    random
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            let range = if index == 0 { 24 } else { CHARACTERS.len() };
            char::from(CHARACTERS[usize::from(*byte) % range])
        })
        .collect()
}

/// An id for a new device: 10 capital letters.
pub fn device_id(random: &[u8; 10]) -> OwnedDeviceId {
    let text: String = random
        .iter()
        .map(|byte| char::from(b'A' + byte % 26))
        .collect();
    text.into()
}

/// The device id that a client chose.
pub fn check_device_id(text: &str) -> Result<OwnedDeviceId, NameError> {
    let is_valid = !text.is_empty()
        && text.len() <= DEVICE_ID_BYTES_MAX
        && !text.chars().any(char::is_control);
    if is_valid {
        Ok(text.into())
    } else {
        Err(NameError::DeviceId)
    }
}

/// A name nobody can guess, of 32 characters of `A-Za-z0-9_-`: for sessions, nonces, files.
pub fn session_id(random: &[u8; 24]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

/// How somebody who logs in says who they are (Client-Server API, "Identifier types").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// `m.id.user`: a user id or its localpart; see [`known_user_id`].
    User(String),
    /// `m.id.thirdparty`: an address bound to the account.
    Threepid {
        /// `email` or `msisdn`.
        medium: String,
        /// The address; e-mail addresses in lower case.
        address: String,
    },
    /// `m.id.phone`.
    Phone {
        /// Two letters.
        country: String,
        /// The number as dialled in that country.
        phone: String,
    },
}

impl Identifier {
    /// Reads it from the body of a login or from an `auth` dictionary: `identifier`, or one of
    /// the older forms `user` and `medium` with `address`. `None`: it names nobody.
    pub fn from_login(body: &Value) -> Result<Option<Self>, NameError> {
        let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let Some(identifier) = body.get("identifier").filter(|value| !value.is_null()) else {
            if let Some(user) = text(body, "user") {
                return Ok(Some(Self::User(user)));
            }
            if let (Some(medium), Some(address)) = (text(body, "medium"), text(body, "address")) {
                return Ok(Some(threepid(medium, &address)));
            }
            return Ok(None);
        };
        let kind = identifier.get("type").and_then(Value::as_str);
        match kind {
            Some("m.id.user") => {
                let user = text(identifier, "user").ok_or(NameError::Identifier("no `user`"))?;
                Ok(Some(Self::User(user)))
            }
            Some("m.id.thirdparty") => {
                let medium =
                    text(identifier, "medium").ok_or(NameError::Identifier("no `medium`"))?;
                let address =
                    text(identifier, "address").ok_or(NameError::Identifier("no `address`"))?;
                Ok(Some(threepid(medium, &address)))
            }
            Some("m.id.phone") => {
                let country =
                    text(identifier, "country").ok_or(NameError::Identifier("no `country`"))?;
                let phone = text(identifier, "phone")
                    .or_else(|| text(identifier, "number"))
                    .ok_or(NameError::Identifier("no `phone`"))?;
                Ok(Some(Self::Phone { country, phone }))
            }
            Some(_) => Err(NameError::Identifier("its type is unknown")),
            None => Err(NameError::Identifier("no `type`")),
        }
    }
}

fn threepid(medium: String, address: &str) -> Identifier {
    let address = if medium == "email" {
        address.to_lowercase()
    } else {
        address.to_owned()
    };
    Identifier::Threepid { medium, address }
}
