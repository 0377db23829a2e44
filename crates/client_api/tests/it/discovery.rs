//! `/versions`, `/capabilities`, `.well-known`, and small endpoints that say what there is.

use serde_json::json;

use crate::harness::{ANY, TestServer};

#[tokio::test]
async fn versions_reach_from_the_oldest_to_the_newest() {
    let server = TestServer::start().await;
    let versions = server
        .anonymous()
        .get("/_matrix/client/versions")
        .await
        .ok();
    let listed = versions["versions"].as_array().unwrap();
    for version in ["r0.6.1", "v1.1", "v1.7", "v1.19"] {
        assert!(listed.contains(&json!(version)), "{version}");
    }
    assert_eq!(versions["unstable_features"]["uk.tcpip.msc4133"], true);
}

#[tokio::test]
async fn capabilities_name_room_versions() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let answer = alice.get("/v3/capabilities").await.ok();
    let capabilities = &answer["capabilities"];
    assert_eq!(capabilities["m.room_versions"]["default"], "12");
    assert_eq!(capabilities["m.room_versions"]["available"]["1"], "stable");
    assert_eq!(capabilities["m.change_password"]["enabled"], true);
    let refused = server.anonymous().get("/v3/capabilities").await;
    refused.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn well_known_files_say_what_is_configured() {
    let bare = TestServer::start().await;
    let nobody = bare.anonymous();
    let answer = nobody.get("/.well-known/matrix/client").await;
    answer.expect(
        200,
        json!({ "m.homeserver": { "base_url": "http://example.org" } }),
    );
    for file in ["server", "support"] {
        let answer = nobody.get(&format!("/.well-known/matrix/{file}")).await;
        answer.expect_error(404, "M_NOT_FOUND");
    }
    let configured = TestServer::with(|config| {
        config.well_known.client = Some("https://matrix.example.org".to_owned());
        config.well_known.server = Some("matrix.example.org:443".to_owned());
        config.well_known.support_email = Some("admin@example.org".to_owned());
        config.well_known.support_page = Some("https://example.org/help".to_owned());
    });
    let configured = configured.await;
    let nobody = configured.anonymous();
    let answer = nobody.get("/.well-known/matrix/client").await;
    answer.expect(
        200,
        json!({ "m.homeserver": { "base_url": "https://matrix.example.org" } }),
    );
    let answer = nobody.get("/.well-known/matrix/server").await;
    answer.expect(200, json!({ "m.server": "matrix.example.org:443" }));
    let answer = nobody.get("/.well-known/matrix/support").await;
    answer.expect(
        200,
        json!({
            "contacts": [{ "role": "m.role.admin", "email_address": "admin@example.org" }],
            "support_page": "https://example.org/help",
        }),
    );
}

#[tokio::test]
async fn what_is_not_there_is_unrecognized() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for path in [
        "/v3/nothing",
        "/v3/pushers",
        "/r1/login",
        "/_matrix/nothing",
    ] {
        alice.get(path).await.expect_error(404, "M_UNRECOGNIZED");
    }
    alice
        .put("/v3/login", json!({}))
        .await
        .expect_error(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn turn_servers_and_protocols_are_empty() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for version in ["v3", "r0"] {
        let turn = alice.get(&format!("/{version}/voip/turnServer")).await;
        turn.expect(200, json!({}));
        let protocols = alice.get(&format!("/{version}/thirdparty/protocols")).await;
        protocols.expect(200, json!({}));
    }
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere() {
    let server = TestServer::start().await;
    let answer = server.anonymous().get("/v3/login").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    answer.expect(200, json!({ "flows": ANY }));
}
