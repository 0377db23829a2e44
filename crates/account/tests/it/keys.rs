//! Uploads of encryption keys, signatures, and what is told of them.

use std::collections::BTreeMap;

use lyceum_account::keys::{
    CrossSigningKeys, KeyUpload, KnownDevice, Queried, SignatureFacts, SignatureUpload,
    check_cross_signing, check_signatures, check_upload, claim_answer, cross_signing_public_key,
    one_time_key_ids, parse_claim, parse_query, query_answer, signature_targets,
};
use lyceum_model::{
    CrossSigningKey, CrossSigningUsage, DeviceKeys, KeySignature, MatrixError, OneTimeKey,
};
use proptest::prelude::{any, proptest};
use ruma_common::{
    CanonicalJsonObject, OwnedDeviceId, OwnedUserId, UserId, device_id, serde::Base64, user_id,
};
use ruma_signatures::{Ed25519KeyPair, sign_json};
use serde_json::{Value, json};

/// A key pair for tests, made from one byte.
struct Key {
    pair: Ed25519KeyPair,
    public: String,
}

impl Key {
    /// `version` is what stands after `ed25519:`; `None`: the public key.
    fn new(seed: u8, version: Option<&str>) -> Self {
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        der.extend_from_slice(&[seed; 32]);
        let pair = Ed25519KeyPair::from_der(&der, String::new()).unwrap();
        let public =
            Base64::<ruma_common::serde::base64::Standard>::new(pair.public_key().to_vec());
        let public = public.encode();
        let version = version.map_or_else(|| public.clone(), str::to_owned);
        Self {
            pair: Ed25519KeyPair::from_der(&der, version).unwrap(),
            public,
        }
    }

    fn sign(&self, user_id: &UserId, json: Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(json).unwrap();
        sign_json(user_id.as_str(), &self.pair, &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }
}

fn alice() -> &'static UserId {
    user_id!("@alice:example.org")
}

fn bob() -> &'static UserId {
    user_id!("@bob:example.org")
}

fn device_key() -> Key {
    Key::new(1, Some("DEVICE"))
}

fn device_json() -> Value {
    json!({
        "user_id": alice(),
        "device_id": "DEVICE",
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { "curve25519:DEVICE": Key::new(9, None).public, "ed25519:DEVICE": device_key().public },
    })
}

fn signed_device() -> Value {
    device_key().sign(alice(), device_json())
}

fn stored_device() -> DeviceKeys {
    DeviceKeys {
        user_id: alice().to_owned(),
        device_id: device_id!("DEVICE").to_owned(),
        json: signed_device().to_string(),
    }
}

fn one_time_key(seed: u8) -> Value {
    device_key().sign(alice(), json!({ "key": Key::new(seed, None).public }))
}

fn upload(body: &Value, known: &KnownDevice<'_>) -> Result<KeyUpload, String> {
    check_upload(alice(), device_id!("DEVICE"), body, known).map_err(code)
}

fn code(error: impl Into<MatrixError>) -> String {
    let error = error.into();
    format!("{} {}", error.status, error.code)
}

const NOTHING: KnownDevice<'_> = KnownDevice {
    device_keys: None,
    one_time_keys: &[],
};

#[test]
fn device_keys_are_accepted() {
    let body = json!({ "device_keys": signed_device() });
    let accepted = upload(&body, &NOTHING).unwrap().device_keys.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&accepted.json).unwrap(),
        signed_device()
    );
    // Again the same: nothing changes.
    let stored = stored_device();
    let known = KnownDevice {
        device_keys: Some(&stored),
        one_time_keys: &[],
    };
    assert_eq!(upload(&body, &known), Ok(KeyUpload::default()));
    // What others see under `unsigned` is the server's to say.
    let mut with_unsigned = signed_device();
    with_unsigned["unsigned"] = json!({ "device_display_name": "x" });
    assert_eq!(
        upload(&json!({ "device_keys": with_unsigned }), &known),
        Ok(KeyUpload::default())
    );
    assert_eq!(upload(&json!({}), &NOTHING), Ok(KeyUpload::default()));
    assert_eq!(
        upload(&json!({ "device_keys": null }), &NOTHING),
        Ok(KeyUpload::default())
    );
}

