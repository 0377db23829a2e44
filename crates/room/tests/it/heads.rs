//! Rooms whose graph has several ends.

use lyceum_model::{Change, RoomChange, RoomHead, StateBefore};
use lyceum_room::{Draft, Room};
use lyceum_testkit::{Scene, alice, raw};
use ruma_common::OwnedEventId;
use serde_json::json;

#[test]
fn one_event_joins_the_ends() {
    let (room, scene) = with_heads(3);
    let decision = say(&room, &scene);
    let event = decision.event();
    assert_eq!(event.prev_events.len(), 3);
    assert_eq!(event.depth, 103);
    assert_eq!(
        decision.room.heads,
        [RoomHead {
            event_id: event.id.clone(),
            depth: 103
        }]
    );
    let Some(Change::Room(RoomChange::Append { state_before, .. })) =
        decision.batch.changes.first()
    else {
        panic!("appends first")
    };
    let StateBefore::Resolved {
        base: None,
        set,
        removed,
    } = state_before
    else {
        panic!("the state is told whole: {state_before:?}")
    };
    assert_eq!((set.len(), removed.len()), (room.state.len(), 0));
    assert_eq!(
        decision.room.present_state(),
        StateBefore::After(event.id.clone())
    );
}

#[test]
fn too_many_ends_are_joined_by_and_by() {
    let (room, scene) = with_heads(30);
    let decision = say(&room, &scene);
    assert_eq!(decision.event().prev_events.len(), 20);
    assert_eq!(decision.room.heads.len(), 11);
    assert_eq!(
        decision.room.present_state(),
        StateBefore::After(decision.event().id.clone())
    );
    let next = say(&decision.room, &scene);
    assert_eq!(next.room.heads.len(), 1);
    assert!(next.event().prev_events.contains(&decision.event().id));
}

fn with_heads(count: u64) -> (Room, Scene) {
    let scene = Scene::public();
    let heads = (0..count).map(|number| RoomHead {
        event_id: OwnedEventId::try_from(format!("$head{number:02}")).expect("an id"),
        depth: 100 + number,
    });
    let room = Room::new(
        scene.room.room_id.clone(),
        scene.room.version(),
        7,
        heads.collect(),
        scene.room.state.iter().cloned(),
    );
    (room.expect("a known version"), scene)
}

fn say(room: &Room, scene: &Scene) -> lyceum_room::Decision {
    let draft = Draft::message("m.room.message", raw(&json!({ "body": "hi" })));
    lyceum_room::send(room, &alice(), draft, &scene.signer, scene.now).expect("may send")
}
