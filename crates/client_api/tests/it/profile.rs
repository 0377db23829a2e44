//! `/profile/…`.

use serde_json::{Value, json};

use crate::harness::TestServer;

#[tokio::test]
async fn fields_are_set_told_and_removed() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let nobody = server.anonymous();
    let cases: [(&str, Value); 4] = [
        ("displayname", json!("Alice Liddell")),
        ("avatar_url", json!("mxc://example.org/alice")),
        ("m.tz", json!("Europe/London")),
        ("org.example.pronouns", json!([{ "en": "she/her" }])),
    ];
    let mut whole = json!({ "displayname": "alice" });
    for (key, value) in cases {
        let path = format!("/v3/profile/{}/{key}", alice.user_id);
        let body = json!({ key: value });
        alice.put(&path, body.clone()).await.expect(200, json!({}));
        nobody.get(&path).await.expect(200, body);
        whole[key] = value;
    }
    let path = format!("/v3/profile/{}", alice.user_id);
    nobody.get(&path).await.expect(200, whole.clone());
    let old = format!("/unstable/uk.tcpip.msc4133/profile/{}", alice.user_id);
    nobody.get(&old).await.expect(200, whole);

    let field = format!("{path}/org.example.pronouns");
    alice.delete(&field, json!({})).await.expect(200, json!({}));
    nobody.get(&field).await.expect_error(404, "M_NOT_FOUND");
    alice.delete(&field, json!({})).await.expect(200, json!({}));
    let no_name = json!({ "displayname": "" });
    let path = format!("{path}/displayname");
    alice.put(&path, no_name).await.expect(200, json!({}));
    nobody.get(&path).await.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn others_profiles_are_not_ones_own() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let path = format!("/v3/profile/{}/displayname", alice.user_id);
    let body = json!({ "displayname": "Eve" });
    bob.put(&path, body.clone())
        .await
        .expect_error(403, "M_FORBIDDEN");
    bob.delete(&path, json!({}))
        .await
        .expect_error(403, "M_FORBIDDEN");
    let nobody = server.anonymous().put(&path, body).await;
    nobody.expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn bad_fields_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let key = "k".repeat(256);
    let cases: [(&str, Value, &str); 7] = [
        ("displayname", json!({}), "M_MISSING_PARAM"),
        (
            "displayname",
            json!({ "displayname": 1 }),
            "M_INVALID_PARAM",
        ),
        (
            "avatar_url",
            json!({ "avatar_url": "https://x" }),
            "M_INVALID_PARAM",
        ),
        ("Not-A-Key", json!({ "Not-A-Key": 1 }), "M_INVALID_PARAM"),
        (&key, json!({ &key: 1 }), "M_KEY_TOO_LARGE"),
        (
            "org.example.x",
            json!({ "org.example.y": 1 }),
            "M_MISSING_PARAM",
        ),
        (
            "org.example.x",
            json!({ "org.example.x": "x".repeat(66_000) }),
            "M_PROFILE_TOO_LARGE",
        ),
    ];
    for (key, body, code) in cases {
        let path = format!("/v3/profile/{}/{key}", alice.user_id);
        alice.put(&path, body).await.expect_error(400, code);
    }
}

#[tokio::test]
async fn unknown_users_have_no_profile() {
    let server = TestServer::start().await;
    let nobody = server.anonymous();
    for user_id in ["@bob:example.org", "@bob:elsewhere.org"] {
        let path = format!("/v3/profile/{user_id}");
        nobody.get(&path).await.expect_error(404, "M_NOT_FOUND");
    }
    let answer = nobody.get("/v3/profile/bob").await;
    answer.expect_error(400, "M_INVALID_PARAM");
}
