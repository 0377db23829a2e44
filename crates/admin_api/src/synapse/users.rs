//! `/v2/users`, `/v3/users` and what hangs below them.

mod user;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

pub(super) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [user::routes] {
        router = add(router);
    }
    router
}
