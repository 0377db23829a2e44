//! Reading the past: `/rooms/{roomId}/{messages,context,event}`, and who may see what.

use serde_json::{Value, json};

use crate::{
    chat::{check, escape, line, next_batch},
    harness::{Client, TestServer},
};

#[tokio::test]
async fn pages_in_both_directions() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create(json!({})).await;
    for number in 0..7 {
        alice.say(&room, &format!("m{number}")).await;
    }
    let mut from = String::new();
    let mut pages = Vec::new();
    loop {
        let page = alice.messages(&room, &format!("dir=b&limit=4{from}")).await;
        let Some(end) = page["end"].as_str() else {
            assert_eq!(page["chunk"], json!([]));
            break;
        };
        from = format!("&from={end}");
        pages.push(line(&page["chunk"]));
        // What comes meanwhile changes nothing.
        alice.say(&room, "later").await;
    }
    check(
        &pages.join("\n"),
        "m6 m5 m4 m3
         m2 m1 m0 guest_access
         history_visibility join_rules power_levels alice:join
         create",
    );
    let page = alice.messages(&room, "dir=f&limit=8").await;
    check(
        &line(&page["chunk"]),
        "create alice:join power_levels join_rules history_visibility guest_access m0 m1",
    );
    let end = page["end"].as_str().unwrap();
    let page = alice
        .messages(&room, &format!("dir=f&limit=3&from={end}"))
        .await;
    check(&line(&page["chunk"]), "m2 m3 m4");
    assert_eq!(page["start"], end);
    let back = page["end"].as_str().unwrap();
    let page = alice
        .messages(&room, &format!("dir=b&limit=9&from={back}&to={end}"))
        .await;
    check(&line(&page["chunk"]), "m4 m3 m2");
    let reached = page["end"].as_str().unwrap();
    let page = alice
        .messages(&room, &format!("dir=b&limit=9&from={reached}&to={end}"))
        .await;
    assert_eq!(page["chunk"], json!([]));
    assert!(page["end"].is_null());
    let page = alice
        .messages(&room, &format!("dir=f&limit=9&from={end}&to={back}"))
        .await;
    check(&line(&page["chunk"]), "m2 m3 m4");
    // From a token of /sync.
    let told = alice.sync("").await;
    alice.say(&room, "after").await;
    let token = next_batch(&told);
    let page = alice.messages(&room, &format!("dir=f&from={token}")).await;
    check(&line(&page["chunk"]), "after");
    let page = alice
        .messages(&room, &format!("dir=b&from={token}&limit=1"))
        .await;
    check(&line(&page["chunk"]), "later");
}

#[tokio::test]
async fn filters_of_history() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let root = alice.say(&room, "root").await;
    bob.say(&room, "other").await;
    let reply = json!({
        "body": "reply", "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    bob.send_event(&room, "m.room.message", reply).await.ok();
    alice
        .send_event(
            &room,
            "m.room.message",
            json!({ "body": "file", "url": "mxc://a/b" }),
        )
        .await;
    bob.leave(&room).await;
    let read = async |filter: Value| {
        let filter = escape(&filter.to_string());
        let page = alice
            .messages(&room, &format!("dir=b&limit=50&filter={filter}"))
            .await;
        (line(&page["chunk"]), line(&page["state"]))
    };
    let kinds = json!({ "types": ["m.room.message"], "lazy_load_members": true });
    let (chunk, state) = read(kinds).await;
    assert_eq!(chunk, "file reply other root");
    // As they were then.
    assert_eq!(state, "alice:join bob:join");
    let bobs = json!({ "senders": [bob.user_id], "types": ["m.room.message"] });
    assert_eq!(read(bobs).await.0, "reply other");
    assert_eq!(read(json!({ "contains_url": true })).await.0, "file");
    assert_eq!(
        read(json!({ "related_by_rel_types": ["m.thread"] }))
            .await
            .0,
        "root"
    );
    let by_alice = json!({ "related_by_senders": [alice.user_id] });
    assert_eq!(read(by_alice).await.0, "");
    assert_eq!(read(json!({ "not_types": ["*"] })).await.0, "");
}

#[tokio::test]
async fn wrong_questions_about_the_past() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let ask = async |client: &Client, query: &str| {
        client
            .get(&format!("/v3/rooms/{room}/messages{query}"))
            .await
    };
    ask(&alice, "").await.expect_error(400, "M_MISSING_PARAM");
    // Who may not read learns that first.
    ask(&bob, "").await.expect_error(403, "M_FORBIDDEN");
    ask(&alice, "?dir=up")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    ask(&alice, "?dir=b&from=x")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    ask(&alice, "?dir=b&to=x")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    ask(&alice, "?dir=b&limit=-1")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    ask(&alice, "?dir=b&filter=x")
        .await
        .expect_error(400, "M_BAD_JSON");
    ask(&bob, "?dir=b").await.expect_error(403, "M_FORBIDDEN");
    assert_eq!(ask(&alice, "?dir=b&limit=0").await.ok()["chunk"], json!([]));
    let newest = ask(&alice, "?dir=b&from=&to=").await.ok();
    assert_eq!(newest["chunk"], ask(&alice, "?dir=b").await.ok()["chunk"]);
    assert_eq!(ask(&alice, "?dir=b&limit=99999").await.status, 200);
    let unknown = alice
        .get("/v3/rooms/!none:example.org/messages?dir=b")
        .await;
    unknown.expect_error(403, "M_FORBIDDEN");
}

