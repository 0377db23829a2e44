//! `GET /sync`: how rooms come and go in it.

use serde_json::{Value, json};

use crate::{
    chat::{check, escape, line, next_batch, rooms},
    harness::TestServer,
};

#[tokio::test]
async fn a_first_sync_tells_the_newest_of_all_rooms() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    check(&rooms(&alice.sync("").await, &[]), "");
    let room = alice.create_public().await;
    alice.say(&room, "hello").await;
    let told = alice.sync("").await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "join room | timeline: create alice:join power_levels join_rules history_visibility \
         guest_access hello",
    );
    let timeline = &told["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["limited"], false);
    assert!(timeline["prev_batch"].is_string());
    assert_eq!(
        told["rooms"]["join"][&room]["summary"]["m.joined_member_count"],
        1
    );
    // Nothing more.
    let after = alice.sync_since(&told).await;
    check(&rooms(&after, &[]), "");
    assert!(after["rooms"].is_null(), "{after}");
}

#[tokio::test]
async fn messages_come_once_and_in_order() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let mut last = bob.sync("").await;
    for number in 0..5 {
        alice.say(&room, &format!("a{number}")).await;
        bob.say(&room, &format!("b{number}")).await;
        last = bob.sync_since(&last).await;
        let told = &last["rooms"]["join"][&room];
        assert_eq!(
            line(&told["timeline"]["events"]),
            format!("a{number} b{number}")
        );
        assert_eq!(line(&told["state"]["events"]), "");
    }
}

#[tokio::test]
async fn a_gap_is_limited_and_its_state_told() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let last = alice.sync("").await;
    bob.join(&room).await;
    alice
        .set(&room, "m.room.name", "", json!({ "name": "one" }))
        .await;
    alice
        .set(&room, "m.room.topic", "", json!({ "topic": "old" }))
        .await;
    for number in 0..3 {
        bob.say(&room, &format!("m{number}")).await;
    }
    alice
        .set(&room, "m.room.name", "", json!({ "name": "two" }))
        .await;
    alice.say(&room, "end").await;
    let filter = escape(r#"{"room":{"timeline":{"limit":3}}}"#);
    let query = format!("since={}&filter={filter}", next_batch(&last));
    let told = alice.sync(&query).await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "join room | state: bob:join name=one topic=old | timeline: m2 name=two end | limited",
    );
    let with_after = format!("{query}&use_state_after=true");
    check(
        &rooms(&alice.sync(&with_after).await, &[(&room, "room")]),
        "join room | state_after: bob:join name=two topic=old | timeline: m2 name=two end \
         | limited",
    );
    // The gap is filled from prev_batch.
    let from = told["rooms"]["join"][&room]["timeline"]["prev_batch"]
        .as_str()
        .unwrap();
    let to = next_batch(&last);
    let gap = alice
        .messages(&room, &format!("dir=b&limit=50&from={from}&to={to}"))
        .await;
    assert_eq!(line(&gap["chunk"]), "m1 m0 topic=old name=one bob:join");
}

#[tokio::test]
async fn state_after_is_told_also_without_a_gap() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let last = alice.sync("").await;
    alice.say(&room, "hello").await;
    alice
        .set(&room, "m.room.name", "", json!({ "name": "new" }))
        .await;
    for (name, part) in [
        ("use_state_after", "state_after"),
        (
            "org.matrix.msc4222.use_state_after",
            "org.matrix.msc4222.state_after",
        ),
    ] {
        let told = alice
            .sync(&format!("since={}&{name}=true", next_batch(&last)))
            .await;
        let told = &told["rooms"]["join"][&room];
        assert_eq!(line(&told[part]["events"]), "name=new");
        assert_eq!(line(&told["timeline"]["events"]), "hello name=new");
        assert!(told["state"].is_null());
    }
}

#[tokio::test]
async fn who_joins_gets_the_room_from_the_beginning() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    for number in 0..12 {
        alice.say(&room, &format!("m{number}")).await;
    }
    let last = bob.sync("").await;
    bob.join(&room).await;
    let told = bob.sync_since(&last).await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "join room | state: create guest_access history_visibility join_rules alice:join \
         power_levels | timeline: m3 m4 m5 m6 m7 m8 m9 m10 m11 bob:join | limited",
    );
}

