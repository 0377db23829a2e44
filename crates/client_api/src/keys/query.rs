//! `POST /keys/query`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::keys;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::encryption::query;
use serde_json::json;

use super::failures_json;
use crate::object::Object;

pub(crate) async fn query(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let wanted = keys::parse_query(&body).map_err(MatrixError::from)?;
    let found = query::query(&app.server, &requester.user_id, wanted).await?;
    Ok(json(&json!({
        "device_keys": found.answer.device_keys,
        "master_keys": found.answer.master_keys,
        "self_signing_keys": found.answer.self_signing_keys,
        "user_signing_keys": found.answer.user_signing_keys,
        "failures": failures_json(&found.failures),
    })))
}
