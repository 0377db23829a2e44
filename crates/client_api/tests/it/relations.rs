//! `/v1/rooms/{roomId}/relations/…`.

use serde_json::{Value, json};

use crate::harness::{Client, TestServer};

#[tokio::test]
async fn children_are_found_by_kind_and_type() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let root = alice.say(&room, "root").await;
    relate(&alice, &room, &root, "m.thread", "t1").await;
    relate(&alice, &room, &root, "m.thread", "t2").await;
    relate(&alice, &room, &root, "m.replace", "edit").await;
    alice.say(&room, "unrelated").await;
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let sticker = json!({ "body": "sticker", "m.relates_to": relation });
    alice.send_event(&room, "m.sticker", sticker).await.ok();

    for (path, expect) in [
        ("", "sticker edit t2 t1"),
        ("?dir=f", "t1 t2 edit sticker"),
        ("?from=&to=", "sticker edit t2 t1"),
        ("/m.thread", "sticker t2 t1"),
        ("/m.thread/m.sticker", "sticker"),
        ("/m.thread/m.room.message?dir=f", "t1 t2"),
        ("/m.reference", ""),
    ] {
        let answer = relations(&alice, &room, &root, path).await;
        assert_eq!(bodies(&answer), expect, "{path}");
        assert!(answer.get("next_batch").is_none(), "{path}");
        assert!(answer.get("recursion_depth").is_none(), "{path}");
    }
    let old = alice
        .get(&format!(
            "/unstable/rooms/{room}/relations/{root}/m.replace"
        ))
        .await;
    assert_eq!(bodies(&old.ok()), "edit");
}

/// Client-Server API, "Validity of replacement events".
#[tokio::test]
async fn only_valid_edits_are_bundled() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let root = alice.say(&room, "root").await;
    let edit = async |target: &str, body: &str, new: Value| {
        let relation = json!({ "rel_type": "m.replace", "event_id": target });
        let mut content = json!({ "msgtype": "m.text", "body": body, "m.relates_to": relation });
        if !new.is_null() {
            content["m.new_content"] = new;
        }
        let sent = alice
            .send_event(&room, "m.room.message", content)
            .await
            .ok();
        sent["event_id"].as_str().unwrap().to_owned()
    };
    let bundled = async |event: &str| {
        let path = format!("/v3/rooms/{room}/event/{event}");
        let event = alice.get(&path).await.ok();
        event["unsigned"]["m.relations"]["m.replace"]["event_id"].clone()
    };
    let new = json!({ "msgtype": "m.text", "body": "new" });
    let first = edit(&root, "* new", new.clone()).await;
    assert_eq!(bundled(&root).await, json!(first));
    edit(&root, "* without", Value::Null).await;
    edit(&first, "* of the edit", new.clone()).await;
    assert_eq!(bundled(&root).await, json!(first));
    assert_eq!(bundled(&first).await, Value::Null);
    let second = edit(&root, "* newer", new).await;
    assert_eq!(bundled(&root).await, json!(second));
}

#[tokio::test]
async fn pages_follow_each_other() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let root = alice.say(&room, "root").await;
    for number in 1..=7 {
        relate(&alice, &room, &root, "m.thread", &number.to_string()).await;
        alice.say(&room, "between").await;
    }
    for (direction, expect) in [("b", "765 432 1"), ("f", "123 456 7")] {
        let mut pages = Vec::new();
        let mut from = String::new();
        loop {
            let path = format!("/m.thread?limit=3&dir={direction}{from}");
            let page = relations(&alice, &room, &root, &path).await;
            pages.push(bodies(&page).replace(' ', ""));
            let Some(next) = page["next_batch"].as_str() else {
                break;
            };
            if let Some(asked) = from.strip_prefix("&from=") {
                assert_eq!(page["prev_batch"], asked);
            }
            from = format!("&from={next}");
        }
        assert_eq!(pages.join(" "), expect, "{direction}");
    }
    // Between two tokens, and with those of /sync.
    let second = relations(&alice, &room, &root, "?limit=2").await;
    let to = second["next_batch"].as_str().unwrap();
    let newest = relations(&alice, &room, &root, &format!("?to={to}")).await;
    assert_eq!(bodies(&newest), "7 6");
    let since = alice.sync("").await["next_batch"]
        .as_str()
        .unwrap()
        .to_owned();
    relate(&alice, &room, &root, "m.thread", "8").await;
    let before = relations(&alice, &room, &root, &format!("?limit=1&from={since}")).await;
    assert_eq!(bodies(&before), "7");
    let after = relations(&alice, &room, &root, &format!("?dir=f&from={since}")).await;
    assert_eq!(bodies(&after), "8");
}

