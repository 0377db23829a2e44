//! `/_synapse/admin/v1/register`.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::harness::{ANY, PASSWORD, SERVER, TestServer};

const PATH: &str = "/_synapse/admin/v1/register";

fn mac(parts: &[&str]) -> String {
    let mut hmac = Hmac::<Sha1>::new_from_slice(b"shared secret").unwrap();
    hmac.update(parts.join("\0").as_bytes());
    let bytes = hmac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn with_secret() -> TestServer {
    TestServer::with(|config| {
        config.registration.shared_secret = Some("shared secret".to_owned());
    })
    .await
}

async fn nonce(server: &TestServer) -> String {
    let answer = server
        .anonymous()
        .get(PATH)
        .await
        .expect(200, json!({ "nonce": ANY }));
    answer["nonce"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_knows_the_secret_registers() {
    let server = with_secret().await;
    let nobody = server.anonymous();
    let first = nonce(&server).await;
    let body = json!({
        "nonce": first,
        "username": "root",
        "displayname": "The Root",
        "password": PASSWORD,
        "admin": true,
        "mac": mac(&[&first, "root", PASSWORD, "admin"]),
    });
    let answer = nobody.post(PATH, body.clone()).await;
    answer.expect(
        200,
        json!({
            "user_id": "@root:example.org",
            "home_server": SERVER,
            "device_id": ANY,
            "access_token": ANY,
        }),
    );
    let root = server.log_in("root").await;
    let name = root.get("/v3/profile/@root:example.org/displayname").await;
    name.expect(200, json!({ "displayname": "The Root" }));
    let replayed = nobody.post(PATH, body).await;
    replayed.expect_error(400, "M_UNKNOWN");

    let second = nonce(&server).await;
    let body = json!({
        "nonce": second,
        "username": "bot",
        "password": PASSWORD,
        "user_type": "bot",
        "mac": mac(&[&second, "bot", PASSWORD, "notadmin", "bot"]),
    });
    nobody.post(PATH, body).await.ok();
}

#[tokio::test]
async fn others_do_not() {
    let server = with_secret().await;
    let nobody = server.anonymous();
    let nonce_text = nonce(&server).await;
    let body = |nonce: &str, mac: &str| -> Value {
        json!({ "nonce": nonce, "username": "root", "password": PASSWORD, "mac": mac })
    };
    let wrong = nobody.post(PATH, body(&nonce_text, "00")).await;
    wrong.expect_error(403, "M_UNKNOWN");
    let odd = nonce(&server).await;
    let wrong = nobody.post(PATH, body(&odd, "zäh")).await;
    wrong.expect_error(403, "M_UNKNOWN");
    // What is wrong with a request is told before the signature is looked at.
    for (key, value) in [
        ("user_type", json!("king")),
        ("username", json!("a\0b")),
        ("password", json!("x".repeat(513))),
    ] {
        let mut odd = body(&nonce(&server).await, "00");
        odd[key] = value;
        nobody.post(PATH, odd).await.expect_error(400, "M_UNKNOWN");
    }
    let unknown = nobody.post(PATH, body("unknown", "00")).await;
    unknown.expect_error(400, "M_UNKNOWN");
    nobody
        .post(PATH, json!({}))
        .await
        .expect_error(400, "M_BAD_JSON");
    // A nonce comes first, and is used up.
    nobody
        .post(PATH, json!({ "nonce": "unknown" }))
        .await
        .expect_error(400, "M_UNKNOWN");
    let late = nonce(&server).await;
    server.clock.advance_ms(60_001);
    let mac = mac(&[&late, "root", PASSWORD, "notadmin"]);
    nobody
        .post(PATH, body(&late, &mac))
        .await
        .expect_error(400, "M_UNKNOWN");
}

#[tokio::test]
async fn without_a_secret_there_is_nothing() {
    let server = TestServer::start().await;
    server
        .anonymous()
        .get(PATH)
        .await
        .expect_error(400, "M_UNKNOWN");
}
