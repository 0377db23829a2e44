//! `/rooms/{roomId}/state`, `/members`, `/joined_members`, `/joined_rooms`.

use serde_json::{Value, json};

use crate::{
    chat::{check, line, next_batch},
    harness::{ANY, TestServer, bridge},
};

#[tokio::test]
async fn state_is_set_and_read() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create(json!({})).await;
    let content = json!({ "name": "A", "other": { "deep": [1, "x"] } });
    let path = format!("/v3/rooms/{room}/state/m.room.name");
    for path in [path.clone(), format!("{path}/")] {
        alice
            .put(&path, content.clone())
            .await
            .expect(200, json!({ "event_id": ANY }));
        alice.get(&path).await.expect(200, content.clone());
    }
    let unknown = alice.get(&format!("{path}?format=pdu")).await;
    unknown.expect_error(400, "M_INVALID_PARAM");
    let event = alice.get(&format!("{path}?format=event")).await.ok();
    assert_eq!(event["room_id"], room.as_str());
    assert_eq!(event["content"], content);
    assert_eq!(event["state_key"], "");
    // The same again is the same event.
    let first = alice.put(&path, content.clone()).await.ok();
    assert_eq!(first, alice.put(&path, content).await.ok());
    let keyed = format!("/v3/rooms/{room}/state/org.x/with%2Fslash%20and%20space");
    alice.put(&keyed, json!({ "k": 1 })).await.ok();
    alice.get(&keyed).await.expect(200, json!({ "k": 1 }));
    let all = alice.get(&format!("/v3/rooms/{room}/state")).await.ok();
    let key = |event: &Value| event["state_key"] == "with/slash and space";
    assert!(all.as_array().unwrap().iter().any(key));
    alice
        .get(&format!("/v3/rooms/{room}/state/m.none"))
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn state_that_may_not_be_set() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let path = |kind: &str| format!("/v3/rooms/{room}/state/{kind}");
    bob.put(&path("m.room.name"), json!({ "name": "x" }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let own = path(&format!("org.x/{}", bob.user_id));
    bob.put(&own, json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .put(&own, json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .put(&path("m.room.create"), json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
    for (body, code) in [
        ("", "M_NOT_JSON"),
        ("{", "M_NOT_JSON"),
        ("[]", "M_BAD_JSON"),
    ] {
        let answer = alice.send(http::Method::PUT, &path("org.x"), body).await;
        answer.expect_error(400, code);
    }
    let alias = json!({ "alias": "#none:example.org" });
    let answer = alice.put(&path("m.room.canonical_alias"), alias).await;
    answer.expect_error(400, "M_BAD_ALIAS");
    let unknown = "/v3/rooms/!none:example.org/state/m.room.name";
    alice.get(unknown).await.expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn state_is_for_members_and_where_the_world_may_read() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let name = format!("/v3/rooms/{room}/state/m.room.name");
    alice
        .set(&room, "m.room.name", "", json!({ "name": "first" }))
        .await;
    bob.get(&name).await.expect_error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    bob.get(&name).await.expect(200, json!({ "name": "first" }));
    bob.leave(&room).await;
    alice
        .set(&room, "m.room.name", "", json!({ "name": "second" }))
        .await;
    // As it was when they left.
    bob.get(&name).await.expect(200, json!({ "name": "first" }));
    let visibility = json!({ "history_visibility": "world_readable" });
    alice
        .set(&room, "m.room.history_visibility", "", visibility)
        .await;
    let carol = server.user("carol").await;
    carol
        .get(&name)
        .await
        .expect(200, json!({ "name": "second" }));
    carol
        .get(&format!("/v3/rooms/{room}/joined_members"))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

/// A token of a sync before one's own time tells no more than the history does.
#[tokio::test]
async fn members_before_ones_time_are_not_told() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let visibility = json!({
        "type": "m.room.history_visibility",
        "content": { "history_visibility": "joined" },
    });
    let body = json!({ "preset": "public_chat", "initial_state": [visibility] });
    let room = alice.create(body).await;
    bob.join(&room).await;
    let then = carol.sync("").await;
    bob.leave(&room).await;
    bob.act(&room, "forget", json!({})).await.ok();
    carol.join(&room).await;
    let at = next_batch(&then);
    let told = carol
        .get(&format!("/v3/rooms/{room}/members?at={at}&membership=join"))
        .await
        .ok();
    let mut words: Vec<String> = line(&told["chunk"]).split(' ').map(str::to_owned).collect();
    words.sort();
    assert_eq!(words.join(" "), "alice:join carol:join");
}

#[tokio::test]
async fn members_now_and_then() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let then = alice.sync("").await;
    bob.leave(&room).await;
    carol.join(&room).await;
    let members = async |query: &str| {
        let answer = alice
            .get(&format!("/v3/rooms/{room}/members{query}"))
            .await
            .ok();
        let mut words: Vec<String> = line(&answer["chunk"])
            .split(' ')
            .map(str::to_owned)
            .collect();
        words.sort();
        words.join(" ")
    };
    check(&members("").await, "alice:join bob:leave carol:join");
    check(&members("?membership=join").await, "alice:join carol:join");
    check(&members("?not_membership=join").await, "bob:leave");
    let at = next_batch(&then);
    check(&members(&format!("?at={at}")).await, "alice:join bob:join");
    let at = then["rooms"]["join"][&room]["timeline"]["prev_batch"]
        .as_str()
        .unwrap();
    // That timeline began with the room: the token stands for when it was given out.
    check(&members(&format!("?at={at}")).await, "alice:join bob:join");
    let wrong = alice
        .get(&format!("/v3/rooms/{room}/members?membership=friend"))
        .await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let wrong = alice
        .get(&format!("/v3/rooms/{room}/members?at=then"))
        .await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let joined = alice
        .get(&format!("/v3/rooms/{room}/joined_members"))
        .await
        .ok();
    let expected = json!({ "joined": {
        alice.user_id.as_str(): { "avatar_url": null, "display_name": "alice" },
        carol.user_id.as_str(): { "avatar_url": null, "display_name": "carol" },
    } });
    assert_eq!(joined, expected);
    let rooms = alice.get("/v3/joined_rooms").await;
    rooms.expect(200, json!({ "joined_rooms": [room] }));
    bob.get(&format!("/v3/rooms/{room}/joined_members"))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_picture_is_taken_away_with_null() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create(json!({})).await;
    let path = format!("/v3/rooms/{room}/state/m.room.avatar/");
    for content in [
        json!({ "url": "mxc://example.org/a" }),
        json!({ "url": null }),
    ] {
        alice.put(&path, content.clone()).await.ok();
        alice.get(&path).await.expect(200, content);
    }
    let wrong = alice.put(&path, json!({ "url": 1 })).await;
    wrong.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn application_services_ask_for_the_rooms_of_their_users() {
    let server = TestServer::with_services(|_| {}, vec![bridge()]).await;
    let service = server.client("as-token");
    let body = json!({ "type": "m.login.application_service", "username": "bridge_carol" });
    service.post("/v3/register", body).await.ok();
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let path = format!("/v3/rooms/{room}/joined_members");
    let outside = service.get(&path).await;
    outside.expect_error(403, "M_FORBIDDEN");
    let join = format!("/v3/join/{room}?user_id=@bridge_carol:example.org");
    service.post(&join, json!({})).await.ok();
    let told = service.get(&path).await.ok();
    assert_eq!(told["joined"].as_object().unwrap().len(), 2, "{told}");
}

#[tokio::test]
async fn redacted_state_says_by_what_wherever_it_is_told() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let topic = json!({ "topic": "spam" });
    let set = alice.set(&room, "m.room.topic", "", topic).await;
    let path = format!("/v3/rooms/{room}/redact/{set}/1");
    let redacted = alice.put(&path, json!({})).await.ok();
    let said = alice.say(&room, "hello").await;
    bob.join(&room).await;
    let filter = "filter=%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:1%7D%7D%7D";
    let synced = bob.sync(filter).await;
    let state = &synced["rooms"]["join"][&room]["state"]["events"];
    let path = |rest: &str| format!("/v3/rooms/{room}/{rest}");
    let all = bob.get(&path("state")).await.ok();
    let around = bob
        .get(&path(&format!("context/{said}?limit=0")))
        .await
        .ok();
    for told in [state, &all, &around["state"]] {
        let is_it = |event: &&Value| event["type"] == "m.room.topic";
        let event = told.as_array().unwrap().iter().find(is_it).unwrap();
        let because = &event["unsigned"]["redacted_because"]["event_id"];
        assert_eq!(*because, redacted["event_id"], "{event}");
    }
    let one = bob
        .get(&path("state/m.room.topic/?format=event"))
        .await
        .ok();
    let because = &one["unsigned"]["redacted_because"]["event_id"];
    assert_eq!(*because, redacted["event_id"], "{one}");
}

#[tokio::test]
async fn members_by_state_have_their_names() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", bob.user_id);
    for (who, membership) in [(&alice, "invite"), (&bob, "join")] {
        let body = json!({ "membership": membership });
        who.put(&path, body).await.ok();
        let expected = json!({ "membership": membership, "displayname": "bob" });
        who.get(&path).await.expect(200, expected);
    }
    let named = json!({ "membership": "join", "displayname": "Robert" });
    bob.put(&path, named.clone()).await.ok();
    bob.get(&path).await.expect(200, named);
}
