//! `POST /rooms/{roomId}/receipt/{receiptType}/{eventId}` and
//! `POST /rooms/{roomId}/read_markers`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::{MatrixError, ReceiptKind};
use lyceum_server::rooms::ReadMark;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(
        router,
        "/rooms/{room_id}/receipt/{receipt_type}/{event_id}",
        post(receipt),
    );
    client(router, "/rooms/{room_id}/read_markers", post(read_markers))
}

#[derive(Deserialize)]
struct ReceiptBody {
    #[serde(default)]
    thread_id: Option<String>,
}

async fn receipt(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, kind, event_id)): Segments<(OwnedRoomId, String, OwnedEventId)>,
    JsonBody(body): JsonBody<ReceiptBody>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    app.server.active(&requester.user_id);
    let mut marks = Vec::new();
    let mut fully_read = None;
    match kind.as_str() {
        "m.read" => {
            marks.push(ReadMark {
                kind: ReceiptKind::Read,
                thread: body.thread_id,
                event_id,
            });
        }
        "m.read.private" => {
            let kind = ReceiptKind::ReadPrivate;
            marks.push(ReadMark {
                kind,
                thread: body.thread_id,
                event_id,
            });
        }
        "m.fully_read" if body.thread_id.is_some() => {
            let why = "m.fully_read is about the whole room, not about a thread";
            return Err(MatrixError::invalid_param(why).into());
        }
        "m.fully_read" => fully_read = Some(event_id),
        _ => return Err(MatrixError::invalid_param("There is no such receipt type").into()),
    }
    let set = app
        .server
        .set_read_marks(&requester, &room_id, marks, fully_read)
        .await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}

#[derive(Deserialize)]
struct MarkersBody {
    #[serde(default, rename = "m.fully_read")]
    fully_read: Option<OwnedEventId>,
    #[serde(default, rename = "m.read")]
    read: Option<OwnedEventId>,
    #[serde(default, rename = "m.read.private")]
    read_private: Option<OwnedEventId>,
}

async fn read_markers(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(room_id): Segments<OwnedRoomId>,
    JsonBody(body): JsonBody<MarkersBody>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    app.server.active(&requester.user_id);
    let read = body.read.map(|event_id| (ReceiptKind::Read, event_id));
    let read_private = body
        .read_private
        .map(|event_id| (ReceiptKind::ReadPrivate, event_id));
    let marks = read
        .into_iter()
        .chain(read_private)
        .map(|(kind, event_id)| ReadMark {
            kind,
            thread: None,
            event_id,
        })
        .collect();
    let set = app
        .server
        .set_read_marks(&requester, &room_id, marks, body.fully_read)
        .await;
    set.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
