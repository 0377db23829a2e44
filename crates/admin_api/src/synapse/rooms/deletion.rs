//! `DELETE /v1/rooms/{roomId}`, `DELETE /v2/rooms/{roomId}` and how far that is.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{delete, get},
};
use lyceum_edge::{AdminRequester, Answer, App, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::{
    jobs::{Job, Work},
    room_deletion::DeletionWish,
};
use ruma_common::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::super::{object::Object, refused, room_id, v2};

/// What the room of a notice is called, and what is said there, as Synapse has it.
const ROOM_NAME: &str = "Content Violation Notification";
const MESSAGE: &str = "Sharing illegal content on this server is not permitted and rooms in \
                       violation will be blocked.";

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v2(router, "/rooms/{room_id}", delete(begin));
    let router = v2(
        router,
        "/rooms/{room_id}/delete_status",
        get(status_of_room),
    );
    v2(
        router,
        "/rooms/delete_status/{delete_id}",
        get(status_of_job),
    )
}

/// Version 1: answers when it is done.
pub(super) async fn delete_now(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let wish = wish_of(&body, &admin.user_id)?;
    let room_id = room_id(&named)?;
    let done = app.server.delete_room(&room_id, wish, |_| async {}).await;
    Ok(json(&done.map_err(refused)?))
}

async fn begin(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let wish = wish_of(&body, &admin.user_id)?;
    let room_id = room_id(&named)?;
    if let Some(maker) = &wish.new_room_user_id
        && !app.server.is_local(maker)
    {
        return Err(MatrixError::unknown(format!("User must be our own: {maker}")).into());
    }
    for job in app.server.jobs().await? {
        let is_same =
            matches!(&job.work, Work::DeleteRoom { room_id: other, .. } if *other == room_id);
        if is_same && !job.status.is_final() {
            let why = format!("Purge already in progress for {room_id}");
            return Err(MatrixError::unknown(why).into());
        }
    }
    let work = Work::DeleteRoom { room_id, wish };
    let id = app.server.begin_job(work).await?;
    Ok(json(&json!({ "delete_id": id })))
}

async fn status_of_room(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let room_id = room_id(&named)?;
    let jobs = app.server.jobs().await?;
    let results: Vec<Value> = jobs
        .iter()
        .filter(|job| job.work.resource_id() == room_id)
        .filter_map(shown)
        .collect();
    if results.is_empty() {
        let why = format!("No delete task for room_id '{room_id}' found");
        return Err(MatrixError::not_found(why).into());
    }
    Ok(json(&json!({ "results": results })))
}

async fn status_of_job(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    let job = app.server.job(&id).await?;
    match job.as_ref().and_then(shown) {
        Some(shown) => Ok(json(&shown)),
        None => Err(MatrixError::not_found(format!("delete id '{id}' not found")).into()),
    }
}

fn shown(job: &Job) -> Option<Value> {
    let Work::DeleteRoom { room_id, .. } = &job.work else {
        return None;
    };
    let nothing_yet = json!({
        "kicked_users": [],
        "failed_to_kick_users": [],
        "local_aliases": [],
        "new_room_id": null,
    });
    let mut shown = json!({
        "delete_id": job.id,
        "room_id": room_id,
        "status": job.status.as_str(),
        "shutdown_room": job.result.clone().unwrap_or(nothing_yet),
    });
    if let Some(error) = &job.error {
        shown["error"] = json!(error);
    }
    Some(shown)
}

fn wish_of(body: &Map<String, Value>, by: &UserId) -> Result<DeletionWish, MatrixError> {
    let switch = |key: &str, default: bool| match body.get(key) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(MatrixError::bad_json(format!(
            "Param '{key}' must be a boolean, if given"
        ))),
    };
    let text = |key: &str, default: &str| {
        let text = body.get(key).and_then(Value::as_str);
        text.unwrap_or(default).to_owned()
    };
    let maker: Option<OwnedUserId> = match body.get("new_room_user_id") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let text = value.as_str().unwrap_or_default();
            let why = || MatrixError::unknown(format!("User must be our own: {text}"));
            Some(UserId::parse(text).map_err(|_| why())?)
        }
    };
    Ok(DeletionWish {
        by: by.to_owned(),
        new_room_user_id: maker,
        room_name: text("room_name", ROOM_NAME),
        message: text("message", MESSAGE),
        block: switch("block", false)?,
        purge: switch("purge", true)?,
        force_purge: switch("force_purge", false)?,
    })
}
