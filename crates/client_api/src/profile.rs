//! `GET /profile/{userId}`.

mod field;

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_account::profile;
use lyceum_edge::{Answer, App, ClientAddress, Limit, Segments, client, json, unstable};
use lyceum_model::MatrixError;
use lyceum_server::accounts::profiles;
use ruma_common::OwnedUserId;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let field = || get(field::get).put(field::put).delete(field::delete);
    let router = client(router, "/profile/{user_id}", get(whole));
    let router = client(router, "/profile/{user_id}/{key}", field());
    let router = unstable(router, "/uk.tcpip.msc4133/profile/{user_id}", get(whole));
    unstable(router, "/uk.tcpip.msc4133/profile/{user_id}/{key}", field())
}

async fn whole(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Segments(user_id): Segments<OwnedUserId>,
) -> Answer {
    app.limiter
        .check_address(Limit::Request, address, app.server.clock.now())?;
    let fields = profiles::profile(&app.server, &user_id)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&profile::json(&fields)))
}