#[tokio::test]
async fn who_comes_back_gets_the_room_anew() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    let last = bob.sync("").await;
    check(&rooms(&last, &[]), "");
    alice.say(&room, "while away").await;
    bob.join(&room).await;
    alice.say(&room, "welcome").await;
    let told = bob.sync_since(&last).await;
    let told = &told["rooms"]["join"][&room];
    assert_eq!(told["timeline"]["limited"], true);
    assert!(line(&told["timeline"]["events"]).ends_with("bob:leave while away bob:join welcome"));
    // What was said while they were away is no news to be notified of.
    assert_eq!(told["unread_notifications"]["notification_count"], 1);
}

#[tokio::test]
async fn leaving_and_coming_back_between_two_syncs_goes_on() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let last = bob.sync("").await;
    bob.leave(&room).await;
    alice.say(&room, "between").await;
    bob.join(&room).await;
    check(
        &rooms(&bob.sync_since(&last).await, &[(&room, "room")]),
        "join room | timeline: bob:leave between bob:join | ephemeral: typing[]",
    );
}

#[tokio::test]
async fn invites_come_with_what_describes_the_room() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let last = bob.sync("").await;
    let body = json!({
        "preset": "private_chat", "name": "Plans", "topic": "Secret", "is_direct": true,
        "invite": [bob.user_id],
    });
    let room = alice.create(body).await;
    alice.say(&room, "not for you yet").await;
    let told = bob.sync_since(&last).await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "invite room | invite_state: create name=Plans topic=Secret join_rules alice:join \
         bob:invite",
    );
    let events = told["rooms"]["invite"][&room]["invite_state"]["events"]
        .as_array()
        .unwrap();
    for event in events {
        let keys: Vec<_> = event.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["content", "sender", "state_key", "type"]);
    }
    assert_eq!(events.last().unwrap()["content"]["is_direct"], true);
    // Once, and again in a first sync.
    check(&rooms(&bob.sync_since(&told).await, &[]), "");
    assert!(rooms(&bob.sync("").await, &[(&room, "room")]).starts_with("invite room"));
    // Refused.
    bob.leave(&room).await;
    check(
        &rooms(&bob.sync_since(&told).await, &[(&room, "room")]),
        "leave room | timeline: bob:leave",
    );
    let query = format!("since={}&use_state_after=true", next_batch(&told));
    check(
        &rooms(&bob.sync(&query).await, &[(&room, "room")]),
        "leave room | state_after: bob:leave | timeline: bob:leave",
    );
}

#[tokio::test]
async fn an_invite_that_is_taken_back_goes() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create(json!({ "invite": [bob.user_id] })).await;
    let last = bob.sync("").await;
    alice.act_on(&room, "kick", &bob).await.ok();
    check(
        &rooms(&bob.sync_since(&last).await, &[(&room, "room")]),
        "leave room | timeline: bob:leave",
    );
}

#[tokio::test]
async fn knocks_are_told_to_who_knocks_and_who_is_in() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice
        .create(json!({ "name": "Door", "initial_state": rules }))
        .await;
    let (of_alice, of_bob) = (alice.sync("").await, bob.sync("").await);
    bob.post(&format!("/v3/knock/{room}"), json!({ "reason": "hi" }))
        .await
        .ok();
    let told = bob.sync_since(&of_bob).await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "knock room | knock_state: create name=Door join_rules bob:knock",
    );
    check(
        &rooms(&alice.sync_since(&of_alice).await, &[(&room, "room")]),
        "join room | timeline: bob:knock",
    );
    alice.act_on(&room, "kick", &bob).await.ok();
    check(
        &rooms(&bob.sync_since(&told).await, &[(&room, "room")]),
        "leave room | timeline: bob:leave",
    );
}

