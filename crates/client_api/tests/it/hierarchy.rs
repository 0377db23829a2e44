//! `/v1/rooms/{roomId}/hierarchy`.

use serde_json::{Value, json};

use crate::harness::{ANY, Client, TestServer};

#[tokio::test]
async fn spaces_are_walked_depth_first() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let top = space(&alice, "top").await;
    let inner = space(&alice, "inner").await;
    let (first, second) = (named(&alice, "first").await, named(&alice, "second").await);
    let deep = named(&alice, "deep").await;
    link(
        &alice,
        &top,
        &second,
        json!({ "via": ["example.org"], "order": "b" }),
    )
    .await;
    link(
        &alice,
        &top,
        &inner,
        json!({ "via": ["example.org"], "order": "a" }),
    )
    .await;
    link(
        &alice,
        &top,
        &first,
        json!({ "via": ["example.org"], "suggested": true }),
    )
    .await;
    link(
        &alice,
        &top,
        "!unknown:elsewhere.org",
        json!({ "via": ["elsewhere.org"] }),
    )
    .await;
    link(&alice, &inner, &deep, json!({ "via": ["example.org"] })).await;
    // A loop, a room that is no child any more, and one that was met before.
    link(&alice, &inner, &top, json!({ "via": ["example.org"] })).await;
    link(&alice, &inner, &first, json!({})).await;
    for (query, expect) in [
        ("", "top inner deep second first"),
        ("?max_depth=1", "top inner second first"),
        ("?max_depth=0", "top"),
        ("?suggested_only=true", "top first"),
    ] {
        let answer = hierarchy(&alice, &top, query).await;
        assert_eq!(names(&answer), expect, "{query}");
        assert!(answer.get("next_batch").is_none());
    }
    let answer = hierarchy(&alice, &top, "").await;
    let children = answer["rooms"][0]["children_state"].as_array().unwrap();
    assert_eq!(children.len(), 4);
    let child = &children[0];
    let content = json!({ "via": ["example.org"], "order": "a" });
    assert_eq!(
        (
            &child["type"],
            &child["state_key"],
            &child["content"],
            &child["sender"]
        ),
        (
            &json!("m.space.child"),
            &json!(inner),
            &content,
            &json!(alice.user_id)
        ),
    );
    assert!(child["origin_server_ts"].is_u64());
    assert_eq!(answer["rooms"][0]["room_type"], "m.space");
    assert_eq!(answer["rooms"][2]["children_state"], json!([]));
    let old = format!("/unstable/org.matrix.msc2946/rooms/{top}/hierarchy?limit=1");
    alice
        .get(&old)
        .await
        .expect(200, json!({ "rooms": [ANY], "next_batch": ANY }));
}

#[tokio::test]
async fn pages_follow_each_other() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let top = space(&alice, "top").await;
    for name in ["a", "b", "c", "d"] {
        let room = named(&alice, name).await;
        link(
            &alice,
            &top,
            &room,
            json!({ "via": ["example.org"], "order": name }),
        )
        .await;
    }
    let (mut pages, mut from) = (Vec::new(), String::new());
    loop {
        let page = hierarchy(&alice, &top, &format!("?limit=2{from}")).await;
        pages.push(names(&page));
        let Some(next) = page["next_batch"].as_str() else {
            break;
        };
        from = format!("&from={next}");
    }
    assert_eq!(pages, ["top a", "b c", "d"]);
    let path = format!("/v1/rooms/{top}/hierarchy");
    let first = alice.get(&format!("{path}?limit=1&max_depth=3")).await.ok();
    let next = first["next_batch"].as_str().unwrap();
    for query in [
        format!("from={next}"),
        format!("from={next}&max_depth=2"),
        format!("from={next}&max_depth=3&suggested_only=true"),
        "from=x".to_owned(),
        "limit=0".to_owned(),
        "max_depth=-1".to_owned(),
    ] {
        let path = format!("{path}?{query}");
        alice.get(&path).await.expect_error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn rooms_are_shown_to_those_who_may_find_them() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let top = space(&alice, "top").await;
    for (name, rule) in [
        ("public", json!({ "join_rule": "public" })),
        ("invite", json!({ "join_rule": "invite" })),
        ("invited", json!({ "join_rule": "invite" })),
        ("knock", json!({ "join_rule": "knock" })),
        ("banned", json!({ "join_rule": "public" })),
        ("restricted", restricted_to(&top)),
        ("world", json!({ "join_rule": "invite" })),
    ] {
        let room = named(&alice, name).await;
        alice.set(&room, "m.room.join_rules", "", rule).await;
        match name {
            "invited" => alice.act_on(&room, "invite", &bob).await.ok(),
            "banned" => alice.act_on(&room, "ban", &bob).await.ok(),
            "world" => {
                let visibility = json!({ "history_visibility": "world_readable" });
                alice
                    .set(&room, "m.room.history_visibility", "", visibility)
                    .await
                    .into()
            }
            _ => Value::Null,
        };
        link(
            &alice,
            &top,
            &room,
            json!({ "via": ["example.org"], "order": name }),
        )
        .await;
    }
    let answer = hierarchy(&bob, &top, "").await;
    assert_eq!(names(&answer), "top invited knock public world");
    bob.join(&top).await;
    let answer = hierarchy(&bob, &top, "").await;
    assert_eq!(names(&answer), "top invited knock public restricted world");
    let restricted = answer["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "restricted");
    assert_eq!(restricted.unwrap()["allowed_room_ids"], json!([top]));

    let secret = alice
        .create(json!({ "preset": "private_chat", "creation_content": { "type": "m.space" } }))
        .await;
    for room in [secret.as_str(), "!unknown:example.org"] {
        let path = format!("/v1/rooms/{room}/hierarchy");
        bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    }
}

fn restricted_to(room: &str) -> Value {
    let allow = json!([{ "type": "m.room_membership", "room_id": room }]);
    json!({ "join_rule": "restricted", "allow": allow })
}

async fn space(client: &Client, name: &str) -> String {
    let content = json!({ "type": "m.space" });
    client
        .create(json!({ "preset": "public_chat", "name": name, "creation_content": content }))
        .await
}

async fn named(client: &Client, name: &str) -> String {
    client
        .create(json!({ "preset": "public_chat", "name": name }))
        .await
}

async fn link(client: &Client, space: &str, room: &str, content: Value) {
    client.set(space, "m.space.child", room, content).await;
}

async fn hierarchy(client: &Client, room: &str, query: &str) -> Value {
    client
        .get(&format!("/v1/rooms/{room}/hierarchy{query}"))
        .await
        .ok()
}

fn names(answer: &Value) -> String {
    let rooms = answer["rooms"].as_array().unwrap();
    rooms
        .iter()
        .map(|room| room["name"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}
