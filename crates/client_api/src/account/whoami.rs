//! `GET /account/whoami`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Requester, json};
use serde_json::json;

pub(crate) async fn whoami(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let mut answer = json!({ "user_id": requester.user_id, "is_guest": false });
    if let Some(device_id) = &requester.device_id {
        answer["device_id"] = json!(device_id);
    }
    Ok(json(&answer))
}