/// What somebody sees of a room whose history has a visibility: said before they were invited,
/// while invited, while a member, and after; asked as a member, and after having left.
async fn seen(visibility: &str) -> String {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let room = alice
        .create(json!({ "initial_state": [{
        "type": "m.room.history_visibility", "content": { "history_visibility": visibility },
    }] }))
        .await;
    let read = async |client: &Client| {
        let filter = escape(r#"{"types":["m.room.message"]}"#);
        let path = format!("/v3/rooms/{room}/messages?dir=f&limit=50&filter={filter}");
        let answer = client.get(&path).await;
        match answer.status {
            200 => line(&answer.body["chunk"]),
            403 => "refused".to_owned(),
            status => format!("{status}"),
        }
    };
    let before = alice.say(&room, "before").await;
    alice.act_on(&room, "invite", &bob).await.ok();
    let invited = alice.say(&room, "invited").await;
    let mut lines = vec![format!("invited: {}", read(&bob).await)];
    for (name, event) in [("before", &before), ("since", &invited)] {
        let event = bob.get(&format!("/v3/rooms/{room}/event/{event}")).await;
        lines.push(format!("{name}: {}", event.status));
    }
    bob.join(&room).await;
    alice.say(&room, "joined").await;
    lines.push(format!("in: {}", read(&bob).await));
    bob.leave(&room).await;
    let after = alice.say(&room, "after").await;
    lines.push(format!("left: {}", read(&bob).await));
    for (name, event) in [("before", &before), ("after", &after)] {
        let event = bob.get(&format!("/v3/rooms/{room}/event/{event}")).await;
        let context = bob
            .get(&format!(
                "/v3/rooms/{room}/context/{}",
                event.body["event_id"].as_str().unwrap_or("$x")
            ))
            .await;
        lines.push(format!("{name}: {} {}", event.status, context.status));
    }
    lines.push(format!("stranger: {}", read(&carol).await));
    alice.act_on(&room, "invite", &bob).await.ok();
    bob.join(&room).await;
    lines.push(format!("again: {}", read(&bob).await));
    lines.join("\n")
}

#[tokio::test]
async fn history_is_shown_to_whom_it_may() {
    check(
        &seen("world_readable").await,
        "invited: before invited
         before: 200
         since: 200
         in: before invited joined
         left: before invited joined after
         before: 200 200
         after: 200 200
         stranger: before invited joined after
         again: before invited joined after",
    );
    check(
        &seen("shared").await,
        "invited: refused
         before: 404
         since: 404
         in: before invited joined
         left: before invited joined
         before: 200 200
         after: 404 404
         stranger: refused
         again: before invited joined after",
    );
    check(
        &seen("invited").await,
        "invited: refused
         before: 404
         since: 200
         in: invited joined
         left: invited joined
         before: 404 404
         after: 404 404
         stranger: refused
         again: invited joined",
    );
    check(
        &seen("joined").await,
        "invited: refused
         before: 404
         since: 404
         in: joined
         left: joined
         before: 404 404
         after: 404 404
         stranger: refused
         again: joined",
    );
}

#[tokio::test]
async fn events_tell_what_their_reader_was_then() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    alice.say(&room, "before").await;
    alice.act_on(&room, "invite", &bob).await.ok();
    alice.say(&room, "invited").await;
    bob.join(&room).await;
    alice.say(&room, "joined").await;
    let memberships = |events: &Value| {
        let events = events.as_array().unwrap().iter();
        let of = |event: &Value| {
            event["unsigned"]["membership"]
                .as_str()
                .unwrap_or("-")
                .to_owned()
        };
        events.map(of).collect::<Vec<_>>().join(" ")
    };
    let page = bob.messages(&room, "dir=b&limit=6").await;
    let expect = "join join invite invite leave leave";
    assert_eq!(
        memberships(&page["chunk"]),
        expect,
        "{}",
        line(&page["chunk"])
    );
    // An empty token is none.
    let same = bob.messages(&room, "dir=b&limit=6&from=").await;
    assert_eq!(line(&same["chunk"]), line(&page["chunk"]));
    let told = bob.sync("").await;
    let timeline = &told["rooms"]["join"][&room]["timeline"]["events"];
    let expect = "leave leave invite invite join join";
    assert!(memberships(timeline).ends_with(expect), "{timeline}");
    bob.leave(&room).await;
    let told = bob.sync_since(&told).await;
    let timeline = &told["rooms"]["leave"][&room]["timeline"]["events"];
    assert_eq!(memberships(timeline), "leave");
    let filter = escape(r#"{"room":{"include_leave":true}}"#);
    let told = bob.sync(&format!("filter={filter}")).await;
    let timeline = &told["rooms"]["leave"][&room]["timeline"]["events"];
    let expect = "leave leave invite invite join join leave";
    assert!(memberships(timeline).ends_with(expect), "{timeline}");
}

#[tokio::test]
async fn a_lifted_ban_gives_back_what_was_seen_before() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    alice.say(&room, "seen").await;
    bob.leave(&room).await;
    alice.say(&room, "not seen").await;
    alice.act_on(&room, "ban", &bob).await.ok();
    alice.act_on(&room, "unban", &bob).await.ok();
    let page = bob.messages(&room, "dir=b&limit=2").await;
    assert_eq!(line(&page["chunk"]), "bob:leave seen");
}

