//! `GET /rooms/{roomId}/members`, `GET /rooms/{roomId}/joined_members`, `GET /joined_rooms`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{
    Answer, App, Query, Requester, Segments, client, empty_as_none, json, json_bytes,
};
use lyceum_model::{Event, MatrixError, Membership, Seq, StoredEvent};
use lyceum_room::membership_of;
use lyceum_server::{
    Server,
    application_services::ApplicationService,
    rooms::{self, joined_members::Reader},
};
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted, StorageError, TimelinePage};
use lyceum_sync::{
    client_event::{ClientEvent, EventForm},
    history::event_chunk,
    token::PageToken,
};
use ruma_common::{OwnedRoomId, RoomId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/rooms/{room_id}/members", get(members));
    let router = client(router, "/rooms/{room_id}/joined_members", get(joined));
    client(router, "/joined_rooms", get(joined_rooms))
}

#[derive(Deserialize)]
struct Parameters {
    at: Option<String>,
    #[serde(default, deserialize_with = "empty_as_none")]
    membership: Option<Membership>,
    #[serde(default, deserialize_with = "empty_as_none")]
    not_membership: Option<Membership>,
}

async fn members(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let server = &app.server;
    let reader = server
        .reader(&requester.user_id, &room_id)
        .await
        .map_err(MatrixError::from)?;
    let mut state: Option<Vec<Arc<Event>>> = None;
    if let Some(at) = parameters.at {
        let Ok(at) = at.parse() else {
            return Err(MatrixError::invalid_param("at is not a token").into());
        };
        if reader.left.is_none()
            && let Some(last) = last_event_at(server, &room_id, at).await?
            && may_know(server, &reader, &last).await?
        {
            let of = StateOf {
                event_id: last.event.id.clone(),
                side: StateSide::After,
            };
            state = server.store.state_at(of, StateWanted::All).await?;
        }
    }
    let state = match state {
        Some(state) => state,
        None => server.state_for(&reader).await?,
    };
    let is_wanted = |event: &&Arc<Event>| {
        if &*event.kind != "m.room.member" {
            return false;
        }
        let membership = membership_of(event);
        parameters
            .membership
            .is_none_or(|wanted| membership == Some(wanted))
            && parameters
                .not_membership
                .is_none_or(|unwanted| membership != Some(unwanted))
    };
    let members: Vec<ClientEvent> = state
        .iter()
        .filter(is_wanted)
        .map(|event| ClientEvent::new(event))
        .collect();
    let form = EventForm::new(server.clock.now());
    Ok(json_bytes(
        StatusCode::OK,
        event_chunk(members.iter(), &form),
    ))
}

/// Whether a reader may know who was in the room after an event. Of times before theirs they learn
/// nothing that the history's visibility hides; they are told of today instead, for a client may
/// ask with the token of the sync that told it of its own join.
async fn may_know(
    server: &Server,
    reader: &rooms::Reader,
    last: &StoredEvent,
) -> Result<bool, StorageError> {
    let reader = rooms::Reader {
        ignored: Arc::default(),
        ..reader.clone()
    };
    let (is_visible, _) = server.visibility(&reader, last).await?;
    Ok(is_visible)
}

/// The event after which a room was as a token means it: the last one before its gap. Before the
/// first event of a room nobody is a member; there the token stands for when it was given out.
async fn last_event_at(
    server: &Server,
    room_id: &RoomId,
    at: PageToken,
) -> Result<Option<StoredEvent>, StorageError> {
    let given_out = match at {
        PageToken::Sync(token) => token.0,
        PageToken::Timeline(token) => {
            let found = event_before(server, room_id, token.seq).await?;
            if found.is_some() {
                return Ok(found);
            }
            token.position
        }
    };
    let last = server.store.seq_at(room_id, given_out).await?;
    event_before(server, room_id, Seq(last.0 + 1)).await
}

async fn event_before(
    server: &Server,
    room_id: &RoomId,
    seq: Seq,
) -> Result<Option<StoredEvent>, StorageError> {
    let page = TimelinePage {
        room_id: room_id.to_owned(),
        from: seq,
        until: None,
        up_to: server.store.position(),
        direction: Direction::Backward,
        limit: 1,
    };
    let found = server.store.timeline(page).await?;
    Ok(found.into_iter().next())
}

async fn joined(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
) -> Answer {
    let room = app.server.rooms.room(&room_id).await?;
    if requester.is_provisioning() && app.server.is_over(&room_id).await? {
        return Ok(json(&json!({ "joined": {} })));
    }
    let is_member = |room: &lyceum_room::Room| {
        let has_member = |service: &ApplicationService| {
            let mut members = room.state.joined_members();
            members.any(|(user_id, _)| service.owns_user(user_id))
        };
        // An application service asks as it likes for rooms in which any of its users is.
        room.is_joined(&requester.user_id)
            || requester.application_service().is_some_and(has_member)
    };
    let Some(room) = room.filter(is_member) else {
        return Err(MatrixError::forbidden("You are not in that room").into());
    };
    let reader = if requester.is_provisioning() {
        Reader::Platform
    } else {
        Reader::Client
    };
    let body = app.server.joined_members_of(&room, reader);
    Ok(json_bytes(StatusCode::OK, body))
}

async fn joined_rooms(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    let rooms = app.server.joined_rooms(&requester.user_id).await?;
    Ok(json(&json!({ "joined_rooms": rooms })))
}
