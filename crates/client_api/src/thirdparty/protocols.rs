//! `GET /thirdparty/protocols`: no application service is asked for protocols, so there are none.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Requester, json};
use serde_json::json;

pub(crate) async fn protocols(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    Ok(json(&json!({})))
}
