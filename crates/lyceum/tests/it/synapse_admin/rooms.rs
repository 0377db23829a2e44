//! Rooms: read, ruled, deleted, purged.

use serde_json::{Value, json};

use super::{Scene, id, keys};

use crate::process::{SERVER_NAME, php};

#[test]
fn rooms_are_read_and_ruled() {
    let scene = Scene::start();
    let alice = php(&id("alice"));
    let room = scene.room(
        &scene.alice,
        &json!({ "name": "Music", "topic": "Theory", "preset": "private_chat" }),
    );
    let other = scene.room(
        &scene.alice,
        &json!({ "name": "Art", "preset": "public_chat" }),
    );
    let said = scene.say(&scene.alice, &room, "1", "hello");
    let one = format!("/v1/rooms/{}", php(&room));

    let list = scene.ok("GET", "/v1/rooms?limit=1&order_by=name", "");
    assert_eq!(list["rooms"][0]["name"], json!("Art"));
    assert_eq!(
        (&list["offset"], &list["total_rooms"], &list["next_batch"]),
        (&json!(0), &json!(2), &json!(1))
    );
    assert_eq!(
        keys(&list["rooms"][0]),
        [
            "canonical_alias",
            "creator",
            "encryption",
            "federatable",
            "guest_access",
            "history_visibility",
            "join_rules",
            "joined_local_members",
            "joined_members",
            "name",
            "public",
            "room_id",
            "room_type",
            "state_events",
            "version"
        ]
    );
    let list = scene.ok("GET", "/v1/rooms?from=1&search_term=mus", "");
    assert_eq!(
        (&list["total_rooms"], &list["prev_batch"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        scene.ok("GET", &format!("{one}/members"), ""),
        json!({ "members": [id("alice")], "total": 1 })
    );
    let state = scene.ok("GET", &format!("{one}/state?type=m.room.name"), "");
    assert_eq!(state["state"][0]["content"], json!({ "name": "Music" }));
    let messages = scene.ok("GET", &format!("{one}/messages?dir=b&limit=1"), "");
    assert_eq!(messages["chunk"][0]["event_id"], json!(said));
    let end = messages["end"].as_str().unwrap();
    let before = scene.ok(
        "GET",
        &format!("{one}/messages?dir=b&limit=1&from={end}"),
        "",
    );
    assert_ne!(before["chunk"][0]["event_id"], json!(said));
    let all = scene.ok("GET", &format!("{one}/messages?dir=b&limit=500"), "");
    let end = all["end"].as_str().unwrap();
    let past = scene.ok("GET", &format!("{one}/messages?dir=b&from={end}"), "");
    assert_eq!((&past["chunk"], &past["end"]), (&json!([]), &Value::Null));
    let context = scene.ok("GET", &format!("{one}/context/{}?limit=2", php(&said)), "");
    assert_eq!(context["event"]["content"]["body"], json!("hello"));
    assert_eq!(
        keys(&context),
        [
            "end",
            "event",
            "events_after",
            "events_before",
            "start",
            "state"
        ]
    );
    // A filter holds for the state too.
    let state_of = |filter: &str| -> Vec<String> {
        let path = format!("{one}/context/{}?filter={}", php(&said), php(filter));
        let context = scene.ok("GET", &path, "");
        let state = context["state"].as_array().unwrap().iter();
        state
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(state_of(r#"{"types":["m.room.name"]}"#), ["m.room.name"]);
    assert!(!state_of(r#"{"not_types":["m.room.name"]}"#).contains(&"m.room.name".to_owned()));
    let found = scene.ok("GET", &format!("{one}/timestamp_to_event?ts=0&dir=f"), "");
    assert_eq!(keys(&found), ["event_id", "origin_server_ts"]);
    let fetched = scene.ok("GET", &format!("/v1/fetch_event/{}", php(&said)), "");
    assert_eq!(fetched["event"]["event_id"], json!(said));
    assert!(fetched["event"]["hashes"].is_object());
    let space = scene.room(
        &scene.alice,
        &json!({ "creation_content": { "type": "m.space" } }),
    );
    let child = format!("/rooms/{}/state/m.space.child/{}", php(&space), php(&room));
    scene.client(
        &scene.alice,
        "PUT",
        &child,
        &json!({ "via": [SERVER_NAME] }),
    );
    let tree = scene.ok("GET", &format!("/v1/rooms/{}/hierarchy", php(&space)), "");
    assert_eq!(tree["rooms"].as_array().unwrap().len(), 2);
    assert_eq!(
        tree["rooms"][0]["children_state"][0]["state_key"],
        json!(room)
    );
    let heads = scene.ok("GET", &format!("{one}/forward_extremities"), "");
    assert_eq!(
        (&heads["count"], &heads["results"][0]["event_id"]),
        (&json!(1), &json!(said))
    );
    assert_eq!(
        scene.ok("DELETE", &format!("{one}/forward_extremities"), ""),
        json!({ "deleted": 0 })
    );

    // A room that nobody knows has no heads and no events.
    let unknown = format!("/v1/rooms/{}", php("!nowhere:moodle.test"));
    assert_eq!(
        scene.ok("GET", &format!("{unknown}/forward_extremities"), ""),
        json!({ "count": 0, "results": [] })
    );
    for unknown in [&*unknown, "/v1/rooms/nonsense"] {
        for direction in ["b", "f"] {
            let path = format!("{unknown}/messages?dir={direction}");
            let none = scene.ok("GET", &path, "");
            assert_eq!(none["chunk"], json!([]));
            assert!(none["start"].is_string() && none["end"].is_null(), "{none}");
        }
    }

    // The admin gets into the room, and power in it.
    scene.ok("POST", &format!("{one}/make_room_admin"), "{}");
    let joined = scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&room)),
        &json!({}),
    );
    assert_eq!(joined.status, 200, "{joined:?}");
    let levels = format!("/rooms/{}/state/m.room.power_levels", php(&room));
    let levels = scene
        .client(&scene.admin, "GET", &levels, &json!({}))
        .json();
    assert_eq!(levels["users"][id("hsadmin")], json!(100));
    let name = format!("/rooms/{}/state/m.room.name", php(&room));
    assert_eq!(
        scene
            .client(&scene.admin, "PUT", &name, &json!({ "name": "Mine" }))
            .status,
        200
    );

    // Blocked.
    let block = format!("/v1/rooms/{}/block", php(&other));
    assert_eq!(scene.ok("GET", &block, ""), json!({ "block": false }));
    assert_eq!(
        scene.ok("PUT", &block, r#"{"block":true}"#),
        json!({ "block": true })
    );
    assert_eq!(
        scene.ok("GET", &block, ""),
        json!({ "block": true, "user_id": id("hsadmin") })
    );
    let refused = scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&other)),
        &json!({}),
    );
    assert_eq!(refused.code(), "403 M_FORBIDDEN");
    scene.ok("PUT", &block, r#"{"block":false}"#);
    let joined = scene.client(
        &scene.admin,
        "POST",
        &format!("/join/{}", php(&other)),
        &json!({}),
    );
    assert_eq!(joined.status, 200);

    let rooms = scene.ok("GET", &format!("/v1/users/{alice}/joined_rooms"), "");
    assert_eq!(rooms["total"], json!(3));
    scene.client(
        &scene.alice,
        "POST",
        &format!("/rooms/{}/leave", php(&other)),
        &json!({}),
    );
    let all = scene.ok("GET", &format!("/v1/users/{alice}/memberships"), "");
    assert_eq!(all["memberships"][&other], json!("leave"));
    let count = scene.ok(
        "GET",
        &format!("/v1/users/{alice}/cumulative_joined_room_count?from_ts=0"),
        "",
    );
    assert_eq!(count, json!({ "cumulative_joined_room_count": 3 }));
    let count = scene.ok(
        "GET",
        &format!("/v1/users/{alice}/sent_invite_count?from_ts=0"),
        "",
    );
    assert_eq!(count, json!({ "invite_count": 1 }));
}

#[test]
fn rooms_are_deleted() {
    let scene = Scene::start();
    let bob = scene.server.user("bob", &[]);
    let body = json!({ "preset": "public_chat", "room_alias_name": "bad", "name": "Bad" });
    let room = scene.room(&scene.alice, &body);
    scene.client(&bob, "POST", &format!("/join/{}", php(&room)), &json!({}));
    // Who is only invited is not put into the new room.
    let carol = scene.server.user("carol", &[]);
    let invite = format!("/rooms/{}/invite", php(&room));
    let invited = scene.client(
        &scene.alice,
        "POST",
        &invite,
        &json!({ "user_id": id("carol") }),
    );
    assert_eq!(invited.status, 200);
    let wish = json!({ "new_room_user_id": id("hsadmin"), "room_name": "Sorry", "message": "It is gone.", "block": true });
    let begun = scene.ok(
        "DELETE",
        &format!("/v2/rooms/{}", php(&room)),
        &wish.to_string(),
    );
    let job = begun["delete_id"].as_str().unwrap();
    let done = scene.finished(&format!("/v2/rooms/delete_status/{job}"));
    assert_eq!(done["status"], json!("complete"), "{done}");
    let shutdown = &done["shutdown_room"];
    assert_eq!(
        shutdown["kicked_users"],
        json!([id("alice"), id("bob"), id("carol")])
    );
    assert_eq!(shutdown["failed_to_kick_users"], json!([]));
    assert_eq!(
        shutdown["local_aliases"],
        json!([format!("#bad:{SERVER_NAME}")])
    );
    let new_room = shutdown["new_room_id"].as_str().unwrap();
    let joined = scene
        .client(&bob, "GET", "/joined_rooms", &json!({}))
        .json();
    assert_eq!(joined["joined_rooms"], json!([new_room]));
    // They are there when it is said why, so they are notified.
    let sync = scene.client(&bob, "GET", "/sync", &json!({})).json();
    let unread = &sync["rooms"]["join"][new_room]["unread_notifications"];
    assert_eq!(unread["notification_count"], json!(1), "{unread}");
    let joined = scene
        .client(&carol, "GET", "/joined_rooms", &json!({}))
        .json();
    assert_eq!(joined["joined_rooms"], json!([]));
    assert_eq!(
        scene
            .admin("GET", &format!("/v1/rooms/{}", php(&room)), "")
            .code(),
        "404 M_NOT_FOUND"
    );
    let status = scene.ok(
        "GET",
        &format!("/v2/rooms/{}/delete_status", php(&room)),
        "",
    );
    assert_eq!(status["results"][0]["delete_id"], json!(job));
    let tasks = scene.ok(
        "GET",
        &format!(
            "/v1/scheduled_tasks?resource_id={}&status=complete",
            php(&room)
        ),
        "",
    );
    assert_eq!(
        keys(&tasks["scheduled_tasks"][0]),
        [
            "action",
            "error",
            "id",
            "resource_id",
            "result",
            "status",
            "timestamp_ms"
        ]
    );
    // What is gone can be deleted again.
    let gone = scene.ok("DELETE", &format!("/v1/rooms/{}", php(&room)), "{}");
    assert_eq!(gone["kicked_users"], json!([]));
    let again = scene.ok("DELETE", &format!("/v2/rooms/{}", php(&room)), "{}");
    let job = again["delete_id"].as_str().unwrap();
    let done = scene.finished(&format!("/v2/rooms/delete_status/{job}"));
    assert_eq!(done["status"], json!("complete"), "{done}");
    // A deletion is found by its action, whether it purges or not.
    let kept = scene.room(&scene.alice, &json!({}));
    let path = format!("/v2/rooms/{}", php(&kept));
    let begun = scene.ok("DELETE", &path, r#"{"purge":false}"#);
    let job = begun["delete_id"].as_str().unwrap();
    scene.finished(&format!("/v2/rooms/delete_status/{job}"));
    for (action, count) in [("shutdown_and_purge_room", 1), ("shutdown_room", 0)] {
        let path = format!(
            "/v1/scheduled_tasks?action_name={action}&resource_id={}",
            php(&kept)
        );
        let tasks = scene.ok("GET", &path, "")["scheduled_tasks"].clone();
        assert_eq!(tasks.as_array().unwrap().len(), count, "{tasks}");
    }
    // Version 1 answers when it is done; here the room stays, empty.
    let room = scene.room(&scene.alice, &json!({}));
    let done = scene.ok(
        "DELETE",
        &format!("/v1/rooms/{}", php(&room)),
        r#"{"purge":false}"#,
    );
    assert_eq!(done["kicked_users"], json!([id("alice")]));
    let left = scene.ok("GET", &format!("/v1/rooms/{}", php(&room)), "");
    assert_eq!(left["joined_members"], json!(0));
}

#[test]
fn history_is_purged() {
    let scene = Scene::start();
    let room = scene.room(&scene.alice, &json!({ "name": "Old" }));
    let said: Vec<String> = (0..3)
        .map(|number| scene.say(&scene.alice, &room, &format!("t{number}"), "x"))
        .collect();
    let there = |event: &String| {
        scene
            .admin("GET", &format!("/v1/fetch_event/{}", php(event)), "")
            .status
            == 200
    };
    let purge = |body: &str| {
        let path = format!("/v1/purge_history/{}/{}", php(&room), php(&said[1]));
        let id = scene.ok("POST", &path, body)["purge_id"].clone();
        let path = format!("/v1/purge_history_status/{}", id.as_str().unwrap());
        assert_eq!(scene.finished(&path), json!({ "status": "complete" }));
    };
    // What users of this server wrote stays unless it is to go.
    purge("{}");
    assert_eq!(
        said.iter().map(there).collect::<Vec<_>>(),
        [true, true, true]
    );
    purge(r#"{"delete_local_events":true}"#);
    assert_eq!(
        said.iter().map(there).collect::<Vec<_>>(),
        [false, true, true]
    );
    let path = format!("/rooms/{}/messages?dir=b&limit=2", php(&room));
    let messages = scene.client(&scene.alice, "GET", &path, &json!({})).json();
    assert_eq!(messages["chunk"][1]["event_id"], json!(said[1]));
    let name = format!("/rooms/{}/state/m.room.name", php(&room));
    assert_eq!(
        scene.client(&scene.alice, "GET", &name, &json!({})).json(),
        json!({ "name": "Old" })
    );
}

#[test]
fn who_was_sent_out_of_a_room_that_is_shut_no_longer_has_it() {
    let scene = Scene::start();
    let room = scene.room(&scene.alice, &json!({}));
    scene.ok(
        "DELETE",
        &format!("/v1/rooms/{}", php(&room)),
        r#"{"purge":false}"#,
    );
    let messages = format!("/rooms/{}/messages?dir=b", php(&room));
    let answer = scene.client(&scene.alice, "GET", &messages, &json!({}));
    assert_eq!(answer.code(), "403 M_FORBIDDEN");
    let memberships = format!("/v1/users/{}/memberships", php(&id("alice")));
    let told = scene.ok("GET", &memberships, "");
    assert_eq!(told["memberships"], json!({}));
    let details = scene.ok("GET", &format!("/v1/rooms/{}", php(&room)), "");
    assert_eq!(details["forgotten"], json!(true));
}

#[test]
fn who_is_banned_or_kept_out_is_not_brought_in() {
    let scene = Scene::start();
    scene.server.user("bob", &[]);
    let whom = json!({ "user_id": id("bob") });
    for (preset, action) in [("public_chat", "join"), ("private_chat", "invite")] {
        let room = scene.room(&scene.admin, &json!({ "preset": preset }));
        let ban = format!("/rooms/{}/ban", php(&room));
        assert_eq!(scene.client(&scene.admin, "POST", &ban, &whom).status, 200);
        let check = |path: &str, action: &str| {
            let refused = scene.admin("POST", path, &whom.to_string());
            assert_eq!(refused.code(), "403 M_BAD_STATE", "{path}");
            let why = format!("Cannot {action} user who was banned");
            assert_eq!(refused.json()["error"], json!(why), "{path}");
        };
        check(&format!("/v1/join/{}", php(&room)), action);
        if preset == "private_chat" {
            let make = format!("/v1/rooms/{}/make_room_admin", php(&room));
            check(&make, "invite");
            let levels = format!("/rooms/{}/state/m.room.power_levels", php(&room));
            let levels = scene.client(&scene.admin, "GET", &levels, &json!({}));
            let level = &levels.json()["users"][id("bob")];
            assert!(level.is_null(), "{level}");
        }
        let block = format!("/v1/rooms/{}/block", php(&room));
        scene.ok("PUT", &block, r#"{"block":true}"#);
        let join = format!("/v1/join/{}", php(&room));
        let refused = scene.admin("POST", &join, &whom.to_string());
        assert_eq!(refused.code(), "403 M_UNKNOWN");
    }
}

#[test]
fn a_deletion_that_was_killed_tells_everybody_once() {
    const PEOPLE: usize = 40;
    let mut scene = Scene::start();
    let room = scene.room(&scene.admin, &json!({ "preset": "public_chat" }));
    for number in 0..PEOPLE {
        let user_id = id(&format!("student{number}"));
        scene.ok("PUT", &format!("/v2/users/{}", php(&user_id)), "{}");
        let whom = json!({ "user_id": user_id }).to_string();
        scene.ok("POST", &format!("/v1/join/{}", php(&room)), &whom);
    }
    let wish = json!({ "new_room_user_id": id("alice"), "room_name": "Sorry", "message": "Gone." });
    let path = format!("/v2/rooms/{}", php(&room));
    let begun = scene.ok("DELETE", &path, &wish.to_string());
    let job = begun["delete_id"].as_str().unwrap();

    let new_rooms = |scene: &Scene| scene.ok("GET", "/v1/rooms?search_term=sorry", "");
    let said = |scene: &Scene, room: &str| {
        let path = format!("/v1/rooms/{}/messages?dir=b&limit=500", php(room));
        let messages = scene.ok("GET", &path, "");
        let messages = messages["chunk"].as_array().unwrap().iter();
        messages
            .filter(|event| event["content"]["body"] == "Gone.")
            .count()
    };
    let until = |is_so: &dyn Fn() -> bool| {
        for _ in 0..2_000 {
            if is_so() {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        panic!("it does not come to that");
    };
    // Once while people are moved, once when they are told.
    until(&|| new_rooms(&scene)["rooms"][0]["joined_members"].as_u64() > Some(5));
    scene.server.kill_and_start();
    let new_room = new_rooms(&scene)["rooms"][0]["room_id"].clone();
    let new_room = new_room.as_str().unwrap();
    until(&|| said(&scene, new_room) > 0);
    scene.server.kill_and_start();

    let done = scene.finished(&format!("/v2/rooms/delete_status/{job}"));
    assert_eq!(done["status"], json!("complete"), "{done}");
    let rooms = new_rooms(&scene);
    assert_eq!(rooms["total_rooms"], json!(1), "{rooms}");
    // All of them, the admin, and who made the room.
    assert_eq!(rooms["rooms"][0]["joined_members"], json!(PEOPLE + 2));
    assert_eq!(said(&scene, new_room), 1);
    let gone = scene.admin("GET", &format!("/v1/rooms/{}", php(&room)), "");
    assert_eq!(gone.code(), "404 M_NOT_FOUND");
}
