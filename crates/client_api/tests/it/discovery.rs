//! `/versions`, `/capabilities`, `.well-known`, and small endpoints that say what there is.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use ruma_common::{CanonicalJsonObject, serde::Base64};
use serde_json::json;

use crate::harness::{ANY, Client, TestServer};

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
async fn moodle_is_not_led_to_make_ids_before_it_uploads() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let made = lyceum_server::administration::provisioning::make_token(&server.server, "moodle");
    let (_, token) = made.await.unwrap();
    let provisioning = server.client(&token);
    let nobody = server.anonymous();
    let wrong = server.client("wrong");
    let listed = async |client: &Client, agent: &str| {
        let path = "/_matrix/client/versions";
        let agent = [("user-agent", agent)];
        let answer = client
            .send_with(Method::GET, path, &agent, Bytes::new())
            .await;
        assert_eq!(answer.headers["vary"], "user-agent, authorization");
        answer.ok()["versions"].as_array().unwrap().clone()
    };
    let moodle = "MoodleBot/4.5 (+http://127.0.0.1:18080)";
    let browser = "Mozilla/5.0 MoodleBot/4.5";
    let whole = listed(&nobody, "").await;
    for (client, agent, is_moodle) in [
        (&nobody, moodle, true),
        (&wrong, moodle, true),
        (&provisioning, "curl/7.88.1", true),
        (&nobody, browser, false),
        (&wrong, browser, false),
        (&alice, browser, false),
    ] {
        let mut expect = whole.clone();
        expect.retain(|version| !is_moodle || version != "v1.7");
        assert_eq!(listed(client, agent).await, expect, "{agent}");
    }
    assert!(whole.contains(&json!("v1.7")) && whole.contains(&json!("v1.6")));
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
        for unknown in [
            "protocol/irc",
            "location/irc?x=y",
            "user/irc",
            "location?alias=%23a:example.org",
            "user?userid=@alice:example.org",
        ] {
            let answer = alice.get(&format!("/{version}/thirdparty/{unknown}")).await;
            answer.expect_error(404, "M_NOT_FOUND");
        }
        for incomplete in ["location", "user"] {
            let answer = alice
                .get(&format!("/{version}/thirdparty/{incomplete}"))
                .await;
            answer.expect_error(400, "M_MISSING_PARAM");
        }
    }
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere() {
    let server = TestServer::start().await;
    let answer = server.anonymous().get("/v3/login").await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    answer.expect(200, json!({ "flows": ANY }));
}

#[tokio::test]
async fn the_servers_key_says_what_it_is_called_and_is_signed_by_itself() {
    let server = TestServer::start().await;
    let published = server.anonymous().get("/_matrix/key/v2/server").await.ok();
    assert_eq!(published["server_name"], "example.org");
    assert_eq!(published["old_verify_keys"], json!({}));
    assert!(published["valid_until_ts"].as_u64() > Some(0));
    let (id, key) = published["verify_keys"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    let key = Base64::parse(key["key"].as_str().unwrap()).unwrap();
    let keys = BTreeMap::from([(
        "example.org".to_owned(),
        BTreeMap::from([(id.clone(), key)]),
    )]);
    let object: CanonicalJsonObject = serde_json::from_value(published.clone()).unwrap();
    ruma_signatures::verify_json(&keys, &object).unwrap();
}
