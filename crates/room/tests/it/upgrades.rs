//! Rooms that move to another version.

use lyceum_model::{Alias, Change, Membership, RoomChange};
use lyceum_room::{CreateRoom, Denied, Draft, Preset, Upgrade, Upgraded};
use lyceum_testkit::{Scene, alice, bob, carol, raw, user};
use ruma_common::{OwnedUserId, RoomVersionId, owned_room_alias_id};
use serde_json::{Value, json};

#[test]
fn from_6_to_12() {
    let old = well_used("6");
    let upgraded = upgrade(&old, &alice(), "12").expect("may upgrade");
    let told = tell(&upgraded);
    let expect = r##"
m.room.create  {"additional_creators":["@dave:example.org"],"predecessor":{"event_id":"OLD","room_id":"OLD"},"room_version":"12","type":"m.space"}
m.room.member @alice:example.org {"membership":"join"}
m.room.power_levels  {"ban":50,"events":{"m.room.avatar":50,"m.room.canonical_alias":50,"m.room.encryption":100,"m.room.history_visibility":100,"m.room.name":50,"m.room.power_levels":100,"m.room.server_acl":100,"m.room.tombstone":100},"events_default":0,"historical":100,"invite":50,"kick":50,"redact":50,"state_default":50,"users":{"@bob:example.org":50},"users_default":0}
m.room.canonical_alias  {"alias":"#old:example.org"}
m.room.join_rules  {"join_rule":"public"}
m.room.server_acl  {"allow":["*"],"deny":["evil.org"]}
m.room.name  {"name":"Old"}
m.room.topic  {"m.topic":{"m.text":[{"body":"Topic","mimetype":"text/plain"}]},"topic":"Topic"}
m.room.guest_access  {"guest_access":"forbidden"}
m.room.history_visibility  {"history_visibility":"shared"}
m.space.child !child:example.org {"via":["example.org"]}
m.room.member @eve:example.org {"membership":"ban"}
-
m.room.tombstone  {"body":"This room has been replaced","replacement_room":"NEW"}
m.room.canonical_alias  {}
m.room.power_levels  {"ban":50,"events":{"m.room.avatar":50,"m.room.canonical_alias":50,"m.room.encryption":100,"m.room.history_visibility":100,"m.room.name":50,"m.room.power_levels":100,"m.room.server_acl":100,"m.room.tombstone":100},"events_default":50,"historical":100,"invite":50,"kick":50,"redact":50,"state_default":50,"users":{"@alice:example.org":100,"@bob:example.org":50},"users_default":0}
"##;
    assert_eq!(
        told,
        expect
            .replace("OLD\",\"room_id\":\"OLD", &predecessor(&old, &upgraded))
            .replace("NEW", upgraded.replacement.room.room_id.as_str())
    );
    let tombstone = upgraded.old.room.tombstone().expect("closed");
    assert_eq!(
        tombstone.replacement_room.as_ref(),
        Some(&upgraded.replacement.room.room_id)
    );
    assert_eq!(
        upgraded.replacement.room.predecessor().as_ref(),
        Some(&old.room.room_id)
    );
    for event in &upgraded.replacement.events {
        crate::sealing::check(event, &upgraded.replacement.room.rules, &old.signer);
    }
}

#[test]
fn from_12_to_11_the_creators_become_the_most_powerful() {
    let old = well_used("12");
    let upgraded = upgrade(&old, &alice(), "11").expect("may upgrade");
    let room = &upgraded.replacement.room;
    let levels = room.power_levels();
    assert_eq!(levels.user(&alice()).as_i64(), 150);
    assert_eq!(levels.user(&bob()).as_i64(), 50);
    let create: Value = serde_json::from_str(
        room.state
            .get("m.room.create", "")
            .expect("created")
            .content
            .get(),
    )
    .expect("is JSON");
    let tombstone = upgraded
        .old
        .room
        .state
        .get("m.room.tombstone", "")
        .expect("closed");
    assert_eq!(create["predecessor"]["event_id"], json!(tombstone.id));
    assert_eq!(create.get("additional_creators"), None);
}

#[test]
fn a_moderator_may_upgrade_where_tombstones_need_little() {
    let mut old = well_used("10");
    let levels = old
        .room
        .state
        .get("m.room.power_levels", "")
        .expect("has levels");
    let mut content: Value = serde_json::from_str(levels.content.get()).expect("is JSON");
    content["events"]["m.room.tombstone"] = json!(50);
    old.set(&alice(), "m.room.power_levels", "", content);
    let upgraded = upgrade(&old, &bob(), "11").expect("may upgrade");
    let room = &upgraded.replacement.room;
    assert_eq!(
        room.power_levels().user(&bob()).as_i64(),
        50,
        "only raised while setting up"
    );
    assert_eq!(room.power_levels().user(&alice()).as_i64(), 100);
    assert_eq!(room.name().as_deref(), Some("Old"));
    assert_eq!(room.state.membership(&user("eve")), Some(Membership::Ban));
    assert!(room.state.contains("m.room.server_acl", ""));
    // The old room's levels are beyond bob.
    assert_eq!(upgraded.old.room.power_levels().events_default, 0);
    assert!(upgraded.old.room.tombstone().is_some());
}