#[tokio::test]
async fn an_event_with_what_is_around_it() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice
        .create(json!({ "preset": "public_chat", "name": "Hall" }))
        .await;
    bob.join(&room).await;
    alice.say(&room, "m1").await;
    let middle = alice.say(&room, "m2").await;
    alice.say(&room, "m3").await;
    alice.say(&room, "m4").await;
    let path = format!("/v3/rooms/{room}/context/{middle}");
    let around = alice.get(&format!("{path}?limit=3")).await.ok();
    assert_eq!(line(&around["events_before"]), "m1");
    assert_eq!(around["event"]["event_id"], middle.as_str());
    assert_eq!(line(&around["events_after"]), "m3 m4");
    let state = "create guest_access history_visibility join_rules alice:join bob:join name=Hall \
                 power_levels";
    check(&line(&around["state"]), state);
    let (start, end) = (
        around["start"].as_str().unwrap(),
        around["end"].as_str().unwrap(),
    );
    let page = alice
        .messages(&room, &format!("dir=b&limit=1&from={start}"))
        .await;
    assert_eq!(line(&page["chunk"]), "bob:join");
    alice.say(&room, "m5").await;
    let page = alice
        .messages(&room, &format!("dir=f&limit=1&from={end}"))
        .await;
    assert_eq!(line(&page["chunk"]), "m5");
    let filter = escape(r#"{"lazy_load_members":true}"#);
    let around = alice
        .get(&format!("{path}?limit=2&filter={filter}"))
        .await
        .ok();
    check(&line(&around["state"]), &state.replace("bob:join ", ""));
    let around = alice.get(&format!("{path}?limit=0")).await.ok();
    assert_eq!(
        (&around["events_before"], &around["events_after"]),
        (&json!([]), &json!([]))
    );
    let unknown = alice.get(&format!("/v3/rooms/{room}/context/$none")).await;
    unknown.expect_error(404, "M_NOT_FOUND");
    let elsewhere = alice.create(json!({})).await;
    let wrong = alice
        .get(&format!("/v3/rooms/{elsewhere}/event/{middle}"))
        .await;
    wrong.expect_error(404, "M_NOT_FOUND");
}

/// nheko throws a page without an end away; the page after the last event is empty and has none.
#[tokio::test]
async fn a_page_with_events_has_an_end() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    for direction in ["b", "f"] {
        let path = format!("/v3/rooms/{room}/messages?limit=80&dir={direction}");
        let page = alice.get(&path).await.ok();
        assert!(!page["chunk"].as_array().unwrap().is_empty());
        let end = page["end"].as_str().unwrap();
        let after = alice.get(&format!("{path}&from={end}")).await.ok();
        assert_eq!(after["chunk"], json!([]), "{direction}");
        assert!(after.get("end").is_none(), "{direction}: {after}");
    }
}

/// Clients send a parameter without a value where they have none yet.
#[tokio::test]
async fn empty_parameters_are_none() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    for path in [
        format!("/v1/mutual_rooms?from=&user_id={}", bob.user_id),
        format!("/v1/rooms/{room}/hierarchy?from="),
        format!("/v1/rooms/{room}/threads?from="),
        format!("/v3/rooms/{room}/members?membership=&not_membership="),
    ] {
        alice.get(&path).await.ok();
    }
}

/// Delayed events (MSC4140) are not there: what is to be sent later is not sent at once.
#[tokio::test]
async fn what_shall_be_delayed_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    for path in ["send/m.room.message/1", "state/com.x/"] {
        let path = format!("/v3/rooms/{room}/{path}?org.matrix.msc4140.delay=100000");
        let answer = alice
            .put(&path, json!({ "msgtype": "m.text", "body": "later" }))
            .await;
        answer.expect_error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn the_invited_see_what_was_sent_since() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let visibility = json!({
        "type": "m.room.history_visibility",
        "content": { "history_visibility": "invited" },
    });
    let room = alice.create(json!({ "initial_state": [visibility] })).await;
    let before = alice.say(&room, "before").await;
    alice.act_on(&room, "invite", &bob).await.ok();
    let since = alice.say(&room, "since").await;
    let context = async |event_id: &str| {
        bob.get(&format!("/v3/rooms/{room}/context/{event_id}"))
            .await
    };
    let told = context(&since).await.ok();
    assert_eq!(told["event"]["content"]["body"], "since");
    assert!(!told.to_string().contains(&before), "{told}");
    context(&before).await.expect_error(403, "M_FORBIDDEN");
}
