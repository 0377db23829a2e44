//! Finding other users (Client-Server API, "User Directory"). All active accounts of this server
//! that are not locked can be found by each other.

use std::collections::BTreeMap;

use lyceum_storage::{StorageError, UserPage, UserSelection};
use ruma_common::{OwnedUserId, UserId};

use crate::Server;

/// Most results of one search.
const RESULTS_MAX: usize = 50;
/// Nobody has so long a name.
const TERM_BYTES_MAX: usize = 10_000;

/// What a search found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Users with their profile fields (JSON values).
    pub users: Vec<(OwnedUserId, BTreeMap<String, String>)>,
    /// Whether there are more.
    pub is_limited: bool,
}

/// Finds users by a part of their id or display name, other than the one who asks.
pub async fn search(
    server: &Server,
    seeker: &UserId,
    term: &str,
    limit: usize,
) -> Result<Found, StorageError> {
    let limit = limit.min(RESULTS_MAX);
    let term = term.trim();
    if term.is_empty() || term.len() > TERM_BYTES_MAX || limit == 0 {
        return Ok(Found::default());
    }
    let page = UserPage {
        selection: UserSelection {
            name_contains: Some(term.to_owned()),
            is_locked: Some(false),
            ..UserSelection::default()
        },
        after: None,
        limit: limit + 2,
    };
    let found = server.store.users(page).await?;
    let mut user_ids: Vec<OwnedUserId> = found.into_iter().map(|user| user.user_id).collect();
    user_ids.retain(|user_id| user_id != seeker);
    let is_limited = user_ids.len() > limit;
    user_ids.truncate(limit);
    let mut profiles = server.store.profiles(&user_ids).await?;
    let users = user_ids
        .into_iter()
        .map(|user_id| {
            let profile = profiles.remove(&user_id).unwrap_or_default();
            (user_id, profile)
        })
        .collect();
    Ok(Found { users, is_limited })
}
