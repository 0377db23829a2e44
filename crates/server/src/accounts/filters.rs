//! Filters that clients keep for their syncs (Client-Server API, "Filtering").

use lyceum_account::filter_id;
use lyceum_model::{AccountChange, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use lyceum_sync::filter::{Filter, InvalidFilter};
use ruma_common::UserId;
use serde_json::Value;

use crate::Server;

/// The largest filter, in bytes of JSON.
const FILTER_BYTES_MAX: usize = 256 * 1024;

/// Why a filter was not kept.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It is no filter.
    #[error(transparent)]
    Invalid(#[from] InvalidFilter),
    /// It is too large.
    #[error("the filter is too large")]
    TooLarge,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<FilterError> for MatrixError {
    fn from(error: FilterError) -> Self {
        match error {
            FilterError::Invalid(error) => Self::bad_json(error.to_string()),
            FilterError::TooLarge => Self::too_large("The filter is too large"),
            FilterError::Commit(error) => error.into(),
            FilterError::Storage(error) => error.into(),
        }
    }
}

/// Keeps a filter; equal ones have the same id.
pub async fn keep(
    server: &Server,
    user_id: &UserId,
    filter: &Value,
) -> Result<String, FilterError> {
    let (filter_id, json) = filter_id::of(filter);
    if json.len() > FILTER_BYTES_MAX {
        return Err(FilterError::TooLarge);
    }
    Filter::parse(&json)?;
    if server.store.filter(user_id, &filter_id).await?.is_none() {
        let change = AccountChange::PutFilter {
            user_id: user_id.to_owned(),
            filter_id: filter_id.clone(),
            json,
        };
        server.commit(change).await?;
    }
    Ok(filter_id)
}
