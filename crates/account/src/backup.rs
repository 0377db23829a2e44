//! Rules of server-side key backups (Client-Server API, "Server-side key backups").
//!
//! What is in a backup is encrypted; the server only decides which of two copies of a session is
//! the better one. Which versions exist, storage knows.

use std::collections::BTreeMap;

use lyceum_model::{BackupSession, BackupVersion, MatrixError};
use ruma_common::{RoomId, UserId};
use serde_json::{Map, Value, json};

/// The largest encrypted session, in bytes of its JSON.
pub const SESSION_BYTES_MAX: usize = 65_536;
/// The longest session id, in bytes.
pub const SESSION_ID_BYTES_MAX: usize = 255;
/// The largest `auth_data`, in bytes of its JSON.
pub const AUTH_DATA_BYTES_MAX: usize = 65_536;
/// The longest name of an algorithm, in bytes.
pub const ALGORITHM_BYTES_MAX: usize = 255;
/// How many sessions one request may bring.
pub const SESSIONS_MAX: usize = 10_000;

/// The largest integer that JSON in Matrix may have.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a request about a backup is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// A key is missing.
    #[error("Missing '{0}'")]
    Missing(&'static str),
    /// A key has the wrong type or value.
    #[error("'{0}' is not valid")]
    Invalid(&'static str),
    /// The algorithm of a version cannot change.
    #[error("Algorithm does not match")]
    AlgorithmChanged,
    /// The version in the body is not the one in the path.
    #[error("Version in body does not match")]
    VersionMismatch,
    /// Keys go into the newest version only.
    #[error("Wrong backup version.")]
    WrongVersion {
        /// The newest version.
        current: u64,
    },
    /// There is no backup.
    #[error("No current backup version")]
    NoBackup,
    /// Too much at once.
    #[error("The backup data is too large")]
    TooLarge,
}

impl From<BackupError> for MatrixError {
    fn from(error: BackupError) -> Self {
        let message = error.to_string();
        match error {
            BackupError::Missing(_) => Self::missing_param(message),
            BackupError::Invalid(_) => Self::bad_json(message),
            BackupError::AlgorithmChanged | BackupError::VersionMismatch => {
                Self::invalid_param(message)
            }
            BackupError::WrongVersion { current } => {
                Self::new(403, "M_WRONG_ROOM_KEYS_VERSION", message)
                    .with("current_version", current.to_string())
            }
            BackupError::NoBackup => Self::not_found(message),
            BackupError::TooLarge => Self::too_large(message),
        }
    }
}

/// The algorithm and the `auth_data` (as JSON) of a new version.
pub fn parse_version(body: &Value) -> Result<(String, String), BackupError> {
    let algorithm = body
        .get("algorithm")
        .ok_or(BackupError::Missing("algorithm"))?;
    let algorithm = algorithm
        .as_str()
        .ok_or(BackupError::Invalid("algorithm"))?;
    if algorithm.len() > ALGORITHM_BYTES_MAX {
        return Err(BackupError::TooLarge);
    }
    let auth_data = body
        .get("auth_data")
        .ok_or(BackupError::Missing("auth_data"))?;
    if !auth_data.is_object() {
        return Err(BackupError::Invalid("auth_data"));
    }
    let auth_data = auth_data.to_string();
    if auth_data.len() > AUTH_DATA_BYTES_MAX {
        return Err(BackupError::TooLarge);
    }
    Ok((algorithm.to_owned(), auth_data))
}

/// The new `auth_data` (as JSON) of an existing version; nothing else of it can change.
pub fn check_version_update(current: &BackupVersion, body: &Value) -> Result<String, BackupError> {
    let (algorithm, auth_data) = parse_version(body)?;
    if algorithm != current.algorithm {
        return Err(BackupError::AlgorithmChanged);
    }
    if let Some(version) = body.get("version").filter(|version| !version.is_null()) {
        let is_same = version
            .as_str()
            .is_some_and(|text| text == current.version.to_string());
        if !is_same {
            return Err(BackupError::VersionMismatch);
        }
    }
    Ok(auth_data)
}

/// A version as clients get it.
pub fn version_json(version: &BackupVersion) -> Value {
    json!({
        "algorithm": version.algorithm,
        "auth_data": serde_json::from_str::<Value>(&version.auth_data).unwrap_or_default(),
        "count": version.count,
        "etag": version.etag.to_string(),
        "version": version.version.to_string(),
    })
}

/// Whether keys may be put into version `asked`; `newest` is the user's newest version.
pub fn check_write(asked: u64, newest: Option<u64>) -> Result<(), BackupError> {
    match newest {
        Some(newest) if newest == asked => Ok(()),
        Some(current) => Err(BackupError::WrongVersion { current }),
        None => Err(BackupError::NoBackup),
    }
}

/// A session as `PUT /room_keys/keys/{room}/{session}` brings it.
pub fn parse_session(
    room_id: &RoomId,
    session_id: &str,
    body: &Value,
) -> Result<BackupSession, BackupError> {
    if session_id.is_empty() || session_id.len() > SESSION_ID_BYTES_MAX {
        return Err(BackupError::Invalid("session_id"));
    }
    let integer = |key: &'static str| {
        let value = body.get(key).ok_or(BackupError::Missing(key))?;
        value
            .as_u64()
            .filter(|value| *value <= INTEGER_MAX)
            .ok_or(BackupError::Invalid(key))
    };
    let is_verified = body
        .get("is_verified")
        .ok_or(BackupError::Missing("is_verified"))?;
    let session_data = body
        .get("session_data")
        .ok_or(BackupError::Missing("session_data"))?;
    if !session_data.is_object() {
        return Err(BackupError::Invalid("session_data"));
    }
    let session_data = session_data.to_string();
    if session_data.len() > SESSION_BYTES_MAX {
        return Err(BackupError::TooLarge);
    }
    Ok(BackupSession {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        first_message_index: integer("first_message_index")?,
        forwarded_count: integer("forwarded_count")?,
        is_verified: is_verified
            .as_bool()
            .ok_or(BackupError::Invalid("is_verified"))?,
        session_data,
    })
}

