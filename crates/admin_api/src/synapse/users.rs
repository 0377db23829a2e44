//! Accounts: `/v2/users`, `/v3/users`, what hangs below them, and how accounts are found.

mod account;
mod belongings;
mod devices;
pub(super) mod list;
mod lookups;
mod media;
mod user;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

pub(super) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for add in [
        account::routes,
        belongings::routes,
        devices::routes,
        list::routes,
        lookups::routes,
        media::routes,
        user::routes,
    ] {
        router = add(router);
    }
    router
}
