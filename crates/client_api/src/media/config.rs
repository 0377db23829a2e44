//! `GET /media/config`: how large a file may be.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, Limit, Requester, json};
use serde_json::json;

use super::{authenticated_media, media};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = authenticated_media(router, "/config", &get(config));
    media(router, "/config", &get(config))
}

async fn config(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    Ok(json(
        &json!({ "m.upload.size": app.server.config.media.upload_bytes_max }),
    ))
}
