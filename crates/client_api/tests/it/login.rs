//! `/login`, `/refresh`, `/logout`.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ANY, Client, PASSWORD, SERVER, TestServer, bridge};

fn by_password(user: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": PASSWORD,
    })
}

#[tokio::test]
async fn the_flows_are_told() {
    let server = TestServer::start().await;
    for version in ["v3", "r0"] {
        let flows = server.anonymous().get(&format!("/{version}/login")).await;
        flows.expect(
            200,
            json!({ "flows": [
                { "type": "m.login.password" },
                { "type": "m.login.token", "get_login_token": true },
                { "type": "m.login.application_service" },
            ] }),
        );
    }
}

#[tokio::test]
async fn every_way_to_name_a_user_works() {
    let server = TestServer::start().await;
    server.user("alice").await;
    let nobody = server.anonymous();
    let bodies = [
        by_password("alice"),
        by_password("@alice:example.org"),
        // As phones write it.
        by_password("Alice"),
        by_password("@ALICE:example.org"),
        json!({ "type": "m.login.password", "user": "alice", "password": PASSWORD }),
        json!({ "type": "m.login.password", "user": "@alice:example.org", "password": PASSWORD }),
    ];
    for body in bodies {
        let answer = nobody.post("/r0/login", body).await;
        answer.expect(
            200,
            json!({
                "user_id": "@alice:example.org",
                "home_server": SERVER,
                "device_id": ANY,
                "access_token": ANY,
            }),
        );
    }
}

#[tokio::test]
async fn login_tells_where_the_server_is_and_names_the_device() {
    let server = TestServer::with(|config| {
        config.well_known.client = Some("https://matrix.example.org".to_owned());
    });
    let server = server.await;
    server.user("alice").await;
    let mut body = by_password("alice");
    body["device_id"] = json!("PHONE");
    body["initial_device_display_name"] = json!("Alice's phone");
    let answer = server
        .anonymous()
        .post("/v3/login", body.clone())
        .await
        .ok();
    assert_eq!(answer["device_id"], "PHONE");
    assert_eq!(
        answer["well_known"]["m.homeserver"]["base_url"],
        "https://matrix.example.org"
    );
    let first = server.logged_in(&answer);
    let device = first.get("/v3/devices/PHONE").await.ok();
    assert_eq!(device["display_name"], "Alice's phone");

    let again = server.anonymous().post("/v3/login", body).await.ok();
    let again = server.logged_in(&again);
    again.get("/v3/account/whoami").await.ok();
    let old = first.get("/v3/account/whoami").await;
    old.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn wrong_logins_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let cases: [(Value, u16, &str); 10] = [
        (json!({}), 400, "M_MISSING_PARAM"),
        (json!([]), 400, "M_BAD_JSON"),
        (json!({ "type": 1 }), 400, "M_BAD_JSON"),
        (json!({ "type": "m.login.nothing" }), 400, "M_UNKNOWN"),
        (
            json!({ "type": "m.login.password" }),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({ "type": "m.login.password", "user": "alice" }),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({ "type": "m.login.password", "user": "alice", "password": "wrong" }),
            403,
            "M_FORBIDDEN",
        ),
        (by_password("bob"), 403, "M_FORBIDDEN"),
        (by_password("@alice:elsewhere.org"), 403, "M_FORBIDDEN"),
        (
            json!({ "type": "m.login.token", "token": "unknown" }),
            403,
            "M_FORBIDDEN",
        ),
    ];
    for (body, status, code) in cases {
        let answer = alice.post("/v3/login", body).await;
        answer.expect_error(status, code);
    }
    let answer = alice.send(Method::POST, "/v3/login", "{").await;
    answer.expect_error(400, "M_NOT_JSON");
}

