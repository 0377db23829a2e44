//! `POST /rooms/{roomId}/report` and `POST /rooms/{roomId}/report/{eventId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/rooms/{room_id}/report", post(report_room));
    client(
        router,
        "/rooms/{room_id}/report/{event_id}",
        post(report_event),
    )
}

#[derive(Deserialize)]
struct RoomBody {
    reason: String,
}

async fn report_room(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<RoomBody>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let reported = app
        .server
        .report_room(&requester.user_id, &room_id, body.reason)
        .await;
    reported.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

#[derive(Deserialize)]
struct EventBody {
    reason: Option<String>,
    score: Option<i64>,
}

async fn report_event(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, event_id)): Segments<(OwnedRoomId, OwnedEventId)>,
    JsonBody(body): JsonBody<EventBody>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let server = &app.server;
    let room = server.rooms.room(&room_id).await?;
    if !room.is_some_and(|room| room.is_joined(&requester.user_id)) {
        let why = "The event was not found or you are not joined to the room";
        return Err(MatrixError::not_found(why).into());
    }
    let EventBody { reason, score } = body;
    let reported = server
        .report_event(&requester.user_id, &room_id, &event_id, reason, score)
        .await;
    reported.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
