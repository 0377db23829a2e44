//! `/_synapse/admin/…`.

mod federation_whitelist;
mod join;
mod media;
mod object;
mod paging;
mod parameters;
mod purge_history;
mod registration_tokens;
mod reports;
mod rooms;
mod server;
mod users;

use std::sync::Arc;

use axum::{Router, routing::MethodRouter};
use lyceum_edge::{App, Refusal, json};
use lyceum_model::{MatrixError, User};
use lyceum_server::administration::people;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::json;

/// How long a user id may be, in bytes (Matrix, "User identifiers").
const USER_ID_BYTES_MAX: usize = 255;

pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [
        federation_whitelist::routes,
        join::routes,
        media::routes,
        purge_history::routes,
        registration_tokens::routes,
        reports::routes,
        rooms::routes,
        server::routes,
        users::routes,
    ] {
        router = add(router);
    }
    router
}

/// Adds an endpoint under `/_synapse/admin/v1`.
fn v1(router: Router<Arc<App>>, path: &str, methods: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    router.route(&format!("/_synapse/admin/v1{path}"), methods)
}

/// Adds an endpoint under `/_synapse/admin/v2`.
fn v2(router: Router<Arc<App>>, path: &str, methods: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    router.route(&format!("/_synapse/admin/v2{path}"), methods)
}

/// Adds an endpoint under `/_synapse/admin/v3`.
fn v3(router: Router<Arc<App>>, path: &str, methods: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    router.route(&format!("/_synapse/admin/v3{path}"), methods)
}

/// The account of a user of this server.
async fn local_user(app: &App, named: &str, other_server: &'static str) -> Result<User, Refusal> {
    let user_id = user_id(named)?;
    people::local_user(&app.server, &user_id, other_server)
        .await
        .map_err(refused)
}

/// The same where Synapse has another word for nobody.
async fn known_user(app: &App, named: &str, other_server: &'static str) -> Result<User, Refusal> {
    let user = local_user(app, named, other_server).await;
    user.map_err(|Refusal(error)| match error.status {
        404 => MatrixError::not_found("Unknown user").into(),
        _ => Refusal(error),
    })
}

/// A user id in Synapse's words.
fn user_id(text: &str) -> Result<OwnedUserId, Refusal> {
    UserId::parse(text).map_err(|_| {
        let error = if !text.starts_with('@') {
            MatrixError::invalid_param("Expected UserID string to start with '@'")
        } else if text.len() > USER_ID_BYTES_MAX {
            MatrixError::invalid_username("User ID may not be longer than 255 characters")
        } else {
            MatrixError::invalid_param("Expected UserID of the form '@localname:domain'")
        };
        error.into()
    })
}

/// A room id in Synapse's words.
fn room_id(text: &str) -> Result<OwnedRoomId, Refusal> {
    RoomId::parse(text)
        .map_err(|_| MatrixError::unknown(format!("{text} is not a legal room ID")).into())
}

/// A room that is looked at: what is no room id names no room.
fn room_looked_at(text: &str) -> Result<OwnedRoomId, Refusal> {
    RoomId::parse(text).map_err(|_| MatrixError::not_found("Room not found").into())
}

/// An empty object.
fn done() -> axum::response::Response {
    json(&json!({}))
}

fn refused(error: impl Into<MatrixError>) -> Refusal {
    Refusal(error.into())
}
