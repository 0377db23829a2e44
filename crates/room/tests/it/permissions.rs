//! Who may send what, by power.

use lyceum_room::{CreateRoom, Denied, Power};
use lyceum_testkit::{Scene, alice, bob, raw};
use ruma_common::RoomVersionId;
use serde_json::json;

#[test]
fn members_write_and_others_do_not() {
    for version in ["1", "6", "11", "12"] {
        let mut scene = Scene::public_in(version);
        let message = json!({ "msgtype": "m.text", "body": "hi" });
        let outside = scene.try_send(&bob(), "m.room.message", message.clone());
        assert!(matches!(outside, Err(Denied::Forbidden(_))), "{version}");
        scene.join(&bob());
        scene
            .try_send(&bob(), "m.room.message", message)
            .expect("a member may write");
        let name = scene.try_set(&bob(), "m.room.name", "", json!({ "name": "mine" }));
        assert!(matches!(name, Err(Denied::Forbidden(_))), "{version}");
        scene.set(&alice(), "m.room.name", "", json!({ "name": "ours" }));
        assert_eq!(scene.room.name().as_deref(), Some("ours"));
    }
}

#[test]
fn state_under_another_users_name_is_refused() {
    let mut scene = Scene::public();
    let set = scene.try_set(&alice(), "org.example.mood", bob().as_str(), json!({}));
    assert!(matches!(set, Err(Denied::Forbidden(_))));
    scene.set(&alice(), "org.example.mood", alice().as_str(), json!({}));
}

#[test]
fn the_same_state_again_changes_nothing() {
    let mut scene = Scene::public();
    let first = scene.set(&alice(), "m.room.name", "", json!({ "name": "a", "x": 1 }));
    let before = scene.events.len();
    let again = scene.set(&alice(), "m.room.name", "", json!({ "x": 1, "name": "a" }));
    assert_eq!(
        (first.id.clone(), before),
        (again.id.clone(), scene.events.len())
    );
    let other = scene.set(&alice(), "m.room.name", "", json!({ "name": "b" }));
    let unsigned = other.unsigned.as_ref().expect("replaces").get();
    let expected = format!(
        r#"{{"prev_content":{{"name":"a","x":1}},"prev_sender":"@alice:example.org","replaces_state":"{}"}}"#,
        first.id
    );
    assert_eq!(unsigned, expected);
}

#[test]
fn creators_of_version_12_are_above_all_levels() {
    let request = CreateRoom {
        creation_content: Some(raw(&json!({ "additional_creators": [bob()] }))),
        ..CreateRoom::new(alice(), RoomVersionId::V12)
    };
    let scene = Scene::with(request);
    let levels = scene.room.power_levels();
    assert_eq!(levels.user(&alice()), Power::Infinite);
    assert_eq!(levels.user(&bob()), Power::Infinite);
    assert_eq!(levels.user(&lyceum_testkit::carol()), Power::Level(0));
    assert!(levels.user(&alice()) > i64::MAX);
    assert_eq!(scene.room.creators(), [alice(), bob()]);
    // A level for one of them is a mistake in the content, not a lack of rights.
    let mut scene = scene;
    for creator in [alice(), bob()] {
        let levels = json!({ "users": { creator.as_str(): 100 } });
        let named = scene.try_set(&alice(), "m.room.power_levels", "", levels);
        assert!(
            matches!(named, Err(Denied::InvalidRoomState(_))),
            "{creator}"
        );
    }
}

#[test]
fn old_rooms_read_levels_written_as_text() {
    let request = CreateRoom {
        initial_state: vec![],
        ..CreateRoom::new(alice(), RoomVersionId::V6)
    };
    let scene = Scene::with(request);
    let event = scene
        .room
        .state
        .get("m.room.power_levels", "")
        .expect("has power levels");
    let json = event.json.replace("\"kick\":50", "\"kick\":\" 60 \"");
    let event = lyceum_model::Event::from_pdu(event.id.clone(), None, json.into());
    let mut room = scene.room.clone();
    room.state.insert(event.expect("an event").into());
    assert_eq!(room.power_levels().kick, 60);
    assert_eq!(room.power_levels().notification("room"), 50);
}

#[test]
fn the_create_event_cannot_be_sent_again() {
    let mut scene = Scene::public();
    let set = scene.try_set(
        &alice(),
        "m.room.create",
        "",
        json!({ "room_version": "12" }),
    );
    assert!(set.is_err(), "{set:?}");
}

#[test]
fn invited_users_are_told_what_describes_the_room() {
    let mut scene = Scene::private();
    scene.set(&alice(), "m.room.name", "", json!({ "name": "den" }));
    scene.invite(&alice(), &bob());
    let told: Vec<String> = lyceum_room::stripped_state(&scene.room.state, &bob())
        .iter()
        .map(|event| event.get().to_owned())
        .collect();
    let expected = [
        r#"{"content":{"room_version":"12"},"sender":"@alice:example.org","state_key":"","type":"m.room.create"}"#,
        r#"{"content":{"name":"den"},"sender":"@alice:example.org","state_key":"","type":"m.room.name"}"#,
        r#"{"content":{"join_rule":"invite"},"sender":"@alice:example.org","state_key":"","type":"m.room.join_rules"}"#,
        r#"{"content":{"membership":"join"},"sender":"@alice:example.org","state_key":"@alice:example.org","type":"m.room.member"}"#,
        r#"{"content":{"displayname":"bob","membership":"invite"},"sender":"@alice:example.org","state_key":"@bob:example.org","type":"m.room.member"}"#,
    ];
    assert_eq!(told, expected);
}
