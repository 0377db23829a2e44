//! `GET /_matrix/federation/v1/openid/userinfo`: whose OpenID token this is. It belongs to the
//! Server-Server API, and is here already since whoever is shown a token asks it, and signs nothing.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, ClientAddress, Limit, Query, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::open_id;
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route("/_matrix/federation/v1/openid/userinfo", get(userinfo))
}

#[derive(Deserialize)]
struct Parameters {
    access_token: Option<String>,
}

async fn userinfo(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let server = &app.server;
    app.limiter
        .check_address(Limit::Request, address, server.clock.now())?;
    let Some(token) = parameters.access_token else {
        return Err(MatrixError::missing_token("access_token is needed").into());
    };
    match open_id::user_of_token(server, &token).await? {
        Some(user_id) => Ok(json(&json!({ "sub": user_id }))),
        None => Err(MatrixError::unknown_token("Access token unknown or expired").into()),
    }
}
