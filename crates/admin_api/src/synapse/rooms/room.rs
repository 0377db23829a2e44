//! `/v1/rooms/{roomId}`: all that is told of a room; its end.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Provisioning, ProvisioningRequester, Segments, json};
use lyceum_model::MatrixError;

use super::{
    super::{room_looked_at, v1},
    deletion::delete_now,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v1(router, "/rooms/{room_id}", get(details).delete(delete_now))
}

async fn details(
    State(app): State<Arc<App>>,
    requester: ProvisioningRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let server = &app.server;
    let room_id = room_looked_at(&named)?;
    let details = server.room_details(&room_id).await?;
    let details = details.ok_or_else(|| MatrixError::not_found("Room not found"))?;
    if requester.provisioning() == Provisioning::OwnToken {
        let room = server.rooms.room(&room_id).await?;
        if !room.is_some_and(|room| room.is_joined(&requester.user_id)) {
            let why = "A provisioning token sees the rooms of its account only";
            return Err(MatrixError::forbidden(why).into());
        }
    }
    Ok(json(&details))
}