#[test]
fn device_keys_are_refused() {
    let check = |change: &dyn Fn(&mut Value), expect: &str| {
        let mut keys = signed_device();
        change(&mut keys);
        let result = upload(&json!({ "device_keys": keys }), &NOTHING);
        assert_eq!(result, Err(expect.to_owned()), "{keys}");
    };
    let remove = |keys: &mut Value, key: &str| drop(keys.as_object_mut().unwrap().remove(key));
    check(
        &|keys| keys["user_id"] = json!(bob()),
        "400 M_INVALID_PARAM",
    );
    check(
        &|keys| keys["device_id"] = json!("OTHER"),
        "400 M_INVALID_PARAM",
    );
    check(&|keys| remove(keys, "user_id"), "400 M_BAD_JSON");
    check(&|keys| remove(keys, "device_id"), "400 M_BAD_JSON");
    check(&|keys| remove(keys, "algorithms"), "400 M_BAD_JSON");
    check(&|keys| remove(keys, "keys"), "400 M_BAD_JSON");
    check(&|keys| remove(keys, "signatures"), "400 M_BAD_JSON");
    check(&|keys| keys["algorithms"] = json!([1]), "400 M_BAD_JSON");
    check(
        &|keys| keys["keys"] = json!({ "ed25519:DEVICE": 1 }),
        "400 M_BAD_JSON",
    );
    check(&|keys| keys["signatures"] = json!("x"), "400 M_BAD_JSON");
    check(&|keys| keys["added"] = json!(1.5), "400 M_BAD_JSON");
    check(&|keys| keys["added"] = json!(1_u64 << 53), "400 M_BAD_JSON");
    check(
        &|keys| keys["added"] = json!("x".repeat(70_000)),
        "413 M_TOO_LARGE",
    );
    check(&|keys| *keys = json!([]), "400 M_BAD_JSON");
    check(&|keys| *keys = json!("x"), "400 M_BAD_JSON");
}

#[test]
fn signatures_of_uploads_are_for_clients_to_check() {
    let keys = Key::new(2, Some("DEVICE")).sign(alice(), device_json());
    let accepted = upload(&json!({ "device_keys": keys }), &NOTHING).unwrap();
    assert!(accepted.device_keys.is_some());
    let unsigned = json!({ "key": Key::new(3, None).public, "signatures": {} });
    let body = json!({ "one_time_keys": { "signed_curve25519:A": unsigned } });
    assert_eq!(upload(&body, &NOTHING).unwrap().one_time_keys.len(), 1);
}

#[test]
fn one_time_keys() {
    let device = stored_device();
    let known = KnownDevice {
        device_keys: Some(&device),
        one_time_keys: &[],
    };
    let body = json!({ "one_time_keys": {
        "signed_curve25519:A": one_time_key(3),
        "signed_curve25519:B": one_time_key(4),
        "curve25519:C": "public",
    } });
    assert_eq!(
        one_time_key_ids(&body),
        ["curve25519:C", "signed_curve25519:A", "signed_curve25519:B"]
    );
    let accepted = upload(&body, &known).unwrap().one_time_keys;
    assert_eq!(accepted.len(), 3);
    assert_eq!(accepted[0].json, "\"public\"");
    assert_eq!(accepted[1].algorithm(), "signed_curve25519");
    // The same again is passed over; another one under the same name is refused.
    let known = KnownDevice {
        device_keys: Some(&device),
        one_time_keys: &accepted[..2],
    };
    assert_eq!(upload(&body, &known).unwrap().one_time_keys, accepted[2..]);
    let other = json!({ "one_time_keys": { "signed_curve25519:A": one_time_key(5) } });
    assert_eq!(upload(&other, &known), Err("400 M_UNKNOWN".to_owned()));
}

