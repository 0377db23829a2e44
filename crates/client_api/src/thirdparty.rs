//! `/thirdparty/…`.

mod protocols;

use std::sync::Arc;

use axum::{Router, routing::get};
use lyceum_edge::{App, client};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let mut router = client(router, "/thirdparty/protocols", get(protocols::protocols));
    for what in ["protocol", "location", "user"] {
        let path = format!("/thirdparty/{what}/{{protocol}}");
        router = client(router, &path, get(protocols::of_protocol));
    }
    let router = client(router, "/thirdparty/location", get(protocols::locations));
    client(router, "/thirdparty/user", get(protocols::users))
}
