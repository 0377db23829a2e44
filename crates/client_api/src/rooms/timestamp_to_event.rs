//! `GET /v1/rooms/{roomId}/timestamp_to_event`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Limit, Query, Requester, Segments, client_v1, json, unstable};
use lyceum_model::{MatrixError, Timestamp};
use lyceum_storage::Direction;
use ruma_common::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client_v1(
        router,
        "/rooms/{room_id}/timestamp_to_event",
        get(timestamp_to_event),
    );
    unstable(
        router,
        "/org.matrix.msc3030/rooms/{room_id}/timestamp_to_event",
        get(timestamp_to_event),
    )
}

#[derive(Deserialize)]
struct Parameters {
    ts: Option<i64>,
    dir: Option<String>,
}

async fn timestamp_to_event(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let server = &app.server;
    let at = parameters
        .ts
        .ok_or_else(|| MatrixError::missing_param("ts is missing"))?;
    let direction = match parameters.dir.as_deref() {
        Some("b") => Direction::Backward,
        // The specification requires it; older clients rely on this default.
        Some("f") | None => Direction::Forward,
        Some(_) => return Err(MatrixError::invalid_param("dir is \"b\" or \"f\"").into()),
    };
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let since = Timestamp(u64::try_from(at).unwrap_or(0));
    let Some(event) = server.event_by_time(&reader, since, direction).await? else {
        let why = format!("There is no event that you may see in this direction from {at}");
        return Err(MatrixError::not_found(why).into());
    };
    Ok(json(&json!({
        "event_id": event.id,
        "origin_server_ts": event.origin_server_ts,
    })))
}
