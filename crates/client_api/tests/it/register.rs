//! `/register`.

use lyceum_model::{AccountChange, RegistrationToken, Timestamp};
use lyceum_server::config::RegistrationMode;
use serde_json::{Value, json};

use crate::harness::{ANY, PASSWORD, SERVER, TestServer, bridge};

fn body(name: &str) -> Value {
    json!({ "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" } })
}

#[tokio::test]
async fn registering_takes_two_steps() {
    let server = TestServer::start().await;
    let nobody = server.anonymous();
    let mut body = json!({ "username": "Alice", "password": PASSWORD });
    let challenge = nobody.post("/v3/register", body.clone()).await;
    let challenge = challenge.expect(
        401,
        json!({ "session": ANY, "flows": [{ "stages": ["m.login.dummy"] }], "params": {} }),
    );
    body["auth"] = json!({ "type": "m.login.dummy", "session": challenge["session"] });
    body["device_id"] = json!("LAPTOP");
    body["initial_device_display_name"] = json!("My laptop");
    let answer = nobody.post("/v3/register", body).await;
    let answer = answer.expect(
        200,
        json!({
            "user_id": "@alice:example.org",
            "home_server": SERVER,
            "device_id": "LAPTOP",
            "access_token": ANY,
        }),
    );
    let alice = server.logged_in(&answer);
    let whoami = alice.get("/v3/account/whoami").await;
    whoami.expect(
        200,
        json!({ "user_id": "@alice:example.org", "device_id": "LAPTOP", "is_guest": false }),
    );
    let name = nobody
        .get("/v3/profile/@alice:example.org/displayname")
        .await;
    name.expect(200, json!({ "displayname": "alice" }));
}

