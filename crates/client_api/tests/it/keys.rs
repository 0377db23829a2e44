//! `/keys/…`.

mod changes;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    harness::{ANY, Client, PASSWORD, TestServer},
    signing::{Key, cross_signing_key, device_keys, one_time_key},
};

/// Uploads the identity keys of a device.
async fn upload(client: &Client, seed: u8) -> Value {
    let keys = device_keys(&client.user_id, &client.device_id, seed);
    let body = json!({ "device_keys": keys });
    client.post("/v3/keys/upload", body).await.ok();
    keys
}

fn claim(client: &Client) -> Value {
    json!({ "one_time_keys": {
        client.user_id.clone(): { client.device_id.clone(): "signed_curve25519" },
    } })
}

#[tokio::test]
async fn device_keys_are_uploaded_and_queried() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let keys = upload(&alice, 1).await;
    let path = format!("/v3/devices/{}", alice.device_id);
    alice
        .put(&path, json!({ "display_name": "Phone" }))
        .await
        .ok();
    let body = json!({ "device_keys": { alice.user_id.clone(): [], "@eve:elsewhere.org": [] } });
    for version in ["v3", "r0", "unstable"] {
        let answer = bob
            .post(&format!("/{version}/keys/query"), body.clone())
            .await
            .ok();
        let mut expected = keys.clone();
        expected["unsigned"] = json!({ "device_display_name": "Phone" });
        assert_eq!(
            answer["device_keys"][&alice.user_id][&alice.device_id],
            expected
        );
        assert!(answer["failures"]["elsewhere.org"].is_object());
    }
    let wrong = bob
        .post("/v3/keys/query", json!({ "device_keys": [] }))
        .await;
    wrong.expect_error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn keys_of_another_device_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    for keys in [
        device_keys(&alice.user_id, "OTHER", 1),
        device_keys(&bob.user_id, &alice.device_id, 1),
    ] {
        let answer = alice
            .post("/v3/keys/upload", json!({ "device_keys": keys }))
            .await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[tokio::test]
async fn one_time_keys_are_counted_and_handed_out_once() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let empty = alice.post("/v3/keys/upload", json!({})).await;
    empty.expect(
        200,
        json!({ "one_time_key_counts": { "signed_curve25519": 0 } }),
    );
    upload(&alice, 1).await;
    let key = |number: u8| one_time_key(&alice.user_id, &alice.device_id, 1, number);
    let body = json!({
        "one_time_keys": {
            "signed_curve25519:A": key(10),
            "signed_curve25519:B": key(11),
        },
        "fallback_keys": { "signed_curve25519:F": key(12) },
    });
    let counted = json!({ "one_time_key_counts": { "signed_curve25519": 2 } });
    for _ in 0..2 {
        let answer = alice.post("/v3/keys/upload", body.clone()).await;
        answer.expect(200, counted.clone());
    }
    let other = json!({ "one_time_keys": { "signed_curve25519:A": key(13) } });
    let changed = alice.post("/v3/keys/upload", other).await;
    assert_eq!(changed.status, 400);

    let mut handed_out = BTreeSet::new();
    for _ in 0..4 {
        let answer = bob.post("/v3/keys/claim", claim(&alice)).await.ok();
        let keys = answer["one_time_keys"][&alice.user_id][&alice.device_id]
            .as_object()
            .unwrap();
        handed_out.extend(keys.keys().cloned());
    }
    // Two one-time keys, then the fallback key again and again.
    let all = [
        "signed_curve25519:A",
        "signed_curve25519:B",
        "signed_curve25519:F",
    ];
    assert_eq!(handed_out, all.map(str::to_owned).into());
    let empty = alice.post("/v3/keys/upload", json!({})).await;
    empty.expect(
        200,
        json!({ "one_time_key_counts": { "signed_curve25519": 0 } }),
    );
}

