//! `GET /sync`: waiting for news, and everything in it that is not events of rooms.

use std::{sync::Arc, time::Duration};

use lyceum_server::sync::SyncRequest;
use serde_json::{Value, json};

use crate::{
    chat::{check, line, next_batch, rooms},
    harness::{Client, TestServer},
};

/// Longer than any test takes.
const LONG_MS: u64 = 60_000;

async fn wait(client: &Client, last: &Value) -> Value {
    let query = format!("since={}&timeout={LONG_MS}", next_batch(last));
    let answer = client.sync(&query);
    tokio::time::timeout(Duration::from_secs(20), answer)
        .await
        .expect("news wake a sync")
}

#[tokio::test]
async fn a_message_wakes_who_waits() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let last = bob.sync("set_presence=offline").await;
    let (told, _) = tokio::join!(wait(&bob, &last), alice.say(&room, "wake up"));
    let told = if told["rooms"].is_null() {
        wait(&bob, &told).await
    } else {
        told
    };
    check(
        &rooms(&told, &[(&room, "room")]),
        "join room | timeline: wake up | unread 1/0",
    );
}

#[tokio::test]
async fn a_stopping_server_lets_go_of_who_waits() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let shell = &server.server;
    let token = alice.token.as_deref().unwrap();
    let now = shell.clock.now();
    let session = shell.sessions.identify(&*shell.store, token, now).await;
    let session = session.unwrap();
    let request = SyncRequest {
        since: Some(shell.feed.position()),
        filter: Arc::default(),
        full_state: false,
        timeout_ms: LONG_MS,
        use_state_after: None,
    };
    let stop = async { shell.supervisor.begin_stop() };
    let (told, ()) = tokio::join!(shell.sync(&session, &request), stop);
    let told: Value = serde_json::from_slice(&told.unwrap()).unwrap();
    assert_eq!(rooms(&told, &[]), "");
}

