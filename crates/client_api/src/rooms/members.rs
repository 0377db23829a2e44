//! `GET /rooms/{roomId}/members`, `GET /rooms/{roomId}/joined_members`, `GET /joined_rooms`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Query, Requester, Segments, client, json, json_bytes};
use lyceum_model::{Event, MatrixError, Membership, Seq};
use lyceum_room::membership_of;
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted, TimelinePage};
use lyceum_sync::{
    client_event::{ClientEvent, EventForm},
    history::event_chunk,
    token::PageToken,
};
use ruma_common::OwnedRoomId;
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
    membership: Option<Membership>,
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
        let seq = match at.parse() {
            Ok(PageToken::Sync(token)) => Seq(server.store.seq_at(&room_id, token.0).await?.0 + 1),
            Ok(PageToken::Timeline(token)) => token.seq,
            Err(_) => return Err(MatrixError::invalid_param("at is not a token").into()),
        };
        let page = TimelinePage {
            room_id: room_id.clone(),
            from: seq,
            until: None,
            up_to: server.store.position(),
            direction: Direction::Backward,
            limit: 1,
        };
        if let Some(last) = server.store.timeline(page).await?.first()
            && reader.left.is_none()
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

async fn joined(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
) -> Answer {
    let room = app.server.rooms.room(&room_id).await?;
    let is_member = |room: &lyceum_room::Room| {
        room.state.membership(&requester.user_id) == Some(Membership::Join)
    };
    let Some(room) = room.filter(is_member) else {
        return Err(MatrixError::forbidden("You are not in that room").into());
    };
    let body = app.server.joined_members_of(&room);
    Ok(json_bytes(StatusCode::OK, body))
}

async fn joined_rooms(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    let memberships = app.server.store.memberships(&requester.user_id).await?;
    let joined = memberships
        .iter()
        .filter(|m| m.membership == Membership::Join);
    let rooms: Vec<_> = joined.map(|m| &m.room_id).collect();
    Ok(json(&json!({ "joined_rooms": rooms })))
}
