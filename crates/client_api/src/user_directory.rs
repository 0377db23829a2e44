//! `/user_directory/…`.

mod search;

use std::sync::Arc;

use axum::{Router, routing::post};
use lyceum_edge::{App, client};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/user_directory/search", post(search::search))
}
