//! `POST /createRoom` and `POST /rooms/{roomId}/upgrade`.

use serde_json::{Value, json};

use crate::{
    chat::{check, escape, line},
    harness::{ANY, Client, TestServer},
};

async fn state(client: &Client, room: &str, kind: &str) -> Value {
    client
        .get(&format!("/v3/rooms/{room}/state/{kind}"))
        .await
        .body
}

#[tokio::test]
async fn presets_say_who_comes_in() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (body, rule, guests) in [
        (json!({}), "invite", "can_join"),
        (json!({ "preset": "private_chat" }), "invite", "can_join"),
        (
            json!({ "preset": "trusted_private_chat" }),
            "invite",
            "can_join",
        ),
        (json!({ "preset": "public_chat" }), "public", "forbidden"),
        (json!({ "visibility": "public" }), "public", "forbidden"),
        (
            json!({ "visibility": "public", "preset": "private_chat" }),
            "invite",
            "can_join",
        ),
    ] {
        let text = body.to_string();
        let room = alice.create(body).await;
        let rules = state(&alice, &room, "m.room.join_rules").await;
        assert_eq!(rules["join_rule"], rule, "{text}");
        let access = state(&alice, &room, "m.room.guest_access").await;
        assert_eq!(
            access["guest_access"].as_str().unwrap_or("forbidden"),
            guests,
            "{text}"
        );
        let visibility = state(&alice, &room, "m.room.history_visibility").await;
        assert_eq!(visibility["history_visibility"], "shared");
    }
}

#[tokio::test]
async fn everything_wished_for_is_there_in_order() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let body = json!({
        "name": "Garden", "topic": "Plants", "room_alias_name": "garden", "visibility": "public",
        "creation_content": { "m.federate": false, "type": "m.space" },
        "initial_state": [
            { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
            { "type": "x", "state_key": "k", "content": { "a": 1 } },
        ],
        "power_level_content_override": { "events_default": 7 },
        "invite": [bob.user_id],
    });
    let room = alice.create(body).await;
    let history = alice.messages(&room, "dir=f&limit=50").await;
    check(
        &line(&history["chunk"]),
        "create alice:join power_levels canonical_alias join_rules history_visibility \
         guest_access encryption x name=Garden topic=Plants bob:invite",
    );
    let create = state(&alice, &room, "m.room.create").await;
    assert_eq!(
        (&create["type"], &create["m.federate"]),
        (&json!("m.space"), &json!(false))
    );
    assert_eq!(create["room_version"], "12");
    assert_eq!(
        state(&alice, &room, "m.room.power_levels").await["events_default"],
        7
    );
    let found = alice.get("/v3/directory/room/%23garden:example.org").await;
    found.expect(200, json!({ "room_id": room, "servers": ["example.org"] }));
    let again = alice
        .post("/v3/createRoom", json!({ "room_alias_name": "garden" }))
        .await;
    again.expect_error(400, "M_ROOM_IN_USE");
}

#[tokio::test]
async fn all_versions_can_be_made_and_upgraded() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for version in 1..=12 {
        let version = version.to_string();
        let room = alice
            .create(json!({ "room_version": version, "name": "Old" }))
            .await;
        let said = alice.say(&room, "hello").await;
        let create = state(&alice, &room, "m.room.create").await;
        assert_eq!(create["room_version"].as_str().unwrap_or("1"), version);
        // Ids of room version 3 may contain slashes.
        let said = escape(&said);
        let path = format!("/v3/rooms/{room}/redact/{said}/r{version}");
        alice.put(&path, json!({})).await.ok();
        let event = alice
            .get(&format!("/v3/rooms/{room}/event/{said}"))
            .await
            .ok();
        assert_eq!(event["content"], json!({}), "version {version}");
        let upgraded = alice
            .act(&room, "upgrade", json!({ "new_version": "11" }))
            .await;
        let upgraded = upgraded.expect(200, json!({ "replacement_room": ANY }));
        let new = upgraded["replacement_room"].as_str().unwrap();
        let tombstone = state(&alice, &room, "m.room.tombstone").await;
        assert_eq!(tombstone["replacement_room"], new);
        let create = state(&alice, new, "m.room.create").await;
        assert_eq!(create["predecessor"]["room_id"], room.as_str());
        assert_eq!(state(&alice, new, "m.room.name").await["name"], "Old");
    }
}

