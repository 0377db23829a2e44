//! `PUT /sendToDevice/{eventType}/{txnId}`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json, unstable};
use lyceum_model::{MatrixError, TransactionId};
use lyceum_server::encryption::to_device::{self, Messages};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let path = "/sendToDevice/{event_type}/{transaction_id}";
    let router = client(router, path, put(send));
    unstable(router, path, put(send))
}

#[derive(Deserialize)]
struct Body {
    messages: Messages,
}

async fn send(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments((kind, transaction_id)): Segments<(String, String)>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let transaction = TransactionId {
        user_id: requester.user_id.clone(),
        device_id: requester.device_id.clone().unwrap_or_else(|| "".into()),
        scope: format!("sendToDevice/{kind}"),
        transaction_id,
    };
    let sent = to_device::send(&app.server, transaction, &kind, &body.messages).await;
    sent.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
