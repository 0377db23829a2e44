//! `/directory/list/room/{roomId}`: whether a room is in the public directory.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use ruma_common::OwnedRoomId;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(
        router,
        "/directory/list/room/{room_id}",
        get(visibility).put(set),
    )
}

#[derive(Deserialize, Serialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    #[default]
    Public,
    Private,
}

async fn visibility(
    State(app): State<Arc<App>>,
    Segments(room_id): Segments<OwnedRoomId>,
) -> Answer {
    let is_published = app
        .server
        .is_published(&room_id)
        .await
        .map_err(MatrixError::from)?;
    let visibility = if is_published {
        Visibility::Public
    } else {
        Visibility::Private
    };
    Ok(json(&json!({ "visibility": visibility })))
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    visibility: Visibility,
}

async fn set(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.refuse_suspended()?;
    let is_published = matches!(body.visibility, Visibility::Public);
    let set = app.server.publish(&requester, &room_id, is_published).await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
