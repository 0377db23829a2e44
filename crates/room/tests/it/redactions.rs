//! Redactions: who may, in which form, and what stays.

use std::{slice::from_ref, sync::Arc};

use lyceum_model::{Change, Event, RoomChange};
use lyceum_room::{Denied, Draft, Past, RoomRules, redacted, redaction_target};
use lyceum_testkit::{Scene, alice, bob, carol, raw};
use ruma_common::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

/// An earlier release let such contents in.
#[test]
fn what_is_nested_too_deep_can_be_redacted() {
    let deep = format!("{}1{}", "{\"a\":".repeat(126), "}".repeat(126));
    let scene = Scene::public();
    let said = scene.newest();
    let json = said.json.replacen(
        "\"content\":{",
        &format!("\"content\":{{\"deep\":{deep},"),
        1,
    );
    assert_ne!(*json, *said.json);
    let event = Event::from_pdu(said.id.clone(), Some(said.room_id.clone()), json.into());
    let event = redacted(&event.unwrap(), &scene.room.rules).unwrap();
    assert!(
        !event.content.get().contains("deep"),
        "{}",
        event.content.get()
    );
}

#[test]
fn what_stays_of_each_type() {
    check_forms(
        "1",
        r#"
m.room.member {"membership":"join"}
m.room.create {"creator":"@a:b"}
m.room.join_rules {"join_rule":"public"}
m.room.power_levels {"ban":1,"events":{},"events_default":2,"kick":3,"redact":4,"state_default":5,"users":{},"users_default":6}
m.room.history_visibility {"history_visibility":"shared"}
m.room.aliases {"aliases":["x"]}
m.room.redaction {}
m.room.message {}
"#,
    );
    check_forms(
        "6",
        r#"
m.room.member {"membership":"join"}
m.room.create {"creator":"@a:b"}
m.room.join_rules {"join_rule":"public"}
m.room.power_levels {"ban":1,"events":{},"events_default":2,"kick":3,"redact":4,"state_default":5,"users":{},"users_default":6}
m.room.history_visibility {"history_visibility":"shared"}
m.room.aliases {}
m.room.redaction {}
m.room.message {}
"#,
    );
    check_forms(
        "9",
        r#"
m.room.member {"join_authorised_via_users_server":"@c:b","membership":"join"}
m.room.create {"creator":"@a:b"}
m.room.join_rules {"allow":[],"join_rule":"public"}
m.room.power_levels {"ban":1,"events":{},"events_default":2,"kick":3,"redact":4,"state_default":5,"users":{},"users_default":6}
m.room.history_visibility {"history_visibility":"shared"}
m.room.aliases {}
m.room.redaction {}
m.room.message {}
"#,
    );
    for version in ["11", "12"] {
        check_forms(
            version,
            r#"
m.room.member {"join_authorised_via_users_server":"@c:b","membership":"join","third_party_invite":{"signed":{}}}
m.room.create {"creator":"@a:b","other":1}
m.room.join_rules {"allow":[],"join_rule":"public"}
m.room.power_levels {"ban":1,"events":{},"events_default":2,"invite":7,"kick":3,"redact":4,"state_default":5,"users":{},"users_default":6}
m.room.history_visibility {"history_visibility":"shared"}
m.room.aliases {}
m.room.redaction {"redacts":"$x"}
m.room.message {}
"#,
        );
    }
}