#[tokio::test]
async fn malformed_one_time_keys_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    upload(&alice, 1).await;
    let good = one_time_key(&alice.user_id, &alice.device_id, 1, 10);
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    for wrong in [
        json!({ "key": "abc" }),
        with("key", json!(1)),
        with("signatures", json!("x")),
        with("signatures", json!({ "@alice:example.org": "x" })),
        with(
            "signatures",
            json!({ "@alice:example.org": { "ed25519:A": 1 } }),
        ),
        with("fallback", json!("yes")),
    ] {
        for kind in ["one_time_keys", "fallback_keys"] {
            let body = json!({ kind: { "signed_curve25519:A": wrong } });
            let refused = alice.post("/v3/keys/upload", body).await;
            assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
        }
    }
    let body = json!({ "fallback_keys": {
        "signed_curve25519:A": with("fallback", json!(true)),
        "other:B": "unsigned",
    } });
    alice.post("/v3/keys/upload", body).await.ok();
}

#[tokio::test]
async fn nobody_gets_the_same_one_time_key_as_another() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    upload(&alice, 1).await;
    let keys: serde_json::Map<String, Value> = (0..8_u8)
        .map(|number| {
            let key = one_time_key(&alice.user_id, &alice.device_id, 1, 10 + number);
            (format!("signed_curve25519:{number}"), key)
        })
        .collect();
    alice
        .post("/v3/keys/upload", json!({ "one_time_keys": keys }))
        .await
        .ok();
    let claims = (0..8).map(|_| bob.post("/v3/keys/claim", claim(&alice)));
    let answers = futures_util::future::join_all(claims).await;
    let mut handed_out = BTreeSet::new();
    for answer in answers {
        let answer = answer.ok();
        let keys = answer["one_time_keys"][&alice.user_id][&alice.device_id]
            .as_object()
            .unwrap();
        handed_out.extend(keys.keys().cloned());
    }
    assert_eq!(handed_out.len(), 8);
    let none = bob.post("/v3/keys/claim", claim(&alice)).await;
    none.expect(200, json!({ "one_time_keys": {}, "failures": {} }));
}

struct CrossSigning {
    master: Key,
    self_signing: Key,
    user_signing: Key,
    body: Value,
}

fn cross_signing(user_id: &str, seed: u8) -> CrossSigning {
    let master = Key::new(seed, None);
    let body = json!({
        "master_key": cross_signing_key(user_id, "master", seed, None),
        "self_signing_key": cross_signing_key(user_id, "self_signing", seed + 1, Some(&master)),
        "user_signing_key": cross_signing_key(user_id, "user_signing", seed + 2, Some(&master)),
    });
    CrossSigning {
        master,
        self_signing: Key::new(seed + 1, None),
        user_signing: Key::new(seed + 2, None),
        body,
    }
}

const CROSS_SIGNING: &str = "/v3/keys/device_signing/upload";

#[tokio::test]
async fn the_first_cross_signing_keys_need_no_password_others_do() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let first = cross_signing(&alice.user_id, 20);
    for _ in 0..2 {
        alice
            .post(CROSS_SIGNING, first.body.clone())
            .await
            .expect(200, json!({}));
    }
    let mut second = cross_signing(&alice.user_id, 30);
    let challenge = alice.post(CROSS_SIGNING, second.body.clone()).await;
    challenge.expect(
        401,
        json!({ "session": ANY, "flows": [{ "stages": ["m.login.password"] }], "params": {} }),
    );
    second.body["auth"] = json!({ "type": "m.login.password", "password": PASSWORD });
    let path = "/unstable/keys/device_signing/upload";
    alice.post(path, second.body).await.expect(200, json!({}));
    let body = json!({ "device_keys": { alice.user_id.clone(): [] } });
    let answer = alice.post("/v3/keys/query", body).await.ok();
    let master = &answer["master_keys"][&alice.user_id]["keys"];
    let public = second.master.public;
    assert_eq!(*master, json!({ format!("ed25519:{public}"): public }));
}