#[tokio::test]
async fn who_is_removed_sees_it_and_what_came_before() {
    for (what, end) in [("kick", "leave"), ("ban", "ban")] {
        let server = TestServer::start().await;
        let alice = server.user("alice").await;
        let bob = server.user("bob").await;
        let room = alice.create_public().await;
        bob.join(&room).await;
        let last = bob.sync("").await;
        alice.say(&room, "before").await;
        alice
            .set(&room, "m.room.name", "", json!({ "name": "Inner circle" }))
            .await;
        alice.act_on(&room, what, &bob).await.ok();
        alice.say(&room, "after").await;
        check(
            &rooms(&bob.sync_since(&last).await, &[(&room, "room")]),
            &format!("leave room | timeline: before name=Inner circle bob:{end}"),
        );
        let query = format!("since={}&use_state_after=true", next_batch(&last));
        check(
            &rooms(&bob.sync(&query).await, &[(&room, "room")]),
            &format!(
                "leave room | state_after: bob:{end} name=Inner circle \
                 | timeline: before name=Inner circle bob:{end}"
            ),
        );
        let filter = escape(r#"{"room":{"timeline":{"limit":1}}}"#);
        let query = format!("since={}&filter={filter}", next_batch(&last));
        check(
            &rooms(&bob.sync(&query).await, &[(&room, "room")]),
            &format!("leave room | state: name=Inner circle | timeline: bob:{end} | limited"),
        );
    }
}

/// Who leaves and is banned then hears what changed while they were in, and nothing after.
#[tokio::test]
async fn who_is_banned_after_leaving_sees_what_came_before() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let since = bob.sync("").await;
    let name = |name: &str| json!({ "name": name });
    alice.set(&room, "m.room.name", "", name("within")).await;
    for number in 0..10 {
        alice.say(&room, &number.to_string()).await;
    }
    bob.leave(&room).await;
    alice
        .set(&room, "m.room.topic", "", json!({ "topic": "too late" }))
        .await;
    alice.act_on(&room, "ban", &bob).await.ok();
    let filter = escape(r#"{"room":{"timeline":{"limit":3}}}"#);
    for (after, key) in [("", "state"), ("&use_state_after=true", "state_after")] {
        let query = format!("filter={filter}{after}&since={}", next_batch(&since));
        let told = bob.sync(&query).await;
        let left = &told["rooms"]["leave"][&room];
        let text = left.to_string();
        assert!(
            text.contains("within") && !text.contains("too late"),
            "{key}: {left}"
        );
        let own = |event: &&Value| event["state_key"] == bob.user_id.as_str();
        let timeline = left["timeline"]["events"].as_array().unwrap();
        let last = timeline.iter().rev().find(own).unwrap();
        assert_eq!(last["content"]["membership"], "ban");
        let state = left[key]["events"].as_array().unwrap();
        if key == "state_after" {
            let own = state.iter().find(own).unwrap();
            assert_eq!(own["content"]["membership"], "ban");
        }
    }
}

#[tokio::test]
async fn who_is_removed_learns_by_whom_though_members_are_lazy() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let carol = server.user("carol").await;
    let levels = json!({ "users": { carol.user_id.as_str(): 50 } });
    let body = json!({ "preset": "public_chat", "name": "Hall",
        "power_level_content_override": levels });
    let room = alice.create(body).await;
    carol.join(&room).await;
    bob.join(&room).await;
    alice.say(&room, "hello").await;
    let filter = escape(r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}"#);
    let since = bob.sync(&format!("filter={filter}")).await;
    let state = since["rooms"]["join"][&room]["state"].to_string();
    assert!(!state.contains("\"carol\""), "{state}");
    carol.act_on(&room, "kick", &bob).await.ok();
    let query = format!("filter={filter}&since={}", next_batch(&since));
    let told = bob.sync(&query).await;
    let state = &told["rooms"]["leave"][&room]["state"]["events"];
    assert_eq!(line(state), "carol:join", "{told}");
}

#[tokio::test]
async fn rooms_left_long_ago_are_told_on_request() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    check(&rooms(&bob.sync("").await, &[]), "");
    let filter = escape(r#"{"room":{"include_leave":true,"timeline":{"limit":2}}}"#);
    let query = format!("filter={filter}");
    check(
        &rooms(&bob.sync(&query).await, &[(&room, "room")]),
        "leave room | state: create guest_access history_visibility join_rules alice:join \
         power_levels | timeline: bob:join bob:leave | limited",
    );
    bob.act(&room, "forget", json!({}))
        .await
        .expect(200, json!({}));
    check(&rooms(&bob.sync(&query).await, &[]), "");
}

#[tokio::test]
async fn another_device_learns_of_a_room_left_and_forgotten() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let phone = server.log_in("alice").await;
    let room = alice.create_public().await;
    let last = phone.sync("").await;
    alice.leave(&room).await;
    alice.act(&room, "forget", json!({})).await.ok();
    let told = phone.sync_since(&last).await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "leave room | timeline: alice:leave",
    );
    check(&rooms(&phone.sync_since(&told).await, &[]), "");
}

