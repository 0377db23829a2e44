//! `/devices/{deviceId}`.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::devices::{self, DeviceError, MayCreate, Put};
use ruma_common::OwnedDeviceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::device_json;
use crate::interactive_auth::authenticate;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(device_id): Segments<OwnedDeviceId>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let device = devices::device(&app.server, &requester.user_id, &device_id).await?;
    let device = device
        .ok_or(DeviceError::NotFound)
        .map_err(MatrixError::from)?;
    Ok(json(&device_json(&device)))
}

#[derive(Deserialize)]
pub(crate) struct PutBody {
    display_name: Option<String>,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(device_id): Segments<OwnedDeviceId>,
    JsonBody(body): JsonBody<PutBody>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let is_service = requester.application_service().is_some();
    let may_create = if is_service {
        MayCreate::Yes
    } else {
        MayCreate::No
    };
    let user_id = &requester.user_id;
    let put = devices::put(
        &app.server,
        user_id,
        &device_id,
        body.display_name,
        may_create,
    )
    .await;
    let mut answer = json(&json!({}));
    if put.map_err(MatrixError::from)? == Put::Created {
        *answer.status_mut() = StatusCode::CREATED;
    }
    Ok(answer)
}

#[derive(Deserialize)]
pub(crate) struct DeleteBody {
    auth: Option<Value>,
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(device_id): Segments<OwnedDeviceId>,
    JsonBody(body): JsonBody<DeleteBody>,
) -> Answer {
    let path = format!("/devices/{device_id}");
    let passed = authenticate(&app, &requester, "DELETE", &path, body.auth.as_ref()).await?;
    let removed = devices::remove(&app.server, &requester.user_id, &[device_id], &passed).await;
    removed.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