/// The sessions of one room, as `PUT /room_keys/keys/{room}` brings them.
pub fn parse_room(room_id: &RoomId, body: &Value) -> Result<Vec<BackupSession>, BackupError> {
    let sessions = body
        .get("sessions")
        .ok_or(BackupError::Missing("sessions"))?;
    let sessions = sessions
        .as_object()
        .ok_or(BackupError::Invalid("sessions"))?;
    if sessions.len() > SESSIONS_MAX {
        return Err(BackupError::TooLarge);
    }
    sessions
        .iter()
        .map(|(id, session)| parse_session(room_id, id, session))
        .collect()
}

/// The sessions of many rooms, as `PUT /room_keys/keys` brings them.
pub fn parse_rooms(body: &Value) -> Result<Vec<BackupSession>, BackupError> {
    let rooms = body.get("rooms").ok_or(BackupError::Missing("rooms"))?;
    let rooms = rooms.as_object().ok_or(BackupError::Invalid("rooms"))?;
    let mut all = Vec::new();
    for (room_id, room) in rooms {
        let room_id = RoomId::parse(room_id).map_err(|_| BackupError::Invalid("rooms"))?;
        all.extend(parse_room(&room_id, room)?);
        if all.len() > SESSIONS_MAX {
            return Err(BackupError::TooLarge);
        }
    }
    Ok(all)
}

/// A session as clients get it.
pub fn session_json(session: &BackupSession) -> Value {
    json!({
        "first_message_index": session.first_message_index,
        "forwarded_count": session.forwarded_count,
        "is_verified": session.is_verified,
        "session_data": serde_json::from_str::<Value>(&session.session_data).unwrap_or_default(),
    })
}

/// Sessions of one room as clients get them: `{"sessions": …}`.
pub fn room_json(sessions: &[BackupSession]) -> Value {
    let sessions: Map<String, Value> = sessions
        .iter()
        .map(|session| (session.session_id.clone(), session_json(session)))
        .collect();
    json!({ "sessions": sessions })
}

/// Sessions of many rooms as clients get them: `{"rooms": …}`.
pub fn rooms_json(sessions: &[BackupSession]) -> Value {
    let mut rooms = Map::new();
    for session in sessions {
        let room = rooms
            .entry(session.room_id.as_str())
            .or_insert_with(|| json!({ "sessions": {} }));
        room["sessions"][&session.session_id] = session_json(session);
    }
    json!({ "rooms": rooms })
}

/// Whether `new` replaces `old`: a verified one, else the one that decrypts more, else the one
/// that was forwarded less. Between equal ones the old one stays.
pub fn wins(new: &BackupSession, old: &BackupSession) -> bool {
    let rank = |session: &BackupSession| {
        (
            !session.is_verified,
            session.first_message_index,
            session.forwarded_count,
        )
    };
    rank(new) < rank(old)
}

/// Those of the `uploaded` sessions that are to be stored; `existing` are the stored ones of the
/// same rooms and ids (others do no harm). If none is, the etag stays.
pub fn merge(existing: &[BackupSession], uploaded: Vec<BackupSession>) -> Vec<BackupSession> {
    let known: BTreeMap<(&RoomId, &str), &BackupSession> = existing
        .iter()
        .map(|session| ((&*session.room_id, session.session_id.as_str()), session))
        .collect();
    uploaded
        .into_iter()
        .filter(|new| {
            known
                .get(&(&*new.room_id, new.session_id.as_str()))
                .is_none_or(|old| wins(new, old))
        })
        .collect()
}

/// The etag after a change.
pub fn next_etag(etag: u64) -> u64 {
    etag.wrapping_add(1)
}

/// A new version of a backup, without keys.
pub fn new_version(
    user_id: &UserId,
    version: u64,
    algorithm: String,
    auth_data: String,
) -> BackupVersion {
    BackupVersion {
        user_id: user_id.to_owned(),
        version,
        algorithm,
        auth_data,
        etag: 0,
        count: 0,
    }
}