#[test]
fn one_time_keys_are_refused() {
    let device = stored_device();
    let known = KnownDevice {
        device_keys: Some(&device),
        one_time_keys: &[],
    };
    let check = |key_id: &str, key: Value, expect: &str| {
        for part in ["one_time_keys", "fallback_keys"] {
            let result = upload(&json!({ part: { key_id: key } }), &known);
            assert_eq!(result, Err(expect.to_owned()), "{key_id} {key}");
        }
    };
    let signed = "signed_curve25519:A";
    check("nocolon", json!("x"), "400 M_BAD_JSON");
    check(":A", json!("x"), "400 M_BAD_JSON");
    check("curve25519:", json!("x"), "400 M_BAD_JSON");
    check("curve25519:A", json!(1), "400 M_BAD_JSON");
    check(signed, json!("x"), "400 M_BAD_JSON");
    check(signed, json!({}), "400 M_MISSING_PARAM");
    check(
        &format!("curve25519:{}", "x".repeat(300)),
        json!("x"),
        "413 M_TOO_LARGE",
    );
    check(
        "curve25519:A",
        json!({ "key": "x".repeat(9_000) }),
        "413 M_TOO_LARGE",
    );
    assert_eq!(
        upload(&json!({ "one_time_keys": [] }), &known),
        Err("400 M_BAD_JSON".to_owned())
    );
    let many: serde_json::Map<String, Value> = (0..1001)
        .map(|number| (format!("a:{number}"), json!("x")))
        .collect();
    let many = json!({ "one_time_keys": many });
    assert_eq!(upload(&many, &known), Err("413 M_TOO_LARGE".to_owned()));
}

#[test]
fn fallback_keys() {
    let device = stored_device();
    let known = KnownDevice {
        device_keys: Some(&device),
        one_time_keys: &[],
    };
    let key = device_key().sign(
        alice(),
        json!({ "key": Key::new(3, None).public, "fallback": true }),
    );
    for name in ["fallback_keys", "org.matrix.msc2732.fallback_keys"] {
        let body = json!({ name: { "signed_curve25519:A": key } });
        let accepted = upload(&body, &known).unwrap();
        assert_eq!(accepted.fallback_keys.len(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&accepted.fallback_keys[0].json).unwrap(),
            key
        );
    }
    // One for each algorithm.
    let two =
        json!({ "fallback_keys": { "signed_curve25519:A": key, "signed_curve25519:B": key } });
    assert_eq!(upload(&two, &known), Err("400 M_BAD_JSON".to_owned()));
}

// ── cross-signing ──

fn master() -> Key {
    Key::new(11, None)
}

fn self_signing() -> Key {
    Key::new(12, None)
}

fn user_signing() -> Key {
    Key::new(13, None)
}

fn key_json(user_id: &UserId, usage: &str, key: &Key) -> Value {
    let name = format!("ed25519:{}", key.public);
    json!({ "user_id": user_id, "usage": [usage], "keys": { name: key.public } })
}

fn all_keys() -> Value {
    json!({
        "master_key": key_json(alice(), "master", &master()),
        "self_signing_key":
            master().sign(alice(), key_json(alice(), "self_signing", &self_signing())),
        "user_signing_key":
            master().sign(alice(), key_json(alice(), "user_signing", &user_signing())),
    })
}

fn stored(user_id: &UserId, usage: CrossSigningUsage, json: &Value) -> CrossSigningKey {
    CrossSigningKey {
        user_id: user_id.to_owned(),
        usage,
        json: json.to_string(),
    }
}

fn stored_keys() -> Vec<CrossSigningKey> {
    check_cross_signing(alice(), &all_keys(), &CrossSigningKeys::default(), &[])
        .unwrap()
        .keys
}

