//! What a new room begins with.

use lyceum_model::{Change, Expect, RoomChange};
use lyceum_room::{CreateRoom, Denied, Draft, Preset, Profile};
use lyceum_testkit::{Scene, alice, bob, carol, named, raw};
use ruma_common::{RoomVersionId, owned_room_alias_id};
use serde_json::json;

#[test]
fn a_private_chat_of_version_12() {
    check(
        CreateRoom {
            creator_profile: named("Alice"),
            name: Some("Den".to_owned()),
            topic: Some("Talk".to_owned()),
            invites: vec![(bob(), named("Bob")), (bob(), Profile::default())],
            is_direct: true,
            ..CreateRoom::new(alice(), RoomVersionId::V12)
        },
        r##"
m.room.create  {"room_version":"12"}
m.room.member @alice:example.org {"displayname":"Alice","membership":"join"}
m.room.power_levels  {"ban":50,"events":{"m.room.avatar":50,"m.room.canonical_alias":50,"m.room.encryption":100,"m.room.history_visibility":100,"m.room.name":50,"m.room.power_levels":100,"m.room.server_acl":100,"m.room.tombstone":150},"events_default":0,"historical":100,"invite":0,"kick":50,"redact":50,"state_default":50,"users":{},"users_default":0}
m.room.join_rules  {"join_rule":"invite"}
m.room.history_visibility  {"history_visibility":"shared"}
m.room.guest_access  {"guest_access":"can_join"}
m.room.name  {"name":"Den"}
m.room.topic  {"m.topic":{"m.text":[{"body":"Talk","mimetype":"text/plain"}]},"topic":"Talk"}
m.room.member @bob:example.org {"displayname":"Bob","is_direct":true,"membership":"invite"}
"##,
    );
}

#[test]
fn a_trusted_private_chat_of_version_12() {
    check(
        CreateRoom {
            preset: Some(Preset::TrustedPrivateChat),
            invites: vec![(bob(), Profile::default())],
            creation_content: Some(raw(&json!({
                "additional_creators": ["@carol:example.org", "@alice:example.org"],
                "type": "m.space",
                "room_version": "1",
                "creator": "@eve:example.org",
            }))),
            ..CreateRoom::new(alice(), RoomVersionId::V12)
        },
        r##"
m.room.create  {"additional_creators":["@carol:example.org","@bob:example.org"],"room_version":"12","type":"m.space"}
m.room.member @alice:example.org {"membership":"join"}
m.room.power_levels  {"ban":50,"events":{"m.room.avatar":50,"m.room.canonical_alias":50,"m.room.encryption":100,"m.room.history_visibility":100,"m.room.name":50,"m.room.power_levels":100,"m.room.server_acl":100,"m.room.tombstone":150},"events_default":0,"historical":100,"invite":0,"kick":50,"redact":50,"state_default":50,"users":{},"users_default":0}
m.room.join_rules  {"join_rule":"invite"}
m.room.history_visibility  {"history_visibility":"shared"}
m.room.guest_access  {"guest_access":"can_join"}
m.room.member @bob:example.org {"membership":"invite"}
"##,
    );
}

#[test]
fn a_trusted_private_chat_of_version_10() {
    check(
        CreateRoom {
            preset: Some(Preset::TrustedPrivateChat),
            invites: vec![(bob(), Profile::default()), (carol(), Profile::default())],
            ..CreateRoom::new(alice(), RoomVersionId::V10)
        },
        r##"
m.room.create  {"creator":"@alice:example.org","room_version":"10"}
m.room.member @alice:example.org {"membership":"join"}
m.room.power_levels  {"ban":50,"events":{"m.room.avatar":50,"m.room.canonical_alias":50,"m.room.encryption":100,"m.room.history_visibility":100,"m.room.name":50,"m.room.power_levels":100,"m.room.server_acl":100,"m.room.tombstone":100},"events_default":0,"historical":100,"invite":0,"kick":50,"redact":50,"state_default":50,"users":{"@alice:example.org":100,"@bob:example.org":100,"@carol:example.org":100},"users_default":0}
m.room.join_rules  {"join_rule":"invite"}
m.room.history_visibility  {"history_visibility":"shared"}
m.room.guest_access  {"guest_access":"can_join"}
m.room.member @bob:example.org {"membership":"invite"}
m.room.member @carol:example.org {"membership":"invite"}
"##,
    );
}

