//! `GET /rooms/{roomId}/context/{eventId}`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Query, Requester, Segments, client, json_bytes};
use lyceum_model::{MatrixError, Seq};
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted};
use lyceum_sync::{
    client_event::EventForm,
    history::{Context, context as context_json},
    token::TimelineToken,
};
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::messages::filter_of;

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
    // Somebody invited sees what may be seen of the room, and no more than that.
    let reader = server.reader(&requester.user_id, &room_id).await;
    let (reader, refusal) = match reader {
        Ok(reader) => (reader, None),
        Err(refusal) => {
            let reader = server.event_reader(&requester.user_id, &room_id).await;
            (reader.map_err(MatrixError::from)?, Some(refusal))
        }
    };
    let found = server.event_for(&reader, &event_id).await;
    let (stored, membership) =
        found.map_err(|error| MatrixError::from(refusal.unwrap_or(error)))?;
    let seq = stored
        .seq
        .ok_or_else(|| MatrixError::not_found("There is no such event"))?;
    let position = server.feed.position();
    let earlier = (seq, None, position);
    let before = server
        .read_filtered(&reader, earlier, Direction::Backward, limit / 2, &filter)
        .await?;
    let later = (Seq(seq.0 + 1), None, position);
    let after_limit = limit - limit / 2;
    let after = server
        .read_filtered(&reader, later, Direction::Forward, after_limit, &filter)
        .await?;
    let device_id = requester.device_id.as_deref();
    let event = server.show(&reader, device_id, &stored, membership).await?;
    let events_before = server.show_all(&reader, device_id, before.each()).await?;
    let events_after = server.show_all(&reader, device_id, after.each()).await?;
    let last = after.events.last().map_or(&stored, |(stored, _)| stored);
    let first = before.events.last().map_or(&stored, |(stored, _)| stored);
    let of = StateOf {
        event_id: last.event.id.clone(),
        side: StateSide::After,
    };
    let state = server.store.state_at(of, StateWanted::All).await?;
    let around = before.events.iter().chain(&after.events);
    let senders: BTreeSet<&str> = around
        .map(|(stored, _)| stored.event.sender.as_str())
        .chain([stored.event.sender.as_str()])
        .collect();
    let state = state.unwrap_or_default();
    let state = state
        .iter()
        .filter(|event| filter.matches_state(event, &senders));
    let state = server.show_state(state).await?;
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
