//! `/user/{userId}/account_data/{type}` and `/user/{userId}/rooms/{roomId}/account_data/{type}`.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use lyceum_edge::{Answer, App, JsonBody, Limit, RawBody, Requester, Segments, json, json_bytes};
use lyceum_model::MatrixError;
use lyceum_server::accounts::account_data;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde_json::{Map, Value, json};

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, kind)): Segments<(OwnedUserId, String)>,
) -> Answer {
    requester.must_be(&user_id)?;
    get_any(&app, &requester, None, &kind).await
}

pub(crate) async fn get_of_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, room_id, kind)): Segments<(OwnedUserId, OwnedRoomId, String)>,
) -> Answer {
    requester.must_be(&user_id)?;
    get_any(&app, &requester, Some(&room_id), &kind).await
}

pub(crate) async fn put(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, kind)): Segments<(OwnedUserId, String)>,
    RawBody(body): RawBody,
) -> Answer {
    requester.must_be(&user_id)?;
    let JsonBody(content) = JsonBody::parse_present(&body)?;
    put_any(&app, &requester, None, &kind, content).await
}

pub(crate) async fn put_of_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((user_id, room_id, kind)): Segments<(OwnedUserId, OwnedRoomId, String)>,
    RawBody(body): RawBody,
) -> Answer {
    requester.must_be(&user_id)?;
    let JsonBody(content) = JsonBody::parse_present(&body)?;
    put_any(&app, &requester, Some(&room_id), &kind, content).await
}

async fn get_any(app: &App, requester: &Requester, room_id: Option<&RoomId>, kind: &str) -> Answer {
    requester.limit(app, Limit::Request)?;
    let content = account_data::get(&app.server, &requester.user_id, room_id, kind).await;
    let content = content.map_err(MatrixError::from)?;
    Ok(json_bytes(StatusCode::OK, content))
}

async fn put_any(
    app: &App,
    requester: &Requester,
    room_id: Option<&RoomId>,
    kind: &str,
    content: Map<String, Value>,
) -> Answer {
    requester.limit(app, Limit::Request)?;
    let set = account_data::set(&app.server, &requester.user_id, room_id, kind, content).await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
