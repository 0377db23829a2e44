//! `POST /v1/purge_history/{roomId}[/{eventId}]` and how far that is.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use lyceum_edge::{AdminRequester, Answer, App, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::{history_purge::PurgeWish, jobs::Work};
use ruma_common::EventId;
use serde_json::{Map, Value, json};

use super::{object::ObjectOrNothing, refused, room_id, v1};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/purge_history/{room_id}", post(purge));
    let router = v1(
        router,
        "/purge_history/{room_id}/{event_id}",
        post(purge_up_to),
    );
    v1(router, "/purge_history_status/{purge_id}", get(status))
}

async fn purge(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(room): Segments<String>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    let boundary = body.get("purge_up_to_event_id").and_then(Value::as_str);
    begin(&app, &room, boundary, &body).await
}

async fn purge_up_to(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments((room, event)): Segments<(String, String)>,
    ObjectOrNothing(body): ObjectOrNothing,
) -> Answer {
    begin(&app, &room, Some(&event), &body).await
}

async fn begin(app: &App, room: &str, event: Option<&str>, body: &Map<String, Value>) -> Answer {
    let server = &app.server;
    let room_id = room_id(room)?;
    let before = match (event, body.get("purge_up_to_ts")) {
        (Some(event), _) => {
            let not_found = || MatrixError::not_found(format!("Could not find event {event}"));
            let event_id = EventId::parse(event).map_err(|_| not_found())?;
            server
                .place_of(&room_id, &event_id)
                .await
                .map_err(refused)?
        }
        (None, Some(ts)) => {
            let why = "purge_up_to_ts must be an int";
            let ts = ts.as_u64().ok_or_else(|| MatrixError::bad_json(why))?;
            let newest = server.place_of_newest(&room_id, ts).await?;
            newest.ok_or_else(|| MatrixError::not_found("there is no event to be purged"))?
        }
        (None, None) => {
            let why = "must specify purge_up_to_event_id or purge_up_to_ts";
            return Err(MatrixError::bad_json(why).into());
        }
    };
    let wish = PurgeWish {
        before,
        with_local_events: body.get("delete_local_events") == Some(&Value::Bool(true)),
    };
    let id = server
        .begin_job(Work::PurgeHistory { room_id, wish })
        .await?;
    Ok(json(&json!({ "purge_id": id })))
}

async fn status(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    let job = app.server.job(&id).await?;
    let is_purge = |work: &Work| matches!(work, Work::PurgeHistory { .. });
    let Some(job) = job.filter(|job| is_purge(&job.work)) else {
        return Err(MatrixError::not_found(format!("purge id '{id}' not found")).into());
    };
    let status = match job.status {
        unfinished if !unfinished.is_final() => "active",
        finished => finished.as_str(),
    };
    let mut body = json!({ "status": status });
    if let Some(error) = job.error {
        body["error"] = json!(error);
    }
    Ok(json(&body))
}
