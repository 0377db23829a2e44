//! `/account/…`.

mod deactivate;
mod password;
mod threepids;
mod whoami;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use lyceum_edge::{App, client};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/account/whoami", get(whoami::whoami));
    let router = client(router, "/account/password", post(password::change));
    let router = client(router, "/account/deactivate", post(deactivate::deactivate));
    client(router, "/account/3pid", get(threepids::threepids))
}
