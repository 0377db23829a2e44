//! `/user_directory/search`.

use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn users_are_found_by_id_and_name() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let path = format!("/v3/profile/{}/displayname", bob.user_id);
    bob.put(&path, json!({ "displayname": "Robert Smith" }))
        .await
        .ok();
    let found = json!({
        "results": [{ "user_id": "@bob:example.org", "display_name": "Robert Smith" }],
        "limited": false,
    });
    for term in ["bob", "BOB", "smith", " Robert"] {
        let answer = alice
            .post("/v3/user_directory/search", json!({ "search_term": term }))
            .await;
        answer.expect(200, found.clone());
    }
    for term in ["carol", "", "alice"] {
        let answer = alice
            .post("/r0/user_directory/search", json!({ "search_term": term }))
            .await;
        answer.expect(200, json!({ "results": [], "limited": false }));
    }
    let missing = alice.post("/v3/user_directory/search", json!({})).await;
    missing.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn nobody_has_a_name_without_end() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for term in ["x".repeat(60_000), "%_".repeat(30_000), "ü".repeat(26_000)] {
        let body = json!({ "search_term": term });
        let answer = alice.post("/v3/user_directory/search", body).await;
        answer.expect(200, json!({ "results": [], "limited": false }));
    }
}

#[tokio::test]
async fn long_results_are_cut() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for name in ["pupil1", "pupil2", "pupil3"] {
        server.user(name).await;
    }
    let body = json!({ "search_term": "pupil", "limit": 2 });
    let answer = alice.post("/v3/user_directory/search", body).await.ok();
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    assert_eq!(answer["limited"], true);
}
