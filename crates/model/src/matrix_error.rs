//! The one form in which a request is refused (Client-Server API, "Standard error response").

use std::{borrow::Cow, fmt};

use serde_json::{Map, Value};

/// A refusal: HTTP status, error code, a sentence that helps, and further keys of the body.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixError {
    /// The HTTP status.
    pub status: u16,
    /// `errcode`.
    pub code: Cow<'static, str>,
    /// `error`.
    pub message: Cow<'static, str>,
    /// Further keys of the body, such as `soft_logout` or `flows`.
    pub extra: Option<Box<Map<String, Value>>>,
    /// When to come again, for `Retry-After` and `retry_after_ms`.
    pub retry_after_ms: Option<u64>,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $code:literal;)*) => {
        impl MatrixError {
            $($(#[$doc])*
            pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                Self::new($status, $code, message)
            })*
        }
    };
}

refusals! {
    /// 403: no right to do this.
    forbidden = 403, "M_FORBIDDEN";
    /// 401: no access token came with the request.
    missing_token = 401, "M_MISSING_TOKEN";
    /// 401: the access token is not (any more) valid.
    unknown_token = 401, "M_UNKNOWN_TOKEN";
    /// 404: there is no such thing.
    not_found = 404, "M_NOT_FOUND";
    /// 404: there is no such endpoint.
    unrecognized = 404, "M_UNRECOGNIZED";
    /// 405: the endpoint does not have this method.
    method_not_allowed = 405, "M_UNRECOGNIZED";
    /// 400: JSON, but not of the right shape.
    bad_json = 400, "M_BAD_JSON";
    /// 400: not JSON.
    not_json = 400, "M_NOT_JSON";
    /// 400: a parameter has a wrong value.
    invalid_param = 400, "M_INVALID_PARAM";
    /// 400: a parameter is missing.
    missing_param = 400, "M_MISSING_PARAM";
    /// 413: too much.
    too_large = 413, "M_TOO_LARGE";
    /// 400: something is wrong that has no code of its own.
    unknown = 400, "M_UNKNOWN";
    /// 400: the user name is taken.
    user_in_use = 400, "M_USER_IN_USE";
    /// 400: the user name is not allowed.
    invalid_username = 400, "M_INVALID_USERNAME";
    /// 400: the password is too weak.
    weak_password = 400, "M_WEAK_PASSWORD";
    /// 400: the alias names a room already.
    room_in_use = 400, "M_ROOM_IN_USE";
    /// 400: this server does not know that room version.
    unsupported_room_version = 400, "M_UNSUPPORTED_ROOM_VERSION";
    /// 403: the account was closed.
    user_deactivated = 403, "M_USER_DEACTIVATED";
    /// 403: the account is suspended.
    user_suspended = 403, "M_USER_SUSPENDED";
    /// 403: guests may not do this.
    guest_access_forbidden = 403, "M_GUEST_ACCESS_FORBIDDEN";
    /// 409: it was written already.
    cannot_overwrite_media = 409, "M_CANNOT_OVERWRITE_MEDIA";
    /// 504: the upload has not come yet.
    not_yet_uploaded = 504, "M_NOT_YET_UPLOADED";
    /// 500: this server is at fault.
    internal = 500, "M_UNKNOWN";
    /// 507: the disk is full.
    storage_full = 507, "M_RESOURCE_LIMIT_EXCEEDED";
}

impl MatrixError {
    /// A refusal with any status and code.
    pub fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            extra: None,
            retry_after_ms: None,
        }
    }

    /// 429: too many requests.
    pub fn limit_exceeded(retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(429, "M_LIMIT_EXCEEDED", "Too many requests")
        }
    }

    /// The same with one more key in the body.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra
            .get_or_insert_default()
            .insert(key.to_owned(), value.into());
        self
    }

    /// The body: `errcode`, `error` and the further keys. Without a code it has the further keys
    /// only: the first 401 of interactive authentication is no error.
    pub fn body(&self) -> Value {
        let mut body = self.extra.as_deref().cloned().unwrap_or_default();
        if !self.code.is_empty() {
            body.insert("errcode".to_owned(), Value::from(&*self.code));
            body.insert("error".to_owned(), Value::from(&*self.message));
        }
        if let Some(retry_after_ms) = self.retry_after_ms {
            body.insert("retry_after_ms".to_owned(), Value::from(retry_after_ms));
        }
        Value::Object(body)
    }
}

impl fmt::Display for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl std::error::Error for MatrixError {}
