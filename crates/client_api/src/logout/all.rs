//! `POST /logout/all`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, ShownToken, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::logout;
use serde_json::json;

pub(crate) async fn log_out_everywhere(
    State(app): State<Arc<App>>,
    ShownToken(shown): ShownToken,
) -> Answer {
    let token = shown.ok_or_else(|| MatrixError::missing_token("Missing access token"))?;
    logout::log_out_everywhere(&app.server, &token)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
