//! What belongs to an account: rooms, account data, pushers, activity.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, Segments, json};
use lyceum_model::{Position, Timestamp};
use serde_json::{Map, Value, json, value::RawValue};

use super::super::{local_user, parameters::Parameters, user_id, v1};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/users/{user_id}/joined_rooms", get(joined_rooms));
    let router = v1(router, "/users/{user_id}/memberships", get(memberships));
    let router = v1(router, "/users/{user_id}/sent_invite_count", get(invites));
    let router = v1(
        router,
        "/users/{user_id}/cumulative_joined_room_count",
        get(joins),
    );
    let router = v1(router, "/users/{user_id}/accountdata", get(account_data));
    v1(router, "/users/{user_id}/pushers", get(pushers))
}

async fn joined_rooms(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let rooms = app.server.joined_rooms(&user_id(&named)?).await?;
    Ok(json(
        &json!({ "total": rooms.len(), "joined_rooms": rooms }),
    ))
}

async fn memberships(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let standings = app.server.store.memberships(&user_id(&named)?).await?;
    let memberships: Map<String, Value> = standings
        .into_iter()
        .filter(|standing| !standing.is_forgotten)
        .map(|standing| (standing.room_id.to_string(), json!(standing.membership)))
        .collect();
    Ok(json(&json!({ "memberships": memberships })))
}

async fn invites(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let since = Timestamp(parameters.required_integer("from_ts")?);
    let count = app.server.invites_sent(&user_id(&named)?, since).await?;
    Ok(json(&json!({ "invite_count": count })))
}

async fn joins(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let since = Timestamp(parameters.required_integer("from_ts")?);
    let count = app.server.rooms_joined(&user_id(&named)?, since).await?;
    Ok(json(&json!({ "cumulative_joined_room_count": count })))
}

async fn account_data(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let user = local_user(&app, &named, "Can only look up local users").await?;
    let store = &app.server.store;
    let entries = store
        .account_data(&user.user_id, Position(0), store.position())
        .await?;
    let mut global: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    let mut rooms: BTreeMap<String, BTreeMap<String, Box<RawValue>>> = BTreeMap::new();
    for entry in entries {
        let content = entry
            .content
            .and_then(|content| RawValue::from_string(content).ok());
        let Some(content) = content else { continue };
        match entry.room_id {
            Some(room_id) => {
                rooms
                    .entry(room_id.to_string())
                    .or_default()
                    .insert(entry.kind, content);
            }
            None => {
                global.insert(entry.kind, content);
            }
        }
    }
    #[derive(serde::Serialize)]
    struct Body {
        account_data: Data,
    }
    #[derive(serde::Serialize)]
    struct Data {
        global: BTreeMap<String, Box<RawValue>>,
        rooms: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
    }
    Ok(json(&Body {
        account_data: Data { global, rooms },
    }))
}

/// This server sends no notifications to push gateways, so nobody has a pusher.
async fn pushers(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    local_user(&app, &named, "Can only look up local users").await?;
    Ok(json(&json!({ "pushers": [], "total": 0 })))
}
