//! `/presence/{userId}/status`.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, json, json_bytes};
use lyceum_model::{MatrixError, PresenceState};
use lyceum_server::presence::{self, Status};
use lyceum_sync::presence::status_json;
use ruma_common::OwnedUserId;
use serde::Deserialize;
use serde_json::json;

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(user_id): Segments<OwnedUserId>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let presence = presence::get(&app.server, &requester.user_id, &user_id).await;
    let presence = presence.map_err(MatrixError::from)?;
    Ok(json_bytes(
        StatusCode::OK,
        status_json(&presence, app.server.clock.now()),
    ))
}

#[derive(Deserialize)]
pub(crate) struct Body {
    presence: String,
    status_msg: Option<String>,
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(user_id): Segments<OwnedUserId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let state = PresenceState::from_name(&body.presence);
    let state = state.ok_or_else(|| MatrixError::invalid_param("There is no such presence"))?;
    let status = Status::Set(body.status_msg);
    app.server.active(&requester.user_id);
    let set = presence::set(&app.server, &requester.user_id, state, status).await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
