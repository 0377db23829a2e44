//! `/v1/rooms/{roomId}/threads`.

use serde_json::{Value, json};

use crate::{
    chat::next_batch,
    harness::{Client, TestServer},
    relations::{bodies, relate},
};

#[tokio::test]
async fn threads_with_the_newest_messages_come_first() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let mut roots = Vec::new();
    for name in ["a", "b", "c", "alone"] {
        roots.push(alice.say(&room, name).await);
    }
    let [a, b, c, _] = &roots[..] else {
        unreachable!("there are four")
    };
    for (client, root) in [(&alice, a), (&alice, b), (&bob, c), (&alice, c), (&bob, a)] {
        relate(client, &room, root, "m.thread", "reply").await;
    }
    relate(&alice, &room, b, "m.annotation", "no reply").await;
    let path = format!("/v1/rooms/{room}/threads");
    let all = alice.get(&path).await.ok();
    assert_eq!(bodies(&all), "a c b");
    assert!(all.get("next_batch").is_none());
    let thread = &all["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(
        (&thread["count"], &thread["current_user_participated"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(thread["latest_event"]["sender"], bob.user_id);

    // All roots are alice's; bob wrote in two of the threads.
    for (client, query, expect) in [
        (&alice, "?include=participated", "a c b"),
        (&bob, "?include=participated", "a c"),
        (&bob, "?include=all", "a c b"),
    ] {
        let answer = client.get(&format!("{path}{query}")).await.ok();
        assert_eq!(bodies(&answer), expect, "{query}");
    }
}

#[tokio::test]
async fn each_thread_is_on_one_page() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let mut roots = Vec::new();
    for number in 0..5 {
        roots.push(alice.say(&room, &number.to_string()).await);
    }
    // Newest messages in the order 3 1 4 0 2, with older ones scattered among them.
    for number in [0, 3, 2, 1, 4, 2, 0, 4, 1, 3] {
        relate(&alice, &room, &roots[number], "m.thread", "reply").await;
    }
    let path = format!("/v1/rooms/{room}/threads?limit=2");
    let (mut pages, mut from) = (Vec::new(), String::new());
    loop {
        let page = alice.get(&format!("{path}{from}")).await.ok();
        pages.push(bodies(&page));
        let Some(next) = page["next_batch"].as_str() else {
            break;
        };
        from = format!("&from={next}");
        if pages.len() == 1 {
            // What comes meanwhile does not move threads within the list.
            relate(&alice, &room, &roots[2], "m.thread", "later").await;
        }
    }
    assert_eq!(pages, ["3 1", "4 0", "2"]);
    // A page that is just full is the last one, whatever older messages there are.
    let all = alice
        .get(&format!("/v1/rooms/{room}/threads?limit=5"))
        .await
        .ok();
    assert_eq!(bodies(&all), "2 3 1 4 0");
    assert!(all.get("next_batch").is_none());
}

#[tokio::test]
async fn the_newest_event_of_a_thread_shows_what_became_of_it() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let root = alice.say(&room, "root").await;
    relate(&bob, &room, &root, "m.reference", "see above").await;
    let reply = relate(&alice, &room, &root, "m.thread", "reply").await;
    let edit = relate(&alice, &room, &reply, "m.replace", "edited").await;
    let event = format!("/v3/rooms/{room}/event/{root}");
    let of = |answer: Value| answer["unsigned"]["m.relations"].clone();
    let newest = |relations: &Value| relations["m.thread"]["latest_event"].clone();
    let check = |client: &Client, relations: &Value| {
        let newest = newest(relations);
        assert_eq!(newest["event_id"], reply.as_str(), "{relations}");
        let replaced_by = &newest["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(replaced_by["event_id"], edit.as_str(), "{relations}");
        // The device that sent them knows them by its names for them.
        for event in [&newest, replaced_by] {
            let has_name = event["unsigned"]["transaction_id"].is_string();
            assert_eq!(has_name, client.user_id == alice.user_id, "{event}");
        }
    };
    check(&alice, &of(alice.get(&event).await.ok()));
    check(&bob, &of(bob.get(&event).await.ok()));
    // Those who answered are still there when the root has lost its content.
    relate(&alice, &room, &root, "m.replace", "root edited").await;
    let path = format!("/v3/rooms/{room}/redact/{root}/1");
    alice.put(&path, json!({})).await.ok();
    let relations = of(bob.get(&event).await.ok());
    check(&bob, &relations);
    assert_eq!(relations["m.thread"]["count"], 1);
    assert_eq!(
        relations["m.reference"]["chunk"].as_array().unwrap().len(),
        1
    );
    assert!(relations["m.replace"].is_null(), "{relations}");
}

#[tokio::test]
async fn only_what_one_may_see() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let path = format!("/v1/rooms/{room}/threads");
    bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    for query in ["include=x", "from=x", "limit=0", "limit=x"] {
        let path = format!("{path}?{query}");
        alice.get(&path).await.expect_error(400, "M_INVALID_PARAM");
    }
    let visibility = json!({ "history_visibility": "joined" });
    alice
        .set(&room, "m.room.history_visibility", "", visibility)
        .await;
    let hidden = alice.say(&room, "hidden").await;
    bob.join(&room).await;
    relate(&alice, &room, &hidden, "m.thread", "reply").await;
    let seen = alice.say(&room, "seen").await;
    relate(&alice, &room, &seen, "m.thread", "reply").await;
    relate(&bob, &room, &seen, "m.thread", "own").await;
    assert_eq!(bodies(&bob.get(&path).await.ok()), "seen");
    assert_eq!(bodies(&alice.get(&path).await.ok()), "seen hidden");

    // The thread of somebody ignored is told, but not what they said.
    let ignored = json!({ "ignored_users": { &alice.user_id: {} } });
    let data = format!("/v3/user/{}/account_data/m.ignored_user_list", bob.user_id);
    bob.put(&data, ignored).await.ok();
    let answer = bob.get(&path).await.ok();
    assert_eq!(answer["chunk"][0]["event_id"], seen);
    assert_eq!(answer["chunk"][0]["content"], json!({}));
    let thread = &answer["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 1);
}

/// What is said in a thread by way of something else in it belongs to it too.
#[tokio::test]
async fn what_relates_to_a_thread_is_unread_and_read_in_it() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    bob.join(&room).await;
    let root = alice.say(&room, "root").await;
    let relate = async |who: &Client, kind: &str, relation: Value| {
        let content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
        let sent = who.send_event(&room, kind, content).await.ok();
        sent["event_id"].as_str().unwrap().to_owned()
    };
    let in_thread = json!({ "rel_type": "m.thread", "event_id": root });
    let reply = relate(&alice, "m.room.message", in_thread).await;
    alice.say(&room, "aside").await;
    let reference = json!({ "rel_type": "m.reference", "event_id": reply });
    relate(&alice, "m.room.message", reference).await;
    let filter = "filter=%7B%22room%22:%7B%22timeline%22:%7B\
                  %22unread_thread_notifications%22:true%7D%7D%7D";
    let unread = |told: &Value| {
        let told = &told["rooms"]["join"][&room];
        let main = told["unread_notifications"]["notification_count"].as_u64();
        let thread = &told["unread_thread_notifications"][&root]["notification_count"];
        (main, thread.as_u64())
    };
    let first = bob.sync(filter).await;
    assert_eq!(unread(&first), (Some(2), Some(2)));
    let reaction = json!({ "rel_type": "m.annotation", "event_id": reply, "key": "x" });
    relate(&bob, "m.reaction", reaction).await;
    let query = format!("{filter}&since={}", next_batch(&first));
    assert_eq!(unread(&bob.sync(&query).await), (Some(2), None));
}
