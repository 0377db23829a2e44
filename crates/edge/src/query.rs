//! Query strings of a known shape.

use axum::extract::FromRequestParts;
use http::request::Parts;
use lyceum_model::MatrixError;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer},
};

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

/// For `deserialize_with`: a parameter without a value is none. Clients send such where they have
/// no value yet, mautrix-go at its first page say.
pub fn empty_as_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::deserialize(text.into_deserializer()).map(Some)
}
