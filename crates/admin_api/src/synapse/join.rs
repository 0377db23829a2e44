//! `POST /v1/join/{roomIdOrAlias}`: brings a user of this server into a room.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, ProvisioningRequester, Refusal, Segments, json, passed_over};
use lyceum_model::MatrixError;
use lyceum_server::{Server, administration::provisioning};
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
    Segments(named_room): Segments<String>,
    body: Result<Object, Refusal>,
) -> Answer {
    let server = &app.server;
    if requester.is_provisioning() {
        return match join_for_platform(server, &requester, &named_room, body).await {
            // The room was deleted, say: that is no fault of the people behind this one.
            Err(Refusal(error)) if matches!(error.status, 400 | 404) => {
                Ok(passed_over(&named_room, &error.message))
            }
            answer => answer,
        };
    }
    let Object(body) = body?;
    let named = required(&body, "user_id")?.as_str().unwrap_or_default();
    let room = room_or_alias(&named_room)?;
    let user_id = user_id(named)?;
    let room_id = server
        .bring_in_for_admin(&requester.user_id, &room, &user_id)
        .await
        .map_err(refused)?;
    Ok(json(&json!({ "room_id": room_id })))
}

async fn join_for_platform(
    server: &Server,
    requester: &ProvisioningRequester,
    named_room: &str,
    body: Result<Object, Refusal>,
) -> Answer {
    let Object(body) = body?;
    let named = required(&body, "user_id")?.as_str().unwrap_or_default();
    let room = room_or_alias(named_room)?;
    let meant = provisioning::user_meant(named);
    let brought = server
        .bring_in_for_platform(&requester.user_id, &room, meant)
        .await
        .map_err(refused)?;
    Ok(match brought {
        Some(room_id) => json(&json!({ "room_id": room_id })),
        None => done(),
    })
}

/// A room id or alias in Synapse's words.
pub(super) fn room_or_alias(text: &str) -> Result<OwnedRoomOrAliasId, MatrixError> {
    RoomOrAliasId::parse(text)
        .map_err(|_| MatrixError::unknown(format!("{text} was not legal room ID or room alias")))
}
