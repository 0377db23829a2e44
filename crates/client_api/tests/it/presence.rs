//! `/presence/{userId}/status`.

use lyceum_model::{AccountChange, Batch, Position, Presence, PresenceState, Timestamp};
use ruma_common::UserId;
use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn presence_is_set_and_told() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let path = format!("/v3/presence/{}/status", alice.user_id);
    let never = json!({ "presence": "offline" });
    alice.get(&path).await.expect(200, never);
    let body = json!({ "presence": "unavailable", "status_msg": "At lunch" });
    alice.put(&path, body).await.expect(200, json!({}));
    server.clock.advance_ms(5_000);
    let told = alice.get(&path).await.ok();
    assert_eq!(told["presence"], "unavailable");
    assert_eq!(told["status_msg"], "At lunch");
    assert_eq!(told["last_active_ago"], 5_000);
    let body = json!({ "presence": "dancing" });
    alice
        .put(&path, body)
        .await
        .expect_error(400, "M_INVALID_PARAM");
    alice
        .put(&path, json!({}))
        .await
        .expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn presence_is_for_those_who_share_a_room() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let path = format!("/v3/presence/{}/status", alice.user_id);
    alice.put(&path, json!({ "presence": "online" })).await.ok();
    bob.put(&path, json!({ "presence": "online" }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    let room = alice
        .post("/v3/createRoom", json!({ "preset": "public_chat" }))
        .await
        .ok();
    let room_id = room["room_id"].as_str().unwrap();
    bob.post(&format!("/v3/join/{room_id}"), json!({}))
        .await
        .ok();
    let told = bob.get(&path).await.ok();
    assert_eq!(told["presence"], "online");
}

/// However many others were seen on this server before.
#[tokio::test]
async fn a_first_sync_tells_who_is_there() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let mut batch = Batch::new();
    for number in 0..1_100 {
        batch.push(AccountChange::PutPresence(Presence {
            user_id: UserId::parse(format!("@stranger{number}:example.org")).unwrap(),
            state: PresenceState::Online,
            status: None,
            last_active: Timestamp(1),
            position: Position(0),
        }));
    }
    server.server.commit(batch).await.unwrap();
    let path = format!("/v3/presence/{}/status", alice.user_id);
    alice.put(&path, json!({ "presence": "online" })).await.ok();
    let synced = bob.get("/v3/sync?set_presence=offline").await.ok();
    let told = synced["presence"]["events"].as_array().unwrap();
    let senders: Vec<_> = told.iter().map(|event| &event["sender"]).collect();
    assert!(senders.contains(&&json!(alice.user_id)), "{senders:?}");
    assert!(senders.len() <= 2, "{senders:?}");
}

#[tokio::test]
async fn where_presence_is_off_all_are_offline() {
    let server = TestServer::with(|config| config.presence.enabled = false).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let before = bob.sync("").await;
    let path = format!("/v3/presence/{}/status", alice.user_id);
    let body = json!({ "presence": "online", "status_msg": "Here" });
    alice.put(&path, body).await.expect(200, json!({}));
    alice.sync("set_presence=online").await;
    bob.get(&path)
        .await
        .expect(200, json!({ "presence": "offline" }));
    for told in [bob.sync("").await, bob.sync_since(&before).await] {
        assert!(told["presence"].is_null(), "{told}");
    }
}

#[tokio::test]
async fn who_does_nothing_is_away_until_they_do_something() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let path = format!("/v3/presence/{}/status", alice.user_id);
    let status = async || {
        let told = bob.get(&path).await.ok();
        let ago = told["last_active_ago"].as_u64().unwrap();
        (told["presence"].as_str().unwrap().to_owned(), ago)
    };
    let mut last = alice.sync("").await;
    assert_eq!(status().await, ("online".to_owned(), 0));
    server.clock.advance_ms(30_000);
    alice.say(&room, "I am here").await;
    server.clock.advance_ms(1_000);
    assert_eq!(status().await, ("online".to_owned(), 1_000));
    for _ in 0..6 {
        server.clock.advance_ms(60_000);
        last = alice.sync_since(&last).await;
    }
    assert_eq!(status().await, ("unavailable".to_owned(), 361_000));
    let since = bob.sync("set_presence=offline").await;
    let typing = format!("/v3/rooms/{room}/typing/{}", alice.user_id);
    alice.put(&typing, json!({ "typing": true })).await.ok();
    let mut told = since;
    loop {
        let next = told["next_batch"].as_str().unwrap().to_owned();
        let query = format!("/v3/sync?set_presence=offline&timeout=10000&since={next}");
        told = bob.get(&query).await.ok();
        if let Some(event) = told["presence"]["events"].get(0) {
            assert_eq!(event["content"]["presence"], "online");
            break;
        }
        assert_ne!(told["next_batch"], next, "nothing comes");
    }
    assert_eq!(status().await, ("online".to_owned(), 0));
}
