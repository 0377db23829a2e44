//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use lyceum_edge::{
    Answer, App, JsonBody, Limit, Query, RawBody, Refusal, Requester, Segments, client, json,
};
use lyceum_model::{MatrixError, Timestamp};
use lyceum_room::{Draft, redaction_target};
use lyceum_server::rooms::TransactionName;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{json, value::RawValue};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(
        router,
        "/rooms/{room_id}/send/{event_type}/{txn_id}",
        put(send),
    )
}

/// The greatest number that canonical JSON holds.
const TS_MAX: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
pub(super) struct Parameters {
    /// For application services: the time to give the event.
    ts: Option<u64>,
    /// Not there yet (MSC4140): such an event must not be sent at once.
    #[serde(rename = "org.matrix.msc4140.delay")]
    delay: Option<IgnoredAny>,
}

impl Parameters {
    /// When the event was sent, if the requester may say so.
    pub(super) fn sent_at(&self, requester: &Requester) -> Result<Option<Timestamp>, Refusal> {
        if self.delay.is_some() {
            let why = "Sending delayed events is not possible here";
            return Err(MatrixError::forbidden(why).into());
        }
        let ts = self.ts.filter(|ts| *ts <= TS_MAX).map(Timestamp);
        Ok(ts.filter(|_| requester.application_service().is_some()))
    }
}

async fn send(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((room_id, kind, transaction_id)): Segments<(OwnedRoomId, String, String)>,
    Query(parameters): Query<Parameters>,
    RawBody(body): RawBody,
) -> Answer {
    let name = TransactionName {
        scope: format!("send/{room_id}/{kind}"),
        transaction_id,
    };
    if let Some(event_id) = limit_unless_sent(&app, &requester, &name).await? {
        return Ok(json(&json!({ "event_id": event_id })));
    }
    let content = content_of(&body)?;
    app.server.active(&requester.user_id);
    let draft = Draft::message(kind.clone(), content);
    let target = redaction_target(&draft);
    if target.is_none() {
        requester.refuse_suspended()?;
    }
    let transaction = Some(name);
    let server = &app.server;
    let sent = match target {
        Some(target) => {
            let content = Some(draft.content);
            server
                .redact(&requester, &room_id, &target, content, transaction)
                .await
        }
        None => {
            server
                .send_message(
                    &requester,
                    &room_id,
                    draft,
                    transaction,
                    parameters.sent_at(&requester)?,
                )
                .await
        }
    };
    let event_id = sent.map_err(MatrixError::from)?;
    Ok(json(&json!({ "event_id": event_id })))
}

/// Limits how much is sent; what was sent before is no more of it, and is answered as it was.
pub(super) async fn limit_unless_sent(
    app: &App,
    requester: &Requester,
    name: &TransactionName,
) -> Result<Option<OwnedEventId>, Refusal> {
    let Err(refusal) = requester.limit(app, Limit::Message) else {
        return Ok(None);
    };
    match app.server.sent_before(&name.clone().of(requester)).await? {
        Some(event_id) => Ok(Some(event_id)),
        None => Err(refusal),
    }
}

/// The body as the content of an event: a JSON object, otherwise untouched.
pub(super) fn content_of(body: &[u8]) -> Result<Box<RawValue>, Refusal> {
    let JsonBody(content) = JsonBody::<Box<RawValue>>::parse_present(body)?;
    if !content.get().trim_start().starts_with('{') {
        return Err(MatrixError::bad_json("The content of an event is a JSON object").into());
    }
    Ok(content)
}
