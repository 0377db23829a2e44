//! Contents that other servers' users or careless clients may send: nothing panics, and what is
//! sent is sound.

use std::sync::Arc;

use lyceum_model::Event;
use lyceum_room::{AuthEvent, Draft, Room, State, member_content, stripped_state};
use lyceum_testkit::{Chance, Scene, alice, bob, carol};
use proptest::prelude::*;
use ruma_common::OwnedEventId;
use ruma_events::StateEventType;
use serde_json::{Value, json, value::RawValue};

const KINDS: [&str; 12] = [
    "m.room.message",
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.canonical_alias",
    "m.room.tombstone",
    "m.room.server_acl",
    "m.room.aliases",
    "m.room.third_party_invite",
    "m.room.name",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_is_sound(
        kind in 0..KINDS.len(),
        key in proptest::option::of(".{0,8}|@alice:example.org|@bob:example.org"),
        seed in any::<u64>(),
        text in proptest::option::of("\\PC{0,40}"),
        version in 0..3_usize,
    ) {
        let scene = Scene::public_in(["1", "8", "12"][version]);
        let content = text.unwrap_or_else(|| odd_content(KINDS[kind], &mut Chance::new(seed)).to_string());
        let Ok(content) = RawValue::from_string(content) else { return Ok(()) };
        let draft = Draft { kind: KINDS[kind].to_owned(), state_key: key, content, redacts: None };
        let sent = lyceum_room::send(&scene.room, &alice(), draft, &scene.signer, scene.now);
        for event in sent.iter().flat_map(|decision| &decision.events) {
            crate::sealing::check(event, &scene.room.rules, &scene.signer);
        }
    }

    #[test]
    fn odd_state_is_read_without_harm(seed in any::<u64>(), version in 0..3_usize) {
        let mut chance = Chance::new(seed);
        let mut scene = Scene::public_in(["1", "8", "12"][version]);
        scene.join(&bob());
        scene.join(&carol());
        for _ in 0..3 {
            let kind = *chance.pick(&KINDS);
            let content = odd_content(kind, &mut chance);
            let key = if kind == "m.room.member" { "@bob:example.org" } else { "" };
            scene.room.state.insert(received(&scene, kind, key, &content));
        }
        read_everything(&scene.room);
        for sender in [alice(), bob(), carol()] {
            let draft = Draft::message("m.room.message", lyceum_testkit::raw(&json!({})));
            let sent = lyceum_room::send(&scene.room, &sender, draft, &scene.signer, scene.now);
            let proposed = message(&scene, &sender);
            prop_assert_eq!(sent.is_ok(), full_rules_allow(&scene, proposed), "{:?}", sent.err());
            for target in [alice(), bob(), carol()] {
                // Refused or not, none of it may panic.
                let _ = scene.clone().try_kick(&sender, &target);
                let _ = scene.clone().try_invite(&sender, &target);
            }
        }
    }
}

/// Fields that exist, with values that may be anything.
fn odd_content(kind: &str, chance: &mut Chance) -> Value {
    let fields: &[&str] = match kind {
        "m.room.member" => &[
            "membership",
            "displayname",
            "third_party_invite",
            "join_authorised_via_users_server",
            "is_direct",
        ],
        "m.room.create" => &[
            "creator",
            "m.federate",
            "additional_creators",
            "predecessor",
            "type",
        ],
        "m.room.power_levels" => &[
            "users",
            "users_default",
            "events",
            "events_default",
            "state_default",
            "kick",
            "notifications",
        ],
        "m.room.join_rules" => &["join_rule", "allow"],
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.canonical_alias" => &["alias", "alt_aliases"],
        "m.room.server_acl" => &["allow", "deny"],
        _ => &["body", "m.relates_to", "replacement_room", "name"],
    };
    let mut content = json!({});
    for field in fields {
        if !chance.once_in(3) {
            content[*field] = odd_value(chance);
        }
    }
    content
}

fn odd_value(chance: &mut Chance) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(50),
        json!(-1),
        json!(1.5),
        json!(9_007_199_254_740_993_i64),
        json!(""),
        json!("50"),
        json!(" 7 "),
        json!("join"),
        json!("ban"),
        json!("public"),
        json!("@alice:example.org"),
        json!("nonsense"),
        json!([]),
        json!(["*", 1, "@bob:example.org"]),
        json!([{ "type": "m.room_membership", "room_id": "!x:y" }, { "type": 3 }]),
        json!({}),
        json!({ "@alice:example.org": 100, "@bob:example.org": 50, "m.room.message": 50 }),
        json!({ "@carol:example.org": "60", "m.room.message": "20" }),
        json!({ "rel_type": 1, "event_id": "$x", "signed": { "token": 5 } }),
        json!({ "bob": 1 }),
    ];
    chance.pick(&values).clone()
}

/// A state event as another server might have sent it.
fn received(scene: &Scene, kind: &str, key: &str, content: &Value) -> Arc<Event> {
    let pdu = json!({
        "auth_events": [], "prev_events": [], "content": content, "depth": 99,
        "origin_server_ts": 1, "room_id": scene.room.room_id, "sender": alice(), "type": kind,
        "state_key": key,
    });
    event(&pdu)
}

fn message(scene: &Scene, sender: &ruma_common::UserId) -> Arc<Event> {
    event(&json!({
        "auth_events": [], "prev_events": [], "content": {}, "depth": 99,
        "origin_server_ts": 1, "room_id": scene.room.room_id, "sender": sender,
        "type": "m.room.message",
    }))
}

fn event(pdu: &Value) -> Arc<Event> {
    let id = OwnedEventId::try_from("$odd:example.org").expect("an id");
    Arc::new(Event::from_pdu(id, None, pdu.to_string().into()).expect("an event"))
}

fn full_rules_allow(scene: &Scene, proposed: Arc<Event>) -> bool {
    let rules = &scene.room.rules;
    ruma_state_res::check_state_dependent_auth_rules(
        &rules.ruma.authorization,
        AuthEvent::new(proposed, rules),
        |kind: &StateEventType, key: &str| {
            let held = scene.room.state.get(&kind.to_string(), key)?;
            Some(AuthEvent::new(held.clone(), rules))
        },
    )
    .is_ok()
}

fn read_everything(room: &Room) {
    let state: &State = &room.state;
    let told = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        room.name(),
        room.topic(),
        room.avatar_url(),
        room.canonical_alias(),
        room.alternative_aliases(),
        room.join_rule(),
        room.allowed_rooms(),
        room.history_visibility(),
        room.guest_can_join(),
        room.encryption(),
        room.kind(),
        room.creators(),
        room.predecessor(),
        room.tombstone(),
    );
    assert!(!told.is_empty());
    for (user_id, member) in state.members() {
        assert_eq!(state.membership(user_id), Some(member.membership));
        assert!(
            member_content(&member.event)
                .displayname
                .is_none_or(|name| name.len() < 1_000)
        );
        assert!(room.power_levels().user(user_id).as_i64() >= -1);
        assert!(!stripped_state(state, user_id).is_empty());
    }
}
