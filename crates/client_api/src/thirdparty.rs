//! `/thirdparty/…`.

mod protocols;

use std::sync::Arc;

use axum::{Router, routing::get};
use lyceum_edge::{App, client};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/thirdparty/protocols", get(protocols::protocols))
}