fn cross_sign(body: &Value, existing: &[CrossSigningKey]) -> Result<(usize, bool), String> {
    let existing = CrossSigningKeys::from_slice(existing, alice());
    let devices: [OwnedDeviceId; 2] = [
        device_id!("DEVICE").into(),
        Key::new(50, None).public.into(),
    ];
    check_cross_signing(alice(), body, &existing, &devices)
        .map(|upload| (upload.keys.len(), upload.needs_authentication))
        .map_err(code)
}

#[test]
fn first_and_same_cross_signing_keys_need_no_authentication() {
    assert_eq!(cross_sign(&all_keys(), &[]), Ok((3, false)));
    let existing = stored_keys();
    assert_eq!(cross_sign(&all_keys(), &existing), Ok((0, false)));
    let only_master = json!({ "master_key": all_keys()["master_key"] });
    assert_eq!(cross_sign(&only_master, &[]), Ok((1, false)));
    assert_eq!(cross_sign(&only_master, &existing), Ok((0, false)));
    // The device's signature over the same master key is news, but no other key.
    let signed =
        json!({ "master_key": device_key().sign(alice(), all_keys()["master_key"].clone()) });
    assert_eq!(cross_sign(&signed, &existing), Ok((1, false)));
    assert_eq!(
        cross_signing_public_key(&existing[0]),
        Some(master().public)
    );
}

#[test]
fn other_cross_signing_keys_need_authentication() {
    let existing = stored_keys();
    let other = Key::new(21, None);
    let new_master = json!({ "master_key": key_json(alice(), "master", &other) });
    assert_eq!(cross_sign(&new_master, &existing), Ok((1, true)));
    let new_self_signing = json!({
        "self_signing_key": master().sign(alice(), key_json(alice(), "self_signing", &other)),
    });
    assert_eq!(cross_sign(&new_self_signing, &existing), Ok((1, true)));
    // The same key that says something else of itself.
    let mut changed = all_keys()["master_key"].clone();
    changed["usage"] = json!(["master", "self_signing"]);
    let changed = json!({ "master_key": changed });
    assert_eq!(cross_sign(&changed, &existing), Ok((1, true)));
    // Also one of a kind that was not there yet.
    assert_eq!(cross_sign(&all_keys(), &existing[..1]), Ok((2, true)));
}

#[test]
fn cross_signing_keys_are_refused() {
    let check = |part: &str, change: &dyn Fn(&mut Value), expect: &str| {
        let mut body = all_keys();
        change(&mut body[part]);
        assert_eq!(cross_sign(&body, &[]), Err(expect.to_owned()), "{body}");
    };
    check(
        "master_key",
        &|key| key["user_id"] = json!(bob()),
        "400 M_INVALID_PARAM",
    );
    check(
        "master_key",
        &|key| key["usage"] = json!(["self_signing"]),
        "400 M_BAD_JSON",
    );
    check(
        "master_key",
        &|key| key["usage"] = json!("master"),
        "400 M_BAD_JSON",
    );
    check(
        "master_key",
        &|key| key["keys"] = json!({}),
        "400 M_BAD_JSON",
    );
    check(
        "master_key",
        &|key| key["keys"]["ed25519:b"] = json!("b"),
        "400 M_BAD_JSON",
    );
    check(
        "master_key",
        &|key| key["keys"] = json!({ "ed25519:b": "b" }),
        "400 M_BAD_JSON",
    );
    let mismatch = json!({ "ed25519:b": master().public });
    check(
        "master_key",
        &|key| key["keys"] = mismatch.clone(),
        "400 M_BAD_JSON",
    );
    check("master_key", &|key| *key = json!(1), "400 M_BAD_JSON");
    check(
        "master_key",
        &|key| *key = Value::Null,
        "400 M_MISSING_PARAM",
    );
    check(
        "self_signing_key",
        &|key| key["added"] = json!(1),
        "400 M_INVALID_SIGNATURE",
    );
    check(
        "user_signing_key",
        &|key| key["signatures"] = json!({}),
        "400 M_INVALID_SIGNATURE",
    );
    let other = Key::new(21, None);
    let by_other = other.sign(alice(), key_json(alice(), "self_signing", &self_signing()));
    check(
        "self_signing_key",
        &|key| *key = by_other.clone(),
        "400 M_INVALID_SIGNATURE",
    );
    let like_a_device = key_json(alice(), "master", &Key::new(50, None));
    check(
        "master_key",
        &|key| *key = like_a_device.clone(),
        "403 M_FORBIDDEN",
    );
    assert_eq!(
        cross_sign(&json!({}), &[]),
        Err("400 M_MISSING_PARAM".to_owned())
    );
    assert_eq!(
        cross_sign(&json!([]), &[]),
        Err("400 M_MISSING_PARAM".to_owned())
    );
}