#[tokio::test]
async fn names_are_checked_before_authentication() {
    let server = TestServer::with_services(|_| {}, vec![bridge()]).await;
    server.user("alice").await;
    let nobody = server.anonymous();
    let cases = [
        ("alice", 400, "M_USER_IN_USE"),
        ("ALICE", 400, "M_USER_IN_USE"),
        ("al ice", 400, "M_INVALID_USERNAME"),
        ("ålice", 400, "M_INVALID_USERNAME"),
        ("", 400, "M_INVALID_USERNAME"),
        ("bridge_x", 400, "M_EXCLUSIVE"),
        ("bridgebot", 400, "M_EXCLUSIVE"),
    ];
    for (name, status, code) in cases {
        let wanted = json!({ "username": name, "password": PASSWORD });
        let answer = nobody.post("/v3/register", wanted).await;
        answer.expect_error(status, code);
        let query = name.replace(' ', "%20").replace('å', "%C3%A5");
        let path = format!("/v3/register/available?username={query}");
        nobody.get(&path).await.expect_error(status, code);
    }
    let wanted = json!({ "username": "bridge_x", "password": PASSWORD });
    let answer = nobody.post("/v3/register", wanted).await;
    let why = answer.expect_error(400, "M_EXCLUSIVE")["error"].clone();
    let expect = "This user ID is reserved by an application service.";
    assert_eq!(why, json!(expect));
    let long = "a".repeat(256);
    let answer = nobody.post("/v3/register", body(&long)).await;
    answer.expect_error(400, "M_INVALID_USERNAME");
    let free = nobody.get("/r0/register/available?username=bob").await;
    free.expect(200, json!({ "available": true }));
    let none = nobody.get("/v3/register/available").await;
    none.expect_error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn what_is_no_authentication_is_refused() {
    let server = TestServer::start().await;
    for auth in [json!("m.login.dummy"), json!([]), json!(1)] {
        let wanted = json!({ "username": "alice", "password": PASSWORD, "auth": auth });
        let answer = server.anonymous().post("/v3/register", wanted).await;
        answer.expect_error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn passwords_are_checked() {
    let server = TestServer::start().await;
    let nobody = server.anonymous();
    let mut short = body("alice");
    short["password"] = json!("short");
    let answer = nobody.post("/v3/register", short).await;
    answer.expect_error(400, "M_PASSWORD_TOO_SHORT");
    let mut none = body("alice");
    none.as_object_mut().unwrap().remove("password");
    let answer = nobody.post("/v3/register", none).await;
    answer.expect_error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_name_is_made_up_if_none_is_wanted() {
    let server = TestServer::start().await;
    let body = json!({ "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    let answer = server.anonymous().post("/v3/register", body).await.ok();
    assert!(
        answer["user_id"]
            .as_str()
            .unwrap()
            .ends_with(":example.org")
    );
}

/// An answer may be lost; who asks again in the same session is told of the same account.
#[tokio::test]
async fn asking_again_makes_no_second_account() {
    let server = TestServer::start().await;
    let nobody = server.anonymous();
    for name in [None, Some("alice")] {
        let mut body = json!({ "password": PASSWORD });
        if let Some(name) = name {
            body["username"] = json!(name);
        }
        let challenge = nobody.post("/v3/register", body.clone()).await;
        body["auth"] = json!({ "type": "m.login.dummy", "session": challenge.body["session"] });
        let first = nobody.post("/v3/register", body.clone()).await.ok();
        let again = nobody.post("/v3/register", body.clone()).await.ok();
        assert_eq!(first["user_id"], again["user_id"]);
        for answer in [&first, &again] {
            let whoami = server
                .logged_in(answer)
                .get("/v3/account/whoami")
                .await
                .ok();
            assert_eq!(whoami["user_id"], first["user_id"]);
        }
        // Who does not know the password asks for another account.
        body["password"] = json!("another password");
        let other = nobody.post("/v3/register", body).await;
        match name {
            Some(_) => drop(other.expect_error(400, "M_USER_IN_USE")),
            None => assert_ne!(other.ok()["user_id"], first["user_id"]),
        }
    }
}

#[tokio::test]
async fn login_can_be_left_out() {
    let server = TestServer::start().await;
    let mut body = body("alice");
    body["inhibit_login"] = json!(true);
    let answer = server.anonymous().post("/v3/register", body).await;
    answer.expect(
        200,
        json!({ "user_id": "@alice:example.org", "home_server": SERVER }),
    );
    server.log_in("alice").await;
}

#[tokio::test]
async fn a_refresh_token_comes_if_wanted() {
    let server = TestServer::start().await;
    let mut body = body("alice");
    body["refresh_token"] = json!(true);
    let answer = server.anonymous().post("/v3/register", body).await.ok();
    assert!(answer["refresh_token"].is_string());
    assert_eq!(answer["expires_in_ms"], 3_600_000);
}

#[tokio::test]
async fn guests_are_refused() {
    let server = TestServer::start().await;
    let nobody = server.anonymous();
    let answer = nobody.post("/v3/register?kind=guest", json!({})).await;
    answer.expect_error(403, "M_GUEST_ACCESS_FORBIDDEN");
    let answer = nobody.post("/v3/register?kind=robot", json!({})).await;
    answer.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn closed_registration_is_closed() {
    let server = TestServer::with(|config| {
        config.registration.mode = RegistrationMode::Closed;
    });
    let server = server.await;
    let nobody = server.anonymous();
    let answer = nobody.post("/v3/register", body("alice")).await;
    answer.expect_error(403, "M_FORBIDDEN");
    let answer = nobody.get("/v3/register/available?username=alice").await;
    answer.expect_error(403, "M_FORBIDDEN");
    let path = "/v1/register/m.login.registration_token/validity?token=x";
    nobody.get(path).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_registration_token_opens_as_often_as_it_may() {
    let server = TestServer::with(|config| {
        config.registration.mode = RegistrationMode::Token;
        config.registration.token = Some("configured".to_owned());
    });
    let server = server.await;
    let once = RegistrationToken {
        token: "once".to_owned(),
        uses_allowed: Some(1),
        pending: 0,
        completed: 0,
        expires: None,
    };
    let ended = RegistrationToken {
        token: "ended".to_owned(),
        uses_allowed: None,
        expires: Some(Timestamp(1)),
        ..once.clone()
    };
    for token in [once, ended] {
        let put = AccountChange::PutRegistrationToken(token);
        server.server.commit(put).await.unwrap();
    }
    let nobody = server.anonymous();
    let validity = async |token: &str| {
        let path = format!("/v1/register/m.login.registration_token/validity?token={token}");
        nobody.get(&path).await.ok()["valid"].clone()
    };
    let register = async |name: &str, token: &str| {
        let auth = json!({ "type": "m.login.registration_token", "token": token });
        let body = json!({ "username": name, "password": PASSWORD, "auth": auth });
        nobody.post("/v3/register", body).await
    };
    assert_eq!(validity("once").await, true);
    assert_eq!(validity("ended").await, false);
    assert_eq!(validity("unknown").await, false);
    register("alice", "once").await.ok();
    assert_eq!(validity("once").await, false);
    let refused = register("bob", "once").await;
    refused.expect(
        401,
        json!({
            "errcode": "M_FORBIDDEN",
            "error": ANY,
            "session": ANY,
            "params": {},
            "flows": [{ "stages": ["m.login.registration_token"] }],
        }),
    );
    register("bob", "ended")
        .await
        .expect_error(401, "M_FORBIDDEN");
    register("bob", "configured").await.ok();
    register("carol", "configured").await.ok();
}

#[tokio::test]
async fn a_dummy_does_not_open_what_wants_a_token() {
    let server = TestServer::with(|config| {
        config.registration.mode = RegistrationMode::Token;
    });
    let server = server.await;
    let answer = server.anonymous().post("/v3/register", body("alice")).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn application_services_make_their_users() {
    let server = TestServer::with_services(
        |config| config.registration.mode = RegistrationMode::Closed,
        vec![bridge()],
    );
    let server = server.await;
    let service = server.client("as-token");
    let wanted = |name: &str| {
        json!({
            "type": "m.login.application_service",
            "username": name,
            "inhibit_login": true,
        })
    };
    // Bridges assert the user that they are about to make.
    let path = "/v3/register?user_id=@bridge_carol:example.org";
    let made = service.post(path, wanted("bridge_carol")).await;
    made.expect(
        200,
        json!({ "user_id": "@bridge_carol:example.org", "home_server": SERVER }),
    );
    let again = service.post("/v3/register", wanted("bridge_carol")).await;
    again.expect_error(400, "M_USER_IN_USE");
    let other = service.post("/v3/register", wanted("carol")).await;
    other.expect_error(400, "M_EXCLUSIVE");
    let whoami = service
        .get("/v3/account/whoami?user_id=@bridge_carol:example.org")
        .await;
    whoami.expect(
        200,
        json!({ "user_id": "@bridge_carol:example.org", "is_guest": false }),
    );
    let nobody = server
        .anonymous()
        .post("/v3/register", wanted("bridge_dave"))
        .await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn registrations_are_limited_by_address() {
    let server = TestServer::with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.registration.burst = 2;
    });
    let server = server.await;
    let nobody = server.anonymous();
    for name in ["alice", "bob"] {
        nobody.post("/v3/register", body(name)).await.ok();
    }
    let third = nobody.post("/v3/register", body("carol")).await;
    third.expect_error(429, "M_LIMIT_EXCEEDED");
}
