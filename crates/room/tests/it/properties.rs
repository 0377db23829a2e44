//! Whatever users do, in whatever order: what must always hold.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{Batch, Change, Event, Expect, Membership, RoomChange, StateBefore};
use lyceum_room::{AuthEvent, Room, RoomRules, State};
use lyceum_testkit::{Chance, Scene, alice, user};
use proptest::prelude::*;
use ruma_common::{OwnedEventId, OwnedUserId};
use ruma_events::StateEventType;
use serde_json::{Value, json};

const VERSIONS: [&str; 6] = ["1", "3", "6", "9", "11", "12"];
const STEPS: usize = 40;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn rooms_stay_consistent(seed in any::<u64>(), version in 0..VERSIONS.len()) {
        let scene = wander(seed, VERSIONS[version]);
        check_counts(&scene.room.state);
        check_graph(&scene);
        check_replay(&scene);
        let again = wander(seed, VERSIONS[version]);
        prop_assert_eq!(format!("{:?}", scene.batches), format!("{:?}", again.batches));
    }

    #[test]
    fn the_quick_verdict_is_that_of_the_full_rules(seed in any::<u64>(), version in 0..VERSIONS.len()) {
        let scene = wander(seed, VERSIONS[version]);
        let mut chance = Chance::new(seed ^ 1);
        for _ in 0..20 {
            check_verdict(&scene, &mut chance);
        }
    }
}

/// Users do random things; refusals are part of it.
fn wander(seed: u64, version: &str) -> Scene {
    let mut chance = Chance::new(seed);
    let mut scene = Scene::public_in(version);
    let users = users();
    for _ in 0..STEPS {
        let who = chance.pick(&users).clone();
        let whom = chance.pick(&users).clone();
        // Every outcome is fine, as long as the invariants hold afterwards.
        let _ = act(&mut scene, &mut chance, &who, &whom);
    }
    scene
}

fn users() -> Vec<OwnedUserId> {
    ["alice", "bob", "carol", "dave", "eve:other.org"]
        .into_iter()
        .map(user)
        .collect()
}

fn act(
    scene: &mut Scene,
    chance: &mut Chance,
    who: &OwnedUserId,
    whom: &OwnedUserId,
) -> Result<Arc<Event>, lyceum_room::Denied> {
    match chance.below(14) {
        0 | 1 => scene.try_join(who, lyceum_room::Join::default()),
        2 => scene.try_leave(who),
        3 => scene.try_invite(who, whom),
        4 => scene.try_kick(&alice(), whom),
        5 => scene.try_ban(who, whom),
        6 => scene.try_unban(&alice(), whom),
        7 => scene.try_knock(who),
        8 => {
            let rule = *chance.pick(&["public", "invite", "knock", "restricted"]);
            scene.try_set(
                &alice(),
                "m.room.join_rules",
                "",
                json!({ "join_rule": rule }),
            )
        }
        9 => {
            let mut content = levels(scene);
            content["users"][whom.as_str()] = json!(*chance.pick(&[0, 25, 50, 99, 100]));
            let field = *chance.pick(&["events_default", "state_default", "kick", "redact"]);
            content[field] = json!(*chance.pick(&[0, 25, 50]));
            scene.try_set(who, "m.room.power_levels", "", content)
        }
        10 => {
            let name = chance.below(3);
            scene.try_set(who, "m.room.name", "", json!({ "name": name.to_string() }))
        }
        11 => {
            let target = chance.pick(&scene.events).id.clone();
            scene.try_redact(who, &target)
        }
        _ => scene.try_send(
            who,
            "m.room.message",
            json!({ "body": chance.number().to_string() }),
        ),
    }
}

fn levels(scene: &Scene) -> Value {
    let event = scene
        .room
        .state
        .get("m.room.power_levels", "")
        .expect("has levels");
    let mut content: Value = serde_json::from_str(event.content.get()).expect("is JSON");
    if !content["users"].is_object() {
        content["users"] = json!({});
    }
    content
}

fn check_counts(state: &State) {
    let count = |membership| {
        state
            .members()
            .filter(|(_, member)| member.membership == membership)
            .count() as u64
    };
    assert_eq!(state.joined_count(), count(Membership::Join));
    assert_eq!(state.invited_count(), count(Membership::Invite));
    assert_eq!(state.joined_members().count() as u64, state.joined_count());
    assert_eq!(state.len(), state.iter().count());
    let names: Vec<_> = state
        .iter()
        .map(|event| event.state_name().expect("is state"))
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    for event in state.iter() {
        let key = event.state_key.as_deref().expect("is state");
        assert!(
            state
                .get(&event.kind, key)
                .is_some_and(|held| held.id == event.id)
        );
    }
}

