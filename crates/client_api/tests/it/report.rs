//! `/rooms/{roomId}/report…` and `/users/{userId}/report`.

use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn events_are_reported_by_members() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let event = alice.say(&room, "bad").await;
    let path = format!("/v3/rooms/{room}/report/{event}");
    let body = json!({ "reason": "rude", "score": -50 });
    let answer = bob.post(&path, body.clone()).await;
    answer.expect_error(404, "M_NOT_FOUND");
    bob.join(&room).await;
    bob.post(&path, body).await.expect(200, json!({}));
    bob.post(&path, json!({})).await.expect(200, json!({}));
    for body in [json!({ "reason": 1 }), json!({ "score": "x" }), json!([])] {
        bob.post(&path, body).await.expect_error(400, "M_BAD_JSON");
    }
    let unknown = format!("/v3/rooms/{room}/report/$nothing");
    let answer = bob.post(&unknown, json!({ "reason": "x" })).await;
    answer.expect_error(404, "M_NOT_FOUND");
    let reports = server.server.event_reports().await.unwrap();
    let told: Vec<_> = reports
        .iter()
        .map(|(_, report)| {
            (
                report.event_id.as_str(),
                report.reason.as_deref(),
                report.score,
            )
        })
        .collect();
    assert_eq!(
        told,
        [(&*event, Some("rude"), Some(-50)), (&*event, None, None)]
    );
}

#[tokio::test]
async fn rooms_and_users_are_reported_by_anybody() {
    let server = TestServer::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_public().await;
    let room = format!("/v3/rooms/{room}/report");
    let user = format!("/v3/users/{}/report", alice.user_id);
    for path in [&room, &user] {
        bob.post(path, json!({ "reason": "" }))
            .await
            .expect(200, json!({}));
        bob.post(path, json!({}))
            .await
            .expect_error(400, "M_BAD_JSON");
        let nobody = server.anonymous().post(path, json!({ "reason": "" })).await;
        nobody.expect_error(401, "M_MISSING_TOKEN");
    }
    let unknown = "/v3/rooms/!unknown:example.org/report";
    let answer = bob.post(unknown, json!({ "reason": "" })).await;
    answer.expect_error(404, "M_NOT_FOUND");
    let reports = server.server.user_reports().await.unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].1.target_user_id, alice.user_id);
}
