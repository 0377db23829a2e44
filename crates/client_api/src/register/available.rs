//! `GET /register/available`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, ClientAddress, Limit, Query, client, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::registration;
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/register/available", get(available))
}

#[derive(Deserialize)]
struct Parameters {
    username: Option<String>,
}

async fn available(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Query(parameters): Query<Parameters>,
) -> Answer {
    app.limiter
        .check_address(Limit::Request, address, app.server.clock.now())?;
    registration::flows(&app.server).map_err(MatrixError::from)?;
    let username = parameters.username;
    let username = username.ok_or_else(|| MatrixError::missing_param("Missing username"))?;
    let free = registration::free_user_id(&app.server, Some(&username), None).await;
    free.map_err(MatrixError::from)?;
    Ok(json(&json!({ "available": true })))
}
