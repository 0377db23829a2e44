//! Synapse's admin API, under `/_synapse/admin`, and what the specification has for admins: the
//! file tree is the endpoint tree. An endpoint reads the request, calls the server, and writes the
//! answer; it decides nothing.
//!
//! Invariant: each endpoint asks for an admin (or, where a learning platform needs it, for who
//! provisions) before it looks at anything else of the request.

mod moderation;
mod synapse;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

/// All endpoints.
pub fn router() -> Router<Arc<App>> {
    moderation::routes(synapse::routes(Router::new()))
}