#[tokio::test]
async fn typing_begins_and_ends() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let path = |client: &Client| format!("/v3/rooms/{room}/typing/{}", client.user_id);
    let mut last = bob.sync("").await;
    for (is_typing, expected) in [(true, "typing[alice]"), (false, "typing[]")] {
        let body = json!({ "typing": is_typing, "timeout": 30_000 });
        alice.put(&path(&alice), body).await.expect(200, json!({}));
        last = bob.sync_since(&last).await;
        check(
            &line(&last["rooms"]["join"][&room]["ephemeral"]["events"]),
            expected,
        );
        last = bob.sync_since(&last).await;
        check(&rooms(&last, &[]), "");
    }
    // Two at a time, and none is lost.
    let body = json!({ "typing": true });
    let (path_of_alice, path_of_bob) = (path(&alice), path(&bob));
    let both = tokio::join!(
        alice.put(&path_of_alice, body.clone()),
        bob.put(&path_of_bob, body.clone()),
    );
    both.0.ok();
    both.1.ok();
    last = bob.sync_since(&last).await;
    check(
        &line(&last["rooms"]["join"][&room]["ephemeral"]["events"]),
        "typing[alice,bob]",
    );
    // Time passes.
    server.clock.advance_ms(200_000);
    last = bob.sync("").await;
    check(
        &line(&last["rooms"]["join"][&room]["ephemeral"]["events"]),
        "typing[]",
    );
    // Who is gone types no longer.
    let carol = server.user("carol").await;
    carol.join(&room).await;
    carol.put(&path(&carol), body.clone()).await.ok();
    last = bob.sync_since(&last).await;
    check(
        &line(&last["rooms"]["join"][&room]["ephemeral"]["events"]),
        "typing[carol]",
    );
    alice.act_on(&room, "kick", &carol).await.ok();
    last = bob.sync_since(&last).await;
    check(
        &line(&last["rooms"]["join"][&room]["ephemeral"]["events"]),
        "typing[]",
    );
    // Also for who was away when it ended.
    let body_of_end = json!({ "typing": false });
    alice.put(&path(&alice), body.clone()).await.ok();
    last = bob.sync_since(&last).await;
    bob.leave(&room).await;
    alice.put(&path(&alice), body_of_end).await.ok();
    bob.join(&room).await;
    last = bob.sync_since(&last).await;
    check(
        &line(&last["rooms"]["join"][&room]["ephemeral"]["events"]),
        "typing[]",
    );
    // For oneself, and for members.
    alice
        .put(&path(&bob), body.clone())
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.leave(&room).await;
    bob.put(&path(&bob), body)
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .put(&path(&alice), json!({}))
        .await
        .expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn receipts_are_told_and_count_as_read() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let first = alice.say(&room, "one").await;
    let second = alice.say(&room, "two").await;
    let of_alice = alice.sync("").await;
    let mut last = bob.sync("").await;
    let unread = |told: &Value| {
        told["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone()
    };
    assert_eq!(unread(&last), 2);
    let receipt = |kind: &str, event: &str| format!("/v3/rooms/{room}/receipt/{kind}/{event}");
    bob.post(&receipt("m.read", &first), json!({}))
        .await
        .expect(200, json!({}));
    last = bob.sync_since(&last).await;
    assert_eq!(unread(&last), 1);
    let told = alice.sync_since(&of_alice).await;
    let receipts = &told["rooms"]["join"][&room]["ephemeral"]["events"][0];
    assert_eq!(receipts["type"], "m.receipt");
    assert!(
        receipts["content"][&first]["m.read"][&bob.user_id]["ts"].is_u64(),
        "{receipts}"
    );
    // In private.
    bob.post(&receipt("m.read.private", &second), json!({}))
        .await
        .expect(200, json!({}));
    last = bob.sync_since(&last).await;
    assert_eq!(unread(&last), 0);
    let receipts = &last["rooms"]["join"][&room]["ephemeral"]["events"][0];
    assert!(receipts["content"][&second]["m.read.private"][&bob.user_id].is_object());
    check(&rooms(&alice.sync_since(&told).await, &[]), "");
    // Several at once.
    let third = alice.say(&room, "three").await;
    let markers = json!({ "m.fully_read": second, "m.read": third });
    let path = format!("/v3/rooms/{room}/read_markers");
    bob.post(&path, markers).await.expect(200, json!({}));
    last = bob.sync_since(&last).await;
    assert_eq!(unread(&last), 0);
    let data = &last["rooms"]["join"][&room]["account_data"]["events"];
    assert_eq!(
        *data,
        json!([{ "type": "m.fully_read", "content": { "event_id": second } }])
    );
    let wrong = bob.post(&receipt("m.seen", &first), json!({})).await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let wrong = bob
        .post(&receipt("m.read", &first), json!({ "thread_id": "x" }))
        .await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let stranger = server.user("carol").await;
    let refused = stranger.post(&receipt("m.read", &first), json!({})).await;
    refused.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn what_was_redacted_is_not_unread() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let content = json!({
        "msgtype": "m.text", "body": "bob!", "m.mentions": { "user_ids": [bob.user_id] },
    });
    let sent = alice
        .send_event(&room, "m.room.message", content)
        .await
        .ok();
    alice.say(&room, "hello").await;
    let unread = |told: &Value| {
        let counts = &told["rooms"]["join"][&room]["unread_notifications"];
        format!(
            "{} {}",
            counts["notification_count"], counts["highlight_count"]
        )
    };
    let told = bob.sync("").await;
    assert_eq!(unread(&told), "2 1");
    let event_id = sent["event_id"].as_str().unwrap();
    let path = format!("/v3/rooms/{room}/redact/{event_id}/1");
    alice.put(&path, json!({})).await.ok();
    assert_eq!(unread(&bob.sync_since(&told).await), "1 0");
}

#[tokio::test]
async fn read_marks_do_not_move_backwards() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let first = alice.say(&room, "one").await;
    let second = alice.say(&room, "two").await;
    let markers = format!("/v3/rooms/{room}/read_markers");
    let all =
        |event: &str| json!({ "m.fully_read": event, "m.read": event, "m.read.private": event });
    bob.post(&markers, all(&second)).await.ok();
    let told = bob.sync("").await;
    bob.post(&markers, all(&first)).await.expect(200, json!({}));
    bob.post(&markers, all(&second))
        .await
        .expect(200, json!({}));
    check(&rooms(&bob.sync_since(&told).await, &[]), "");
    let marker = format!(
        "/v3/user/{}/rooms/{room}/account_data/m.fully_read",
        bob.user_id
    );
    bob.get(&marker)
        .await
        .expect(200, json!({ "event_id": second }));
    let receipts =
        |told: &Value| told["rooms"]["join"][&room]["ephemeral"]["events"][0]["content"].clone();
    assert!(receipts(&bob.sync("").await)[&first].is_null());
    // Each thread has receipts of its own.
    let path = format!("/v3/rooms/{room}/receipt/m.read/{first}");
    bob.post(&path, json!({ "thread_id": "main" })).await.ok();
    assert!(receipts(&bob.sync("").await)[&first]["m.read"].is_object());
    // Forwards they do move.
    let third = alice.say(&room, "three").await;
    bob.post(&markers, all(&third)).await.ok();
    bob.get(&marker)
        .await
        .expect(200, json!({ "event_id": third }));
    let told = receipts(&bob.sync("").await);
    assert!(
        told[&second].is_null() && told[&third]["m.read"].is_object(),
        "{told}"
    );
}