#[tokio::test]
async fn relations_of_relations() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let root = alice.say(&room, "root").await;
    let mut parent = root.clone();
    for (number, kind) in ["m.thread", "m.annotation", "m.reference", "m.reference"]
        .iter()
        .enumerate()
    {
        parent = relate(
            &alice,
            &room,
            &parent,
            kind,
            &format!("level{}", number + 1),
        )
        .await;
    }
    for (path, expect, depth) in [
        ("?recurse=true", "level3 level2 level1", json!(3)),
        ("?recurse=true&dir=f&limit=2", "level1 level2", json!(3)),
        ("/m.annotation?recurse=true", "level2", json!(3)),
        ("?recurse=false", "level1", json!(1)),
    ] {
        let answer = relations(&alice, &room, &root, path).await;
        assert_eq!(bodies(&answer), expect, "{path}");
        assert_eq!(answer["recursion_depth"], depth, "{path}");
    }
}

#[tokio::test]
async fn only_what_one_may_see() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let eve = server.user("eve").await;
    let room = alice.create_public().await;
    let visibility = json!({ "history_visibility": "joined" });
    alice
        .set(&room, "m.room.history_visibility", "", visibility)
        .await;
    let early = alice.say(&room, "early").await;
    relate(&alice, &room, &early, "m.thread", "reply").await;
    bob.join(&room).await;
    let late = alice.say(&room, "late").await;
    let gone = relate(&alice, &room, &late, "m.thread", "gone").await;
    relate(&bob, &room, &late, "m.thread", "mine").await;
    relate(&alice, &room, &late, "m.thread", "ours").await;
    let path = format!("/v3/rooms/{room}/redact/{gone}/1");
    alice.put(&path, json!({})).await.ok();

    let path = |event: &str| format!("/v1/rooms/{room}/relations/{event}");
    assert_eq!(bodies(&bob.get(&path(&late)).await.ok()), "ours mine");
    bob.get(&path(&early))
        .await
        .expect_error(404, "M_NOT_FOUND");
    eve.get(&path(&late)).await.expect_error(404, "M_NOT_FOUND");
    alice
        .get(&path("$nothing"))
        .await
        .expect_error(404, "M_NOT_FOUND");
    let elsewhere = format!("/v1/rooms/!nowhere:example.org/relations/{late}");
    alice.get(&elsewhere).await.expect_error(404, "M_NOT_FOUND");
    for query in ["dir=x", "from=x", "to=x", "limit=-1", "recurse=perhaps"] {
        let path = format!("{}?{query}", path(&late));
        alice.get(&path).await.expect_error(400, "M_INVALID_PARAM");
    }
    let ignored = json!({ "ignored_users": { &alice.user_id: {} } });
    let data = format!("/v3/user/{}/account_data/m.ignored_user_list", bob.user_id);
    let root = bob.say(&room, "own").await;
    relate(&alice, &room, &root, "m.thread", "unheard").await;
    relate(&bob, &room, &root, "m.thread", "heard").await;
    bob.put(&data, ignored).await.ok();
    assert_eq!(bodies(&bob.get(&path(&root)).await.ok()), "heard");
}

/// Sends a message that relates to another; its id.
pub(crate) async fn relate(
    client: &Client,
    room: &str,
    parent: &str,
    kind: &str,
    text: &str,
) -> String {
    let relation = json!({ "rel_type": kind, "event_id": parent, "key": text });
    let mut content = json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation });
    if kind == "m.replace" {
        content["m.new_content"] = json!({ "msgtype": "m.text", "body": text });
    }
    let sent = client
        .send_event(room, "m.room.message", content)
        .await
        .ok();
    sent["event_id"].as_str().unwrap().to_owned()
}

async fn relations(client: &Client, room: &str, parent: &str, rest: &str) -> Value {
    let path = format!("/v1/rooms/{room}/relations/{parent}{rest}");
    client.get(&path).await.ok()
}

/// The bodies of the events of a `chunk`.
pub(crate) fn bodies(answer: &Value) -> String {
    let events = answer["chunk"].as_array().unwrap();
    let body = |event: &Value| event["content"]["body"].as_str().unwrap_or("-").to_owned();
    events.iter().map(body).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn edits_of_what_was_redacted_are_not_told() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let said = alice.say(&room, "secret").await;
    let edit = json!({ "rel_type": "m.replace", "event_id": said });
    let content = json!({ "msgtype": "m.text", "body": "* secret",
        "m.new_content": { "msgtype": "m.text", "body": "secret" }, "m.relates_to": edit });
    alice
        .send_event(&room, "m.room.message", content)
        .await
        .ok();
    let reference = json!({ "rel_type": "m.reference", "event_id": said });
    let content = json!({ "msgtype": "m.text", "body": "see", "m.relates_to": reference });
    alice
        .send_event(&room, "m.room.message", content)
        .await
        .ok();
    let count = async || {
        let told = alice
            .get(&format!("/v1/rooms/{room}/relations/{said}"))
            .await;
        told.ok()["chunk"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 2);
    let path = format!("/v3/rooms/{room}/redact/{said}/1");
    alice.put(&path, json!({})).await.ok();
    assert_eq!(count().await, 1);
}
