//! `PUT /rooms/{roomId}/typing/{userId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use ruma_common::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/rooms/{room_id}/typing/{user_id}", put(typing))
}

/// How long a notice lasts if the client does not say.
const TIMEOUT_MS_DEFAULT: u64 = 30_000;

#[derive(Deserialize)]
struct Body {
    typing: bool,
    timeout: Option<u64>,
}

async fn typing(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, user_id)): Segments<(OwnedRoomId, OwnedUserId)>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    app.server.active(&requester.user_id);
    let timeout_ms = body
        .typing
        .then(|| body.timeout.unwrap_or(TIMEOUT_MS_DEFAULT));
    app.server
        .set_typing(&requester, &room_id, timeout_ms)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
