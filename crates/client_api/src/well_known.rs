//! `/.well-known/matrix/…`: how others find this server.

mod client;
mod server;
mod support;

use std::sync::Arc;

use axum::{Router, routing::get};
use lyceum_edge::App;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
        .route("/.well-known/matrix/client", get(client::get))
        .route("/.well-known/matrix/server", get(server::get))
        .route("/.well-known/matrix/support", get(support::get))
}
