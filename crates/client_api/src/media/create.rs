//! `POST /_matrix/media/v1/create`: an id for a file that comes later.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, Limit, RawBody, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::media::Fulfilment;
use serde_json::json;

use super::{media, upload::uri};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    media(router, "/create", &post(create))
}

async fn create(
    State(app): State<Arc<App>>,
    requester: Requester,
    RawBody(body): RawBody,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.refuse_suspended()?;
    // Any body will do. Moodle sends an empty list, and then uploads without the id.
    let fulfilment = match body.trim_ascii() {
        b"[]" if requester.is_provisioning() => Fulfilment::ByNextUpload,
        _ => Fulfilment::ById,
    };
    let promised = app.server.promise_upload(&requester, fulfilment).await;
    let promise = promised.map_err(MatrixError::from)?;
    Ok(json(&json!({
        "content_uri": uri(&promise.id),
        "unused_expires_at": promise.expires,
    })))
}