#[test]
fn the_target_is_named_where_the_version_wants_it() {
    for version in ["1", "6", "10", "11", "12"] {
        let mut scene = Scene::public_in(version);
        let said = scene.say(&alice(), "oops");
        let event = scene.try_redact(&alice(), &said.id).expect("may redact");
        let pdu: Value = serde_json::from_str(&event.json).expect("is JSON");
        let in_content = scene.room.rules.redacts_in_content();
        assert_eq!(
            pdu["content"]["redacts"] == json!(said.id),
            in_content,
            "{version}"
        );
        assert_eq!(pdu["redacts"] == json!(said.id), !in_content, "{version}");
        assert_eq!(pdu["content"]["reason"], "spam");
        assert_eq!(event.redacts.as_ref(), Some(&said.id));
        assert!(event.unsigned.is_none());

        let [append, redact, heads] = scene.batches.last().expect("one").changes.as_slice() else {
            panic!("three changes")
        };
        assert!(matches!(append, Change::Room(RoomChange::Append { .. })));
        assert!(matches!(heads, Change::Room(RoomChange::Heads { .. })));
        let Change::Room(RoomChange::Redact { redacted, because }) = redact else {
            panic!("redacts")
        };
        assert_eq!((&redacted.id, because), (&said.id, &event.id));
        assert_eq!(redacted.content.get(), "{}");
        assert_eq!(redacted.depth, said.depth);
    }
}

#[test]
fn one_redacts_oneself_and_power_redacts_others() {
    for version in ["1", "3", "11"] {
        let mut scene = Scene::public_in(version);
        scene.join(&bob());
        scene.join(&carol());
        let by_alice = scene.say(&alice(), "a").id.clone();
        let by_bob = scene.say(&bob(), "b").id.clone();
        for (who, what, expect) in [
            (carol(), &by_bob, false),
            (bob(), &by_alice, false),
            (bob(), &by_bob, true),
            (alice(), &by_bob, true),
        ] {
            assert_eq!(
                scene.try_redact(&who, what).is_ok(),
                expect,
                "{version} {who}"
            );
        }
        scene.leave(&bob());
        assert!(
            scene.try_redact(&bob(), &by_bob).is_err(),
            "{version}: left"
        );
    }
}

/// Admins have the words of somebody redacted in that person's name after they were banned.
#[test]
fn who_has_left_redacts_in_the_past() {
    for version in ["1", "6", "10", "12"] {
        let mut scene = Scene::public_in(version);
        scene.join(&bob());
        let said = scene.say(&bob(), "spam");
        let past = Past::after(&said, scene.room.state.clone());
        let before_leave = scene.room.state.clone();
        scene.leave(&bob());
        let left = scene.events.last().expect("one").clone();
        let before = scene.room.clone();
        for (target, past) in [
            (&said, past.clone()),
            (&left, Past::before(&left, before_leave)),
        ] {
            let redaction = scene.try_redact_at(&bob(), &target.id, Some(&past));
            let redaction = redaction.expect("they could then");
            assert_eq!(redaction.prev_events[..], *from_ref(&said.id), "{version}");
            assert_eq!(redaction.depth, said.depth + 1);
            // What holds now is as it was.
            assert_eq!(scene.room.heads, before.heads);
            assert_eq!(scene.room.present_state(), before.present_state());
            assert!(!scene.room.is_joined(&bob()));
        }
        let next = scene.say(&alice(), "at last");
        assert_eq!(next.prev_events[..], *from_ref(&left.id));
        // Nobody else says anything there.
        let by_bob = scene.try_redact_at(&alice(), &said.id, Some(&past));
        assert!(matches!(by_bob, Err(Denied::Forbidden(_))));
    }
}

#[test]
fn the_root_of_a_room_stays() {
    let mut scene = Scene::public();
    let create = scene.events[0].id.clone();
    assert!(matches!(
        scene.try_redact(&alice(), &create),
        Err(Denied::Forbidden(_))
    ));
}

#[test]
fn redacted_state_holds_in_its_redacted_form() {
    let mut scene = Scene::public();
    scene.set(&alice(), "m.room.name", "", json!({ "name": "old" }));
    let name = scene.set(&alice(), "m.room.name", "", json!({ "name": "bad" }));
    scene.try_redact(&alice(), &name.id).expect("may redact");
    assert_eq!(scene.room.name(), None);
    let held = scene
        .room
        .state
        .get("m.room.name", "")
        .expect("still there");
    assert_eq!(held.id, name.id);
    let unsigned: Value =
        serde_json::from_str(held.unsigned.as_ref().expect("kept").get()).expect("is JSON");
    assert!(unsigned.get("prev_content").is_none() && unsigned.get("replaces_state").is_some());

    let mut scene = Scene::public();
    let join = scene.join(&bob());
    scene.try_redact(&alice(), &join.id).expect("may redact");
    assert!(scene.room.is_joined(&bob()));
    assert_eq!(scene.room.state.joined_count(), 2);
}

