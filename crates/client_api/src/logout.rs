//! `POST /logout`.

mod all;

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, ShownToken, client, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::logout;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/logout", post(log_out));
    client(router, "/logout/all", post(all::log_out_everywhere))
}

async fn log_out(State(app): State<Arc<App>>, ShownToken(shown): ShownToken) -> Answer {
    let token = shown.ok_or_else(|| MatrixError::missing_token("Missing access token"))?;
    logout::log_out(&app.server, &token)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
