//! `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use lyceum_edge::{Answer, App, JsonBody, RawBody, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use lyceum_server::rooms::TransactionName;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;

use super::send::{content_of, limit_unless_sent};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(
        router,
        "/rooms/{room_id}/redact/{event_id}/{txn_id}",
        put(redact),
    )
}

/// What a redaction says that has a form.
#[derive(Deserialize)]
struct Reason {
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

async fn redact(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, target, transaction_id)): Segments<(OwnedRoomId, OwnedEventId, String)>,
    RawBody(body): RawBody,
) -> Answer {
    let name = TransactionName {
        scope: format!("redact/{room_id}/{target}"),
        transaction_id,
    };
    if let Some(event_id) = limit_unless_sent(&app, &requester, &name).await? {
        return Ok(json(&json!({ "event_id": event_id })));
    }
    let content = match body.trim_ascii() {
        [] => None,
        body => {
            let JsonBody(Reason { .. }) = JsonBody::parse(body)?;
            Some(content_of(body)?)
        }
    };
    let transaction = Some(name);
    let sent = app
        .server
        .redact(&requester, &room_id, &target, content, transaction)
        .await;
    let event_id = sent.map_err(MatrixError::from)?;
    Ok(json(&json!({ "event_id": event_id })))
}
