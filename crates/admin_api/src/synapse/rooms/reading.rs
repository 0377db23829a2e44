//! Reading a room without being in it: `/v1/rooms/{roomId}/{members,state,messages,context,…}`
//! and `/v1/fetch_event`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{AdminRequester, Answer, App, Refusal, Segments, json, json_bytes};
use lyceum_model::{MatrixError, Seq, StoredEvent, Timestamp};
use lyceum_server::{
    Server,
    rooms::{DEPTH_MAX, HierarchyQuery, Reader, Shown},
};
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted, StorageError};
use lyceum_sync::{
    client_event::{EventForm, ShownEvent},
    filter::RoomEventFilter,
    history::{Context, Messages, context as context_json, event_list, messages as messages_json},
    token::{PageToken, SyncToken, TimelineToken},
};
use ruma_common::{EventId, OwnedEventId, RoomId, UserId};
use serde_json::{Value, json};

use super::super::{paging, parameters::Parameters, refused, room_looked_at, v1};

/// How many events an answer has if nobody says.
const LIMIT_DEFAULT: usize = 10;
/// How many events an answer has at most.
const LIMIT_MAX: usize = 1_000;
/// How many rooms of a space an answer has.
const SPACE_ROOMS: usize = 50;

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/rooms/{room_id}/members", get(members));
    let router = v1(router, "/rooms/{room_id}/state", get(state));
    let router = v1(router, "/rooms/{room_id}/messages", get(messages));
    let router = v1(router, "/rooms/{room_id}/context/{event_id}", get(context));
    let router = v1(
        router,
        "/rooms/{room_id}/timestamp_to_event",
        get(timestamp_to_event),
    );
    let router = v1(router, "/rooms/{room_id}/hierarchy", get(hierarchy));
    v1(router, "/fetch_event/{event_id}", get(fetch_event))
}

async fn reader(app: &App, admin: &UserId, room_id: &RoomId) -> Result<Reader, Refusal> {
    let reader = app.server.admin_reader(admin, room_id).await?;
    reader.ok_or_else(|| MatrixError::not_found("Room not found").into())
}

async fn members(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
) -> Answer {
    let reader = reader(&app, &admin.user_id, &room_looked_at(&named)?).await?;
    let members: Vec<_> = reader
        .room
        .state
        .joined_members()
        .map(|(user_id, _)| user_id)
        .collect();
    Ok(json(&json!({ "total": members.len(), "members": members })))
}

async fn state(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let wanted = parameters.text("type").filter(|kind| !kind.is_empty());
    let reader = reader(&app, &admin.user_id, &room_looked_at(&named)?).await?;
    let state = reader.room.state.iter();
    let state = state.filter(|event| wanted.is_none_or(|kind| *kind == *event.kind));
    let events = app.server.show_state(state).await?;
    let form = EventForm::new(app.server.clock.now());
    let mut body = b"{\"state\":".to_vec();
    body.extend(event_list(events.iter(), &form));
    body.push(b'}');
    Ok(json_bytes(StatusCode::OK, body))
}

async fn messages(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let server = &app.server;
    let direction = direction_of(&parameters)?;
    let from = token_of(&parameters, "from")?;
    let to = token_of(&parameters, "to")?;
    let limit = limit_of(&parameters)?;
    let filter = filter_of(&parameters)?;
    let limit = limit.unwrap_or_else(|| filter.limit(LIMIT_DEFAULT, LIMIT_MAX));
    let reader = match RoomId::parse(&named) {
        Ok(room_id) => server.admin_reader(&admin.user_id, &room_id).await?,
        Err(_) => None,
    };
    let position = server.feed.position();
    let start = match (from, direction) {
        (Some(from), _) => from,
        (None, Direction::Backward) => PageToken::Sync(SyncToken(position)),
        (None, Direction::Forward) => PageToken::Timeline(TimelineToken {
            position,
            seq: Seq(i64::MIN + 1),
        }),
    };
    let Some(reader) = reader else {
        // A room that is not known has no events.
        let body = messages_json(&Messages {
            form: EventForm::new(server.clock.now()),
            start,
            end: None,
            chunk: Vec::new(),
            state: Vec::new(),
        });
        return Ok(json_bytes(StatusCode::OK, body));
    };
    let from = seq_of(server, &reader.room.room_id, start).await?;
    let until = match to {
        Some(to) => Some(seq_of(server, &reader.room.room_id, to).await?),
        None => None,
    };
    let shown = server
        .read_filtered(&reader, (from, until, position), direction, limit, &filter)
        .await?;
    let end = shown.end(direction);
    let body = messages_json(&Messages {
        form: EventForm::new(server.clock.now()),
        start,
        end: end.map(|seq| TimelineToken { position, seq }),
        chunk: all_shown(server, &reader, &shown).await?,
        state: Vec::new(),
    });
    Ok(json_bytes(StatusCode::OK, body))
}

