//! `/user/{userId}/rooms/{roomId}/tags`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::tags;
use ruma_common::{OwnedRoomId, OwnedUserId};
use serde_json::{Map, Value, json};

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, room_id)): Segments<(OwnedUserId, OwnedRoomId)>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let tags = tags::tags(&app.server, &user_id, &room_id).await?;
    Ok(json(&json!({ "tags": tags })))
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, room_id, tag)): Segments<(OwnedUserId, OwnedRoomId, String)>,
    JsonBody(content): JsonBody<Map<String, Value>>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let put = tags::put(&app.server, &user_id, &room_id, &tag, content).await;
    put.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, room_id, tag)): Segments<(OwnedUserId, OwnedRoomId, String)>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let removed = tags::remove(&app.server, &user_id, &room_id, &tag).await;
    removed.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
