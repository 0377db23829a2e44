//! `POST /v1/join/{roomIdOrAlias}`: brings a user of this server into a room.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, ProvisioningRequester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::provisioning;
use ruma_common::{OwnedRoomOrAliasId, RoomOrAliasId};
use serde_json::json;

use super::{
    done,
    object::{Object, required},
    refused, user_id, v1,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v1(router, "/join/{room}", post(join))
}

async fn join(
    State(app): State<Arc<App>>,
    requester: ProvisioningRequester,
    Segments(room): Segments<String>,
    Object(body): Object,
) -> Answer {
    let server = &app.server;
    let named = required(&body, "user_id")?.as_str().unwrap_or_default();
    let room = room_or_alias(&room)?;
    if requester.is_provisioning() {
        let meant = provisioning::user_meant(named);
        let brought = server
            .bring_in_for_platform(&requester.user_id, &room, meant)
            .await
            .map_err(refused)?;
        return Ok(match brought {
            Some(room_id) => json(&json!({ "room_id": room_id })),
            None => done(),
        });
    }
    let user_id = user_id(named)?;
    let room_id = server
        .bring_in_for_admin(&requester.user_id, &room, &user_id)
        .await
        .map_err(refused)?;
    Ok(json(&json!({ "room_id": room_id })))
}

/// A room id or alias in Synapse's words.
pub(super) fn room_or_alias(text: &str) -> Result<OwnedRoomOrAliasId, MatrixError> {
    RoomOrAliasId::parse(text)
        .map_err(|_| MatrixError::unknown(format!("{text} was not legal room ID or room alias")))
}
