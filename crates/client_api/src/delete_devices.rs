//! `POST /delete_devices`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Requester, client, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::devices;
use ruma_common::OwnedDeviceId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::interactive_auth::authenticate;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/delete_devices", post(delete_devices))
}

#[derive(Deserialize)]
struct Body {
    auth: Option<Value>,
    devices: Vec<OwnedDeviceId>,
}

async fn delete_devices(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    let auth = body.auth.as_ref();
    let passed = authenticate(&app, &requester, "POST", "/delete_devices", auth).await?;
    let removed = devices::remove(&app.server, &requester.user_id, &body.devices, &passed).await;
    removed.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
