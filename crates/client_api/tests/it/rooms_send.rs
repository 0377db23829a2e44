//! `PUT /rooms/{roomId}/send/…` and `PUT /rooms/{roomId}/redact/…`.

use http::Method;
use serde_json::json;

use crate::{
    harness::{ANY, TestServer, bridge},
    relations::relate,
};

#[tokio::test]
async fn what_is_sent_is_there() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let content = json!({ "body": "ä\u{1F600}\u{0}", "n": -5, "list": [true, null] });
    let sent = alice.send_event(&room, "org.x", content.clone()).await;
    let sent = sent.expect(200, json!({ "event_id": ANY }));
    let id = sent["event_id"].as_str().unwrap();
    let event = alice.get(&format!("/v3/rooms/{room}/event/{id}")).await;
    event.expect(
        200,
        json!({
            "content": content, "event_id": id, "origin_server_ts": ANY, "room_id": room,
            "sender": alice.user_id, "type": "org.x", "unsigned": ANY,
        }),
    );
}

#[tokio::test]
async fn bad_events_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(66_000));
    for (number, (body, status, code)) in [
        ("", 400, "M_NOT_JSON"),
        ("nonsense", 400, "M_NOT_JSON"),
        ("[1]", 400, "M_BAD_JSON"),
        ("5", 400, "M_BAD_JSON"),
        (r#"{"a":9007199254740992}"#, 400, "M_BAD_JSON"),
        (r#"{"a":1.5}"#, 400, "M_BAD_JSON"),
        (&long, 413, "M_TOO_LARGE"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/v3/rooms/{room}/send/m.room.message/bad{number}");
        alice
            .send(Method::PUT, &path, body)
            .await
            .expect_error(status, code);
    }
    let path = format!("/v3/rooms/{room}/send/m.room.message/deep");
    assert_eq!(alice.send(Method::PUT, &path, &deep).await.status, 400);
    let kind = "k".repeat(256);
    let answer = alice.send_event(&room, &kind, json!({})).await;
    assert!(matches!(answer.status, 400 | 413), "{answer:?}");
    bob.send_event(&room, "m.room.message", json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let unknown = alice
        .send_event("!none:example.org", "m.room.message", json!({}))
        .await;
    unknown.expect_error(404, "M_NOT_FOUND");
    let wrong = alice.send_event("none", "m.room.message", json!({})).await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let history = alice.messages(&room, "dir=b&limit=1").await;
    assert_eq!(history["chunk"][0]["type"], "m.room.guest_access");
}

#[tokio::test]
async fn asking_twice_at_the_same_time_does_it_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let path = format!("/v3/rooms/{room}/send/m.room.message/once");
    let ask = || async { alice.put(&path, json!({ "body": "x" })).await.ok() };
    let (one, two, three, four) = tokio::join!(ask(), ask(), ask(), ask());
    assert_eq!([&one, &one, &one], [&two, &three, &four]);
    let history = alice.messages(&room, "dir=b&limit=50").await;
    let messages = history["chunk"].as_array().unwrap().iter();
    let messages = messages.filter(|event| event["type"] == "m.room.message");
    assert_eq!(messages.count(), 1);
    // Another type is another transaction.
    let path = format!("/v3/rooms/{room}/send/org.x/once");
    assert_ne!(alice.put(&path, json!({ "body": "x" })).await.ok(), one);
}

#[tokio::test]
async fn one_reacts_in_one_way_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let said = alice.say(&room, "hi").await;
    let reaction = |key: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": key } });
    let path = format!("/v3/rooms/{room}/send/m.reaction/first");
    let first = alice.put(&path, reaction("+1")).await.ok();
    alice
        .put(&path, reaction("+1"))
        .await
        .expect(200, first.clone());
    let again = alice.send_event(&room, "m.reaction", reaction("+1")).await;
    again.expect_error(400, "M_DUPLICATE_ANNOTATION");
    alice
        .send_event(&room, "m.reaction", reaction("-1"))
        .await
        .ok();
    bob.send_event(&room, "m.reaction", reaction("+1"))
        .await
        .ok();
    // Taken back, it can be said again.
    let first = first["event_id"].as_str().unwrap();
    alice
        .put(&format!("/v3/rooms/{room}/redact/{first}/1"), json!({}))
        .await
        .ok();
    alice
        .send_event(&room, "m.reaction", reaction("+1"))
        .await
        .ok();
}

#[tokio::test]
async fn a_relation_names_what_there_is() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let elsewhere = alice.create_public().await;
    let said = alice.say(&room, "hi").await;
    let foreign = alice.say(&elsewhere, "hi").await;
    let reply = relate(&alice, &room, &said, "m.thread", "reply").await;
    let long = "ä".repeat(500);
    let relation = |kind: &str, parent: &str| json!({ "rel_type": kind, "event_id": parent });
    let annotation =
        |key: &str| json!({ "rel_type": "m.annotation", "event_id": said, "key": key });
    for (relation, status, why) in [
        (relation("m.reference", "$none"), 400, "unknown"),
        (relation("org.x", "$none"), 400, "unknown"),
        (relation("m.annotation", "foo"), 400, "unknown"),
        (relation("m.reference", &foreign), 400, "in another room"),
        (relation("m.thread", &reply), 400, "relates to another"),
        (relation("m.reference", &reply), 200, ""),
        (relation("m.annotation", &said), 400, "a key"),
        (annotation(&format!("{long}x")), 400, "too long"),
        (annotation(&long), 200, ""),
        (
            json!({ "rel_type": "m.annotation", "event_id": said, "key": 7 }),
            400,
            "a key",
        ),
        // These are no relations.
        (json!({ "event_id": "$none" }), 200, ""),
        (json!({ "m.in_reply_to": { "event_id": "$none" } }), 200, ""),
        (json!(["$none"]), 200, ""),
    ] {
        let content = json!({ "body": "x", "m.relates_to": relation });
        let answer = alice
            .send_event(&room, "m.room.message", content.clone())
            .await;
        assert_eq!(answer.status, status, "{relation}: {answer:?}");
        let told = answer.body["error"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{relation}: {told}");
        if status != 200 {
            assert_eq!(answer.body["errcode"], "M_UNKNOWN");
            let path = format!("/v3/rooms/{room}/state/org.x");
            alice
                .put(&path, content)
                .await
                .expect_error(400, "M_UNKNOWN");
        }
    }
}

#[tokio::test]
async fn redacting_is_for_who_sent_and_the_powerful() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let of_alice = alice.say(&room, "a").await;
    let of_bob = bob.say(&room, "b").await;
    let path = |event: &str, name: &str| format!("/v3/rooms/{room}/redact/{event}/{name}");
    bob.put(&path(&of_alice, "1"), json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let first = alice.put(&path(&of_bob, "2"), json!({})).await;
    let first = first.expect(200, json!({ "event_id": ANY }));
    bob.put(&path(&of_bob, "3"), json!({}))
        .await
        .expect(200, json!({ "event_id": ANY }));
    // What was redacted stays so by the first redaction.
    let event = bob.get(&format!("/v3/rooms/{room}/event/{of_bob}")).await;
    let because = &event.ok()["unsigned"]["redacted_because"];
    assert_eq!(because["event_id"], first["event_id"]);
    alice
        .put(&path("$none", "4"), json!({}))
        .await
        .expect_error(404, "M_NOT_FOUND");
    alice
        .put(&path(&of_alice, "5"), json!({ "redacts": of_bob }))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    let by_send = alice
        .send_event(&room, "m.room.redaction", json!({ "redacts": of_alice }))
        .await;
    by_send.ok();
    let event = bob
        .get(&format!("/v3/rooms/{room}/event/{of_alice}"))
        .await
        .ok();
    assert_eq!(event["content"], json!({}));
}

/// Client-Server API, "Account suspension".
#[tokio::test]
async fn who_is_suspended_redacts_nothing_of_others() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let by_bob = bob.say(&room, "bob").await;
    let by_alice = [alice.say(&room, "one").await, alice.say(&room, "two").await];
    let user_id = alice.user_id.as_str().try_into().unwrap();
    let suspended = server
        .server
        .change_user(user_id, |user| user.is_suspended = true);
    suspended.await.unwrap();
    let redact = async |target: &str| {
        let path = format!("/v3/rooms/{room}/redact/{target}/{target}");
        alice.put(&path, json!({})).await
    };
    let send = async |target: &str| {
        let content = json!({ "redacts": target });
        alice.send_event(&room, "m.room.redaction", content).await
    };
    redact(&by_bob).await.expect_error(403, "M_USER_SUSPENDED");
    send(&by_bob).await.expect_error(403, "M_USER_SUSPENDED");
    redact(&by_alice[0]).await.ok();
    send(&by_alice[1]).await.ok();
    let said = alice
        .send_event(&room, "m.room.message", json!({ "body": "no" }))
        .await;
    said.expect_error(403, "M_USER_SUSPENDED");
}