#[test]
fn who_may_not_close_the_room_may_not_upgrade_it() {
    let old = well_used("10");
    for nobody in [bob(), carol(), user("stranger")] {
        let outcome = upgrade(&old, &nobody, "11");
        assert!(matches!(outcome, Err(Denied::Forbidden(_))), "{nobody}");
    }
    let outcome = upgrade(&old, &alice(), "0");
    assert!(matches!(outcome, Err(Denied::UnsupportedVersion(_))));
}

#[test]
fn join_rules_that_the_version_does_not_know_become_invite() {
    let mut old = well_used("12");
    old.set(
        &alice(),
        "m.room.join_rules",
        "",
        json!({ "join_rule": "knock_restricted", "allow": [] }),
    );
    let rule = |version| {
        let upgraded = upgrade(&old, &alice(), version).expect("may upgrade");
        upgraded.replacement.room.join_rule().as_str()
    };
    assert_eq!(
        (rule("10"), rule("9"), rule("1")),
        ("knock_restricted", "invite", "invite")
    );
}

#[test]
fn one_batch_moves_everything() {
    let old = well_used("11");
    let upgraded = upgrade(&old, &alice(), "12").expect("may upgrade");
    let new_id = &upgraded.replacement.room.room_id;
    let changes = &upgraded.batch.changes;
    assert!(changes.iter().any(|change| matches!(
        change,
        Change::Room(RoomChange::SetAlias(alias)) if alias.room_id == *new_id
    )));
    let published: Vec<(bool, bool)> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Room(RoomChange::Publish {
                room_id,
                is_published,
            }) => Some((room_id == new_id, *is_published)),
            _ => None,
        })
        .collect();
    assert_eq!(published, [(true, true), (false, false)]);
    assert_eq!(upgraded.batch.expects.len(), 3);
    let heads = changes
        .iter()
        .filter(|change| matches!(change, Change::Room(RoomChange::Heads { .. })))
        .count();
    assert_eq!(heads, 2);
}

fn well_used(version: &str) -> Scene {
    let version = RoomVersionId::try_from(version).expect("a version");
    let mut scene = Scene::with(CreateRoom {
        preset: Some(Preset::PublicChat),
        name: Some("Old".to_owned()),
        topic: Some("Topic".to_owned()),
        room_alias: Some(owned_room_alias_id!("#old:example.org")),
        creation_content: Some(raw(&json!({ "type": "m.space" }))),
        initial_state: vec![
            Draft::state(
                "m.space.child",
                "!child:example.org",
                raw(&json!({ "via": ["example.org"] })),
            ),
            Draft::state("m.space.child", "!gone:example.org", raw(&json!({}))),
            Draft::state("org.example.note", "", raw(&json!({ "stays": "behind" }))),
            Draft::state(
                "m.room.server_acl",
                "",
                raw(&json!({ "allow": ["*"], "deny": ["evil.org"] })),
            ),
        ],
        ..CreateRoom::new(alice(), version)
    });
    scene.join(&bob());
    scene.join(&carol());
    scene.try_ban(&alice(), &user("eve")).expect("may ban");
    let levels = scene
        .room
        .state
        .get("m.room.power_levels", "")
        .expect("has levels");
    let mut content: Value = serde_json::from_str(levels.content.get()).expect("is JSON");
    content["users"]["@bob:example.org"] = json!(50);
    scene.set(&alice(), "m.room.power_levels", "", content);
    scene
}

fn upgrade(old: &Scene, sender: &OwnedUserId, version: &str) -> Result<Upgraded, Denied> {
    let upgrade = Upgrade {
        version: RoomVersionId::try_from(version).expect("a name"),
        additional_creators: vec![user("dave"), sender.clone()],
        profile: lyceum_room::Profile::default(),
        aliases: vec![Alias {
            alias: owned_room_alias_id!("#old:example.org"),
            room_id: old.room.room_id.clone(),
            creator: alice(),
        }],
        is_published: true,
    };
    lyceum_room::upgrade(&old.room, sender, upgrade, &old.signer, old.now, [9; 32])
}

fn predecessor(old: &Scene, _: &Upgraded) -> String {
    format!("{}\",\"room_id\":\"{}", old.newest().id, old.room.room_id)
}

fn tell(upgraded: &Upgraded) -> String {
    let mut told = String::from("\n");
    let mut add = |events: &[std::sync::Arc<lyceum_model::Event>]| {
        for event in events {
            let key = event.state_key.as_deref().unwrap_or("-");
            told += &format!("{} {key} {}\n", event.kind, event.content.get());
        }
    };
    add(&upgraded.replacement.events);
    let mut closing = String::from("-\n");
    for event in &upgraded.old.events {
        let key = event.state_key.as_deref().unwrap_or("-");
        closing += &format!("{} {key} {}\n", event.kind, event.content.get());
    }
    told + &closing
}