async fn all_shown(
    server: &Server,
    reader: &Reader,
    found: &Shown,
) -> Result<Vec<ShownEvent>, StorageError> {
    server.show_all(reader, None, found.each()).await
}

async fn context(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments((named, event)): Segments<(String, String)>,
    parameters: Parameters,
) -> Answer {
    let server = &app.server;
    let limit = limit_of(&parameters)?.unwrap_or(LIMIT_DEFAULT);
    let filter = filter_of(&parameters)?;
    let event_id = event_id(&event)?;
    let reader = reader(&app, &admin.user_id, &room_looked_at(&named)?).await?;
    let found = server.event_for(&reader, &event_id).await;
    let (stored, membership) = found.map_err(|error| match MatrixError::from(error) {
        error if error.status == 404 => MatrixError::not_found("Event not found."),
        error => error,
    })?;
    let seq = stored.seq.unwrap_or_default();
    let position = server.feed.position();
    let before = server
        .read_filtered(
            &reader,
            (seq, None, position),
            Direction::Backward,
            limit / 2,
            &filter,
        )
        .await?;
    let later = (Seq(seq.0 + 1), None, position);
    let after = server
        .read_filtered(
            &reader,
            later,
            Direction::Forward,
            limit - limit / 2,
            &filter,
        )
        .await?;
    let last = after.events.last().map_or(&stored, |(stored, _)| stored);
    let first = before.events.last().map_or(&stored, |(stored, _)| stored);
    let of = StateOf {
        event_id: last.event.id.clone(),
        side: StateSide::After,
    };
    let state = server
        .store
        .state_at(of, StateWanted::All)
        .await?
        .unwrap_or_default();
    let around = before.events.iter().chain(&after.events);
    let senders: BTreeSet<&str> = around
        .map(|(stored, _)| stored.event.sender.as_str())
        .chain([stored.event.sender.as_str()])
        .collect();
    let wanted_state = state
        .iter()
        .filter(|event| filter.matches_state(event, &senders));
    let place = |stored: &StoredEvent| stored.seq.unwrap_or(seq);
    let body = context_json(&Context {
        form: EventForm::new(server.clock.now()),
        start: TimelineToken {
            position,
            seq: place(first),
        },
        end: TimelineToken {
            position,
            seq: Seq(place(last).0 + 1),
        },
        event: server.show(&reader, None, &stored, membership).await?,
        events_before: all_shown(server, &reader, &before).await?,
        events_after: all_shown(server, &reader, &after).await?,
        state: server.show_state(wanted_state).await?,
    });
    Ok(json_bytes(StatusCode::OK, body))
}

async fn timestamp_to_event(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let at = parameters.required_integer("ts")?;
    let direction = direction_of(&parameters)?;
    let reader = reader(&app, &admin.user_id, &room_looked_at(&named)?).await?;
    let Some(event) = app
        .server
        .event_by_time(&reader, Timestamp(at), direction)
        .await?
    else {
        let why = format!("Unable to find event from {at} in direction {direction:?}");
        return Err(MatrixError::not_found(why).into());
    };
    Ok(json(&json!({
        "event_id": event.id,
        "origin_server_ts": event.origin_server_ts,
    })))
}

