//! `POST /keys/device_signing/upload`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::{accounts::interactive_auth::Passed, encryption::cross_signing};
use serde_json::json;

use crate::{interactive_auth::authenticate, object::Object};

const PATH: &str = "/keys/device_signing/upload";

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let user_id = &requester.user_id;
    let needed = cross_signing::needs_authentication(&app.server, user_id, &body).await;
    let passed = if !needed.map_err(MatrixError::from)? {
        None
    } else if app.server.may_replace_keys(user_id).await? {
        Some(Passed::not_needed())
    } else {
        Some(authenticate(&app, &requester, "POST", PATH, body.get("auth")).await?)
    };
    let uploaded = cross_signing::upload(&app.server, user_id, &body, passed.as_ref()).await;
    uploaded.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