// ── signatures ──

fn bobs_master() -> Key {
    Key::new(31, None)
}

fn all_cross_signing() -> Vec<CrossSigningKey> {
    let mut keys = stored_keys();
    let bobs = key_json(bob(), "master", &bobs_master());
    keys.push(stored(bob(), CrossSigningUsage::Master, &bobs));
    let bobs = key_json(bob(), "self_signing", &Key::new(32, None));
    keys.push(stored(bob(), CrossSigningUsage::SelfSigning, &bobs));
    keys
}

fn sign(body: &Value) -> SignatureUpload {
    let (devices, cross_signing) = ([stored_device()], all_cross_signing());
    let facts = SignatureFacts {
        devices: &devices,
        cross_signing: &cross_signing,
    };
    check_signatures(alice(), body, &facts).unwrap()
}

#[test]
fn signatures_that_count() {
    let masters_json = all_keys()["master_key"].clone();
    let body = json!({
        alice().as_str(): {
            "DEVICE": self_signing().sign(alice(), signed_device()),
            (master().public): device_key().sign(alice(), masters_json),
        },
        bob().as_str(): {
            (bobs_master().public):
                user_signing().sign(alice(), key_json(bob(), "master", &bobs_master())),
        },
    });
    assert_eq!(signature_targets(&body), [alice(), bob()]);
    let upload = sign(&body);
    assert_eq!(upload.failures, serde_json::Map::new());
    assert_eq!(
        upload.changed.into_iter().collect::<Vec<_>>(),
        [alice(), bob()]
    );
    let told: Vec<(OwnedUserId, String, String)> = upload
        .signatures
        .into_iter()
        .map(|signature| {
            (
                signature.target,
                signature.target_key,
                signature.signer_key_id,
            )
        })
        .collect();
    let by = |key: Key| format!("ed25519:{}", key.public);
    let mut expect = vec![
        (alice().to_owned(), "DEVICE".to_owned(), by(self_signing())),
        (
            alice().to_owned(),
            master().public,
            "ed25519:DEVICE".to_owned(),
        ),
        (bob().to_owned(), bobs_master().public, by(user_signing())),
    ];
    expect.sort();
    let mut sorted = told;
    sorted.sort();
    assert_eq!(sorted, expect);
}

