//! `/_matrix/client/*/users/…`: what one does about other users.

mod report;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

/// Adds the endpoints.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    report::routes(router)
}
