//! `/rooms/{roomId}/state` and `/rooms/{roomId}/state/{eventType}/{stateKey}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{
    Answer, App, Limit, Query, RawBody, Refusal, Requester, Segments, client, json, json_bytes,
    passed_over,
};
use lyceum_model::MatrixError;
use lyceum_room::Draft;
use lyceum_server::rooms::membership_in;
use lyceum_sync::{client_event::EventForm, history::event_list};
use ruma_common::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;

use super::send::{Parameters as SendParameters, content_of};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/rooms/{room_id}/state", get(all));
    let router = client(
        router,
        "/rooms/{room_id}/state/{event_type}",
        get(entry_without_key).put(set_without_key),
    );
    let router = client(
        router,
        "/rooms/{room_id}/state/{event_type}/",
        get(entry_without_key).put(set_without_key),
    );
    client(
        router,
        "/rooms/{room_id}/state/{event_type}/{state_key}",
        get(entry).put(set),
    )
}

async fn all(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
) -> Answer {
    let server = &app.server;
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let state = server.state_for(&reader).await?;
    let shown = server.show_state(&state).await?;
    let form = EventForm::new(server.clock.now());
    Ok(json_bytes(StatusCode::OK, event_list(shown.iter(), &form)))
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    format: Format,
}

/// How much of an event is wanted.
#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Content,
    Event,
}

async fn entry_without_key(
    state: State<Arc<App>>,
    requester: Requester,
    Segments((room_id, kind)): Segments<(OwnedRoomId, String)>,
    parameters: Query<Parameters>,
) -> Answer {
    entry(
        state,
        requester,
        Segments((room_id, kind, String::new())),
        parameters,
    )
    .await
}

async fn entry(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, kind, key)): Segments<(OwnedRoomId, String, String)>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let server = &app.server;
    if are_levels_of_platform(&requester, &kind) && server.is_over(&room_id).await? {
        // Nobody has a level in it.
        return Ok(json(&json!({ "users": {} })));
    }
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let Some(event) = server.state_entry_for(&reader, &kind, &key).await? else {
        return Err(MatrixError::not_found("There is no such state in this room").into());
    };
    let body = if parameters.format == Format::Event {
        let form = EventForm::new(server.clock.now());
        let shown = server.show_state([&event]).await?;
        shown
            .first()
            .map(|event| event.to_json(&form))
            .unwrap_or_default()
    } else {
        event.content.get().as_bytes().to_vec()
    };
    Ok(json_bytes(StatusCode::OK, body))
}

async fn set_without_key(
    state: State<Arc<App>>,
    requester: Requester,
    Segments((room_id, kind)): Segments<(OwnedRoomId, String)>,
    parameters: Query<SendParameters>,
    body: RawBody,
) -> Answer {
    set(
        state,
        requester,
        Segments((room_id, kind, String::new())),
        parameters,
        body,
    )
    .await
}

async fn set(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, kind, key)): Segments<(OwnedRoomId, String, String)>,
    Query(parameters): Query<SendParameters>,
    RawBody(body): RawBody,
) -> Answer {
    requester.limit(&app, Limit::Message)?;
    refuse_create(&kind)?;
    app.server.active(&requester.user_id);
    if are_levels_of_platform(&requester, &kind) && app.server.is_over(&room_id).await? {
        let why = "Nobody is in that room any more";
        return Ok(passed_over(room_id.as_str(), why));
    }
    let is_bent = requester.is_provisioning() && key.is_empty();
    let mut draft = Draft::state(kind, key, content_of(&body)?);
    let leaves = |(user_id, membership)| user_id == requester.user_id && membership == "leave";
    if !membership_in(&draft).is_some_and(leaves) {
        requester.refuse_suspended()?;
    }
    if is_bent {
        let bent = app.server.bent_state(&room_id, &draft.kind, draft.content);
        draft.content = bent.await.map_err(MatrixError::from)?;
    }
    let sent_at = parameters.sent_at(&requester)?;
    let server = &app.server;
    let sent = server
        .send_state(&requester, &room_id, draft, sent_at)
        .await;
    let event_id = sent.map_err(MatrixError::from)?;
    Ok(json(&json!({ "event_id": event_id })))
}

/// Whether this is about the levels by which a learning platform enrols and removes people.
fn are_levels_of_platform(requester: &Requester, kind: &str) -> bool {
    requester.is_provisioning() && kind == "m.room.power_levels"
}

/// A room's create event is written once, by who makes the room.
fn refuse_create(kind: &str) -> Result<(), Refusal> {
    if kind == "m.room.create" {
        return Err(MatrixError::invalid_param("A room is created once").into());
    }
    Ok(())
}