#[test]
fn signatures_that_do_not_count() {
    let check = |user_id: &UserId, key_id: &str, signed: Value, expect: &str| {
        let upload = sign(&json!({ user_id.as_str(): { key_id: signed } }));
        assert_eq!(upload.signatures, []);
        assert_eq!(upload.changed.len(), 0);
        assert_eq!(
            upload.failures[user_id.as_str()][key_id]["errcode"],
            expect,
            "{signed}"
        );
    };
    // Only the device's own signature, or one by a key that may not sign it.
    check(alice(), "DEVICE", signed_device(), "M_INVALID_SIGNATURE");
    check(
        alice(),
        "DEVICE",
        user_signing().sign(alice(), signed_device()),
        "M_INVALID_SIGNATURE",
    );
    // Damaged.
    let mut damaged = self_signing().sign(alice(), signed_device());
    let name = format!("ed25519:{}", self_signing().public);
    damaged["signatures"][alice().as_str()][&name] = json!("AAAA");
    check(alice(), "DEVICE", damaged, "M_INVALID_SIGNATURE");
    // Another object than the known one.
    let mut other = device_json();
    other["added"] = json!(1);
    check(
        alice(),
        "DEVICE",
        self_signing().sign(alice(), other),
        "M_INVALID_PARAM",
    );
    check(
        alice(),
        "UNKNOWN",
        self_signing().sign(alice(), signed_device()),
        "M_NOT_FOUND",
    );
    check(alice(), "DEVICE", json!(1), "M_BAD_JSON");
    check(alice(), "DEVICE", json!({ "a": 1.5 }), "M_BAD_JSON");
    // Another user's device, self-signing key, or master key without one's own user-signing key.
    check(
        bob(),
        "DEVICE",
        self_signing().sign(alice(), signed_device()),
        "M_NOT_FOUND",
    );
    let theirs = Key::new(32, None);
    let signed = user_signing().sign(alice(), key_json(bob(), "self_signing", &theirs));
    check(bob(), &theirs.public, signed, "M_NOT_FOUND");
    let signed = self_signing().sign(alice(), key_json(bob(), "master", &bobs_master()));
    check(bob(), &bobs_master().public, signed, "M_INVALID_SIGNATURE");
    check(user_id!("@carol:x"), "x", json!({}), "M_NOT_FOUND");
    // A wrong one does not harm the others.
    let upload = sign(&json!({ alice().as_str(): {
        "DEVICE": self_signing().sign(alice(), signed_device()),
        "UNKNOWN": {},
    } }));
    assert_eq!((upload.signatures.len(), upload.failures.len()), (1, 1));
    assert!(check_signatures(alice(), &json!([]), &SignatureFacts::default()).is_err());
    assert!(check_signatures(alice(), &json!({ "@a:x": 1 }), &SignatureFacts::default()).is_err());
}

// ── answers ──

