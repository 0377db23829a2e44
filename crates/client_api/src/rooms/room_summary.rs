//! `GET /v1/room_summary/{roomIdOrAlias}` (and MSC3266's names).

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Requester, Segments, client_v1, json, unstable};
use lyceum_model::{MatrixError, Membership};
use lyceum_server::rooms::PublicRoom;
use ruma_common::OwnedRoomOrAliasId;
use serde_json::Value;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client_v1(router, "/room_summary/{room}", get(summary));
    let router = unstable(router, "/im.nheko.summary/summary/{room}", get(summary));
    unstable(
        router,
        "/im.nheko.summary/rooms/{room}/summary",
        get(summary),
    )
}

async fn summary(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room): Segments<OwnedRoomOrAliasId>,
) -> Answer {
    let server = &app.server;
    let not_found = || MatrixError::not_found("There is no such room, or you may not see it");
    let room_id = server.room_of(&room).await.map_err(|_| not_found())?;
    let room = server.rooms.room(&room_id).await?.ok_or_else(not_found)?;
    let may_see = server.may_see_summary(&room, &requester).await;
    if !may_see.map_err(MatrixError::from)? {
        return Err(not_found().into());
    }
    let mut summary = serde_json::to_value(PublicRoom::of(&room)).unwrap_or(Value::Null);
    summary["room_version"] = Value::from(room.version().as_str());
    if let Some(encryption) = room.encryption() {
        summary["encryption"] = Value::from(encryption.as_str());
        summary["im.nheko.summary.encryption"] = Value::from(encryption);
    }
    let allowed: Vec<_> = room
        .allowed_rooms()
        .iter()
        .map(ToString::to_string)
        .collect();
    if !allowed.is_empty() {
        summary["allowed_room_ids"] = Value::from(allowed);
    }
    let membership = room.state.membership(&requester.user_id);
    let membership = membership.unwrap_or(Membership::Leave);
    summary["membership"] = Value::from(membership.as_str());
    Ok(json(&summary))
}
