//! `GET /v1/rooms/{roomId}/relations/{eventId}[/{relType}[/{eventType}]]`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Query, Requester, Segments, client_v1, json_bytes, unstable};
use lyceum_model::MatrixError;
use lyceum_server::rooms::{Related, RelationsQuery};
use lyceum_storage::Direction;
use lyceum_sync::{
    client_event::EventForm,
    history::{Relations, relations as relations_json},
    token::TimelineToken,
};
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;

use super::messages::{seq_of, token_of};

pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    for (path, methods) in [
        ("", get(of_any_kind)),
        ("/{kind}", get(of_kind)),
        ("/{kind}/{event_type}", get(of_kind_and_type)),
    ] {
        let path = format!("/rooms/{{room_id}}/relations/{{event_id}}{path}");
        router = client_v1(router, &path, methods.clone());
        router = unstable(router, &path, methods);
    }
    router
}

/// How many events an answer has if the client does not say.
const LIMIT_DEFAULT: usize = 50;
/// How many events an answer has at most.
const LIMIT_MAX: usize = 100;

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    to: Option<String>,
    dir: Option<String>,
    limit: Option<usize>,
    recurse: Option<bool>,
}

async fn of_any_kind(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, event_id)): Segments<(OwnedRoomId, OwnedEventId)>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let wanted = Wanted {
        room_id,
        event_id,
        kind: None,
        event_type: None,
    };
    relations(&app, &requester, wanted, parameters).await
}

async fn of_kind(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, event_id, kind)): Segments<(OwnedRoomId, OwnedEventId, String)>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let wanted = Wanted {
        room_id,
        event_id,
        kind: Some(kind),
        event_type: None,
    };
    relations(&app, &requester, wanted, parameters).await
}

async fn of_kind_and_type(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, event_id, kind, event_type)): Segments<(
        OwnedRoomId,
        OwnedEventId,
        String,
        String,
    )>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let wanted = Wanted {
        room_id,
        event_id,
        kind: Some(kind),
        event_type: Some(event_type),
    };
    relations(&app, &requester, wanted, parameters).await
}

struct Wanted {
    room_id: OwnedRoomId,
    event_id: OwnedEventId,
    kind: Option<String>,
    event_type: Option<String>,
}

async fn relations(
    app: &App,
    requester: &Requester,
    wanted: Wanted,
    parameters: Parameters,
) -> Answer {
    let server = &app.server;
    let direction = match parameters.dir.as_deref() {
        None | Some("b") => Direction::Backward,
        Some("f") => Direction::Forward,
        Some(_) => return Err(MatrixError::invalid_param("dir is \"b\" or \"f\"").into()),
    };
    let not_found = |_| MatrixError::not_found("There is no such event, or you may not see it");
    let reader = server
        .reader(&requester.user_id, &wanted.room_id)
        .await
        .map_err(not_found)?;
    let parent = server.event_for(&reader, &wanted.event_id).await;
    let (parent, _) = parent.map_err(MatrixError::from)?;
    let is_redacted = parent.redacted_because.is_some();
    let from = match token_of(parameters.from.as_deref())? {
        Some(from) => Some(seq_of(server, &wanted.room_id, from).await?),
        None => None,
    };
    let until = match token_of(parameters.to.as_deref())? {
        Some(to) => Some(seq_of(server, &wanted.room_id, to).await?),
        None => None,
    };
    let position = server.feed.position();
    let query = RelationsQuery {
        kind: wanted.kind.as_deref(),
        event_type: wanted.event_type.as_deref(),
        without_edits_of: is_redacted.then_some(&*wanted.event_id),
        direction,
        from,
        until,
        up_to: position,
        limit: parameters
            .limit
            .unwrap_or(LIMIT_DEFAULT)
            .clamp(1, LIMIT_MAX),
    };
    let Related { shown, depth } = if parameters.recurse == Some(true) {
        server
            .relations_recursively(&reader, &wanted.event_id, query)
            .await?
    } else {
        let shown = server.relations(&reader, &wanted.event_id, query).await?;
        Related { shown, depth: 1 }
    };
    let device_id = requester.device_id.as_deref();
    let chunk = server.show_all(&reader, device_id, shown.each()).await?;
    let next = shown.next.map(|seq| TimelineToken { position, seq });
    let body = relations_json(&Relations {
        form: EventForm::new(server.clock.now()),
        chunk,
        next_batch: next.map(|token| token.to_string()),
        prev_batch: parameters.from,
        recursion_depth: parameters.recurse.map(|_| depth),
    });
    Ok(json_bytes(StatusCode::OK, body))
}
