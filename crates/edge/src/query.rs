//! Query strings of a known shape.

use axum::extract::FromRequestParts;
use http::request::Parts;
use lyceum_model::MatrixError;
use serde::de::DeserializeOwned;

use crate::Refusal;

/// The query string as this shape; a value of a wrong kind is `M_INVALID_PARAM`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| {
                MatrixError::invalid_param(format!("A query parameter is wrong: {error}")).into()
            })
    }
}
