//! `/room_keys/version` and `/room_keys/version/{version}`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_account::backup;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::encryption::backups;
use serde_json::json;

use super::number_of;
use crate::object::Object;

pub(crate) async fn newest(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let version = backups::version(&app.server, &requester.user_id, None).await;
    Ok(json(&backup::version_json(
        &version.map_err(MatrixError::from)?,
    )))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let version = backups::create(&app.server, &requester.user_id, &body).await;
    let version = version.map_err(MatrixError::from)?;
    Ok(json(&json!({ "version": version.to_string() })))
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(version): Segments<String>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let number = number_of(&version)?;
    let version = backups::version(&app.server, &requester.user_id, Some(number)).await;
    Ok(json(&backup::version_json(
        &version.map_err(MatrixError::from)?,
    )))
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(version): Segments<String>,
    JsonBody(Object(body)): JsonBody<Object>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let number = number_of(&version)?;
    let updated = backups::update(&app.server, &requester.user_id, number, &body).await;
    updated.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(version): Segments<String>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let number = number_of(&version)?;
    let removed = backups::remove(&app.server, &requester.user_id, number).await;
    removed.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
