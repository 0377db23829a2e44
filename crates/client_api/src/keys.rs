//! `/keys/…`: under the stable names and, for older clients, under `unstable`.

mod changes;
mod claim;
mod device_signing_upload;
mod query;
mod signatures_upload;
mod upload;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    routing::{MethodRouter, get, post},
};
use lyceum_edge::{App, client, unstable};
use ruma_common::OwnedServerName;
use serde_json::{Map, Value, json};

pub(crate) fn routes(mut router: Router<Arc<App>>) -> Router<Arc<App>> {
    let endpoints: [(&str, MethodRouter<Arc<App>>); 7] = [
        ("/keys/upload", post(upload::upload)),
        ("/keys/upload/{device_id}", post(upload::upload)),
        ("/keys/query", post(query::query)),
        ("/keys/claim", post(claim::claim)),
        ("/keys/changes", get(changes::changes)),
        (
            "/keys/device_signing/upload",
            post(device_signing_upload::upload),
        ),
        ("/keys/signatures/upload", post(signatures_upload::upload)),
    ];
    for (path, methods) in endpoints {
        router = client(router, path, methods.clone());
        router = unstable(router, path, methods);
    }
    router
}

/// Servers that could not be asked, as clients are told.
fn failures_json(failures: &BTreeSet<OwnedServerName>) -> Value {
    let failed = |server_name: &OwnedServerName| {
        let why = json!({ "status": 503, "message": "The server could not be asked" });
        (server_name.as_str().to_owned(), why)
    };
    Value::Object(failures.iter().map(failed).collect::<Map<String, Value>>())
}
