//! `PUT /sendToDevice/{eventType}/{txnId}`.

use serde_json::{Value, json};

use crate::harness::{Client, TestServer};

/// The messages that a sync brings, and its token.
async fn received(client: &Client, since: Option<&str>) -> (Vec<Value>, String) {
    let since = since
        .map(|since| format!("&since={since}"))
        .unwrap_or_default();
    let sync = client.get(&format!("/v3/sync?timeout=0{since}")).await.ok();
    let events = sync["to_device"]["events"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    (events, sync["next_batch"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_message_arrives_once_and_stays_until_it_is_received() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let body = json!({ "messages": { bob.user_id.clone(): {
        bob.device_id.clone(): { "body": "hello" },
        "UNKNOWN": { "body": "nobody" },
    } } });
    // The same transaction twice is one message; another type is another transaction.
    for path in ["m.one/t1", "m.one/t1", "m.two/t1"] {
        let path = format!("/v3/sendToDevice/{path}");
        alice.put(&path, body.clone()).await.expect(200, json!({}));
    }
    let message = |kind: &str| json!({ "sender": alice.user_id, "type": kind, "content": { "body": "hello" } });
    let expected = vec![message("m.one"), message("m.two")];
    let (first, since) = received(&bob, None).await;
    assert_eq!(first, expected);
    let (again, _) = received(&bob, None).await;
    assert_eq!(again, expected, "the answer may have been lost");
    let (after, _) = received(&bob, Some(&since)).await;
    assert_eq!(after, Vec::<Value>::new());
    let (others, _) = received(&alice, None).await;
    assert_eq!(others, Vec::<Value>::new());
}

#[tokio::test]
async fn a_star_means_all_devices() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let phone = server.user("bob").await;
    let laptop = server.log_in("bob").await;
    let body = json!({ "messages": {
        phone.user_id.clone(): { "*": { "n": 1 } },
        "@eve:elsewhere.org": { "*": { "n": 1 } },
    } });
    alice
        .put("/unstable/sendToDevice/m.x/t1", body)
        .await
        .expect(200, json!({}));
    for client in [phone, laptop] {
        let (events, _) = received(&client, None).await;
        assert_eq!(events.len(), 1);
    }
}

#[tokio::test]
async fn bad_messages_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let cases = [
        (json!({}), 400, "M_BAD_JSON"),
        (json!({ "messages": [] }), 400, "M_BAD_JSON"),
        (json!({ "messages": { "nobody": {} } }), 400, "M_BAD_JSON"),
        (
            json!({ "messages": { alice.user_id.clone(): { "*": 1 } } }),
            400,
            "M_BAD_JSON",
        ),
        (
            json!({ "messages": { alice.user_id.clone(): { "*": { "x": "x".repeat(70_000) } } } }),
            413,
            "M_TOO_LARGE",
        ),
    ];
    for (body, status, code) in cases {
        let answer = alice.put("/v3/sendToDevice/m.x/t1", body).await;
        answer.expect_error(status, code);
    }
}
