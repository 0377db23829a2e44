//! `/v1/rooms/{roomId}/timestamp_to_event`.

use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn the_closest_event_in_a_direction() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let room = alice.create_public().await;
    let begin = server.clock.now().0;
    let mut events = Vec::new();
    for number in 1..=200 {
        server.clock.advance_ms(1_000);
        events.push(alice.say(&room, &number.to_string()).await);
    }
    let path = format!("/v1/rooms/{room}/timestamp_to_event");
    for (ts, direction, number) in [
        (begin + 1, "f", 1),
        (begin + 1_000, "f", 1),
        (begin + 1_001, "f", 2),
        (begin + 99_500, "f", 100),
        (begin + 99_500, "b", 99),
        (begin + 100_000, "b", 100),
        (begin + 200_000, "f", 200),
        (begin + 900_000, "b", 200),
    ] {
        let answer = alice.get(&format!("{path}?ts={ts}&dir={direction}")).await;
        let at = begin + 1_000 * number;
        let event_id = &events[number as usize - 1];
        answer.expect(200, json!({ "event_id": event_id, "origin_server_ts": at }));
    }
    for (ts, direction) in [(begin + 200_001, "f"), (begin - 1, "b")] {
        let answer = alice.get(&format!("{path}?ts={ts}&dir={direction}")).await;
        answer.expect_error(404, "M_NOT_FOUND");
    }
    let first = alice.get(&format!("{path}?ts=-5&dir=f")).await.ok();
    assert_eq!(first["origin_server_ts"], begin);
    let old = format!("/unstable/org.matrix.msc3030/rooms/{room}/timestamp_to_event");
    alice.get(&format!("{old}?ts=0&dir=f")).await.ok();
}

#[tokio::test]
async fn only_what_one_may_see() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let path = format!("/v1/rooms/{room}/timestamp_to_event");
    bob.get(&format!("{path}?ts=0&dir=f"))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let visibility = json!({ "history_visibility": "joined" });
    alice
        .set(&room, "m.room.history_visibility", "", visibility)
        .await;
    for number in 0..100 {
        server.clock.advance_ms(10);
        alice.say(&room, &number.to_string()).await;
    }
    server.clock.advance_ms(10);
    bob.join(&room).await;
    server.clock.advance_ms(10);
    let seen = alice.say(&room, "seen").await;
    let now = server.clock.now().0;
    for (ts, direction) in [(now - 5, "f"), (now, "f"), (now, "b")] {
        let answer = bob.get(&format!("{path}?ts={ts}&dir={direction}")).await;
        answer.expect(200, json!({ "event_id": seen, "origin_server_ts": now }));
    }
    for (query, code) in [
        ("dir=f", "M_MISSING_PARAM"),
        ("ts=x&dir=f", "M_INVALID_PARAM"),
        ("ts=1&dir=x", "M_INVALID_PARAM"),
    ] {
        alice
            .get(&format!("{path}?{query}"))
            .await
            .expect_error(400, code);
    }
}
