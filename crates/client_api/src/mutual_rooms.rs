//! `GET /v1/mutual_rooms`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Limit, Query, Requester, client_v1, empty_as_none, json};
use lyceum_model::MatrixError;
use ruma_common::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::json;

/// How many rooms one answer has.
const ROOMS_MAX: usize = 1_000;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client_v1(router, "/mutual_rooms", get(mutual_rooms))
}

#[derive(Deserialize)]
struct Parameters {
    user_id: Option<OwnedUserId>,
    /// The last room of the page before.
    #[serde(default, deserialize_with = "empty_as_none")]
    from: Option<OwnedRoomId>,
}

async fn mutual_rooms(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let user_id = parameters
        .user_id
        .ok_or_else(|| MatrixError::missing_param("Missing parameter: user_id"))?;
    if user_id == requester.user_id {
        let why = "One shares all of one's rooms with oneself";
        return Err(MatrixError::invalid_param(why).into());
    }
    let all = app
        .server
        .mutual_rooms(&requester.user_id, &user_id)
        .await?;
    let from = parameters.from.as_ref();
    let mut left = all
        .iter()
        .filter(|room_id| from.is_none_or(|from| *room_id > from));
    let page: Vec<&OwnedRoomId> = left.by_ref().take(ROOMS_MAX).collect();
    let mut answer = json!({ "joined": page, "count": all.len() });
    if left.next().is_some() {
        answer["next_batch"] = json!(page.last());
    }
    Ok(json(&answer))
}
