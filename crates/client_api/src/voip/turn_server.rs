//! `GET /voip/turnServer`: there is none, so that clients use their own defaults.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Requester, json};
use serde_json::json;

pub(crate) async fn turn_server(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    Ok(json(&json!({})))
}
