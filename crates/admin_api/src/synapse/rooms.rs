//! `/v1/rooms` and what hangs below it.

mod room;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

pub(super) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [room::routes] {
        router = add(router);
    }
    router
}
