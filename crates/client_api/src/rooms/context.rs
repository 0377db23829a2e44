//! `GET /rooms/{roomId}/context/{eventId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Query, Requester, Segments, client, json_bytes};
use lyceum_model::{Event, MatrixError, Seq};
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted};
use lyceum_sync::{
    client_event::{ClientEvent, EventForm, ShownEvent},
    history::{Context, context as context_json},
    token::TimelineToken,
};
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::messages::{filter_of, lazy_members};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/rooms/{room_id}/context/{event_id}", get(context))
}

/// How many events an answer has if the client does not say.
const LIMIT_DEFAULT: usize = 10;
/// How many events an answer has at most.
const LIMIT_MAX: usize = 100;

#[derive(Deserialize)]
struct Parameters {
    limit: Option<usize>,
    filter: Option<String>,
}

async fn context(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, event_id)): Segments<(OwnedRoomId, OwnedEventId)>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let server = &app.server;
    let filter = filter_of(parameters.filter.as_deref())?;
    let limit = parameters.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let (stored, membership) = server
        .event_for(&reader, &event_id)
        .await
        .map_err(MatrixError::from)?;
    let seq = stored
        .seq
        .ok_or_else(|| MatrixError::not_found("There is no such event"))?;
    let position = server.feed.position();
    let wants = |event: &Event| filter.matches(event);
    let before = server
        .read_timeline(
            &reader,
            seq,
            None,
            position,
            Direction::Backward,
            limit / 2,
            &wants,
        )
        .await?;
    let next = Seq(seq.0 + 1);
    let after_limit = limit - limit / 2;
    let after = server
        .read_timeline(
            &reader,
            next,
            None,
            position,
            Direction::Forward,
            after_limit,
            &wants,
        )
        .await?;
    let device_id = requester.device_id.as_deref();
    let event = server.show(&reader, device_id, &stored, membership).await?;
    let mut events_before = Vec::new();
    for (stored, membership) in &before.events {
        events_before.push(server.show(&reader, device_id, stored, *membership).await?);
    }
    let mut events_after = Vec::new();
    for (stored, membership) in &after.events {
        events_after.push(server.show(&reader, device_id, stored, *membership).await?);
    }
    let last = after.events.last().map_or(&stored, |(stored, _)| stored);
    let first = before.events.last().map_or(&stored, |(stored, _)| stored);
    let state = if filter.lazy_load_members {
        let all = before
            .events
            .iter()
            .chain(&after.events)
            .map(|(stored, _)| &stored.event);
        let events: Vec<_> = all.chain([&stored.event]).cloned().collect();
        lazy_members(&events, &filter, &reader.room)
    } else {
        let of = StateOf {
            event_id: last.event.id.clone(),
            side: StateSide::After,
        };
        let state = server
            .store
            .state_at(of, StateWanted::All)
            .await?
            .unwrap_or_default();
        let state = state.iter().filter(|event| filter.matches(event));
        state
            .map(|event| ShownEvent::from(Arc::new(ClientEvent::new(event))))
            .collect()
    };
    let body = context_json(&Context {
        form: EventForm::new(server.clock.now()),
        start: TimelineToken {
            position,
            seq: first.seq.unwrap_or(seq),
        },
        end: TimelineToken {
            position,
            seq: Seq(last.seq.unwrap_or(seq).0 + 1),
        },
        event,
        events_before,
        events_after,
        state,
    });
    Ok(json_bytes(StatusCode::OK, body))
}
