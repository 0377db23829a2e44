//! `GET /_matrix/key/v2/server`: what this server is called, and its public key. It belongs to the
//! Server-Server API, and is here already since admins' tools ask it for the name.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, json};
use lyceum_model::MatrixError;

/// How long others may keep the key before they ask again.
const VALID_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route("/_matrix/key/v2/server", get(key))
}

async fn key(State(app): State<Arc<App>>) -> Answer {
    let valid_until = app.server.clock.now().plus_ms(VALID_MS);
    let key = app.server.signer.published_key(valid_until);
    let key = key.map_err(|_| MatrixError::unknown("The key cannot be signed"))?;
    Ok(json(&key))
}
