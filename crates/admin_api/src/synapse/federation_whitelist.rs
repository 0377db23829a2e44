//! `GET /_synapse/client/v1/config/federation_whitelist`: with which servers this one speaks.

use std::sync::Arc;

use axum::{Router, routing::get};
use lyceum_edge::{Answer, App, Requester, json};
use serde_json::json;

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let path = "/_synapse/client/v1/config/federation_whitelist";
    router.route(path, get(whitelist))
}

/// There is no list of servers with which alone this one would speak.
async fn whitelist(_requester: Requester) -> Answer {
    Ok(json(
        &json!({ "whitelist_enabled": false, "whitelist": [] }),
    ))
}
