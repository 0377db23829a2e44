//! `GET /.well-known/matrix/server`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, json};
use lyceum_model::MatrixError;
use serde_json::json;

pub(crate) async fn get(State(app): State<Arc<App>>) -> Answer {
    match &app.server.config.well_known.server {
        Some(server) => Ok(json(&json!({ "m.server": server }))),
        None => Err(MatrixError::not_found("No server is delegated to").into()),
    }
}
