//! Where endpoints hang: each client endpoint under `v3` and `r0` alike, and what is not there.

use std::sync::Arc;

use axum::{Router, extract::FromRequestParts, response::IntoResponse, routing::MethodRouter};
use http::request::Parts;
use lyceum_model::MatrixError;
use serde::de::DeserializeOwned;

use crate::{App, Refusal};

/// Adds an endpoint under `/_matrix/client/v3` and `/_matrix/client/r0`.
pub fn client(
    router: Router<Arc<App>>,
    path: &str,
    methods: MethodRouter<Arc<App>>,
) -> Router<Arc<App>> {
    router
        .route(&format!("/_matrix/client/v3{path}"), methods.clone())
        .route(&format!("/_matrix/client/r0{path}"), methods)
}

/// Adds an endpoint under `/_matrix/client/v1`.
pub fn client_v1(
    router: Router<Arc<App>>,
    path: &str,
    methods: MethodRouter<Arc<App>>,
) -> Router<Arc<App>> {
    router.route(&format!("/_matrix/client/v1{path}"), methods)
}

/// Adds an endpoint under `/_matrix/client/unstable`.
pub fn unstable(
    router: Router<Arc<App>>,
    path: &str,
    methods: MethodRouter<Arc<App>>,
) -> Router<Arc<App>> {
    router.route(&format!("/_matrix/client/unstable{path}"), methods)
}

/// Answers for all that is not there: 404 and 405, both `M_UNRECOGNIZED`.
pub fn finish(router: Router<Arc<App>>, app: Arc<App>) -> Router {
    router
        .fallback(async || {
            Refusal(MatrixError::unrecognized("Unrecognized request")).into_response()
        })
        .method_not_allowed_fallback(async || {
            Refusal(MatrixError::method_not_allowed(
                "Unrecognized request method",
            ))
            .into_response()
        })
        .with_state(app)
}

/// Path segments, percent-decoded, as this shape (a tuple of ids, say); ids that are none are
/// `M_INVALID_PARAM`.
#[derive(Debug)]
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(error) => Err(MatrixError::invalid_param(format!(
                "The path is wrong: {}",
                error.body_text()
            ))
            .into()),
        }
    }
}
