//! `/room_keys/…`.

use serde_json::{Value, json};

use crate::harness::{Client, TestServer};

const ROOM: &str = "!room:example.org";

fn backup() -> Value {
    json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": { "public_key": "abcdefg" },
    })
}

fn key(first_message_index: u64, is_verified: bool) -> Value {
    json!({
        "first_message_index": first_message_index,
        "forwarded_count": 0,
        "is_verified": is_verified,
        "session_data": { "ciphertext": format!("c{first_message_index}"), "ephemeral": "e", "mac": "m" },
    })
}

async fn create(client: &Client) -> String {
    let answer = client.post("/v3/room_keys/version", backup()).await.ok();
    answer["version"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn versions_are_made_changed_and_removed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    alice
        .get("/v3/room_keys/version")
        .await
        .expect_error(404, "M_NOT_FOUND");
    assert_eq!(create(&alice).await, "1");
    assert_eq!(create(&alice).await, "2");
    let mut told = backup();
    told["version"] = json!("2");
    told["etag"] = json!("0");
    told["count"] = json!(0);
    alice
        .get("/v3/room_keys/version")
        .await
        .expect(200, told.clone());
    alice
        .get("/unstable/room_keys/version/2")
        .await
        .expect(200, told);

    let mut changed = backup();
    changed["auth_data"] = json!({ "public_key": "other" });
    alice
        .put("/v3/room_keys/version/2", changed)
        .await
        .expect(200, json!({}));
    let told = alice.get("/v3/room_keys/version/2").await.ok();
    assert_eq!(told["auth_data"]["public_key"], "other");
    let mut other = backup();
    other["algorithm"] = json!("other");
    let refused = alice.put("/v3/room_keys/version/2", other).await;
    refused.expect_error(400, "M_INVALID_PARAM");

    alice
        .delete("/v3/room_keys/version/2", json!({}))
        .await
        .expect(200, json!({}));
    // It may be removed again, but not what was never there.
    let again = alice.delete("/v3/room_keys/version/2", json!({})).await;
    again.expect(200, json!({}));
    for version in ["2", "x", "0", "3"] {
        let path = format!("/v3/room_keys/version/{version}");
        alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
        if version != "2" {
            let refused = alice.delete(&path, json!({})).await;
            refused.expect_error(404, "M_NOT_FOUND");
        }
    }
    let newest = alice.get("/v3/room_keys/version").await.ok();
    assert_eq!(newest["version"], "1");
    assert_eq!(create(&alice).await, "3", "a number is not used again");
}

#[tokio::test]
async fn keys_are_kept_by_room_and_session() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let version = create(&alice).await;
    let one = format!("/v3/room_keys/keys/{ROOM}/s%2F1?version={version}");
    let room = format!("/v3/room_keys/keys/{ROOM}?version={version}");
    let all = format!("/v3/room_keys/keys?version={version}");
    alice.get(&one).await.expect_error(404, "M_NOT_FOUND");
    alice
        .get(&room)
        .await
        .expect(200, json!({ "sessions": {} }));
    alice.get(&all).await.expect(200, json!({ "rooms": {} }));

    let first = alice.put(&one, key(5, false)).await.ok();
    assert_eq!(first["count"], 1);
    let second = alice
        .put(&room, json!({ "sessions": { "s2": key(1, false) } }))
        .await
        .ok();
    assert_eq!(second["count"], 2);
    assert_ne!(first["etag"], second["etag"]);
    let other = "!other:example.org";
    let body = json!({ "rooms": { other: { "sessions": { "s3": key(1, true) } } } });
    let third = alice.put(&all, body).await.ok();
    assert_eq!(third["count"], 3);

    alice.get(&one).await.expect(200, key(5, false));
    let sessions = json!({ "sessions": { "s/1": key(5, false), "s2": key(1, false) } });
    alice.get(&room).await.expect(200, sessions.clone());
    let rooms = json!({ "rooms": {
        ROOM: sessions,
        other: { "sessions": { "s3": key(1, true) } },
    } });
    alice.get(&all).await.expect(200, rooms);

    assert_eq!(alice.delete(&one, json!({})).await.ok()["count"], 2);
    assert_eq!(alice.delete(&room, json!({})).await.ok()["count"], 1);
    assert_eq!(alice.delete(&all, json!({})).await.ok()["count"], 0);
}

#[tokio::test]
async fn the_better_key_wins() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let version = create(&alice).await;
    let path = format!("/v3/room_keys/keys/{ROOM}/s1?version={version}");
    let first = alice.put(&path, key(5, false)).await.ok();
    let worse = alice.put(&path, key(7, false)).await.ok();
    assert_eq!(first, worse, "nothing changed, so the etag stays");
    alice.get(&path).await.expect(200, key(5, false));
    alice.put(&path, key(3, false)).await.ok();
    alice.get(&path).await.expect(200, key(3, false));
    alice.put(&path, key(9, true)).await.ok();
    alice.get(&path).await.expect(200, key(9, true));
}

#[tokio::test]
async fn keys_go_into_the_newest_version_only() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let path = |version: &str| format!("/v3/room_keys/keys/{ROOM}/s1?version={version}");
    let none = alice.put(&path("1"), key(1, false)).await;
    none.expect_error(404, "M_NOT_FOUND");
    create(&alice).await;
    create(&alice).await;
    let old = alice.put(&path("1"), key(1, false)).await;
    let old = old.expect_error(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(old["current_version"], "2");
    for never in ["3", "999", "0"] {
        let refused = alice.put(&path(never), key(1, false)).await;
        refused.expect_error(404, "M_NOT_FOUND");
    }
    let missing = alice
        .put(&format!("/v3/room_keys/keys/{ROOM}/s1"), key(1, false))
        .await;
    missing.expect_error(400, "M_MISSING_PARAM");
    let wrong = alice
        .put(&path("2"), json!({ "first_message_index": "x" }))
        .await;
    assert_eq!(wrong.status, 400);
    let others = server.user("bob").await.get("/v3/room_keys/version").await;
    others.expect_error(404, "M_NOT_FOUND");
}
