//! Events carry valid hashes, signatures and ids in every version.

use std::collections::BTreeMap;

use lyceum_model::Event;
use lyceum_room::{RoomRules, Signer};
use lyceum_testkit::{Scene, alice, bob, signer};
use ruma_common::{CanonicalJsonObject, serde::Base64};
use ruma_signatures::Verified;
use serde_json::json;

#[test]
fn every_event_of_every_version_verifies() {
    for version in RoomRules::supported() {
        let mut scene = Scene::public_in(version.as_str());
        scene.join(&bob());
        let content = json!({ "msgtype": "m.text", "body": "naïve \u{1}\n\"日本\\ \u{7f}🎺" });
        let said = scene
            .try_send(&alice(), "m.room.message", content)
            .expect("may send");
        scene.set(&alice(), "m.room.name", "", json!({ "name": "one" }));
        scene.set(&alice(), "m.room.name", "", json!({ "name": "two" }));
        scene.try_redact(&alice(), &said.id).expect("may redact");
        scene.try_kick(&alice(), &bob()).expect("may kick");
        for event in &scene.events {
            check(event, &scene.room.rules, &scene.signer);
        }
    }
}

/// Verifies an event with ruma's own code.
pub(crate) fn check(event: &Event, rules: &RoomRules, signer: &Signer) {
    let object: CanonicalJsonObject = serde_json::from_str(&event.json).expect("is canonical");
    let canonical = serde_json::to_string(&object).expect("is JSON");
    assert_eq!(canonical, *event.json, "the text is canonical");

    let key = Base64::parse(signer.public_key_base64()).expect("is base64");
    let keys = BTreeMap::from([(signer.key_id().to_owned(), key)]);
    let keys = BTreeMap::from([(signer.server_name().to_string(), keys)]);
    let verified = ruma_signatures::verify_event(&keys, &object, &rules.ruma).expect("verifies");
    assert_eq!(verified, Verified::All);

    if rules.events_carry_their_id() {
        assert_eq!(object["event_id"].as_str(), Some(event.id.as_str()));
        assert_eq!(event.id.server_name(), Some(signer.server_name()));
    } else {
        let hash = ruma_signatures::reference_hash(&object, &rules.ruma).expect("hashes");
        assert_eq!(event.id.as_str(), format!("${hash}"));
    }
    ruma_state_res::check_pdu_format(&object, &rules.ruma.event_format).expect("has the format");

    // What is kept of an event is what reading it again gives.
    let read = Event::from_pdu(
        event.id.clone(),
        Some(event.room_id.clone()),
        event.json.clone(),
    );
    assert_eq!(format!("{:?}", read.expect("reads")), format!("{event:?}"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let make = || {
        let mut scene = Scene::public();
        scene.join(&bob());
        scene.say(&bob(), "hello");
        format!("{:?} {:?}", scene.batches, scene.room)
    };
    assert_eq!(make(), make());
}

#[test]
fn relations_are_read_as_they_will_be_read_again() {
    let mut scene = Scene::public();
    let root = scene.say(&alice(), "root").id.clone();
    for relation in [
        json!({ "rel_type": "m.thread", "event_id": root }),
        json!({ "rel_type": "m.annotation", "event_id": root, "key": "👍" }),
        json!({ "rel_type": "m.annotation", "event_id": root, "key": 7 }),
        json!({ "rel_type": "m.thread", "event_id": "no id" }),
        json!({ "event_id": root }),
        json!({ "m.in_reply_to": { "event_id": root } }),
        json!("nothing"),
        json!(null),
    ] {
        let content = json!({ "body": "x", "m.relates_to": relation });
        let event = scene
            .try_send(&alice(), "m.room.message", content)
            .expect("may send");
        check(&event, &scene.room.rules, &scene.signer);
    }
    let content =
        json!({ "body": "x", "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
    let event = scene
        .try_send(&alice(), "m.room.message", content)
        .expect("may send");
    assert_eq!(event.thread_root(), Some(&root));
}

#[test]
fn keys_come_from_seeds_and_documents() {
    let signer = signer();
    assert_eq!(signer.key_id(), "ed25519:test");
    let mut object = CanonicalJsonObject::new();
    signer.sign_json(&mut object).expect("signs");
    let key = Base64::parse(signer.public_key_base64()).expect("is base64");
    let keys = BTreeMap::from([(signer.key_id().to_owned(), key)]);
    let keys = BTreeMap::from([(signer.server_name().to_string(), keys)]);
    ruma_signatures::verify_json(&keys, &object).expect("verifies");

    let server_name = signer.server_name().to_owned();
    assert!(Signer::from_der(server_name.clone(), "1", b"nonsense").is_err());
    for version in ["", "a b", "a:b", "ä"] {
        assert!(
            Signer::from_seed(server_name.clone(), version, &[1; 32]).is_err(),
            "{version}"
        );
    }
}
