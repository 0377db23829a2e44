//! What one endpoint refuses, no other one grants: memberships through state and through the
//! making of a room, later events through what is bundled, redacted state through what replaced it.

use ruma_common::{RoomId, UserId};
use serde_json::{Value, json};

use crate::{
    chat::escape,
    harness::{Client, TestServer},
    relations::relate,
};

/// Sets somebody's membership as state.
async fn set_member(client: &Client, room: &str, user_id: &str, content: &str) -> (u16, Value) {
    let path = format!("/v3/rooms/{room}/state/m.room.member/{user_id}");
    let answer = client.send(http::Method::PUT, &path, content).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn who_is_suspended_only_leaves_through_state() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let user_id = <&UserId>::try_from(&*bob.user_id).unwrap();
    let suspended = server
        .server
        .change_user(user_id, |user| user.is_suspended = true);
    suspended.await.unwrap();
    for content in [
        r#"{"membership":"join"}"#,
        r#"{"membership":"join","displayname":"spam"}"#,
        r#"{"membership":"knock","reason":"spam"}"#,
        r#"{"membership":"leave","membership":"join"}"#,
    ] {
        let (status, answer) = set_member(&bob, &room, &bob.user_id, content).await;
        assert_eq!(
            (status, &answer["errcode"]),
            (403, &json!("M_USER_SUSPENDED")),
            "{content}"
        );
    }
    let invite = json!({ "user_id": bob.user_id });
    alice
        .post(&format!("/v3/rooms/{room}/invite"), invite)
        .await
        .ok();
    let (status, answer) = set_member(&bob, &room, &bob.user_id, r#"{"membership":"leave"}"#).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_blocked_room_is_entered_by_no_door() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let room_id = <&RoomId>::try_from(&*room).unwrap();
    let admin = <&UserId>::try_from(&*alice.user_id).unwrap();
    server
        .server
        .block_room(room_id, Some(admin))
        .await
        .unwrap();
    for (client, user_id, membership) in [
        (&bob, &bob.user_id, "join"),
        (&bob, &bob.user_id, "knock"),
        (&alice, &bob.user_id, "invite"),
    ] {
        let content = json!({ "membership": membership }).to_string();
        let (status, answer) = set_member(client, &room, user_id, &content).await;
        assert_eq!(
            (status, &answer["errcode"]),
            (403, &json!("M_FORBIDDEN")),
            "{membership}"
        );
    }
    for (client, path) in [
        (&bob, format!("/v3/join/{room}")),
        (&bob, format!("/v3/knock/{room}")),
        (&alice, format!("/v3/rooms/{room}/upgrade")),
    ] {
        let answer = client.post(&path, json!({ "new_version": "11" })).await;
        answer.expect_error(403, "M_FORBIDDEN");
    }
    let leave = r#"{"membership":"leave"}"#;
    let (status, answer) = set_member(&alice, &room, &alice.user_id, leave).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_room_is_not_made_with_what_its_state_refuses() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    bob.create(json!({ "room_alias_name": "bobs" })).await;
    let make = async |state: Value| {
        let body = json!({ "initial_state": [state], "room_alias_name": "own" });
        alice.post("/v3/createRoom", body).await
    };
    let alias = |alias: &str| {
        json!({
            "type": "m.room.canonical_alias", "content": { "alias": alias },
        })
    };
    for foreign in ["#bobs:example.org", "#nobodys:example.org"] {
        make(alias(foreign)).await.expect_error(400, "M_BAD_ALIAS");
    }
    let invite = |user_id: &str| {
        json!({
            "type": "m.room.member", "state_key": user_id, "content": { "membership": "invite" },
        })
    };
    make(invite("@x:evil.example"))
        .await
        .expect_error(400, "M_UNKNOWN");
    let block = json!({ "default_action": "block" });
    let path = format!(
        "/v3/user/{}/account_data/m.invite_permission_config",
        bob.user_id
    );
    bob.put(&path, block).await.ok();
    make(invite(&bob.user_id))
        .await
        .expect_error(403, "M_INVITE_BLOCKED");
    make(alias("#own:example.org")).await.ok();

    let many: Vec<_> = (0..1_001)
        .map(|number| format!("@u{number}:example.org"))
        .collect();
    let answer = alice
        .post("/v3/createRoom", json!({ "invite": many }))
        .await;
    answer.expect_error(400, "M_INVALID_PARAM");
}

/// A key that comes twice counts as it does in the event: the last time.
#[tokio::test]
async fn keys_that_come_twice_deceive_nobody() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let content = r#"{"membership":"leave","membership":"invite"}"#;
    let (status, answer) = set_member(&alice, &room, "@x:evil.example", content).await;
    assert_eq!((status, &answer["errcode"]), (400, &json!("M_UNKNOWN")));

    let root = alice.say(&room, "root").await;
    for (number, expected) in [(1, 200), (2, 400)] {
        let content = format!(
            r#"{{"m.relates_to":{{"rel_type":"x","rel_type":"m.annotation","event_id":"{root}","key":"+"}}}}"#
        );
        let path = format!("/v3/rooms/{room}/send/m.reaction/{number}");
        let answer = alice.send(http::Method::PUT, &path, &content).await;
        assert_eq!(answer.status, expected, "{:?}", answer.body);
    }
}