/// `POST /_synapse/admin/v1/users/{userId}/_allow_cross_signing_replacement_without_uia`: for who
/// has lost both their keys and their password.
#[tokio::test]
async fn an_admin_may_let_somebody_replace_their_keys_once_without_a_password() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let user_id = alice.user_id.as_str().try_into().unwrap();
    let keys = |seed| cross_signing(&alice.user_id, seed).body;
    alice.post(CROSS_SIGNING, keys(20)).await.ok();
    let allowed = server.server.allow_key_replacement(user_id).await.unwrap();
    assert!(allowed.is_some_and(|until| until > server.clock.now()));
    alice.post(CROSS_SIGNING, keys(30)).await.ok();
    assert_eq!(alice.post(CROSS_SIGNING, keys(40)).await.status, 401);

    server.server.allow_key_replacement(user_id).await.unwrap();
    server.clock.advance_ms(10 * 60 * 1000);
    assert_eq!(alice.post(CROSS_SIGNING, keys(40)).await.status, 401);
}

#[tokio::test]
async fn signatures_are_told_to_whom_they_concern() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let device = upload(&alice, 1).await;
    let of_alice = cross_signing(&alice.user_id, 20);
    let of_bob = cross_signing(&bob.user_id, 40);
    alice.post(CROSS_SIGNING, of_alice.body.clone()).await.ok();
    bob.post(CROSS_SIGNING, of_bob.body.clone()).await.ok();

    // Alice signs her device, and Bob's master key.
    let mut unsigned = device.clone();
    unsigned.as_object_mut().unwrap().remove("signatures");
    let signed_device = of_alice.self_signing.sign(&alice.user_id, unsigned);
    let signed_bob = of_alice
        .user_signing
        .sign(&alice.user_id, of_bob.body["master_key"].clone());
    let bob_master = of_bob.master.public.clone();
    let body = json!({
        alice.user_id.clone(): { alice.device_id.clone(): signed_device },
        bob.user_id.clone(): { bob_master.clone(): signed_bob },
    });
    let answer = alice.post("/v3/keys/signatures/upload", body).await;
    answer.expect(200, json!({ "failures": {} }));

    let query = json!({ "device_keys": { alice.user_id.clone(): [], bob.user_id.clone(): [] } });
    let signed_by_alice = |key: &Value| key["signatures"][&alice.user_id].clone();
    for (client, sees) in [(&alice, true), (&bob, false)] {
        let answer = client.post("/v3/keys/query", query.clone()).await.ok();
        let device = &answer["device_keys"][&alice.user_id][&alice.device_id];
        let signatures = signed_by_alice(device);
        assert_eq!(
            signatures.as_object().unwrap().len(),
            2,
            "own and self-signing key"
        );
        let master = &answer["master_keys"][&bob.user_id];
        assert_eq!(signed_by_alice(master).is_object(), sees);
        assert_eq!(
            answer["user_signing_keys"][&alice.user_id].is_object(),
            sees
        );
    }

    let forged = of_bob.self_signing.sign(
        &alice.user_id,
        json!({
            "user_id": bob.user_id,
            "usage": ["master"],
            "keys": { format!("ed25519:{bob_master}"): bob_master },
        }),
    );
    let body = json!({ bob.user_id.clone(): { bob_master.clone(): forged } });
    let answer = alice.post("/v3/keys/signatures/upload", body).await.ok();
    assert!(
        answer["failures"][&bob.user_id][&bob_master].is_object(),
        "{answer}"
    );
}

