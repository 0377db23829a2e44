//! States of branches that meet.

use std::sync::Arc;

use lyceum_model::{Event, Membership};
use lyceum_room::{Known, Resolution, RoomRules, State, resolve_state};
use lyceum_testkit::{Scene, alice, bob, carol};
use ruma_common::UserId;
use serde_json::json;

#[test]
fn equal_states_and_single_ones_stay() {
    let scene = branching("12");
    let state = resolve(&scene, &[&scene, &scene]);
    assert_eq!(ids(&state), ids(&scene.room.state));
    let rules = &scene.room.rules;
    let none = resolve_state(rules, &[], &Known::default()).expect("resolves");
    assert!(matches!(none, Resolution::State(state) if state.is_empty()));
}

#[test]
fn a_ban_beats_what_the_banned_user_did_meanwhile() {
    for version in ["1", "2", "6", "11", "12"] {
        let base = branching(version);
        let (mut left, mut right) = (base.clone(), base.clone());
        left.try_ban(&alice(), &bob()).expect("may ban");
        right.set(&bob(), "m.room.topic", "", json!({ "topic": "mine" }));
        right.set(&alice(), "m.room.name", "", json!({ "name": "kept" }));
        let state = resolve(&base, &[&left, &right]);
        assert_eq!(state.membership(&bob()), Some(Membership::Ban), "{version}");
        // The first version judges topics by the resolved members; all agree on this.
        assert!(
            !state.contains("m.room.topic", "") || version == "1",
            "{version}"
        );
        assert_eq!(
            name(&state).as_deref(),
            Some(r#"{"name":"kept"}"#),
            "{version}"
        );
        let other_way = resolve(&base, &[&right, &left]);
        assert_eq!(
            ids(&state),
            ids(&other_way),
            "{version}: whatever the order"
        );
    }
}

#[test]
fn demotion_beats_the_demoted() {
    for version in ["2", "6", "12"] {
        let base = branching(version);
        let (mut left, mut right) = (base.clone(), base.clone());
        set_level(&mut left, &alice(), &bob(), 0);
        right.set(&bob(), "m.room.name", "", json!({ "name": "bob's" }));
        let state = resolve(&base, &[&left, &right]);
        assert_eq!(name(&state), None, "{version}");
    }
}

#[test]
fn joins_of_both_sides_stay() {
    for version in ["1", "2", "12"] {
        let base = branching(version);
        let (mut left, mut right) = (base.clone(), base.clone());
        left.join(&carol());
        right.join(&lyceum_testkit::dave());
        let state = resolve(&base, &[&left, &right]);
        assert_eq!(state.joined_count(), 4, "{version}");
        assert_eq!(state.joined_members().count(), 4, "{version}");
    }
}

#[test]
fn of_two_names_the_later_one_holds() {
    for version in ["1", "2", "12"] {
        let base = branching(version);
        let (mut left, mut right) = (base.clone(), base.clone());
        left.set(&alice(), "m.room.name", "", json!({ "name": "early" }));
        right.say(&alice(), "one deeper, and later");
        right.set(&alice(), "m.room.name", "", json!({ "name": "late" }));
        let state = resolve(&base, &[&left, &right]);
        assert_eq!(
            name(&state).as_deref(),
            Some(r#"{"name":"late"}"#),
            "{version}"
        );
    }
}

#[test]
fn missing_events_are_named() {
    let base = branching("6");
    let (mut left, mut right) = (base.clone(), base.clone());
    left.set(&alice(), "m.room.name", "", json!({ "name": "a" }));
    right.set(&alice(), "m.room.name", "", json!({ "name": "b" }));
    // Without the first power levels, which the present ones replaced, no chain is whole.
    let first_levels = base
        .events
        .iter()
        .find(|event| &*event.kind == "m.room.power_levels")
        .expect("has levels");
    let forks = [left.room.state.clone(), right.room.state.clone()];
    let outcome = resolve_state(&base.room.rules, &forks, &Known::default()).expect("asks");
    let Resolution::Needs(ids) = outcome else {
        panic!("must ask")
    };
    assert!(ids.contains(&first_levels.id), "{ids:?}");
}

/// Alice made the room, bob moderates it.
fn branching(version: &str) -> Scene {
    let mut scene = Scene::public_in(version);
    scene.join(&bob());
    set_level(&mut scene, &alice(), &bob(), 50);
    scene
}

fn set_level(scene: &mut Scene, sender: &UserId, user_id: &UserId, level: i64) {
    let levels = scene
        .room
        .state
        .get("m.room.power_levels", "")
        .expect("has levels");
    let mut content: serde_json::Value =
        serde_json::from_str(levels.content.get()).expect("is JSON");
    content["users"][user_id.as_str()] = json!(level);
    scene.set(sender, "m.room.power_levels", "", content);
}

fn resolve(base: &Scene, branches: &[&Scene]) -> State {
    let mut known = Known::default();
    let all = base
        .events
        .iter()
        .chain(branches.iter().flat_map(|branch| &branch.events));
    known
        .events
        .extend(all.map(|event: &Arc<Event>| (event.id.clone(), event.clone())));
    let forks: Vec<State> = branches
        .iter()
        .map(|branch| branch.room.state.clone())
        .collect();
    let rules: &RoomRules = &base.room.rules;
    match resolve_state(rules, &forks, &known).expect("resolves") {
        Resolution::State(state) => state,
        Resolution::Needs(ids) => panic!("needs {ids:?}"),
    }
}

fn ids(state: &State) -> Vec<String> {
    state.iter().map(|event| event.id.to_string()).collect()
}

fn name(state: &State) -> Option<String> {
    Some(state.get("m.room.name", "")?.content.get().to_owned())
}
