//! `POST /rooms/{roomId}/upgrade`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomVersionId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/rooms/{room_id}/upgrade", post(upgrade))
}

#[derive(Deserialize)]
struct Body {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<OwnedUserId>,
}

async fn upgrade(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let version = RoomVersionId::try_from(body.new_version.as_str()).map_err(|_| {
        MatrixError::unsupported_room_version("This server does not know that room version")
    })?;
    let creators = body.additional_creators;
    let upgraded = app
        .server
        .upgrade_room(&requester, &room_id, version, creators)
        .await;
    let replacement = upgraded.map_err(MatrixError::from)?;
    Ok(json(&json!({ "replacement_room": replacement })))
}
