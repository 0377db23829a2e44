//! `POST /join/{roomIdOrAlias}`, `POST /rooms/{roomId}/join`, `POST /knock/{roomIdOrAlias}`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use ruma_common::{OwnedRoomOrAliasId, RoomId};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/join/{room}", post(join));
    let router = client(router, "/rooms/{room}/join", post(join));
    client(router, "/knock/{room}", post(knock))
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, rename = "third_party_signed")]
    _third_party_signed: Option<Value>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

async fn join(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room): Segments<OwnedRoomOrAliasId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let server = &app.server;
    let room_id = server.room_of(&room).await.map_err(MatrixError::from)?;
    let extra = extra_of(&body.others);
    let joined = server
        .join_room(&requester.user_id, &room_id, body.reason, extra)
        .await;
    joined.map_err(MatrixError::from)?;
    Ok(answer(&room_id))
}

async fn knock(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room): Segments<OwnedRoomOrAliasId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Membership)?;
    requester.refuse_suspended()?;
    let server = &app.server;
    let room_id = server.room_of(&room).await.map_err(MatrixError::from)?;
    server
        .knock(&requester.user_id, &room_id, body.reason)
        .await
        .map_err(MatrixError::from)?;
    Ok(answer(&room_id))
}

fn answer(room_id: &RoomId) -> axum::response::Response {
    json(&json!({ "room_id": room_id }))
}

/// Further keys that a client puts into the member event.
fn extra_of(others: &BTreeMap<String, Value>) -> Option<Box<RawValue>> {
    if others.is_empty() {
        return None;
    }
    serde_json::value::to_raw_value(others).ok()
}