#[tokio::test]
async fn who_left_is_not_told_later_edits_and_replies() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for visibility in ["shared", "joined"] {
        let room = alice.create_public().await;
        let content = json!({ "history_visibility": visibility });
        let path = format!("/v3/rooms/{room}/state/m.room.history_visibility");
        alice.put(&path, content).await.ok();
        bob.post(&format!("/v3/join/{room}"), json!({})).await.ok();
        let (edited, root) = (alice.say(&room, "e1").await, alice.say(&room, "e2").await);
        relate(&alice, &room, &edited, "m.replace", "seen edit").await;
        relate(&alice, &room, &root, "m.thread", "seen reply").await;
        let ban = json!({ "user_id": bob.user_id });
        alice.post(&format!("/v3/rooms/{room}/ban"), ban).await.ok();
        relate(&alice, &room, &edited, "m.replace", "secret edit").await;
        relate(&alice, &room, &root, "m.thread", "secret reply").await;

        let read = async |client: &Client, event: &str, relation: &str| {
            let path = format!("/v3/rooms/{room}/event/{event}");
            let event = client.get(&path).await.ok();
            let body = format!("/unsigned/m.relations/{relation}/content/body");
            event.pointer(&body).cloned().unwrap_or_default()
        };
        let (replace, thread) = ("m.replace", "m.thread/latest_event");
        assert_eq!(read(&alice, &edited, replace).await, "secret edit");
        assert_eq!(read(&alice, &root, thread).await, "secret reply");
        assert_eq!(
            read(&bob, &edited, replace).await,
            "seen edit",
            "{visibility}"
        );
        assert_eq!(
            read(&bob, &root, thread).await,
            "seen reply",
            "{visibility}"
        );
        let messages = bob
            .get(&format!("/v3/rooms/{room}/messages?dir=b&limit=50"))
            .await
            .ok();
        assert!(!messages.to_string().contains("secret"), "{messages}");
    }
}

#[tokio::test]
async fn redacted_state_is_not_told_by_what_replaced_it() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let topic = format!("/v3/rooms/{room}/state/m.room.topic");
    let first = alice.put(&topic, json!({ "topic": "secret" })).await.ok();
    alice.put(&topic, json!({ "topic": "two" })).await.ok();
    let first = first["event_id"].as_str().unwrap();
    alice
        .put(&format!("/v3/rooms/{room}/redact/{first}/1"), json!({}))
        .await
        .ok();
    for path in [
        format!("/v3/rooms/{room}/state"),
        format!("/v3/rooms/{room}/state/m.room.topic/?format=event"),
        format!("/v3/rooms/{room}/messages?dir=b&limit=50"),
        format!(
            "/v3/sync?filter={}&full_state=true",
            escape(r#"{"room":{"timeline":{"limit":1}}}"#)
        ),
    ] {
        let answer = alice.get(&path).await.ok();
        assert!(answer.to_string().contains("two"), "{path}");
        assert!(!answer.to_string().contains("secret"), "{path}: {answer}");
    }
}

/// Parsers stop at a depth; an event holds its content, and the one it replaced, deeper.
#[tokio::test]
async fn whatever_may_be_sent_can_be_redacted() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let path = format!("/v3/rooms/{room}/state/x.deep");
    for round in 0..2 {
        let answer = alice.send(http::Method::PUT, &path, &nested(100)).await;
        let sent = answer.ok();
        let event_id = sent["event_id"].as_str().unwrap();
        let redact = format!("/v3/rooms/{room}/redact/{event_id}/{round}");
        alice.put(&redact, json!({ "reason": "deep" })).await.ok();
    }
    let answer = alice.send(http::Method::PUT, &path, &nested(101)).await;
    answer.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn without_a_token_bodies_are_short() {
    let server = TestServer::start().await;
    let long = json!({ "type": "m.login.password", "x": "x".repeat(65_536) });
    for path in ["/v3/login", "/v3/register", "/v3/refresh"] {
        let answer = server.anonymous().post(path, long.clone()).await;
        answer.expect_error(413, "M_TOO_LARGE");
    }
}
