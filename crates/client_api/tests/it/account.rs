//! `/account/…`.

use lyceum_model::MatrixError;
use lyceum_server::administration::people::{Changer, PersonChange};
use serde_json::{Value, json};

use crate::harness::{ANY, Client, PASSWORD, TestServer, bridge};

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
    answer.expect_error(403, "M_FORBIDDEN");

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

/// The contents of the messages that a client reads in a room, oldest first.
async fn messages(client: &Client, room_id: &str) -> Vec<Value> {
    let path = format!("/v3/rooms/{room_id}/messages?dir=f&limit=100");
    let answer = client.get(&path).await.ok();
    let events = answer["chunk"].as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == "m.room.message")
        .map(|event| event["content"].clone())
        .collect()
}

#[tokio::test]
async fn who_comes_later_does_not_read_what_an_erased_user_wrote() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let body = json!({ "preset": "public_chat" });
    let room = bob.post("/v3/createRoom", body).await.ok();
    let room_id = room["room_id"].as_str().unwrap();
    let join = format!("/v3/join/{room_id}");
    alice.post(&join, json!({})).await.ok();
    let message = |body: &str| json!({ "msgtype": "m.text", "body": body });
    let send = |number: u8| format!("/v3/rooms/{room_id}/send/m.room.message/{number}");
    alice.put(&send(1), message("from alice")).await.ok();
    bob.put(&send(1), message("from bob")).await.ok();
    let all = vec![message("from alice"), message("from bob")];
    let since = bob.get("/v3/sync").await.ok()["next_batch"].clone();

    let body = json!({ "auth": auth(), "erase": true });
    alice.post("/v3/account/deactivate", body).await.ok();
    carol.post(&join, json!({})).await.ok();
    let without_alices = vec![json!({}), message("from bob")];
    assert_eq!(messages(&bob, room_id).await, all);
    assert_eq!(messages(&carol, room_id).await, without_alices);

    // Who was there still reads it after leaving.
    bob.post(&format!("/v3/rooms/{room_id}/leave"), json!({}))
        .await
        .ok();
    assert_eq!(messages(&bob, room_id).await, all);
    let path = format!("/v3/sync?since={}", since.as_str().unwrap());
    let sync = bob.get(&path).await.ok();
    assert!(sync["rooms"]["leave"][room_id].is_object(), "{sync}");
}

/// Neither what they said of the room, nor what others put in its place.
#[tokio::test]
async fn who_comes_later_does_not_read_what_an_erased_user_set() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let carol = server.user("carol").await;
    let body = json!({ "preset": "public_chat", "power_level_content_override": {
        "users": { bob.user_id.as_str(): 100, alice.user_id.as_str(): 50 },
    }, "room_version": "11" });
    let room = bob.create(body).await;
    alice.join(&room).await;
    let topic = |topic: &str| json!({ "topic": topic });
    let secret = alice.set(&room, "m.room.topic", "", topic("secret")).await;
    bob.set(&room, "m.room.topic", "", topic("open")).await;
    let body = json!({ "auth": auth(), "erase": true });
    alice.post("/v3/account/deactivate", body).await.ok();
    carol.join(&room).await;
    let mut told = vec![
        carol.messages(&room, "dir=b&limit=100").await,
        carol.sync("").await,
    ];
    let path = format!("/v3/rooms/{room}/event/{secret}");
    told.push(carol.get(&path).await.ok());
    for told in told {
        let text = told.to_string();
        assert!(!text.contains("secret"), "{text}");
        assert!(!text.contains("\"displayname\":\"alice\""), "{text}");
        assert!(text.contains(&secret), "{text}");
    }
    assert!(bob.get(&path).await.ok().to_string().contains("secret"));
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

/// `PUT /_synapse/admin/v2/users/{userId}` gives nobody a password where there are none.
#[tokio::test]
async fn admins_set_no_password_where_there_are_none() {
    let server = TestServer::with(|config| config.passwords.enabled = false).await;
    let alice = "@alice:example.org".try_into().unwrap();
    let put = |password: Option<&str>| {
        let change = PersonChange {
            password: password.map(str::to_owned),
            ..PersonChange::default()
        };
        server
            .server
            .put_person(alice, change, Changer::Admin(alice))
    };
    put(None).await.unwrap();
    let refused = MatrixError::from(put(Some(PASSWORD)).await.unwrap_err());
    assert_eq!((refused.status, &*refused.code), (403, "M_FORBIDDEN"));
}
