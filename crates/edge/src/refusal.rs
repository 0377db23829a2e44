//! Answers: JSON bodies, and refusals in Matrix's form.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use lyceum_model::MatrixError;
use lyceum_server::sessions::Unauthenticated;
use lyceum_storage::{CommitError, StorageError};
use serde::Serialize;
use serde_json::json;

/// What an endpoint answers.
pub type Answer = Result<Response, Refusal>;

/// A refusal on its way out.
#[derive(Debug)]
pub struct Refusal(pub MatrixError);

impl From<MatrixError> for Refusal {
    fn from(error: MatrixError) -> Self {
        Self(error)
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self(error.into())
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        Self(error.into())
    }
}

impl From<Unauthenticated> for Refusal {
    fn from(error: Unauthenticated) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_bytes(status, self.0.body().to_string().into_bytes());
        if let Some(retry_after_ms) = self.0.retry_after_ms {
            let seconds = retry_after_ms.div_ceil(1000).max(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The answer to a learning platform about what it cannot have: it goes on with the next person, and
/// does not look at the answer. Whoever wonders why somebody is missing finds it in the log.
pub fn passed_over(what: &str, why: &str) -> Response {
    tracing::info!(what, why, "a learning platform's request was passed over");
    json(&json!({ "passed_over": why }))
}

/// A 200 answer with this value as JSON.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(StatusCode::OK, bytes),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Refusal(MatrixError::internal("The answer could not be written")).into_response()
        }
    }
}

/// An answer with this JSON text.
pub fn json_bytes(status: StatusCode, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