#[tokio::test]
async fn application_services_say_when() {
    let server = TestServer::with_services(|_| {}, vec![bridge()]).await;
    let alice = server.user("alice").await;
    let service = server.client("as-token");
    let room = alice.create_public().await;
    service.join(&room).await;
    let path = format!("/v3/rooms/{room}/send/m.room.message/1?ts=1234567");
    let sent = service.put(&path, json!({ "body": "old" })).await.ok();
    let id = sent["event_id"].as_str().unwrap();
    let event = alice
        .get(&format!("/v3/rooms/{room}/event/{id}"))
        .await
        .ok();
    assert_eq!(event["origin_server_ts"], 1_234_567);
    let sent = alice.put(&path, json!({ "body": "now" })).await.ok();
    let id = sent["event_id"].as_str().unwrap();
    let event = alice
        .get(&format!("/v3/rooms/{room}/event/{id}"))
        .await
        .ok();
    assert_ne!(event["origin_server_ts"], 1_234_567);
}

/// What was sent is answered as it was, whatever may be sent now.
#[tokio::test]
async fn a_transaction_that_comes_again_is_not_limited() {
    let server = TestServer::with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.message.burst = 2;
    })
    .await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let path = |number: u8| format!("/v3/rooms/{room}/send/m.room.message/{number}");
    let body = json!({ "msgtype": "m.text", "body": "hello" });
    let sent = alice.put(&path(0), body.clone()).await.ok();
    let redact = format!(
        "/v3/rooms/{room}/redact/{}/1",
        sent["event_id"].as_str().unwrap()
    );
    let redacted = alice.put(&redact, json!({})).await.ok();
    let limited = alice.put(&path(2), body.clone()).await;
    limited.expect_error(429, "M_LIMIT_EXCEEDED");
    alice.put(&path(0), body).await.expect(200, sent);
    alice.put(&redact, json!({})).await.expect(200, redacted);
}
