//! Bodies that are JSON objects, and what is wrong with one in Synapse's words.

use axum::extract::{FromRequest, Request};
use lyceum_edge::{RawBody, Refusal};
use lyceum_model::MatrixError;
use serde_json::{Map, Value};

/// A body that must be an object.
#[derive(Debug)]
pub(super) struct Object(pub(super) Map<String, Value>);

/// A body that must be an object, or nothing: no body, or `null`.
#[derive(Debug)]
pub(super) struct ObjectOrNothing(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        object(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for ObjectOrNothing {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        if bytes.is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(Self(Map::new()));
        }
        object(&bytes).map(Self)
    }
}

/// The object that a body is.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(MatrixError::bad_json("Content must be a JSON object.").into()),
        Err(_) => Err(MatrixError::not_json("Content not JSON.").into()),
    }
}

/// What must be there, in Synapse's words if it is not.
pub(super) fn required<'a>(
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<&'a Value, MatrixError> {
    let missing = || MatrixError::missing_param(format!("Missing params: ['{key}']"));
    object.get(key).ok_or_else(missing)
}
