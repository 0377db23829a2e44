//! `POST /keys/upload`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::encryption::upload;
use serde_json::json;

use crate::object::Object;

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let device_id = requester.device()?;
    let counts = upload::upload(&app.server, &requester.user_id, &device_id, &body).await;
    let counts = counts.map_err(MatrixError::from)?;
    Ok(json(&json!({ "one_time_key_counts": counts })))
}
