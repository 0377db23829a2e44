//! `/devices`, `/delete_devices`.

use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, TestServer, bridge};

fn auth() -> Value {
    json!({ "type": "m.login.password", "password": PASSWORD })
}

async fn device_ids(client: &Client) -> Vec<String> {
    let answer = client.get("/v3/devices").await.ok();
    let devices = answer["devices"].as_array().unwrap();
    devices
        .iter()
        .map(|device| device["device_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn devices_are_listed_and_named() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    assert_eq!(device_ids(&alice).await, [&*alice.device_id]);
    let path = format!("/v3/devices/{}", alice.device_id);
    let name = json!({ "display_name": "My phone" });
    alice.put(&path, name).await.expect(200, json!({}));
    let device = alice.get(&path).await.ok();
    assert_eq!(device["display_name"], "My phone");
    let long = json!({ "display_name": "x".repeat(257) });
    alice
        .put(&path, long)
        .await
        .expect_error(400, "M_TOO_LARGE");
    alice.put(&path, json!({})).await.expect(200, json!({}));
    alice
        .get("/v3/devices/OTHER")
        .await
        .expect_error(404, "M_NOT_FOUND");
    let other = alice
        .put("/v3/devices/OTHER", json!({ "display_name": "x" }))
        .await;
    other.expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_device_goes_after_authentication() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let other = server.log_in("alice").await;
    let path = format!("/v3/devices/{}", other.device_id);
    let challenge = alice.delete(&path, json!({})).await;
    assert_eq!(challenge.status, 401);
    let mut auth = auth();
    auth["session"] = challenge.body["session"].clone();

    // The session is for this device, not for another one.
    let own = format!("/v3/devices/{}", alice.device_id);
    let misused = alice.delete(&own, json!({ "auth": auth })).await;
    misused.expect_error(403, "M_FORBIDDEN");

    alice
        .delete(&path, json!({ "auth": auth }))
        .await
        .expect(200, json!({}));
    assert_eq!(device_ids(&alice).await, [&*alice.device_id]);
    other
        .get("/v3/account/whoami")
        .await
        .expect_error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn many_devices_go_at_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let one = server.log_in("alice").await;
    let two = server.log_in("alice").await;
    let gone = json!([one.device_id, two.device_id, "UNKNOWN"]);
    let body = json!({ "devices": gone, "auth": auth() });
    alice
        .post("/v3/delete_devices", body)
        .await
        .expect(200, json!({}));
    assert_eq!(device_ids(&alice).await, [&*alice.device_id]);
    let wrong = alice
        .post("/v3/delete_devices", json!({ "devices": "x" }))
        .await;
    wrong.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn application_services_make_devices() {
    let server = TestServer::with_services(|_| {}, vec![bridge()]).await;
    let service = server.client("as-token");
    let path = "/v3/devices/BRIDGE";
    let body = json!({ "display_name": "The bridge" });
    service.put(path, body.clone()).await.expect(201, json!({}));
    service.put(path, body).await.expect(200, json!({}));
    let with_device = "/v3/account/whoami?device_id=BRIDGE";
    let whoami = service.get(with_device).await.ok();
    assert_eq!(whoami["device_id"], "BRIDGE");
    service.delete(path, json!({})).await.expect(200, json!({}));
    assert!(device_ids(&service).await.is_empty());
}
