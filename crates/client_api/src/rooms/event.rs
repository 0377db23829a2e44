//! `GET /rooms/{roomId}/event/{eventId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Requester, Segments, client, json_bytes};
use lyceum_model::MatrixError;
use lyceum_sync::client_event::EventForm;
use ruma_common::{OwnedEventId, OwnedRoomId};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/rooms/{room_id}/event/{event_id}", get(event))
}

async fn event(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, event_id)): Segments<(OwnedRoomId, OwnedEventId)>,
) -> Answer {
    let server = &app.server;
    let not_found = || MatrixError::not_found("There is no such event");
    let reader = server
        .event_reader(&requester.user_id, &room_id)
        .await
        .map_err(|_| not_found())?;
    let (stored, membership) = server
        .event_for(&reader, &event_id)
        .await
        .map_err(MatrixError::from)?;
    let device_id = requester.device_id.as_deref();
    let shown = server.show(&reader, device_id, &stored, membership).await?;
    let form = EventForm::new(server.clock.now());
    Ok(json_bytes(StatusCode::OK, shown.to_json(&form)))
}