fn check_graph(scene: &Scene) {
    let mut depth = 0;
    let mut previous: Option<&OwnedEventId> = None;
    for event in &scene.events {
        assert_eq!(event.depth, depth + 1);
        assert_eq!(event.prev_events.first(), previous);
        assert!(event.auth_events.len() <= 6);
        depth = event.depth;
        previous = Some(&event.id);
    }
    let heads: Vec<&OwnedEventId> = scene.room.heads.iter().map(|head| &head.event_id).collect();
    assert_eq!(heads, previous.into_iter().collect::<Vec<_>>());
    assert_eq!(scene.room.revision, scene.batches.len() as u64);
}

/// Applies the batches as storage would and compares.
fn check_replay(scene: &Scene) {
    let mut stored = Stored::default();
    for batch in &scene.batches {
        stored.apply(batch);
    }
    let room = Room::new(
        scene.room.room_id.clone(),
        scene.room.version(),
        stored.revision,
        stored.heads,
        stored.present.iter().cloned(),
    );
    let room = room.expect("a known version");
    assert_eq!(
        format!("{:?}", room.state.iter().collect::<Vec<_>>()),
        format!("{:?}", scene.room.state.iter().collect::<Vec<_>>())
    );
    assert_eq!(
        (room.revision, &room.heads),
        (scene.room.revision, &scene.room.heads)
    );
    assert_eq!(room.present_state(), scene.room.present_state());
}

/// The least that storage must understand.
#[derive(Default)]
struct Stored {
    revision: u64,
    heads: Vec<lyceum_model::RoomHead>,
    present: State,
    after: BTreeMap<OwnedEventId, State>,
}

impl Stored {
    fn apply(&mut self, batch: &Batch) {
        let Some(Expect::RoomRevision(_, revision)) = batch.expects.first() else {
            panic!("expects a revision")
        };
        assert_eq!(*revision, self.revision);
        for change in &batch.changes {
            let Change::Room(change) = change else {
                panic!("only rooms")
            };
            match change {
                RoomChange::Append {
                    event,
                    state_before,
                    ..
                } => {
                    let mut state = self.state(state_before);
                    state.insert(event.clone());
                    self.after.insert(event.id.clone(), state);
                }
                RoomChange::Redact { redacted, .. } => {
                    for state in self.after.values_mut() {
                        let key = redacted.state_key.as_deref();
                        if key.is_some_and(|key| {
                            state
                                .get(&redacted.kind, key)
                                .is_some_and(|it| it.id == redacted.id)
                        }) {
                            state.insert(redacted.clone());
                        }
                    }
                }
                RoomChange::Heads { heads, .. } => {
                    self.revision += 1;
                    self.heads = heads.heads.clone();
                    self.present = self.state(&heads.state);
                }
                _ => {}
            }
        }
    }

    fn state(&self, before: &StateBefore) -> State {
        match before {
            StateBefore::Empty => State::new(),
            StateBefore::After(id) => self.after[id].clone(),
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Sends something ordinary and asks ruma's rules about the same.
fn check_verdict(scene: &Scene, chance: &mut Chance) {
    let who = chance.pick(&users()).clone();
    let kind = *chance.pick(&[
        "m.room.message",
        "m.room.name",
        "org.example.x",
        "m.room.tombstone",
    ]);
    let keys = [
        None,
        Some(String::new()),
        Some(who.to_string()),
        Some(alice().to_string()),
    ];
    let state_key = chance.pick(&keys).clone();
    let content = json!({ "x": chance.number() % 1000 });
    let draft = lyceum_room::Draft {
        kind: kind.to_owned(),
        state_key: state_key.clone(),
        content: lyceum_testkit::raw(&content),
        redacts: None,
    };
    let quick = lyceum_room::send(&scene.room, &who, draft, &scene.signer, scene.now);

    let mut pdu = json!({
        "auth_events": [], "prev_events": [], "content": content, "depth": 99,
        "origin_server_ts": 1, "room_id": scene.room.room_id, "sender": who, "type": kind,
    });
    if let Some(key) = &state_key {
        pdu["state_key"] = json!(key);
    }
    let id = OwnedEventId::try_from("$proposed:example.org").expect("an id");
    let event = Event::from_pdu(id, None, pdu.to_string().into()).expect("an event");
    let rules: &RoomRules = &scene.room.rules;
    let full = ruma_state_res::check_state_dependent_auth_rules(
        &rules.ruma.authorization,
        AuthEvent::new(Arc::new(event), rules),
        |kind: &StateEventType, key: &str| {
            let held = scene.room.state.get(&kind.to_string(), key)?;
            Some(AuthEvent::new(held.clone(), rules))
        },
    );
    assert_eq!(
        quick.is_ok(),
        full.is_ok(),
        "{who} {kind} {state_key:?}: {quick:?} {full:?}"
    );
}
