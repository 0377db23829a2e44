//! Coming and going: `/join`, `/knock`, `/rooms/{roomId}/{join,invite,leave,kick,ban,unban,forget}`.

use serde_json::json;

use crate::harness::{Client, TestServer};

async fn membership(client: &Client, room: &str, of: &Client) -> String {
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", of.user_id);
    let content = client.get(&path).await.body;
    content["membership"].as_str().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn public_rooms_are_joined_by_id_and_alias() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice
        .create(json!({ "preset": "public_chat", "room_alias_name": "in" }))
        .await;
    let joined = bob
        .post("/v3/join/%23in:example.org", json!({ "reason": "hi" }))
        .await;
    joined.expect(200, json!({ "room_id": room }));
    bob.post(&format!("/v3/join/{room}"), json!({}))
        .await
        .expect(200, json!({ "room_id": room }));
    bob.act(&room, "join", json!({}))
        .await
        .expect(200, json!({ "room_id": room }));
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", bob.user_id);
    assert_eq!(alice.get(&path).await.ok()["reason"], "hi");
    bob.post("/v3/join/%23none:example.org", json!({}))
        .await
        .expect_error(404, "M_NOT_FOUND");
    bob.post("/v3/join/!none:example.org", json!({}))
        .await
        .expect_error(404, "M_NOT_FOUND");
    bob.post("/v3/join/none", json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn private_rooms_want_an_invite() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let room = alice.create(json!({})).await;
    bob.act(&room, "join", json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    carol
        .act_on(&room, "invite", &bob)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .act_on(&room, "invite", &bob)
        .await
        .expect(200, json!({}));
    bob.join(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "join");
    alice
        .act_on(&room, "invite", &bob)
        .await
        .expect_error(403, "M_FORBIDDEN");
    for (body, code) in [
        (json!({}), "M_MISSING_PARAM"),
        (json!({ "user_id": "bob" }), "M_INVALID_PARAM"),
        (json!({ "user_id": 5 }), "M_BAD_JSON"),
    ] {
        alice
            .act(&room, "invite", body)
            .await
            .expect_error(400, code);
    }
}

#[tokio::test]
async fn invites_that_are_not_wanted_are_blocked() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let path = format!(
        "/v3/user/{}/account_data/m.invite_permission_config",
        bob.user_id
    );
    bob.put(&path, json!({ "default_action": "block" }))
        .await
        .ok();
    let room = alice.create(json!({})).await;
    alice
        .act_on(&room, "invite", &bob)
        .await
        .expect_error(403, "M_INVITE_BLOCKED");
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", bob.user_id);
    let around = alice.put(&path, json!({ "membership": "invite" })).await;
    around.expect_error(403, "M_INVITE_BLOCKED");
}

#[tokio::test]
async fn invites_from_before_they_were_blocked_are_not_told() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create(json!({ "invite": [bob.user_id] })).await;
    let invites = async || {
        let told = bob.get("/v3/sync?timeout=0").await.ok();
        told["rooms"]["invite"].get(&room).is_some()
    };
    let path = format!(
        "/v3/user/{}/account_data/m.invite_permission_config",
        bob.user_id
    );
    for (content, is_told) in [
        (json!({ "default_action": "block" }), false),
        (json!({}), true),
    ] {
        bob.put(&path, content).await.ok();
        assert_eq!(invites().await, is_told);
    }
    // They are there all the same.
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", bob.user_id);
    assert_eq!(alice.get(&path).await.ok()["membership"], "invite");
}

#[tokio::test]
async fn the_powerful_remove_and_ban() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    alice
        .act_on(&room, "kick", &bob)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .act_on(&room, "unban", &bob)
        .await
        .expect_error(403, "M_BAD_STATE");
    bob.join(&room).await;
    bob.act_on(&room, "kick", &alice)
        .await
        .expect_error(403, "M_FORBIDDEN");
    let body = json!({ "user_id": bob.user_id, "reason": "noise" });
    alice
        .act(&room, "kick", body.clone())
        .await
        .expect(200, json!({}));
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    alice
        .act(&room, "ban", body.clone())
        .await
        .expect(200, json!({}));
    assert_eq!(membership(&alice, &room, &bob).await, "ban");
    bob.act(&room, "join", json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.act(&room, "leave", json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .act_on(&room, "invite", &bob)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice.act(&room, "unban", body).await.expect(200, json!({}));
    bob.join(&room).await;
}

#[tokio::test]
async fn leaving_and_forgetting() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.act(&room, "leave", json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    alice.say(&room, "seen").await;
    bob.act(&room, "forget", json!({}))
        .await
        .expect_error(400, "M_UNKNOWN");
    bob.act(&room, "leave", json!({}))
        .await
        .expect(200, json!({}));
    bob.act(&room, "leave", json!({}))
        .await
        .expect(200, json!({}));
    let messages = format!("/v3/rooms/{room}/messages?dir=b");
    bob.get(&messages).await.ok();
    for _ in 0..2 {
        bob.act(&room, "forget", json!({}))
            .await
            .expect(200, json!({}));
        for path in ["messages?dir=b", "state", "members", "state/m.room.create"] {
            let refused = bob.get(&format!("/v3/rooms/{room}/{path}")).await;
            refused.expect_error(403, "M_FORBIDDEN");
        }
    }
    // Coming again undoes it.
    bob.join(&room).await;
    bob.get(&messages).await.ok();
}

#[tokio::test]
async fn restricted_rooms_trust_others() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let club = alice.create_public().await;
    let rules = json!([{ "type": "m.room.join_rules", "content": {
        "join_rule": "restricted",
        "allow": [{ "type": "m.room_membership", "room_id": club }],
    } }]);
    let room = alice.create(json!({ "initial_state": rules })).await;
    bob.act(&room, "join", json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.join(&club).await;
    bob.join(&room).await;
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", bob.user_id);
    let member = alice.get(&path).await.ok();
    assert_eq!(
        member["join_authorised_via_users_server"],
        alice.user_id.as_str()
    );
}

#[tokio::test]
async fn knocking_where_it_is_allowed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let shut = alice.create(json!({})).await;
    bob.post(&format!("/v3/knock/{shut}"), json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice.create(json!({ "initial_state": rules })).await;
    let knocked = bob
        .post(&format!("/v3/knock/{room}"), json!({ "reason": "me" }))
        .await;
    knocked.expect(200, json!({ "room_id": room }));
    assert_eq!(membership(&alice, &room, &bob).await, "knock");
    alice
        .act_on(&room, "invite", &bob)
        .await
        .expect(200, json!({}));
    bob.join(&room).await;
}
