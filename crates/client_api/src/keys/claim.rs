//! `POST /keys/claim`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::keys;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::encryption::claim;
use serde_json::json;

use super::failures_json;
use crate::object::Object;

pub(crate) async fn claim(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let wanted = keys::parse_claim(&body).map_err(MatrixError::from)?;
    let claimed = claim::claim(&app.server, wanted)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({
        "one_time_keys": keys::claim_answer(&claimed.keys),
        "failures": failures_json(&claimed.failures),
    })))
}
