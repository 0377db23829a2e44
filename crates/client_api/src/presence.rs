//! `/presence/…`.

mod status;

use std::sync::Arc;

use axum::{Router, routing::get};
use lyceum_edge::{App, client};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(
        router,
        "/presence/{user_id}/status",
        get(status::get).put(status::put),
    )
}