#[tokio::test]
async fn full_state_tells_everything_again() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let last = alice.sync("").await;
    let query = format!("since={}&full_state=true", next_batch(&last));
    check(
        &rooms(&alice.sync(&query).await, &[(&room, "room")]),
        "join room | state: create guest_access history_visibility join_rules alice:join \
         power_levels",
    );
    alice
        .set(&room, "m.room.name", "", json!({ "name": "x" }))
        .await;
    check(
        &rooms(&alice.sync(&query).await, &[(&room, "room")]),
        "join room | state: create guest_access history_visibility join_rules alice:join \
         power_levels | timeline: name=x",
    );
}

#[tokio::test]
async fn members_come_when_they_matter_to_lazy_clients() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let room = alice
        .create(json!({ "preset": "public_chat", "name": "Hall" }))
        .await;
    bob.join(&room).await;
    carol.join(&room).await;
    for number in 0..3 {
        alice.say(&room, &format!("a{number}")).await;
    }
    let filter = escape(r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":2}}}"#);
    let told = carol.sync(&format!("filter={filter}")).await;
    check(
        &line(&told["rooms"]["join"][&room]["state"]["events"]),
        "create guest_access history_visibility join_rules alice:join carol:join name=Hall \
         power_levels",
    );
    bob.say(&room, "b0").await;
    let query = format!("since={}&filter={filter}", next_batch(&told));
    let told = carol.sync(&query).await;
    check(
        &rooms(&told, &[(&room, "room")]),
        "join room | state: bob:join | timeline: b0 | unread 4/0",
    );
    bob.say(&room, "b1").await;
    alice.say(&room, "a3").await;
    let query = format!("since={}&filter={filter}", next_batch(&told));
    check(
        &rooms(&carol.sync(&query).await, &[(&room, "room")]),
        "join room | timeline: b1 a3 | unread 6/0",
    );
}

#[tokio::test]
async fn filters_choose_rooms_and_events() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let one = alice.create(json!({ "name": "one" })).await;
    let two = alice.create(json!({ "name": "two" })).await;
    alice.say(&one, "hello").await;
    let sync = async |filter: Value| {
        let filter = escape(&filter.to_string());
        rooms(
            &alice.sync(&format!("filter={filter}")).await,
            &[(&one, "one"), (&two, "two")],
        )
    };
    let state = "create guest_access history_visibility join_rules alice:join name=one \
                 power_levels";
    check(
        &sync(json!({ "room": { "rooms": [one], "timeline": { "limit": 0 } } })).await,
        &format!("join one | state: {state} | limited"),
    );
    check(
        &sync(json!({ "room": {
            "not_rooms": [two], "timeline": { "types": ["m.room.message"] },
        } }))
        .await,
        &format!("join one | state: {state} | timeline: hello"),
    );
    check(
        &sync(json!({ "room": {
            "rooms": [one],
            "state": { "types": ["m.room.name"] },
            "timeline": { "not_types": ["m.room.*"] },
        } }))
        .await,
        "join one | state: name=one",
    );
    // A kept filter.
    let path = format!("/v3/user/{}/filter", alice.user_id);
    let kept = alice
        .post(&path, json!({ "room": { "rooms": [two] } }))
        .await
        .ok();
    let id = kept["filter_id"].as_str().unwrap();
    let told = alice.sync(&format!("filter={id}")).await;
    assert!(rooms(&told, &[(&two, "two")]).starts_with("join two"));
    let wrong = alice.get("/v3/sync?filter=nope").await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let wrong = alice.get("/v3/sync?filter=%7B%22room%22:1%7D").await;
    wrong.expect_error(400, "M_BAD_JSON");
    let deep = escape(&format!("{}{}", "{\"room\":".repeat(200), "}".repeat(200)));
    alice
        .get(&format!("/v3/sync?filter={deep}"))
        .await
        .expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn tokens_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for token in [
        "x",
        "s",
        "s-1",
        "s%2B1",
        "s18446744073709551616",
        "t1",
        "t1_",
    ] {
        let answer = alice.get(&format!("/v3/sync?since={token}")).await;
        answer.expect_error(400, "M_INVALID_PARAM");
    }
    alice
        .get("/v3/sync?since=s1000000")
        .await
        .expect_error(400, "M_UNKNOWN_POS");
    alice
        .get("/v3/sync?timeout=soon")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    alice
        .get("/v3/sync?set_presence=maybe")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    server
        .anonymous()
        .get("/v3/sync")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn those_who_are_ignored_are_not_heard() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let path = format!(
        "/v3/user/{}/account_data/m.ignored_user_list",
        alice.user_id
    );
    let ignored = json!({ "ignored_users": { bob.user_id.as_str(): {} } });
    alice.put(&path, ignored).await.ok();
    let last = alice.sync("").await;
    bob.say(&room, "psst").await;
    bob.set(
        &room,
        "m.room.member",
        &bob.user_id,
        json!({ "membership": "leave" }),
    )
    .await;
    let other = bob.create(json!({ "invite": [alice.user_id] })).await;
    check(
        &rooms(
            &alice.sync_since(&last).await,
            &[(&room, "room"), (&other, "other")],
        ),
        "join room | timeline: bob:leave",
    );
    let messages = alice.messages(&room, "dir=b&limit=2").await;
    assert_eq!(line(&messages["chunk"]), "bob:leave bob:join");
}