/// What one user signs of another, and their user-signing key, is shown to nobody else.
#[tokio::test]
async fn what_others_do_not_see_is_not_told_to_them() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let second = server.log_in("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let room = alice.create_public().await;
    for client in [&bob, &carol] {
        client.join(&room).await;
    }
    let of_alice = cross_signing(&alice.user_id, 20);
    let of_bob = cross_signing(&bob.user_id, 40);
    alice.post(CROSS_SIGNING, of_alice.body.clone()).await.ok();
    bob.post(CROSS_SIGNING, of_bob.body.clone()).await.ok();

    let clients = [&alice, &second, &bob, &carol];
    let mut from = Vec::new();
    for client in clients {
        from.push(since(client).await);
    }
    let signed_bob = of_alice
        .user_signing
        .sign(&alice.user_id, of_bob.body["master_key"].clone());
    let body = json!({ bob.user_id.clone(): { of_bob.master.public.clone(): signed_bob } });
    let signed = alice.post("/v3/keys/signatures/upload", body).await;
    signed.expect(200, json!({ "failures": {} }));
    let told = async |client: &Client, from: &str| {
        let path = format!("/v3/sync?timeout=0&since={from}");
        let sync = client.get(&path).await.ok();
        let changed = sync["device_lists"]["changed"].clone();
        assert_eq!(
            changes(client, from).await["changed"],
            match &changed {
                Value::Null => json!([]),
                changed => changed.clone(),
            }
        );
        (changed, sync["next_batch"].as_str().unwrap().to_owned())
    };
    for (index, client) in clients.into_iter().enumerate() {
        let (changed, next) = told(client, &from[index]).await;
        let expected = if index < 2 {
            json!([bob.user_id])
        } else {
            Value::Null
        };
        assert_eq!(changed, expected, "client {index}");
        from[index] = next;
    }

    let key = cross_signing_key(&alice.user_id, "user_signing", 60, Some(&of_alice.master));
    let auth = json!({ "type": "m.login.password", "user": alice.user_id, "password": PASSWORD });
    let body = json!({ "user_signing_key": key, "auth": auth });
    alice.post(CROSS_SIGNING, body).await.ok();
    for (index, client) in clients.into_iter().enumerate() {
        let (changed, _) = told(client, &from[index]).await;
        let expected = if index < 2 {
            json!([alice.user_id])
        } else {
            Value::Null
        };
        assert_eq!(changed, expected, "client {index}");
    }
}

async fn since(client: &Client) -> String {
    let sync = client.get("/v3/sync?timeout=0").await.ok();
    sync["next_batch"].as_str().unwrap().to_owned()
}

async fn changes(client: &Client, from: &str) -> Value {
    let to = since(client).await;
    client
        .get(&format!("/v3/keys/changes?from={from}&to={to}"))
        .await
        .ok()
}

#[tokio::test]
async fn changed_keys_are_told_to_those_who_share_a_room() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let carol = server.user("carol").await;
    let room = alice
        .post("/v3/createRoom", json!({ "preset": "public_chat" }))
        .await
        .ok();
    let room_id = room["room_id"].as_str().unwrap();

    let start = since(&alice).await;
    upload(&bob, 1).await;
    assert_eq!(
        changes(&alice, &start).await,
        json!({ "changed": [], "left": [] })
    );

    let joined_at = since(&alice).await;
    bob.post(&format!("/v3/join/{room_id}"), json!({}))
        .await
        .ok();
    let expected = json!({ "changed": [bob.user_id], "left": [] });
    assert_eq!(changes(&alice, &joined_at).await, expected);

    let changed_at = since(&alice).await;
    upload(&bob, 2).await;
    upload(&carol, 3).await;
    assert_eq!(changes(&alice, &changed_at).await, expected);
    let sync = alice
        .get(&format!("/v3/sync?timeout=0&since={changed_at}"))
        .await
        .ok();
    assert_eq!(sync["device_lists"]["changed"], json!([bob.user_id]));

    let left_at = since(&alice).await;
    let bobs_left_at = since(&bob).await;
    bob.post(&format!("/v3/rooms/{room_id}/leave"), json!({}))
        .await
        .ok();
    let expected = json!({ "changed": [], "left": [bob.user_id] });
    assert_eq!(changes(&alice, &left_at).await, expected);
    let expected = json!({ "changed": [], "left": [alice.user_id] });
    assert_eq!(changes(&bob, &bobs_left_at).await, expected);

    let wrong = alice.get("/v3/keys/changes?from=x&to=y").await;
    wrong.expect_error(400, "M_INVALID_PARAM");
    let missing = alice.get("/v3/keys/changes").await;
    missing.expect_error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn who_joins_learns_of_all_members() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let room = alice
        .post("/v3/createRoom", json!({ "preset": "public_chat" }))
        .await
        .ok();
    let from = since(&bob).await;
    let path = format!("/v3/join/{}", room["room_id"].as_str().unwrap());
    bob.post(&path, json!({})).await.ok();
    let told = changes(&bob, &from).await;
    assert!(
        told["changed"]
            .as_array()
            .unwrap()
            .contains(&json!(alice.user_id)),
        "{told}"
    );
    assert_eq!(told["left"], json!([]));
}
