//! `/v1/rooms` and `/v2/rooms`, and what hangs below them.

mod control;
mod deletion;
mod list;
pub(super) mod reading;
mod room;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

pub(super) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [
        control::routes,
        deletion::routes,
        list::routes,
        reading::routes,
        room::routes,
    ] {
        router = add(router);
    }
    router
}
