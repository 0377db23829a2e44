//! `GET /_matrix/client/versions`.

use std::sync::Arc;

use axum::{Router, routing::get};
use http::{HeaderMap, HeaderValue, header};
use lyceum_edge::{Answer, App, Refusal, Requester, is_moodle, json};
use serde_json::json;

/// The releases of the specification that this server serves.
const VERSIONS: [&str; 27] = [
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2",
    "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13",
    "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
];

/// What Moodle is not told of. It knows `v1.1` to `v1.7` and takes the highest; with this one it
/// puts an id into a room's picture and then uploads the file to another id. With those before,
/// it uploads first and puts in the id that it got.
const NOT_FOR_MOODLE: &str = "v1.7";

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route("/_matrix/client/versions", get(versions))
}

/// Moodle asks without a token; a token that is not valid does no harm, since none is needed.
async fn versions(headers: HeaderMap, requester: Result<Requester, Refusal>) -> Answer {
    let is_moodle =
        is_moodle(&headers) || requester.is_ok_and(|requester| requester.is_provisioning());
    let mut versions = VERSIONS.to_vec();
    versions.retain(|version| !is_moodle || *version != NOT_FOR_MOODLE);
    let mut response = json(&json!({
        "versions": versions,
        "unstable_features": {
            "org.matrix.e2e_cross_signing": true,
            "org.matrix.msc2285.stable": true,
            "org.matrix.msc2432": true,
            "org.matrix.msc3440.stable": true,
            "org.matrix.msc3771": true,
            "org.matrix.msc3773": true,
            "org.matrix.msc3827.stable": true,
            "org.matrix.msc3916.stable": true,
            "org.matrix.msc4222": true,
            "org.matrix.msc4380.stable": true,
            "com.beeper.msc4169": true,
            "fi.mau.msc2246.stable": true,
            "uk.tcpip.msc4133": true,
            "uk.tcpip.msc4133.stable": true,
            "uk.timedout.msc4323": true,
            "uk.timedout.msc4323.stable": true,
        },
    }));
    let differs_by = HeaderValue::from_static("user-agent, authorization");
    response.headers_mut().insert(header::VARY, differs_by);
    Ok(response)
}