#[test]
fn events_of_other_rooms_are_not_redacted() {
    let mut scene = Scene::public();
    let foreign = Scene::public_in("11").say(&alice(), "there");
    scene.events.push(foreign.clone());
    let outcome = scene.try_redact(&alice(), &foreign.id);
    assert!(matches!(outcome, Err(Denied::InvalidParam(_))));
}

#[test]
fn clients_name_targets_in_two_ways() {
    let id = OwnedEventId::try_from("$x").expect("an id");
    let draft = |content| Draft::message("m.room.redaction", raw(&content));
    assert_eq!(
        redaction_target(&draft(json!({ "redacts": "$x" }))),
        Some(id.clone())
    );
    assert_eq!(redaction_target(&draft(json!({ "redacts": 1 }))), None);
    let with_field = Draft {
        redacts: Some(id.clone()),
        ..draft(json!({}))
    };
    assert_eq!(redaction_target(&with_field), Some(id));
    let message = Draft::message("m.room.message", raw(&json!({ "redacts": "$x" })));
    assert_eq!(redaction_target(&message), None);
}

fn check_forms(version: &str, expect: &str) {
    let version = RoomVersionId::try_from(version).expect("a version");
    let rules = RoomRules::for_version(&version).expect("known");
    let mut told = String::from("\n");
    for (kind, content) in [
        (
            "m.room.member",
            json!({
                "membership": "join",
                "displayname": "x",
                "join_authorised_via_users_server": "@c:b",
                "third_party_invite": { "signed": {}, "display_name": "x" },
            }),
        ),
        ("m.room.create", json!({ "creator": "@a:b", "other": 1 })),
        (
            "m.room.join_rules",
            json!({ "join_rule": "public", "allow": [], "other": 1 }),
        ),
        (
            "m.room.power_levels",
            json!({
                "ban": 1, "events": {}, "events_default": 2, "invite": 7, "kick": 3,
                "notifications": {}, "redact": 4, "state_default": 5, "users": {},
                "users_default": 6,
            }),
        ),
        (
            "m.room.history_visibility",
            json!({ "history_visibility": "shared", "other": 1 }),
        ),
        ("m.room.aliases", json!({ "aliases": ["x"], "other": 1 })),
        (
            "m.room.redaction",
            json!({ "redacts": "$x", "reason": "r" }),
        ),
        ("m.room.message", json!({ "body": "x" })),
    ] {
        let event = event(kind, &content);
        let form = redacted(&event, &rules).expect("has a redacted form");
        told += &format!("{kind} {}\n", form.content.get());
        let pdu: Value = serde_json::from_str(&form.json).expect("is JSON");
        assert!(pdu.get("unsigned").is_none() && pdu.get("extra").is_none());
        assert_eq!(
            (pdu["depth"].as_u64(), pdu["type"].as_str()),
            (Some(3), Some(kind))
        );
    }
    assert_eq!(told, expect, "{version}");
}

fn event(kind: &str, content: &Value) -> Arc<Event> {
    let pdu = json!({
        "auth_events": [], "prev_events": [], "content": content, "depth": 3,
        "hashes": { "sha256": "x" }, "origin_server_ts": 1, "room_id": "!r:b",
        "sender": "@a:b", "signatures": {}, "type": kind, "unsigned": { "age": 3 }, "extra": 1,
    });
    let id = OwnedEventId::try_from("$e").expect("an id");
    Arc::new(Event::from_pdu(id, None, pdu.to_string().into()).expect("an event"))
}
