//! `GET /rooms/{roomId}/messages`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Query, Refusal, Requester, Segments, client, json_bytes};
use lyceum_model::{Event, MatrixError, Seq, StateKey};
use lyceum_room::Room;
use lyceum_server::Server;
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted, StorageError};
use lyceum_sync::{
    client_event::{EventForm, ShownEvent},
    filter::RoomEventFilter,
    history::{Messages, members_for, messages as messages_json},
    token::{PageToken, SyncToken, TimelineToken},
};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/rooms/{room_id}/messages", get(messages))
}

/// How many events an answer has if the client does not say.
const LIMIT_DEFAULT: usize = 10;
/// How many events an answer has at most.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    to: Option<String>,
    dir: Option<String>,
    limit: Option<usize>,
    filter: Option<String>,
}

async fn messages(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let server = &app.server;
    // First of all: who may not read learns that, and not what else is wrong with the question.
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let direction = match parameters.dir.as_deref() {
        Some("b") => Direction::Backward,
        Some("f") => Direction::Forward,
        None => return Err(MatrixError::missing_param("dir is missing").into()),
        Some(_) => return Err(MatrixError::invalid_param("dir is \"b\" or \"f\"").into()),
    };
    let filter = filter_of(parameters.filter.as_deref())?;
    let limit = match parameters.limit {
        Some(limit) => limit.min(LIMIT_MAX),
        None => filter.limit(LIMIT_DEFAULT, LIMIT_MAX),
    };
    let position = server.feed.position();
    let start = match (token_of(parameters.from.as_deref())?, direction) {
        (Some(from), _) => from,
        (None, Direction::Backward) => PageToken::Sync(SyncToken(position)),
        (None, Direction::Forward) => PageToken::Timeline(TimelineToken {
            position,
            seq: Seq(i64::MIN + 1),
        }),
    };
    let from = seq_of(server, &room_id, start).await?;
    let until = match token_of(parameters.to.as_deref())? {
        Some(to) => Some(seq_of(server, &room_id, to).await?),
        None => None,
    };
    let stretch = (from, until, position);
    let shown = server
        .read_filtered(&reader, stretch, direction, limit, &filter)
        .await?;
    let device_id = requester.device_id.as_deref();
    let chunk = server.show_all(&reader, device_id, shown.each()).await?;
    let events: Vec<_> = shown
        .events
        .iter()
        .map(|(stored, _)| stored.event.clone())
        .collect();
    let end = shown.end(direction);
    let form = EventForm::new(server.clock.now());
    let body = messages_json(&Messages {
        form,
        start,
        end: end.map(|seq| TimelineToken { position, seq }),
        chunk,
        state: lazy_members(server, &events, &filter, &reader.room).await?,
    });
    Ok(json_bytes(StatusCode::OK, body))
}

/// The member events that show these events, if the client loads members lazily: as they were at
/// the newest of the events.
pub(super) async fn lazy_members(
    server: &Server,
    events: &[Arc<Event>],
    filter: &RoomEventFilter,
    room: &Room,
) -> Result<Vec<ShownEvent>, StorageError> {
    let Some(newest) = events.iter().max_by_key(|event| event.depth) else {
        return Ok(Vec::new());
    };
    if !filter.lazy_load_members {
        return Ok(Vec::new());
    }
    let senders: BTreeSet<&OwnedUserId> = events.iter().map(|event| &event.sender).collect();
    let keys = senders
        .iter()
        .map(|sender| StateKey::new("m.room.member", sender.as_str()));
    let of = StateOf {
        event_id: newest.id.clone(),
        side: StateSide::After,
    };
    let wanted = StateWanted::Keys(keys.collect());
    let then = server.store.state_at(of, wanted).await?;
    let then = then.unwrap_or_default();
    let member = |user_id: &UserId| {
        let was = then
            .iter()
            .find(|event| event.state_key.as_deref() == Some(user_id.as_str()));
        let is = || room.state.member(user_id).map(|member| &member.event);
        was.or_else(is).cloned()
    };
    let members = members_for(events, filter, &member);
    server.show_state(&members).await
}

/// A filter from a query parameter.
pub(super) fn filter_of(filter: Option<&str>) -> Result<RoomEventFilter, Refusal> {
    match filter {
        None => Ok(RoomEventFilter::default()),
        Some(filter) => RoomEventFilter::parse(filter)
            .map_err(|error| MatrixError::bad_json(error.to_string()).into()),
    }
}

/// A token from a query parameter. matrix-bot-sdk sends an empty one where it has none.
pub(super) fn token_of(token: Option<&str>) -> Result<Option<PageToken>, Refusal> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    match token.parse() {
        Ok(token) => Ok(Some(token)),
        Err(_) => Err(MatrixError::invalid_param("This is not a token").into()),
    }
}

/// The place of a token in a room: the gap before this event.
pub(super) async fn seq_of(
    server: &Server,
    room_id: &RoomId,
    token: PageToken,
) -> Result<Seq, StorageError> {
    Ok(match token {
        PageToken::Timeline(token) => token.seq,
        PageToken::Sync(token) => Seq(server.store.seq_at(room_id, token.0).await?.0 + 1),
    })
}