#[tokio::test]
async fn redactions_take_away_what_was_said() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let said = alice.say(&room, "oops").await;
    let last = alice.sync("").await;
    let path = format!("/v3/rooms/{room}/redact/{said}/r1");
    let redacted = alice.put(&path, json!({ "reason": "typo" })).await.ok();
    // The same again.
    alice
        .put(&path, json!({ "reason": "typo" }))
        .await
        .expect(200, redacted.clone());
    let told = alice.sync_since(&last).await;
    let events = &told["rooms"]["join"][&room]["timeline"]["events"];
    assert_eq!(line(events), "redaction");
    assert_eq!(events[0]["redacts"], said.as_str());
    assert_eq!(events[0]["content"]["redacts"], said.as_str());
    assert_eq!(events[0]["unsigned"]["transaction_id"], "r1");
    let event = alice
        .get(&format!("/v3/rooms/{room}/event/{said}"))
        .await
        .ok();
    assert_eq!(event["content"], json!({}));
    assert_eq!(
        event["unsigned"]["redacted_because"]["event_id"],
        redacted["event_id"]
    );
    let told = alice.sync("").await;
    let events = told["rooms"]["join"][&room]["timeline"]["events"]
        .as_array()
        .unwrap();
    assert_eq!(events[events.len() - 2]["content"], json!({}));
}

#[tokio::test]
async fn transaction_ids_are_for_the_device_that_sent() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let phone = server.log_in("alice").await;
    let room = alice.create_public().await;
    let body = json!({ "msgtype": "m.text", "body": "hi" });
    let path = format!("/v3/rooms/{room}/send/m.room.message/same");
    let first = alice.put(&path, body.clone()).await.ok();
    alice
        .put(&path, body.clone())
        .await
        .expect(200, first.clone());
    let second = phone.put(&path, body.clone()).await.ok();
    assert_ne!(first, second);
    for (client, own) in [(&alice, &first), (&phone, &second)] {
        let told = client.sync("").await;
        let events = told["rooms"]["join"][&room]["timeline"]["events"]
            .as_array()
            .unwrap();
        let named: Vec<_> = events
            .iter()
            .filter(|event| event["unsigned"]["transaction_id"] == "same")
            .map(|event| &event["event_id"])
            .collect();
        assert_eq!(named, [&own["event_id"]]);
    }
    // However much was said meanwhile.
    for _ in 0..80 {
        phone.say(&room, "more").await;
    }
    let event = format!(
        "/v3/rooms/{room}/event/{}",
        first["event_id"].as_str().unwrap()
    );
    let shown = alice.get(&event).await.ok();
    assert_eq!(shown["unsigned"]["transaction_id"], "same");
    let shown = phone.get(&event).await.ok();
    assert!(shown["unsigned"]["transaction_id"].is_null());
    // What was granted stays granted.
    alice.leave(&room).await;
    alice.put(&path, body.clone()).await.expect(200, first);
    let path = format!("/v3/rooms/{room}/send/m.room.message/other");
    alice
        .put(&path, body)
        .await
        .expect_error(403, "M_FORBIDDEN");
}
