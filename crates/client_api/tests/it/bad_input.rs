//! What bad requests get: the error code of the specification, and nothing stored.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn tokens_are_checked() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let paths = [
        "/v3/account/whoami",
        "/v3/devices",
        "/v3/pushrules/",
        "/v3/capabilities",
        "/v3/account/3pid",
        "/v3/room_keys/version",
        "/v3/voip/turnServer",
    ];
    for path in paths {
        server
            .anonymous()
            .get(path)
            .await
            .expect_error(401, "M_MISSING_TOKEN");
        let unknown = server.client("unknown").get(path).await;
        let body = unknown.expect_error(401, "M_UNKNOWN_TOKEN");
        assert_eq!(body["soft_logout"], false);
    }
    let token = alice.token.as_ref().unwrap();
    let in_query = format!("/v3/account/whoami?access_token={token}");
    server.anonymous().get(&in_query).await.ok();
}

#[tokio::test]
async fn malformed_bodies_are_refused_everywhere() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let user = format!("/v3/user/{}", alice.user_id);
    let posts = [
        "/v3/login".to_owned(),
        "/v3/register".to_owned(),
        "/v3/refresh".to_owned(),
        "/v3/account/password".to_owned(),
        "/v3/account/deactivate".to_owned(),
        "/v3/delete_devices".to_owned(),
        "/v3/keys/upload".to_owned(),
        "/v3/keys/query".to_owned(),
        "/v3/keys/claim".to_owned(),
        "/v3/keys/device_signing/upload".to_owned(),
        "/v3/keys/signatures/upload".to_owned(),
        "/v3/room_keys/version".to_owned(),
        "/v3/user_directory/search".to_owned(),
        format!("{user}/filter"),
    ];
    let puts = [
        format!("{user}/account_data/x"),
        format!("/v3/profile/{}/displayname", alice.user_id),
        format!("/v3/presence/{}/status", alice.user_id),
        "/v3/pushrules/global/content/x".to_owned(),
        "/v3/sendToDevice/m.x/1".to_owned(),
        "/v3/room_keys/keys?version=1".to_owned(),
    ];
    let all = posts
        .iter()
        .map(|path| (Method::POST, path))
        .chain(puts.iter().map(|path| (Method::PUT, path)));
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for (method, path) in all {
        for body in ["{", "\u{1}", "nul"] {
            let answer = alice.send(method.clone(), path, body).await;
            answer.expect_error(400, "M_NOT_JSON");
        }
        for body in ["[]", "1", "\"x\"", "null", &deep] {
            let answer = alice.send(method.clone(), path, body).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            let code = answer.body["errcode"].as_str().unwrap();
            let codes = ["M_BAD_JSON", "M_MISSING_PARAM", "M_NOT_JSON"];
            assert!(codes.contains(&code), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_list_is_no_body() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    for path in [
        "/v3/createRoom".to_owned(),
        format!("/v3/rooms/{room}/read_markers"),
        format!("/v3/rooms/{room}/join"),
        format!("/v3/rooms/{room}/leave"),
        "/v3/publicRooms".to_owned(),
    ] {
        let answer = alice.send(Method::POST, &path, "[]").await;
        answer.expect_error(400, "M_BAD_JSON");
    }
    let joined = alice.get("/v3/joined_rooms").await;
    joined.expect(200, json!({ "joined_rooms": [room] }));
}

#[tokio::test]
async fn what_is_no_json_is_told_from_what_has_a_wrong_shape() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let listed = format!("/v3/directory/list/room/{room}");
    let typing = format!("/v3/rooms/{room}/typing/{}", alice.user_id);
    let cases = [
        (&listed, r#"{"visibility":1}"#, "M_BAD_JSON"),
        (&listed, r#"{"visibility":null}"#, "M_BAD_JSON"),
        (&listed, r#"{"visibility":"bogus"}"#, "M_BAD_JSON"),
        (&listed, r#"{"visibility":1"#, "M_NOT_JSON"),
        (&typing, r#"{"a":1}"#, "M_BAD_JSON"),
        (&typing, r#"{"a":1}x"#, "M_NOT_JSON"),
        (&typing, r#"{"typing":true}x"#, "M_NOT_JSON"),
    ];
    for (path, body, code) in cases {
        let refused = alice.send(Method::PUT, path, body).await;
        refused.expect_error(400, code);
    }
    let no_text = Bytes::from_static(b"{\"\xff\xfe\":1}");
    let refused = alice.send_with(Method::PUT, &typing, &[], no_text).await;
    refused.expect_error(400, "M_NOT_JSON");
}

#[tokio::test]
async fn a_list_is_no_part_of_a_body_that_is_an_object() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let state = json!({ "initial_state": [["m.x", "", {}]] });
    for (path, body) in [
        ("/v3/createRoom", state),
        ("/v3/publicRooms", json!({ "filter": ["x", null] })),
        ("/v3/publicRooms", json!({ "include_all_networks": "x" })),
    ] {
        let refused = alice.post(path, body).await;
        refused.expect_error(400, "M_BAD_JSON");
    }
    let room = alice.create(json!({})).await;
    let sent = alice.say(&room, "hello").await;
    for (number, reason) in [json!(5), json!([])].into_iter().enumerate() {
        let path = format!("/v3/rooms/{room}/redact/{sent}/{number}");
        let refused = alice.put(&path, json!({ "reason": reason })).await;
        refused.expect_error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn what_is_stored_as_it_comes_must_come() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create(json!({})).await;
    let user = format!("/v3/user/{}", alice.user_id);
    let data = format!("{user}/account_data/x");
    alice.put(&data, json!({ "a": 1 })).await.ok();
    for (method, path) in [
        (Method::PUT, data.clone()),
        (Method::PUT, format!("{user}/rooms/{room}/account_data/x")),
        (Method::POST, format!("{user}/filter")),
    ] {
        let refused = alice.send(method, &path, "").await;
        refused.expect_error(400, "M_NOT_JSON");
    }
    alice.get(&data).await.expect(200, json!({ "a": 1 }));
}

#[tokio::test]
async fn bodies_of_any_content_type_are_json() {
    // The client of these tests sends no content type at all.
    let server = TestServer::start().await;
    server.user("alice").await;
    server.log_in("alice").await;
}

#[tokio::test]
async fn oversized_bodies_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let path = format!("/v3/user/{}/account_data/x", alice.user_id);
    let large = json!({ "x": "x".repeat(17 * 1024 * 1024) });
    alice
        .put(&path, large)
        .await
        .expect_error(413, "M_TOO_LARGE");
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn ids_in_paths_are_checked() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for path in [
        "/v3/profile/alice",
        "/v3/user/alice/account_data/x",
        "/v3/user/@alice:example.org/rooms/nowhere/tags",
        "/v3/presence/@/status",
        "/v3/profile/%FF%FE",
    ] {
        alice.get(path).await.expect_error(400, "M_INVALID_PARAM");
    }
}

/// What a parser passes over when it keeps a part as it came, and cannot read later.
#[tokio::test]
async fn what_could_not_be_sent_on_is_refused_everywhere() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    for (json, code) in [
        (deep.as_str(), "M_BAD_JSON"),
        (r#"{"a":"\ud800"}"#, "M_NOT_JSON"),
        (r#"{"a":1e400}"#, "M_NOT_JSON"),
        (r#"{"a":123456789012345678901234567890}"#, "M_BAD_JSON"),
    ] {
        let device = format!(r#"{{"messages":{{"{}":{{"*":{json}}}}}}}"#, bob.user_id);
        let backup = format!(
            r#"{{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{json}}}"#
        );
        let data = format!("/v3/user/{}/account_data/x.y", alice.user_id);
        for (method, path, body) in [
            (Method::PUT, "/v3/sendToDevice/x.y/1", device.as_str()),
            (Method::PUT, data.as_str(), json),
            (Method::POST, "/v3/room_keys/version", &backup),
        ] {
            let answer = alice.send(method, path, body).await;
            answer.expect_error(400, code);
        }
    }
    let told = bob.sync("").await;
    assert!(told["to_device"].is_null(), "{told}");
}