#[test]
fn a_public_chat_with_everything_of_version_11() {
    check(
        CreateRoom {
            is_public: true,
            name: Some("Pub".to_owned()),
            room_alias: Some(owned_room_alias_id!("#pub:example.org")),
            initial_state: vec![
                Draft::state(
                    "m.room.encryption",
                    "",
                    raw(&json!({ "algorithm": "m.megolm" })),
                ),
                Draft::state("m.room.name", "", raw(&json!({ "name": "overridden" }))),
                Draft::state(
                    "m.room.join_rules",
                    "",
                    raw(&json!({ "join_rule": "knock" })),
                ),
                Draft {
                    state_key: None,
                    ..Draft::message("org.example.note", raw(&json!({ "note": 1 })))
                },
            ],
            power_level_content_override: Some(raw(&json!({ "events": {}, "invite": 99 }))),
            ..CreateRoom::new(alice(), RoomVersionId::V11)
        },
        r##"
m.room.create  {"room_version":"11"}
m.room.member @alice:example.org {"membership":"join"}
m.room.power_levels  {"ban":50,"events":{},"events_default":0,"historical":100,"invite":99,"kick":50,"redact":50,"state_default":50,"users":{"@alice:example.org":100},"users_default":0}
m.room.canonical_alias  {"alias":"#pub:example.org"}
m.room.history_visibility  {"history_visibility":"shared"}
m.room.guest_access  {"guest_access":"forbidden"}
m.room.encryption  {"algorithm":"m.megolm"}
m.room.join_rules  {"join_rule":"knock"}
org.example.note  {"note":1}
m.room.name  {"name":"Pub"}
"##,
    );
}

#[test]
fn power_levels_given_as_state_replace_the_default_ones() {
    check(
        CreateRoom {
            initial_state: vec![Draft::state(
                "m.room.power_levels",
                "",
                raw(&json!({ "users": { "@alice:example.org": 70 }, "state_default": 60 })),
            )],
            ..CreateRoom::new(alice(), RoomVersionId::V6)
        },
        r##"
m.room.create  {"creator":"@alice:example.org","room_version":"6"}
m.room.member @alice:example.org {"membership":"join"}
m.room.power_levels  {"state_default":60,"users":{"@alice:example.org":70}}
m.room.join_rules  {"join_rule":"invite"}
m.room.history_visibility  {"history_visibility":"shared"}
m.room.guest_access  {"guest_access":"can_join"}
"##,
    );
}

#[test]
fn the_batch_holds_everything_at_once() {
    let request = CreateRoom {
        is_public: true,
        room_alias: Some(owned_room_alias_id!("#pub:example.org")),
        ..CreateRoom::new(alice(), RoomVersionId::V12)
    };
    let scene = Scene::with(request);
    let room_id = scene.room.room_id.clone();
    let batch = &scene.batches[0];
    assert_eq!(
        batch.expects,
        [
            Expect::RoomRevision(room_id.clone(), 0),
            Expect::AliasAbsent(owned_room_alias_id!("#pub:example.org")),
        ]
    );
    let told: String = batch.changes.iter().map(tell).collect();
    assert_eq!(
        told,
        "create append append append append append append append alias publish heads "
    );
    assert_eq!(scene.room.revision, 1);
    assert_eq!(room_id.as_str()[1..], scene.events[0].id.as_str()[1..]);
    assert!(room_id.server_name().is_none());
    assert!(!scene.events[0].json.contains("room_id"));
}

