//! `/directory/room/{roomAlias}` and `GET /rooms/{roomId}/aliases`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json, unstable};
use lyceum_model::MatrixError;
use ruma_common::{OwnedRoomAliasId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(
        router,
        "/directory/room/{alias}",
        get(resolve).put(set).delete(remove),
    );
    let router = client(router, "/rooms/{room_id}/aliases", get(aliases));
    unstable(
        router,
        "/org.matrix.msc2432/rooms/{room_id}/aliases",
        get(aliases),
    )
}

async fn resolve(
    State(app): State<Arc<App>>,
    Segments(alias): Segments<OwnedRoomAliasId>,
) -> Answer {
    let Some(found) = app.server.store.alias(&alias).await? else {
        return Err(MatrixError::not_found(format!("The alias {alias} names no room")).into());
    };
    let servers = [&app.server.config.server_name];
    Ok(json(
        &json!({ "room_id": found.room_id, "servers": servers }),
    ))
}

#[derive(Deserialize)]
struct Body {
    room_id: OwnedRoomId,
}

async fn set(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(alias): Segments<OwnedRoomAliasId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.refuse_suspended()?;
    let set = app
        .server
        .set_alias(&requester, &alias, &body.room_id)
        .await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

async fn remove(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(alias): Segments<OwnedRoomAliasId>,
) -> Answer {
    app.server
        .remove_alias(&requester, &alias)
        .await
        .map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

async fn aliases(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
) -> Answer {
    let aliases = app
        .server
        .aliases_of(&requester, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let aliases: Vec<_> = aliases.iter().map(|alias| &alias.alias).collect();
    Ok(json(&json!({ "aliases": aliases })))
}