async fn hierarchy(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(named): Segments<String>,
    parameters: Parameters,
) -> Answer {
    let max_depth = parameters.integer("max_depth")?;
    let limit = usize_of(&parameters, "limit")?;
    let offset = match parameters.text("from") {
        None => 0,
        Some(from) => from
            .parse()
            .map_err(|_| MatrixError::invalid_param("Unknown pagination token"))?,
    };
    let query = HierarchyQuery {
        max_depth: max_depth.unwrap_or(DEPTH_MAX),
        suggested_only: false,
        offset,
        limit: limit.unwrap_or(SPACE_ROOMS).clamp(1, SPACE_ROOMS),
    };
    let page = app
        .server
        .whole_hierarchy(&room_looked_at(&named)?, query)
        .await
        .map_err(refused)?;
    let mut body = json!({ "rooms": page.rooms });
    if page.has_more {
        body["next_batch"] = json!((offset + page.rooms.len()).to_string());
    }
    Ok(json(&body))
}

async fn fetch_event(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(event): Segments<String>,
) -> Answer {
    let event_id = event_id(&event)?;
    let found = app.server.store.events(&[event_id]).await?;
    let Some(stored) = found.first() else {
        return Err(MatrixError::not_found("Event not found").into());
    };
    Ok(json(&json!({ "event": raw(stored)? })))
}

/// An event as it is stored, with its id.
pub(crate) fn raw(stored: &StoredEvent) -> Result<Value, Refusal> {
    let event = &stored.event;
    let mut raw: Value = serde_json::from_str(&event.json)
        .map_err(|_| MatrixError::internal("A stored event is damaged"))?;
    raw["event_id"] = json!(event.id);
    raw["room_id"] = json!(event.room_id);
    if raw.get("unsigned").is_none() {
        raw["unsigned"] = json!({});
    }
    Ok(raw)
}

fn event_id(text: &str) -> Result<OwnedEventId, Refusal> {
    EventId::parse(text).map_err(|_| MatrixError::not_found("Event not found").into())
}

fn direction_of(parameters: &Parameters) -> Result<Direction, Refusal> {
    Ok(match parameters.direction()? {
        Some(paging::Direction::Backward) => Direction::Backward,
        Some(paging::Direction::Forward) | None => Direction::Forward,
    })
}

fn usize_of(parameters: &Parameters, name: &str) -> Result<Option<usize>, Refusal> {
    let number = parameters.integer(name)?;
    Ok(number.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
}

fn limit_of(parameters: &Parameters) -> Result<Option<usize>, Refusal> {
    let limit = usize_of(parameters, "limit")?;
    Ok(limit.map(|limit| limit.min(LIMIT_MAX)))
}

fn filter_of(parameters: &Parameters) -> Result<RoomEventFilter, Refusal> {
    let Some(filter) = parameters.text("filter") else {
        return Ok(RoomEventFilter::default());
    };
    if serde_json::from_str::<Value>(filter).is_err() {
        let why = "Query parameter filter must be a valid JSON object";
        return Err(MatrixError::not_json(why).into());
    }
    RoomEventFilter::parse(filter).map_err(|error| MatrixError::bad_json(error.to_string()).into())
}

fn token_of(parameters: &Parameters, name: &str) -> Result<Option<PageToken>, Refusal> {
    let token = parameters.text(name).filter(|token| !token.is_empty());
    let token = token.map(str::parse).transpose();
    token.map_err(|_| MatrixError::unknown(format!("'{name}' parameter is invalid")).into())
}

/// The place of a token in a room: the gap before this event.
async fn seq_of(server: &Server, room_id: &RoomId, token: PageToken) -> Result<Seq, StorageError> {
    Ok(match token {
        PageToken::Timeline(token) => token.seq,
        PageToken::Sync(token) => Seq(server.store.seq_at(room_id, token.0).await?.0 + 1),
    })
}
