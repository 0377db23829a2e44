//! `/user/{userId}/…`: account data, tags, filters, OpenID.

use http::Method;
use serde_json::json;

use crate::harness::{ANY, SERVER, TestServer};

const ROOM: &str = "!room:example.org";

#[tokio::test]
async fn account_data_is_kept() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let base = format!("/v3/user/{}", alice.user_id);
    let paths = [
        format!("{base}/account_data/org.example.x"),
        format!("{base}/rooms/{ROOM}/account_data/org.example.x"),
    ];
    for path in &paths {
        alice.get(path).await.expect_error(404, "M_NOT_FOUND");
        let content = json!({ "path": path });
        alice.put(path, content).await.expect(200, json!({}));
    }
    for path in &paths {
        alice.get(path).await.expect(200, json!({ "path": path }));
    }
}

#[tokio::test]
async fn account_data_of_others_is_theirs() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let path = format!("/v3/user/{}/account_data/m.direct", alice.user_id);
    bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    bob.put(&path, json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn bad_account_data_is_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let base = format!("/v3/user/{}", alice.user_id);
    let path = format!("{base}/account_data/org.example.x");
    alice
        .put(&path, json!([]))
        .await
        .expect_error(400, "M_BAD_JSON");
    let garbage = alice.send(Method::PUT, &path, "nothing").await;
    garbage.expect_error(400, "M_NOT_JSON");
    let large = json!({ "x": "x".repeat(1_100_000) });
    alice
        .put(&path, large)
        .await
        .expect_error(413, "M_TOO_LARGE");
    for kind in ["m.push_rules", "m.fully_read"] {
        let path = format!("{base}/account_data/{kind}");
        alice
            .put(&path, json!({}))
            .await
            .expect_error(405, "M_BAD_JSON");
        let path = format!("{base}/rooms/{ROOM}/account_data/{kind}");
        alice
            .put(&path, json!({}))
            .await
            .expect_error(405, "M_BAD_JSON");
    }
    let path = format!("{base}/rooms/nowhere/account_data/x");
    alice
        .put(&path, json!({}))
        .await
        .expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn rooms_are_tagged() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let base = format!("/v3/user/{}/rooms/{ROOM}/tags", alice.user_id);
    alice.get(&base).await.expect(200, json!({ "tags": {} }));
    let tag = json!({ "order": 0.5 });
    alice
        .put(&format!("{base}/m.favourite"), tag.clone())
        .await
        .expect(200, json!({}));
    alice
        .put(&format!("{base}/u.work"), json!({}))
        .await
        .expect(200, json!({}));
    let tags = json!({ "tags": { "m.favourite": tag, "u.work": {} } });
    alice.get(&base).await.expect(200, tags.clone());
    let data = format!("/v3/user/{}/rooms/{ROOM}/account_data/m.tag", alice.user_id);
    alice.get(&data).await.expect(200, tags);
    for _ in 0..2 {
        alice
            .delete(&format!("{base}/u.work"), json!({}))
            .await
            .expect(200, json!({}));
    }
    let left = alice.get(&base).await;
    left.expect(200, json!({ "tags": { "m.favourite": { "order": 0.5 } } }));
    let wrong = alice
        .put(&format!("{base}/u.x"), json!({ "order": "first" }))
        .await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let long = alice
        .put(&format!("{base}/{}", "x".repeat(256)), json!({}))
        .await;
    long.expect_error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn filters_are_kept() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let base = format!("/v3/user/{}/filter", alice.user_id);
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let answer = alice
        .post(&base, filter.clone())
        .await
        .expect(200, json!({ "filter_id": ANY }));
    let again = alice.post(&base, filter.clone()).await.ok();
    assert_eq!(answer, again);
    let path = format!("{base}/{}", answer["filter_id"].as_str().unwrap());
    alice.get(&path).await.expect(200, filter);
    bob.get(&path).await.expect_error(403, "M_FORBIDDEN");
    alice
        .get(&format!("{base}/unknown"))
        .await
        .expect_error(404, "M_NOT_FOUND");
    let wrong = alice
        .post(&base, json!({ "room": { "timeline": { "limit": "x" } } }))
        .await;
    wrong.expect_error(400, "M_BAD_JSON");
    alice
        .post(&base, json!([]))
        .await
        .expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn an_openid_token_is_given() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let path = format!("/v3/user/{}/openid/request_token", alice.user_id);
    let answer = alice.post(&path, json!({})).await;
    let answer = answer.expect(
        200,
        json!({
            "access_token": ANY,
            "token_type": "Bearer",
            "matrix_server_name": SERVER,
            "expires_in": 3600,
        }),
    );
    let token = answer["access_token"].as_str().unwrap();
    let misused = server.client(token).get("/v3/account/whoami").await;
    misused.expect_error(401, "M_UNKNOWN_TOKEN");
    // Whoever is shown it asks whose it is.
    let nobody = server.anonymous();
    let userinfo = "/_matrix/federation/v1/openid/userinfo";
    let whose = format!("{userinfo}?access_token={token}");
    nobody
        .get(&whose)
        .await
        .expect(200, json!({ "sub": alice.user_id }));
    nobody
        .get(userinfo)
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    let made_up = nobody.get(&format!("{userinfo}?access_token=x")).await;
    made_up.expect_error(401, "M_UNKNOWN_TOKEN");
    server.clock.advance_ms(60 * 60 * 1000);
    nobody
        .get(&whose)
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
    bob.post(&path, json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
}