#[test]
fn what_others_are_told() {
    let devices = [stored_device()];
    let cross_signing = all_cross_signing();
    let signature = |signer: &UserId, target: &UserId, target_key: &str, by: &str| KeySignature {
        signer: signer.to_owned(),
        signer_key_id: by.to_owned(),
        target: target.to_owned(),
        target_key: target_key.to_owned(),
        signature: "sig".to_owned(),
    };
    let carol = user_id!("@carol:x");
    let signatures = [
        signature(alice(), alice(), "DEVICE", "ed25519:ssk"),
        signature(carol, alice(), "DEVICE", "ed25519:x"),
        signature(alice(), bob(), &bobs_master().public, "ed25519:alices"),
        signature(carol, bob(), &bobs_master().public, "ed25519:carols"),
        signature(bob(), bob(), &bobs_master().public, "ed25519:BOBS"),
    ];
    let names = BTreeMap::from([(
        (alice().to_owned(), device_id!("DEVICE").to_owned()),
        "Phone".to_owned(),
    )]);
    let found = Queried {
        devices: &devices,
        display_names: &names,
        cross_signing: &cross_signing,
        signatures: &signatures,
    };
    let wanted =
        parse_query(&json!({ "device_keys": { alice().as_str(): [], bob().as_str(): ["X"] } }));
    let wanted = wanted.unwrap();
    let answer = query_answer(Some(alice()), &wanted, &found);
    let device = &answer.device_keys[alice().as_str()]["DEVICE"];
    assert_eq!(
        device["unsigned"],
        json!({ "device_display_name": "Phone" })
    );
    let by_alice = device["signatures"][alice().as_str()].as_object().unwrap();
    assert_eq!(
        by_alice.keys().collect::<Vec<_>>(),
        ["ed25519:DEVICE", "ed25519:ssk"]
    );
    assert_eq!(device["signatures"].as_object().unwrap().len(), 1);
    assert_eq!(answer.device_keys[bob().as_str()], json!({}));
    assert_eq!(
        answer.user_signing_keys.keys().collect::<Vec<_>>(),
        [alice().as_str()]
    );
    assert_eq!(answer.self_signing_keys.len(), 2);
    let signers = |answer: &lyceum_account::keys::QueryAnswer| {
        let signatures = answer.master_keys[bob().as_str()]["signatures"].clone();
        signatures
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(signers(&answer), "@alice:example.org @bob:example.org");
    let answer = query_answer(Some(bob()), &wanted, &found);
    assert_eq!(signers(&answer), "@bob:example.org");
    assert_eq!(answer.user_signing_keys.len(), 0);
    let answer = query_answer(None, &wanted, &found);
    assert_eq!(signers(&answer), "@bob:example.org");
    assert_eq!(answer.user_signing_keys.len(), 0);
    let none = parse_query(&json!({ "device_keys": { alice().as_str(): ["OTHER"] } })).unwrap();
    assert_eq!(
        query_answer(None, &none, &found).device_keys[alice().as_str()],
        json!({})
    );
}

#[test]
fn claims() {
    let wanted = parse_claim(&json!({ "one_time_keys": { "@a:x": { "D": "alg", "E": "alg" } } }));
    assert_eq!(wanted.unwrap().len(), 2);
    let key = OneTimeKey {
        key_id: "alg:1".to_owned(),
        json: "{\"key\":\"k\"}".to_owned(),
    };
    let claimed = [
        (
            user_id!("@a:x").to_owned(),
            device_id!("D").to_owned(),
            key.clone(),
        ),
        (user_id!("@a:x").to_owned(), device_id!("E").to_owned(), key),
    ];
    assert_eq!(
        Value::Object(claim_answer(&claimed)),
        json!({ "@a:x": { "D": { "alg:1": { "key": "k" } }, "E": { "alg:1": { "key": "k" } } } })
    );
    for bad in [
        json!({}),
        json!({ "one_time_keys": [] }),
        json!({ "one_time_keys": { "x": {} } }),
        json!({ "one_time_keys": { "@a:x": 1 } }),
        json!({ "one_time_keys": { "@a:x": { "D": 1 } } }),
    ] {
        assert!(parse_claim(&bad).is_err(), "{bad}");
    }
    for bad in [
        json!({}),
        json!({ "device_keys": 1 }),
        json!({ "device_keys": { "x": [] } }),
        json!({ "device_keys": { "@a:x": [1] } }),
        json!({ "device_keys": { "@a:x": 1 } }),
    ] {
        assert!(parse_query(&bad).is_err(), "{bad}");
    }
}

proptest! {
    /// Whatever is damaged in a signed key, what is accepted is that device's.
    #[test]
    fn damaged_uploads(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut text = json!({
            "device_keys": signed_device(),
            "one_time_keys": { "signed_curve25519:A": one_time_key(3) },
        }).to_string().into_bytes();
        let index = at.index(text.len());
        text[index] = byte;
        if let Ok(body) = serde_json::from_slice::<Value>(&text) {
            if let Ok(upload) = upload(&body, &NOTHING)
                && let Some(keys) = upload.device_keys
            {
                let keys: Value = serde_json::from_str(&keys.json).unwrap();
                assert_eq!(keys["user_id"], json!(alice()));
                assert_eq!(keys["device_id"], json!("DEVICE"));
            }
            let _result = check_cross_signing(alice(), &body, &CrossSigningKeys::default(), &[]);
            let _result = check_signatures(alice(), &body, &SignatureFacts::default());
        }
    }
}
