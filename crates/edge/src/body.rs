//! How a request's body is read: bounded, and as JSON whatever its content type says.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lyceum_model::MatrixError;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::{Refusal, json_limits};

/// The largest JSON body, in bytes. Events have their own, smaller limit; key backups and filters
/// of old accounts come near this one.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest JSON body of whoever has not shown a token.
const BRIEF_BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a JSON body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What an absent body means.
pub const EMPTY_BODY: &[u8] = b"{}";

/// The raw bytes of a body.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        read(request, BODY_BYTES_MAX).await.map(Self)
    }
}

/// A body as JSON of this shape. Any content type will do, and none; an empty body is `{}`.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = read(request, BODY_BYTES_MAX).await?;
        Self::parse(&bytes)
    }
}

/// The same where nobody needs a token: such a body is short.
#[derive(Debug)]
pub struct BriefBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for BriefBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let BriefBytes(bytes) = BriefBytes::from_request(request, state).await?;
        JsonBody::parse(&bytes).map(|JsonBody(value)| Self(value))
    }
}

/// The bytes of such a body.
#[derive(Debug)]
pub struct BriefBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for BriefBytes {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        read(request, BRIEF_BODY_BYTES_MAX).await.map(Self)
    }
}

impl<T: DeserializeOwned> JsonBody<T> {
    /// Reads JSON; tells apart what is no JSON (`M_NOT_JSON`) and what has a wrong shape
    /// (`M_BAD_JSON`), or what cannot be kept as it is: integers beyond 2^53, deep nesting. A list
    /// would pass for a struct with its fields in order; it is refused, since no body of this API
    /// is one.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let bytes = if bytes.trim_ascii().is_empty() {
            EMPTY_BODY
        } else {
            bytes
        };
        let is_list = bytes.trim_ascii_start().starts_with(b"[");
        match serde_json::from_slice(bytes) {
            Ok(_) if is_list => Err(MatrixError::bad_json("The body must be a JSON object").into()),
            Ok(value) => {
                json_limits::check(bytes)?;
                Ok(Self(value))
            }
            Err(error) => Err(wrong(bytes, &error).into()),
        }
    }

    /// Reads JSON where none is no `{}`, such as what is stored as it comes.
    pub fn parse_present(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.trim_ascii().is_empty() {
            return Err(MatrixError::not_json("The body is missing").into());
        }
        Self::parse(bytes)
    }
}

/// What is wrong with a body. The parser stops at what it meets first, which may be a wrong shape
/// before the end of the JSON, or what no value of that shape begins with.
fn wrong(bytes: &[u8], error: &serde_json::Error) -> MatrixError {
    // Texts that are passed over are not looked into, so that they are UTF-8 is asked apart.
    let text = std::str::from_utf8(bytes).ok();
    let is_json = text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    if is_json && let Err(error) = json_limits::check(bytes) {
        error
    } else if is_json {
        MatrixError::bad_json(format!("The body has a wrong shape: {error}"))
    } else {
        MatrixError::not_json(format!("The body is not valid JSON: {error}"))
    }
}

async fn read(request: Request, bytes_max: usize) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), bytes_max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(MatrixError::too_large("The body is too large").into())
        }
        Ok(Err(_)) => Err(MatrixError::not_json("The body could not be read").into()),
        Err(_) => Err(MatrixError::new(408, "M_UNKNOWN", "The body took too long").into()),
    }
}
