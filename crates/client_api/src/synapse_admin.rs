//! The part of Synapse's admin API by which others make accounts.

mod register;

use std::sync::Arc;

use axum::Router;
use lyceum_edge::App;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    register::routes(router)
}
