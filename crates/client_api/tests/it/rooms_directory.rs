//! Finding rooms: `/directory/…`, `/publicRooms`, `/rooms/{roomId}/aliases`, `/room_summary`.

use serde_json::{Value, json};

use crate::harness::TestServer;

#[tokio::test]
async fn aliases_are_made_found_and_removed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    let path = "/v3/directory/room/%23pub:example.org";
    let body = json!({ "room_id": room });
    bob.put(path, body.clone())
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice.put(path, body.clone()).await.expect(200, json!({}));
    alice
        .put(path, body.clone())
        .await
        .expect_error(409, "M_UNKNOWN");
    let found = json!({ "room_id": room, "servers": ["example.org"] });
    server.anonymous().get(path).await.expect(200, found);
    let list = format!("/v3/rooms/{room}/aliases");
    alice
        .get(&list)
        .await
        .expect(200, json!({ "aliases": ["#pub:example.org"] }));
    bob.get(&list).await.expect_error(403, "M_FORBIDDEN");
    bob.delete(path, json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .set(
            &room,
            "m.room.canonical_alias",
            "",
            json!({ "alias": "#pub:example.org" }),
        )
        .await;
    alice.delete(path, json!({})).await.expect(200, json!({}));
    alice
        .delete(path, json!({}))
        .await
        .expect_error(404, "M_NOT_FOUND");
    alice.get(path).await.expect_error(404, "M_NOT_FOUND");
    let named = alice
        .get(&format!("/v3/rooms/{room}/state/m.room.canonical_alias"))
        .await;
    named.expect(200, json!({}));
    let elsewhere = alice.put("/v3/directory/room/%23pub:other.org", body).await;
    elsewhere.expect_error(400, "M_INVALID_PARAM");
    alice
        .get("/v3/directory/room/pub")
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn the_directory_pages_and_searches() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    for name in ["Ants", "Bees", "Cats"] {
        let room = alice
            .create(json!({ "visibility": "public", "name": name }))
            .await;
        if name == "Bees" {
            bob.join(&room).await;
        }
    }
    let creation = json!({ "type": "m.space" });
    let body = json!({ "visibility": "public", "name": "Space", "creation_content": creation });
    alice.create(body).await;
    alice
        .create(json!({ "preset": "public_chat", "name": "Hidden" }))
        .await;
    let names = |page: &Value| -> Vec<String> {
        let rooms = page["chunk"].as_array().unwrap().iter();
        rooms
            .map(|room| room["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = alice.get("/v3/publicRooms?limit=3").await.ok();
    assert_eq!(names(&first)[0], "Bees");
    assert_eq!(first["chunk"][0]["num_joined_members"], 2);
    assert_eq!(first["total_room_count_estimate"], 4);
    let since = first["next_batch"].as_str().unwrap();
    let second = alice
        .get(&format!("/v3/publicRooms?limit=3&since={since}"))
        .await
        .ok();
    assert_eq!(names(&second).len(), 1);
    assert!(second["next_batch"].is_null());
    let since = second["prev_batch"].as_str().unwrap();
    let back = alice
        .get(&format!("/v3/publicRooms?limit=3&since={since}"))
        .await
        .ok();
    assert_eq!(names(&back), names(&first));
    let search = async |filter: Value| {
        let page = alice
            .post("/v3/publicRooms", json!({ "filter": filter }))
            .await
            .ok();
        names(&page).join(" ")
    };
    assert_eq!(
        search(json!({ "generic_search_term": "CAT" })).await,
        "Cats"
    );
    assert_eq!(search(json!({ "room_types": ["m.space"] })).await, "Space");
    assert_eq!(
        search(json!({ "room_types": [null], "generic_search_term": "s" }))
            .await
            .len(),
        14
    );
    alice
        .get("/v3/publicRooms?since=x")
        .await
        .expect_error(400, "M_INVALID_PARAM");
    let anonymous = server.anonymous();
    anonymous
        .get("/v3/publicRooms")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    let searched = anonymous.post("/v3/publicRooms", json!({})).await;
    searched.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn rooms_enter_and_leave_the_directory() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice.create_public().await;
    bob.join(&room).await;
    let path = format!("/v3/directory/list/room/{room}");
    alice
        .get(&path)
        .await
        .expect(200, json!({ "visibility": "private" }));
    bob.put(&path, json!({ "visibility": "public" }))
        .await
        .expect_error(403, "M_FORBIDDEN");
    alice
        .put(&path, json!({ "visibility": "public" }))
        .await
        .expect(200, json!({}));
    alice
        .get(&path)
        .await
        .expect(200, json!({ "visibility": "public" }));
    alice
        .put(&path, json!({ "visibility": "private" }))
        .await
        .expect(200, json!({}));
    alice
        .put(&path, json!({ "visibility": "odd" }))
        .await
        .expect_error(400, "M_BAD_JSON");
    let unknown = "/v3/directory/list/room/!none:example.org";
    alice.get(unknown).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_directory_keeps_up_with_its_rooms() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let body = json!({ "visibility": "public", "preset": "public_chat", "name": "Old" });
    let room = alice.create(body).await;
    let listed = async || {
        let page = bob.get("/v3/publicRooms").await.ok();
        let room = &page["chunk"][0];
        format!("{} {}", room["name"], room["num_joined_members"])
    };
    assert_eq!(listed().await, "\"Old\" 1");
    let name = json!({ "name": "New" });
    let event_id = alice.set(&room, "m.room.name", "", name).await;
    assert_eq!(listed().await, "\"New\" 1");
    bob.join(&room).await;
    assert_eq!(listed().await, "\"New\" 2");
    let path = format!("/v3/rooms/{room}/redact/{event_id}/1");
    alice.put(&path, json!({})).await.ok();
    assert_eq!(listed().await, "null 2");
}

#[tokio::test]
async fn rooms_shared_with_somebody() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let mut shared = Vec::new();
    for _ in 0..2 {
        let room = alice.create_public().await;
        bob.join(&room).await;
        shared.push(room);
    }
    let left = alice.create_public().await;
    bob.join(&left).await;
    bob.leave(&left).await;
    alice.create_public().await;
    shared.sort();
    let path = |user_id: &str| format!("/v1/mutual_rooms?user_id={user_id}");
    let answer = alice.get(&path(&bob.user_id)).await;
    answer.expect(200, json!({ "joined": shared, "count": 2 }));
    let next = format!("{}&from={}", path(&bob.user_id), shared[0]);
    let answer = alice.get(&next).await;
    answer.expect(200, json!({ "joined": [shared[1]], "count": 2 }));
    let nobody = alice.get(&path("@nobody:example.org")).await;
    nobody.expect(200, json!({ "joined": [], "count": 0 }));
    for (wrong, code) in [
        (path(&alice.user_id), "M_INVALID_PARAM"),
        (path("alice"), "M_INVALID_PARAM"),
        (format!("{}&from=x", path(&bob.user_id)), "M_INVALID_PARAM"),
        ("/v1/mutual_rooms".to_owned(), "M_MISSING_PARAM"),
    ] {
        alice.get(&wrong).await.expect_error(400, code);
    }
}

#[tokio::test]
async fn summaries_are_for_those_who_could_come_in() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let open = alice
        .create(json!({ "preset": "public_chat", "name": "Open" }))
        .await;
    let closed = alice.create(json!({ "name": "Closed" })).await;
    let rules = json!([{ "type": "m.room.join_rules", "content": {
        "join_rule": "restricted",
        "allow": [{ "type": "m.room_membership", "room_id": open }],
    } }]);
    let club = alice
        .create(json!({ "name": "Club", "initial_state": rules }))
        .await;
    let path = |room: &str| format!("/v1/room_summary/{room}");
    let summary = bob.get(&path(&open)).await.ok();
    assert_eq!(summary["name"], "Open");
    assert_eq!(summary["room_version"], "12");
    assert_eq!(summary["num_joined_members"], 1);
    assert_eq!(summary["join_rule"], "public");
    assert_eq!(summary["membership"], "leave");
    bob.get(&path(&closed))
        .await
        .expect_error(404, "M_NOT_FOUND");
    bob.get(&path(&club)).await.expect_error(404, "M_NOT_FOUND");
    bob.join(&open).await;
    let summary = bob.get(&path(&club)).await.ok();
    assert_eq!(summary["allowed_room_ids"], json!([open]));
    assert_eq!(bob.get(&path(&open)).await.ok()["membership"], "join");
}

#[tokio::test]
async fn rooms_that_nobody_is_in_are_not_listed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let body = json!({ "preset": "public_chat", "visibility": "public", "name": "Empty" });
    let room = alice.create(body).await;
    let count = async || {
        let told = alice.get("/v3/publicRooms").await.ok();
        told["chunk"].as_array().unwrap().len()
    };
    assert_eq!(count().await, 1);
    alice.leave(&room).await;
    assert_eq!(count().await, 0);
}
