//! Why a request about a room is refused.

use lyceum_model::MatrixError;
use ruma_common::RoomVersionId;

/// A refusal; nothing changes. Each variant names the answer of the Client-Server API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The rules of the room do not allow it: 403 `M_FORBIDDEN`.
    #[error("{0}")]
    Forbidden(String),
    /// Who is to be put out is not there: 403 `M_FORBIDDEN`.
    #[error("the user is not in this room")]
    NotThere,
    /// Things are not as this would change them: 403 `M_BAD_STATE`.
    #[error("{0}")]
    BadState(String),
    /// The content has the wrong shape, or is not canonical JSON: 400 `M_BAD_JSON`.
    #[error("{0}")]
    BadJson(String),
    /// A parameter makes no sense: 400 `M_INVALID_PARAM`.
    #[error("{0}")]
    InvalidParam(String),
    /// The state asked for contradicts itself or the room's creation: 400 `M_INVALID_ROOM_STATE`.
    #[error("{0}")]
    InvalidRoomState(String),
    /// The event is too large (the bytes it has): 413 `M_TOO_LARGE`.
    #[error("The event has {0} bytes; 65535 are allowed")]
    TooLarge(usize),
    /// An id or a type in the event is longer than 255 bytes (the bytes it has): 413
    /// `M_TOO_LARGE`.
    #[error("An id or type in the event has {0} bytes; 255 are allowed")]
    FieldTooLarge(usize),
    /// This server does not know the room version: 400 `M_UNSUPPORTED_ROOM_VERSION`.
    #[error("This server does not know room version {0}")]
    UnsupportedVersion(RoomVersionId),
    /// Nobody of this server may let users into this restricted room: 400
    /// `M_UNABLE_TO_GRANT_JOIN`; another server may be able to.
    #[error("Nobody of this server in the room may let you in")]
    UnableToGrantJoin,
}

impl From<Denied> for MatrixError {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Forbidden(_) | Denied::NotThere => Self::forbidden(message),
            Denied::BadState(_) => Self::new(403, "M_BAD_STATE", message),
            Denied::BadJson(_) => Self::bad_json(message),
            Denied::InvalidParam(_) => Self::invalid_param(message),
            Denied::InvalidRoomState(_) => Self::new(400, "M_INVALID_ROOM_STATE", message),
            Denied::TooLarge(_) | Denied::FieldTooLarge(_) => Self::too_large(message),
            Denied::UnsupportedVersion(_) => Self::unsupported_room_version(message),
            Denied::UnableToGrantJoin => Self::new(400, "M_UNABLE_TO_GRANT_JOIN", message),
        }
    }
}

impl Denied {
    pub(crate) fn forbidden(reason: impl Into<String>) -> Self {
        Self::Forbidden(reason.into())
    }
}