#[tokio::test]
async fn read_marks_name_events_of_their_room() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let said = alice.say(&room, "one").await;
    let elsewhere = bob.create_public().await;
    let foreign = bob.say(&elsewhere, "two").await;
    let receipt = |kind: &str, event: &str| format!("/v3/rooms/{room}/receipt/{kind}/{event}");
    let markers = format!("/v3/rooms/{room}/read_markers");
    bob.post(&markers, json!({ "m.fully_read": said, "m.read": said }))
        .await
        .ok();
    let told = bob.sync("").await;
    for event in ["$none", &foreign] {
        let body = json!({ "m.fully_read": event, "m.read": said });
        let wrong = bob.post(&markers, body).await;
        wrong.expect_error(404, "M_NOT_FOUND");
        let wrong = bob.post(&receipt("m.fully_read", event), json!({})).await;
        wrong.expect_error(404, "M_NOT_FOUND");
        // A receipt for it is taken and says nothing: the last one stays.
        bob.post(&receipt("m.read", event), json!({})).await.ok();
        bob.post(&markers, json!({ "m.read.private": event }))
            .await
            .ok();
    }
    check(&rooms(&bob.sync_since(&told).await, &[]), "");
}

#[tokio::test]
async fn threads_are_counted_apart_on_request() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let root = alice.say(&room, "root").await;
    let threaded = json!({
        "msgtype": "m.text", "body": "reply",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let sent = alice
        .send_event(&room, "m.room.message", threaded)
        .await
        .ok();
    let reply = sent["event_id"].as_str().unwrap();
    let filter = r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#;
    let query = format!("filter={}", crate::chat::escape(filter));
    let told = bob.sync(&query).await;
    let told = &told["rooms"]["join"][&room];
    assert_eq!(told["unread_notifications"]["notification_count"], 1);
    assert_eq!(
        told["unread_thread_notifications"][&root]["notification_count"],
        1
    );
    let told = bob.sync("").await;
    let told = &told["rooms"]["join"][&room];
    assert_eq!(told["unread_notifications"]["notification_count"], 2);
    let path = format!("/v3/rooms/{room}/receipt/m.read/{reply}");
    let of_other_threads = ["main", "$another"];
    for thread in of_other_threads {
        let wrong = bob.post(&path, json!({ "thread_id": thread })).await;
        wrong.expect_error(400, "M_INVALID_PARAM");
    }
    bob.post(&path, json!({ "thread_id": root })).await.ok();
    let told = bob.sync(&query).await;
    let told = &told["rooms"]["join"][&room];
    assert_eq!(told["unread_notifications"]["notification_count"], 1);
    assert!(told["unread_thread_notifications"].is_null());
}

#[tokio::test]
async fn account_data_is_told_when_it_changes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let first = alice.sync("").await;
    let kinds = |told: &Value| line(&told["account_data"]["events"]);
    assert_eq!(kinds(&first), "m.push_rules");
    let path = format!("/v3/user/{}/account_data/org.example", alice.user_id);
    alice.put(&path, json!({ "a": 1 })).await.ok();
    let path = format!(
        "/v3/user/{}/rooms/{room}/account_data/org.inner",
        alice.user_id
    );
    alice.put(&path, json!({ "b": 1 })).await.ok();
    let told = alice.sync_since(&first).await;
    assert_eq!(kinds(&told), "org.example");
    check(
        &rooms(&told, &[(&room, "room")]),
        "join room | data: org.inner",
    );
    // Who left and comes back gets it again.
    alice.leave(&room).await;
    let told = alice.sync_since(&told).await;
    alice.join(&room).await;
    let told = alice.sync_since(&told).await;
    assert!(rooms(&told, &[(&room, "room")]).contains("| data: org.inner"));
}

