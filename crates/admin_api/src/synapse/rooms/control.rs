//! What is done to a room: `/v1/rooms/{roomId}/{block,make_room_admin,forward_extremities}`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use lyceum_edge::{AdminRequester, Answer, App, Refusal, Segments, json};
use lyceum_model::MatrixError;
use ruma_common::{OwnedRoomId, UserId};
use serde_json::{Value, json};

use super::super::{
    done,
    join::room_or_alias,
    object::{Object, ObjectOrNothing, required},
    refused, room_id, v1,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/rooms/{room_id}/block", get(is_blocked).put(block));
    let router = v1(
        router,
        "/rooms/{room_id}/make_room_admin",
        post(make_room_admin),
    );
    v1(
        router,
        "/rooms/{room_id}/forward_extremities",
        get(heads).delete(drop_heads),
    )
}

async fn is_blocked(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let room_id = room_id(&named)?;
    let facts = app.server.administration.facts(&*app.server.store).await?;
    Ok(match facts.blocker(&room_id) {
        Some(blocker) => json(&json!({ "block": true, "user_id": blocker })),
        None => json(&json!({ "block": false })),
    })
}

async fn block(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let room_id = room_id(&named)?;
    let Value::Bool(block) = required(&body, "block")? else {
        return Err(MatrixError::bad_json("Param 'block' must be a boolean.").into());
    };
    let by = block.then_some(&*admin.user_id);
    app.server.block_room(&room_id, by).await?;
    Ok(json(&json!({ "block": block })))
}

async fn make_room_admin(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    let room = room_or_alias(&named)?;
    let user_id = match body.get("user_id") {
        None => admin.user_id.clone(),
        Some(named) => {
            let named = named.as_str().unwrap_or_default();
            let why = || MatrixError::unknown(format!("Not a valid user_id: {named}"));
            UserId::parse(named).map_err(|_| why())?
        }
    };
    app.server
        .make_room_admin(&room, &user_id)
        .await
        .map_err(refused)?;
    Ok(done())
}

async fn resolved(app: &App, named: &str) -> Result<OwnedRoomId, Refusal> {
    app.server
        .room_of(&room_or_alias(named)?)
        .await
        .map_err(refused)
}

async fn heads(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let room_id = resolved(&app, &named).await?;
    let heads = app.server.room_heads(&room_id).await?;
    let ids: Vec<_> = heads.iter().map(|head| head.event_id.clone()).collect();
    let results: Vec<Value> = app
        .server
        .store
        .events(&ids)
        .await?
        .iter()
        .map(|stored| {
            json!({
                "event_id": stored.event.id,
                "state_group": null,
                "depth": stored.event.depth,
                "received_ts": stored.event.origin_server_ts,
            })
        })
        .collect();
    Ok(json(&json!({ "count": results.len(), "results": results })))
}

async fn drop_heads(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let room_id = resolved(&app, &named).await?;
    let deleted = app.server.drop_heads(&room_id).await.map_err(refused)?;
    Ok(json(&json!({ "deleted": deleted })))
}