#[tokio::test]
async fn attempts_are_limited_by_account() {
    let server = TestServer::with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.login.burst = 3;
    });
    let server = server.await;
    server.user("alice").await;
    let nobody = server.anonymous();
    let body = json!({ "type": "m.login.password", "user": "alice", "password": "guess" });
    for _ in 0..3 {
        let answer = nobody.post("/v3/login", body.clone()).await;
        answer.expect_error(403, "M_FORBIDDEN");
    }
    let limited = nobody.post("/v3/login", body).await;
    assert!(limited.headers.contains_key("retry-after"));
    let body = limited.expect_error(429, "M_LIMIT_EXCEEDED");
    assert!(body["retry_after_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn exempt_addresses_try_as_often_as_they_like() {
    let server = TestServer::with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.login.burst = 1;
        config.rate_limits.exempt_addresses = vec!["0.0.0.0".parse().unwrap()];
    })
    .await;
    server.user("alice").await;
    let body = json!({ "type": "m.login.password", "user": "alice", "password": "guess" });
    for _ in 0..4 {
        let answer = server.anonymous().post("/v3/login", body.clone()).await;
        answer.expect_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn a_login_token_works_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let challenge = alice.post("/v1/login/get_token", json!({})).await;
    let challenge = challenge.expect(
        401,
        json!({ "session": ANY, "flows": [{ "stages": ["m.login.password"] }], "params": {} }),
    );
    let auth = json!({
        "type": "m.login.password",
        "session": challenge["session"],
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
    });
    let answer = alice
        .post("/v1/login/get_token", json!({ "auth": auth }))
        .await;
    let token = answer.expect(200, json!({ "login_token": ANY, "expires_in_ms": 120_000 }));
    let body = json!({ "type": "m.login.token", "token": token["login_token"] });
    let other = server
        .anonymous()
        .post("/v3/login", body.clone())
        .await
        .ok();
    assert_eq!(other["user_id"], "@alice:example.org");
    let again = server.anonymous().post("/v3/login", body).await;
    again.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_login_token_ends() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let auth = json!({ "type": "m.login.password", "password": PASSWORD });
    let answer = alice
        .post("/v1/login/get_token", json!({ "auth": auth }))
        .await;
    let token = answer.ok()["login_token"].clone();
    server.clock.advance_ms(120_001);
    let body = json!({ "type": "m.login.token", "token": token });
    let late = server.anonymous().post("/v3/login", body).await;
    late.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn application_services_log_in_as_their_users() {
    let server = TestServer::with_services(|_| {}, vec![bridge()]).await;
    let service = server.client("as-token");
    let body = json!({ "type": "m.login.application_service", "username": "bridge_carol" });
    let answer = service.post("/v3/register", body).await;
    answer.ok();
    let login = |user: &str| {
        json!({
            "type": "m.login.application_service",
            "identifier": { "type": "m.id.user", "user": user },
        })
    };
    let carol = service.post("/v3/login", login("bridge_carol")).await.ok();
    let carol = server.logged_in(&carol);
    let whoami = carol.get("/v3/account/whoami").await.ok();
    assert_eq!(whoami["user_id"], "@bridge_carol:example.org");

    server.user("alice").await;
    let stranger = service.post("/v3/login", login("alice")).await;
    stranger.expect_error(403, "M_EXCLUSIVE");
    let without = server
        .anonymous()
        .post("/v3/login", login("bridge_carol"))
        .await;
    without.expect_error(401, "M_MISSING_TOKEN");
    let person = carol.post("/v3/login", login("bridge_carol")).await;
    person.expect_error(401, "M_UNKNOWN_TOKEN");
}

async fn refreshable(server: &TestServer) -> (Client, String) {
    server.user("alice").await;
    let mut body = by_password("alice");
    body["refresh_token"] = json!(true);
    let answer = server.anonymous().post("/v3/login", body).await.ok();
    assert_eq!(answer["expires_in_ms"], 3_600_000);
    let refresh_token = answer["refresh_token"].as_str().unwrap().to_owned();
    (server.logged_in(&answer), refresh_token)
}

#[tokio::test]
async fn tokens_are_refreshed() {
    let server = TestServer::start().await;
    let (alice, first) = refreshable(&server).await;
    server.clock.advance_ms(3_600_001);
    let expired = alice.get("/v3/account/whoami").await;
    let expired = expired.expect_error(401, "M_UNKNOWN_TOKEN");
    assert_eq!(expired["soft_logout"], true);

    let nobody = server.anonymous();
    let refresh = |token: &str| json!({ "refresh_token": token });
    let answer = nobody.post("/v3/refresh", refresh(&first)).await;
    let answer = answer.expect(
        200,
        json!({ "access_token": ANY, "refresh_token": ANY, "expires_in_ms": 3_600_000 }),
    );
    let second = answer["refresh_token"].as_str().unwrap();
    let renewed = server.client(answer["access_token"].as_str().unwrap());
    let whoami = renewed.get("/v3/account/whoami").await.ok();
    assert_eq!(whoami["device_id"], json!(alice.device_id));

    // The answer may have been lost: the old token works until the new one was used.
    nobody.post("/v3/refresh", refresh(second)).await.ok();
    let used = nobody.post("/v3/refresh", refresh(&first)).await;
    used.expect_error(401, "M_UNKNOWN_TOKEN");
    let access = nobody.post("/v3/refresh", refresh(alice.token.as_ref().unwrap()));
    access.await.expect_error(401, "M_UNKNOWN_TOKEN");
    let unknown = nobody.post("/v3/refresh", refresh("unknown")).await;
    unknown.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_is_no_harm() {
    let server = TestServer::start().await;
    let (_, first) = refreshable(&server).await;
    let nobody = server.anonymous();
    let body = json!({ "refresh_token": first });
    nobody.post("/v3/refresh", body.clone()).await.ok();
    nobody.post("/v3/refresh", body.clone()).await.ok();
    server.clock.advance_ms(3_600_001);
    let late = nobody.post("/v3/refresh", body).await;
    late.expect_error(401, "M_UNKNOWN_TOKEN");
}

/// However often a device renews, the token that it holds is good to its end.
#[tokio::test]
async fn many_refreshes_end_no_token_before_its_time() {
    let server = TestServer::start().await;
    let (mut last, mut refresh_token) = refreshable(&server).await;
    for round in 0..12 {
        server.clock.advance_ms(1_000);
        let body = json!({ "refresh_token": refresh_token });
        let answer = server.anonymous().post("/v3/refresh", body).await.ok();
        let whoami = last.get("/v3/account/whoami").await;
        assert_eq!(whoami.status, 200, "round {round}");
        last = server.client(answer["access_token"].as_str().unwrap());
        last.get("/v3/account/whoami").await.ok();
        answer["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut refresh_token);
    }
}

#[tokio::test]
async fn using_the_new_access_token_ends_the_old_refresh_token() {
    let server = TestServer::start().await;
    let (alice, first) = refreshable(&server).await;
    let nobody = server.anonymous();
    let body = json!({ "refresh_token": first });
    server.clock.advance_ms(1_000);
    let answer = nobody.post("/v3/refresh", body.clone()).await.ok();
    // The old access token says nothing about the answer.
    alice.get("/v3/account/whoami").await.ok();
    let again = nobody.post("/v3/refresh", body.clone()).await.ok();
    for answer in [answer, again] {
        let renewed = server.client(answer["access_token"].as_str().unwrap());
        renewed.get("/v3/account/whoami").await.ok();
    }
    let used = nobody.post("/v3/refresh", body).await;
    used.expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn logging_out_ends_the_device() {
    let server = TestServer::start().await;
    let phone = server.user("alice").await;
    let laptop = server.log_in("alice").await;
    phone
        .post("/v3/logout", json!({}))
        .await
        .expect(200, json!({}));
    let after = phone.get("/v3/account/whoami").await;
    let after = after.expect_error(401, "M_UNKNOWN_TOKEN");
    assert_eq!(after["soft_logout"], false);
    let devices = laptop.get("/v3/devices").await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
    let twice = phone.post("/v3/logout", json!({})).await;
    twice.expect_error(401, "M_UNKNOWN_TOKEN");
    let nobody = server.anonymous().post("/v3/logout", json!({})).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_devices() {
    let server = TestServer::start().await;
    let phone = server.user("alice").await;
    let laptop = server.log_in("alice").await;
    let bob = server.user("bob").await;
    laptop
        .post("/r0/logout/all", json!({}))
        .await
        .expect(200, json!({}));
    for client in [phone, laptop] {
        let after = client.get("/v3/account/whoami").await;
        after.expect_error(401, "M_UNKNOWN_TOKEN");
    }
    bob.get("/v3/account/whoami").await.ok();
}
