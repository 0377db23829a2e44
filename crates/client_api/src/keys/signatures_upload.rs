//! `POST /keys/signatures/upload`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::encryption::signatures;
use serde_json::json;

use crate::object::Object;

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let failures = signatures::upload(&app.server, &requester.user_id, &body).await;
    let failures = failures.map_err(MatrixError::from)?;
    Ok(json(&json!({ "failures": failures })))
}