#[test]
fn room_ids_of_older_versions_come_from_chance() {
    let make = |entropy| {
        let request = CreateRoom::new(alice(), RoomVersionId::V11);
        let signer = lyceum_testkit::signer();
        let now = lyceum_model::Timestamp(5);
        lyceum_room::create(request, &signer, now, entropy)
            .expect("may create")
            .room
            .room_id
    };
    assert_eq!(make([0; 32]).as_str(), "!AAAAAAAAAAAAAAAAAA:example.org");
    assert_ne!(make([1; 32]), make([2; 32]));
}

#[test]
fn contradictions_are_refused() {
    let base = || CreateRoom::new(alice(), RoomVersionId::V12);
    let with_override = |content: serde_json::Value, version| CreateRoom {
        power_level_content_override: Some(raw(&content)),
        ..CreateRoom::new(alice(), version)
    };
    let cases: [(CreateRoom, &str); 9] = [
        (
            CreateRoom {
                version: RoomVersionId::try_from("13").expect("a name"),
                ..base()
            },
            "UnsupportedVersion",
        ),
        (
            with_override(
                json!({ "users": { "@alice:example.org": 5 } }),
                RoomVersionId::V12,
            ),
            "InvalidRoomState",
        ),
        (
            with_override(
                json!({ "users": { "@bob:example.org": 5 } }),
                RoomVersionId::V11,
            ),
            "InvalidParam",
        ),
        (
            with_override(json!({ "users": 7 }), RoomVersionId::V12),
            "BadJson",
        ),
        (
            with_override(json!({ "events": 7 }), RoomVersionId::V12),
            "BadJson",
        ),
        (
            CreateRoom {
                name: Some("x".to_owned()),
                ..with_override(
                    json!({ "users": { "@alice:example.org": 5 } }),
                    RoomVersionId::V11,
                )
            },
            "InvalidRoomState",
        ),
        (
            CreateRoom {
                creation_content: Some(raw(&json!({ "additional_creators": ["bob"] }))),
                ..base()
            },
            "InvalidParam",
        ),
        (
            CreateRoom {
                creation_content: Some(raw(&json!({ "m.federate": 1 }))),
                ..base()
            },
            "BadJson",
        ),
        (
            CreateRoom {
                initial_state: vec![Draft::state("m.room.create", "", raw(&json!({})))],
                ..base()
            },
            "InvalidRoomState",
        ),
    ];
    for (request, expect) in cases {
        let told = format!("{request:?}");
        let denied = Scene::try_with(request).expect_err(&told);
        let name = match denied {
            Denied::Forbidden(_) => "Forbidden",
            Denied::NotThere => "NotThere",
            Denied::BadState(_) => "BadState",
            Denied::BadJson(_) => "BadJson",
            Denied::InvalidParam(_) => "InvalidParam",
            Denied::InvalidRoomState(_) => "InvalidRoomState",
            Denied::TooLarge(_) => "TooLarge",
            Denied::FieldTooLarge(_) => "FieldTooLarge",
            Denied::UnsupportedVersion(_) => "UnsupportedVersion",
            Denied::UnableToGrantJoin => "UnableToGrantJoin",
        };
        assert_eq!(name, expect, "{told}");
    }
}

fn check(request: CreateRoom, expect: &str) {
    let scene = Scene::with(request);
    let mut told = String::from("\n");
    for event in &scene.events {
        let key = event.state_key.as_deref().unwrap_or("-");
        told += &format!("{} {key} {}\n", event.kind, event.content.get());
    }
    assert_eq!(told, expect);
    let last = scene.newest();
    assert_eq!(last.depth, scene.events.len() as u64);
    for event in &scene.events {
        crate::sealing::check(event, &scene.room.rules, &scene.signer);
    }
}

fn tell(change: &Change) -> &'static str {
    match change {
        Change::Room(RoomChange::Create { .. }) => "create ",
        Change::Room(RoomChange::Append { .. }) => "append ",
        Change::Room(RoomChange::Heads { .. }) => "heads ",
        Change::Room(RoomChange::SetAlias(_)) => "alias ",
        Change::Room(RoomChange::Publish { .. }) => "publish ",
        _ => "other ",
    }
}
