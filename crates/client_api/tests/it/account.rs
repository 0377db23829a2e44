//! `/account/…`.

use serde_json::{Value, json};

use crate::harness::{ANY, PASSWORD, TestServer, bridge};

fn auth() -> Value {
    json!({ "type": "m.login.password", "password": PASSWORD })
}

#[tokio::test]
async fn the_password_changes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let other = server.log_in("alice").await;
    let body = json!({ "new_password": "quite another one" });
    let challenge = alice.post("/v3/account/password", body).await;
    challenge.expect(
        401,
        json!({ "session": ANY, "flows": [{ "stages": ["m.login.password"] }], "params": {} }),
    );
    let body = json!({ "new_password": "quite another one", "auth": auth() });
    alice
        .post("/v3/account/password", body)
        .await
        .expect(200, json!({}));
    alice.get("/v3/account/whoami").await.ok();
    other
        .get("/v3/account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    let login = |password: &str| json!({ "type": "m.login.password", "user": "alice", "password": password });
    let old = alice.post("/v3/login", login(PASSWORD)).await;
    old.expect_error(403, "M_FORBIDDEN");
    alice
        .post("/v3/login", login("quite another one"))
        .await
        .ok();
}

#[tokio::test]
async fn other_devices_can_stay() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let other = server.log_in("alice").await;
    let body = json!({
        "new_password": "quite another one",
        "logout_devices": false,
        "auth": auth(),
    });
    alice.post("/r0/account/password", body).await.ok();
    other.get("/v3/account/whoami").await.ok();
}

#[tokio::test]
async fn authentication_is_for_one_user_and_one_operation() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let change = |auth: Value| json!({ "new_password": "quite another one", "auth": auth });
    let wrong = json!({ "type": "m.login.password", "password": "wrong" });
    let answer = alice.post("/v3/account/password", change(wrong)).await;
    answer.expect(
        401,
        json!({
            "errcode": "M_FORBIDDEN",
            "error": ANY,
            "session": ANY,
            "flows": [{ "stages": ["m.login.password"] }],
            "params": {},
        }),
    );
    let mut of_bob = auth();
    of_bob["identifier"] = json!({ "type": "m.id.user", "user": "bob" });
    let answer = alice.post("/v3/account/password", change(of_bob)).await;
    answer.expect_error(401, "M_FORBIDDEN");

    let challenge = bob.post("/v3/account/deactivate", json!({})).await;
    let mut stolen = auth();
    stolen["session"] = challenge.body["session"].clone();
    let answer = alice.post("/v3/account/password", change(stolen)).await;
    answer.expect_error(403, "M_FORBIDDEN");
    let weak = json!({ "new_password": "weak", "auth": auth() });
    let answer = alice.post("/v3/account/password", weak).await;
    answer.expect_error(400, "M_PASSWORD_TOO_SHORT");
}

#[tokio::test]
async fn a_closed_account_is_closed_for_good() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let challenge = alice.post("/v3/account/deactivate", json!({})).await;
    assert_eq!(challenge.status, 401);
    let mut auth = auth();
    auth["session"] = challenge.body["session"].clone();
    let body = json!({ "auth": auth, "erase": true });
    let answer = alice.post("/v3/account/deactivate", body).await;
    answer.expect(200, json!({ "id_server_unbind_result": "success" }));
    alice
        .get("/v3/account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    let login = json!({ "type": "m.login.password", "user": "alice", "password": PASSWORD });
    bob.post("/v3/login", login)
        .await
        .expect_error(403, "M_USER_DEACTIVATED");
    let again = json!({ "username": "alice", "password": PASSWORD });
    let taken = bob.post("/v3/register", again).await;
    taken.expect_error(400, "M_USER_IN_USE");
    let profile = bob.get("/v3/profile/@alice:example.org").await;
    profile.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn application_services_need_no_password() {
    let server = TestServer::with_services(|_| {}, vec![bridge()]).await;
    let service = server.client("as-token");
    let body = json!({ "type": "m.login.application_service", "username": "bridge_carol" });
    service.post("/v3/register", body).await.ok();
    let path = "/v3/account/deactivate?user_id=@bridge_carol:example.org";
    let answer = service.post(path, json!({})).await;
    answer.expect(200, json!({ "id_server_unbind_result": "success" }));
}

#[tokio::test]
async fn addresses_are_none() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let answer = alice.get("/v3/account/3pid").await;
    answer.expect(200, json!({ "threepids": [] }));
}