#[tokio::test]
async fn what_was_set_for_a_room_holds_for_the_one_that_replaces_it() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    for client in [&alice, &bob] {
        let direct = format!("/v3/user/{}/account_data/m.direct", client.user_id);
        let rooms = json!({ "@bob:example.org": [room], "@carol:example.org": ["!other:x"] });
        client.put(&direct, rooms).await.ok();
        let tags = format!("/v3/user/{}/rooms/{room}/tags/m.favourite", client.user_id);
        client.put(&tags, json!({ "order": 0.5 })).await.ok();
        let rule = format!("/v3/pushrules/global/room/{room}");
        client.put(&rule, json!({ "actions": [] })).await.ok();
        let about_it = json!({ "kind": "event_match", "key": "room_id", "pattern": room });
        let muted = json!({ "actions": [], "conditions": [about_it] });
        let rule = format!("/v3/pushrules/global/override/{room}");
        client.put(&rule, muted).await.ok();
        let off = json!({ "enabled": false });
        client.put(&format!("{rule}/enabled"), off).await.ok();
    }
    let upgraded = alice
        .act(&room, "upgrade", json!({ "new_version": "11" }))
        .await
        .ok();
    let new = upgraded["replacement_room"].as_str().unwrap();
    bob.join(new).await;
    let creation = json!({ "predecessor": { "room_id": room, "event_id": "$last" } });
    let by_hand = alice.create(json!({ "creation_content": creation })).await;
    for (client, new) in [(&alice, new), (&bob, new), (&alice, by_hand.as_str())] {
        let tags = format!("/v3/user/{}/rooms/{new}/tags", client.user_id);
        let tags = client.get(&tags).await;
        tags.expect(200, json!({ "tags": { "m.favourite": { "order": 0.5 } } }));
        let rule = format!("/v3/pushrules/global/room/{new}/actions");
        let rule = client.get(&rule).await;
        rule.expect(200, json!({ "actions": [] }));
        let rule = format!("/v3/pushrules/global/override/{new}");
        let rule = client.get(&rule).await.ok();
        assert_eq!(rule["conditions"][0]["pattern"], new);
        assert_eq!(rule["enabled"], false);
        let direct = format!("/v3/user/{}/account_data/m.direct", client.user_id);
        let direct = client.get(&direct).await.ok();
        let with_bob = direct["@bob:example.org"].as_array().unwrap();
        assert!(
            with_bob[0] == json!(room) && with_bob.contains(&json!(new)),
            "{direct}"
        );
        assert_eq!(direct["@carol:example.org"], json!(["!other:x"]));
    }
}

#[tokio::test]
async fn upgrades_are_for_the_powerful() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let refused = bob
        .act(&room, "upgrade", json!({ "new_version": "11" }))
        .await;
    refused.expect_error(403, "M_FORBIDDEN");
    let refused = alice
        .act(&room, "upgrade", json!({ "new_version": "x.y" }))
        .await;
    refused.expect_error(400, "M_UNSUPPORTED_ROOM_VERSION");
    let refused = alice
        .act(
            "!none:example.org",
            "upgrade",
            json!({ "new_version": "11" }),
        )
        .await;
    refused.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn wishes_that_make_no_sense_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for (body, code) in [
        (json!({ "preset": "secret" }), "M_INVALID_PARAM"),
        (json!({ "visibility": "dim" }), "M_INVALID_PARAM"),
        (
            json!({ "room_version": "99" }),
            "M_UNSUPPORTED_ROOM_VERSION",
        ),
        (json!({ "room_version": 9 }), "M_BAD_JSON"),
        (json!({ "room_alias_name": "#a:b" }), "M_INVALID_PARAM"),
        (json!({ "room_alias_name": "a b" }), "M_INVALID_PARAM"),
        (json!({ "invite": ["bob"] }), "M_INVALID_PARAM"),
        (json!({ "invite": "bob" }), "M_BAD_JSON"),
        (json!({ "name": 5 }), "M_BAD_JSON"),
        (json!({ "initial_state": [{ "type": "x" }] }), "M_BAD_JSON"),
        (json!({ "creation_content": [] }), "M_BAD_JSON"),
        (
            json!({ "power_level_content_override": { "ban": "high" } }),
            "M_BAD_JSON",
        ),
        (json!({ "name": "n".repeat(70_000) }), "M_TOO_LARGE"),
    ] {
        let answer = alice.post("/v3/createRoom", body.clone()).await;
        let text: String = body.to_string().chars().take(60).collect();
        assert_eq!(
            answer.body["errcode"], code,
            "{text} gave {}",
            answer.status
        );
    }
    let rooms = alice.get("/v3/joined_rooms").await;
    rooms.expect(200, json!({ "joined_rooms": [] }));
}