#[tokio::test]
async fn messages_to_a_device_come_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let send = async |number: u32| {
        let path = format!("/v3/sendToDevice/org.example/t{number}");
        let messages = json!({ bob.user_id.as_str(): { bob.device_id.as_str(): { "n": number } } });
        alice
            .put(&path, json!({ "messages": messages }))
            .await
            .expect(200, json!({}));
    };
    let numbers = |told: &Value| -> Vec<u64> {
        let events = told["to_device"]["events"].as_array();
        let events = events.map_or(&[][..], Vec::as_slice);
        events
            .iter()
            .map(|event| event["content"]["n"].as_u64().unwrap())
            .collect()
    };
    let start = bob.sync("").await;
    send(1).await;
    send(1).await;
    send(2).await;
    let told = bob.sync_since(&start).await;
    assert_eq!(numbers(&told), [1, 2]);
    // The answer was lost: the same again.
    let again = bob.sync_since(&start).await;
    assert_eq!(numbers(&again), [1, 2]);
    send(3).await;
    let told = bob.sync_since(&again).await;
    assert_eq!(numbers(&told), [3]);
    let told = bob.sync_since(&told).await;
    assert_eq!(numbers(&told), [0; 0]);
    let store = &server.server.store;
    let user_id = ruma_common::UserId::parse(bob.user_id.as_str()).unwrap();
    let waiting = store
        .to_device_count(&user_id, bob.device_id.as_str().into())
        .await
        .unwrap();
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn many_messages_to_a_device_come_in_parts() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let mut last = bob.sync("").await;
    let mut expected = Vec::new();
    for number in 0..620 {
        let path = format!("/v3/sendToDevice/org.example/m{number}");
        let messages = json!({ bob.user_id.as_str(): { bob.device_id.as_str(): { "n": number } } });
        alice.put(&path, json!({ "messages": messages })).await.ok();
        expected.push(number);
        if number % 100 == 0 {
            alice.say(&room, &format!("m{number}")).await;
        }
    }
    let (mut seen, mut said) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        last = bob.sync_since(&last).await;
        let events = last["to_device"]["events"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(events.len() <= 500);
        seen.extend(
            events
                .iter()
                .map(|event| event["content"]["n"].as_u64().unwrap()),
        );
        said.push(line(&last["rooms"]["join"][&room]["timeline"]["events"]));
    }
    assert_eq!(seen, expected);
    assert_eq!(said, ["m0 m100 m200 m300 m400", "m500 m600", "", ""]);
}

/// However many there are, reading some of them takes just those off, and so does a redaction.
#[tokio::test]
async fn many_notifications_are_read_in_portions() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let mut sent = Vec::new();
    for number in 0..300 {
        sent.push(alice.say(&room, &number.to_string()).await);
    }
    let unread = async |since: Option<&Value>| {
        let told = match since {
            Some(since) => bob.sync_since(since).await,
            None => bob.sync("").await,
        };
        let counts = &told["rooms"]["join"][&room]["unread_notifications"];
        (counts["notification_count"].as_u64(), told)
    };
    let (count, first) = unread(None).await;
    assert_eq!(count, Some(300));
    let read = async |number: usize| {
        let body = json!({});
        bob.act(&room, &format!("receipt/m.read/{}", sent[number]), body)
            .await
            .ok();
    };
    read(99).await;
    let (count, then) = unread(Some(&first)).await;
    assert_eq!(count, Some(200));
    for number in [50, 110, 250] {
        let path = format!("/v3/rooms/{room}/redact/{}/{number}", sent[number]);
        alice.put(&path, json!({})).await.ok();
    }
    let (count, then) = unread(Some(&then)).await;
    assert_eq!(count, Some(198));
    read(199).await;
    let (count, _) = unread(Some(&then)).await;
    assert_eq!(count, Some(99));
}

#[tokio::test]
async fn presence_of_those_who_share_a_room() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let mut last = alice.sync("").await;
    last = alice.sync_since(&last).await;
    bob.sync("").await;
    last = alice.sync_since(&last).await;
    let told = &last["presence"]["events"];
    assert_eq!(told[0]["sender"], bob.user_id.as_str());
    assert_eq!(told[0]["content"]["presence"], "online");
    // Another device that is less present changes nothing; so two devices do not wake each other.
    let phone = server.log_in("bob").await;
    phone.sync("set_presence=unavailable").await;
    bob.sync("").await;
    phone.sync("set_presence=unavailable").await;
    last = alice.sync_since(&last).await;
    assert!(last["presence"].is_null(), "{last}");
    bob.sync("set_presence=offline").await;
    last = alice.sync_since(&last).await;
    assert!(last["presence"].is_null(), "{last}");
}

#[tokio::test]
async fn presence_of_who_was_newly_met() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let of_alice = alice.sync("").await;
    let of_bob = bob.sync("").await;
    bob.join(&room).await;
    for (client, last, met) in [(&alice, of_alice, &bob), (&bob, of_bob, &alice)] {
        let told = client.sync_since(&last).await;
        let events = told["presence"]["events"].as_array().unwrap();
        let is_told = |event: &Value| event["sender"] == met.user_id.as_str();
        assert!(events.iter().any(is_told), "{told}");
        let then = client.sync_since(&told).await;
        assert!(then["presence"].is_null(), "{then}");
    }
}

#[tokio::test]
async fn device_lists_follow_those_who_share_rooms() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let mut last = alice.sync("").await;
    bob.join(&room).await;
    last = alice.sync_since(&last).await;
    assert_eq!(last["device_lists"]["changed"], json!([bob.user_id]));
    bob.leave(&room).await;
    last = alice.sync_since(&last).await;
    assert_eq!(last["device_lists"]["left"], json!([bob.user_id]));
    last = alice.sync_since(&last).await;
    assert!(last["device_lists"].is_null(), "{last}");
}
