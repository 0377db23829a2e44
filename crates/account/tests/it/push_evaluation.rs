//! What events mean for users.

use std::collections::BTreeMap;

use lyceum_account::push::{
    Actions, PushEvent, PushRules, RoomFacts, RuleKind, UserFacts, evaluate,
};
use lyceum_model::Event;
use proptest::prelude::{any, prop_assert_eq, proptest};
use ruma_common::{EventId, user_id};
use serde_json::{Value, json};

struct Scene {
    rules: PushRules,
    room: RoomFacts,
    display_name: Option<&'static str>,
}

impl Scene {
    fn new() -> Self {
        Self {
            rules: PushRules::load(user_id!("@alice:example.org"), None),
            room: RoomFacts {
                member_count: 3,
                sender_power: 0,
                notification_levels: BTreeMap::new(),
            },
            display_name: Some("Alice A."),
        }
    }

    fn rule(mut self, kind: RuleKind, id: &str, body: Value) -> Self {
        self.rules.put(kind, id, &body, None, None).unwrap();
        self
    }

    fn actions(&self, event: &Value) -> Actions {
        let user = UserFacts {
            user_id: user_id!("@alice:example.org"),
            display_name: self.display_name,
        };
        evaluate(
            &self.rules.compile(),
            &PushEvent::from_json(event),
            &self.room,
            &user,
        )
    }

    /// `notify`, `highlight` and the sound, in short.
    fn check(&self, event: Value, expect: &str) {
        let actions = self.actions(&event);
        let mut told = Vec::new();
        if actions.notify {
            told.push("notify");
        }
        if actions.highlight {
            told.push("highlight");
        }
        told.extend(actions.sound.as_deref());
        assert_eq!(told.join(" "), expect, "{event}");
    }
}

fn event(kind: &str, content: Value) -> Value {
    json!({ "type": kind, "sender": "@bob:example.org", "room_id": "!r:x", "content": content })
}

fn message(content: Value) -> Value {
    event("m.room.message", content)
}

fn text(body: &str) -> Value {
    message(json!({ "msgtype": "m.text", "body": body }))
}

fn state(kind: &str, state_key: &str, content: Value) -> Value {
    let mut event = event(kind, content);
    event["state_key"] = json!(state_key);
    event
}

#[test]
fn default_rules() {
    let mut scene = Scene::new();
    scene.check(text("hi"), "notify");
    scene.check(message(json!({ "msgtype": "m.notice", "body": "hi" })), "");
    scene.check(event("m.room.encrypted", json!({})), "notify");
    scene.check(event("m.call.invite", json!({})), "notify ring");
    scene.check(event("m.reaction", json!({})), "");
    scene.check(event("org.example.unknown", json!({})), "");
    let edit = json!({ "body": "x", "m.relates_to": { "rel_type": "m.replace" } });
    scene.check(message(edit), "");
    scene.check(state("m.room.tombstone", "", json!({})), "notify highlight");
    scene.check(event("m.room.tombstone", json!({})), "");
    scene.check(state("m.room.server_acl", "", json!({})), "");
    let invite = json!({ "membership": "invite" });
    scene.check(
        state("m.room.member", "@alice:example.org", invite.clone()),
        "notify default",
    );
    scene.check(state("m.room.member", "@carol:example.org", invite), "");
    let join = json!({ "membership": "join" });
    scene.check(state("m.room.member", "@alice:example.org", join), "");
    scene.room.member_count = 2;
    scene.check(text("hi"), "notify default");
    scene.check(event("m.room.encrypted", json!({})), "notify default");
    // One's own messages mean nothing.
    let mut own = text("hi");
    own["sender"] = json!("@alice:example.org");
    scene.check(own, "");
}

#[test]
fn mentions() {
    let mut scene = Scene::new();
    let mention = |mentions: Value| message(json!({ "body": "x", "m.mentions": mentions }));
    let everybody = || mention(json!({ "room": true }));
    scene.check(
        mention(json!({ "user_ids": ["@carol:x", "@alice:example.org"] })),
        "notify highlight default",
    );
    scene.check(
        mention(json!({ "user_ids": ["@ALICE:example.org"] })),
        "notify",
    );
    scene.check(
        mention(json!({ "user_ids": "@alice:example.org" })),
        "notify",
    );
    scene.check(mention(json!({ "user_ids": [] })), "notify");
    scene.check(everybody(), "notify");
    scene.room.sender_power = 50;
    scene.check(everybody(), "notify highlight");
    scene.check(mention(json!({ "room": "true" })), "notify");
    scene.room.notification_levels =
        RoomFacts::levels_from(&json!({ "notifications": { "room": 51, "x": "7" } }));
    scene.check(everybody(), "notify");
    scene.room.sender_power = i64::MAX;
    scene.check(everybody(), "notify highlight");
    assert_eq!(scene.room.notification_levels["x"], 7);
    // Names in the body are not looked for any more.
    scene.check(text("alice: Alice A. @room"), "notify");
}

#[test]
fn the_order_of_rules() {
    let noisy = json!({ "actions": ["notify", { "set_tweak": "sound", "value": "x" }] });
    let quiet = json!({ "actions": [] });
    let scene = Scene::new().rule(RuleKind::Sender, "@bob:example.org", noisy.clone());
    scene.check(text("tea"), "notify x");
    let scene = scene.rule(RuleKind::Room, "!r:x", quiet);
    scene.check(text("tea"), "");
    let content = json!({ "pattern": "tea", "actions": ["notify"] });
    let scene = scene.rule(RuleKind::Content, "tea", content);
    scene.check(text("It's time for tea"), "notify");
    scene.check(text("It's time for teas"), "");
    let time = json!({ "pattern": "time", "actions": ["notify", { "set_tweak": "highlight" }] });
    let scene = scene.rule(RuleKind::Content, "time", time);
    scene.check(text("It's time for tea"), "notify highlight");
    let mut scene = scene.rule(RuleKind::Override, "all", noisy);
    scene.check(text("It's time for tea"), "notify x");
    scene
        .rules
        .set_enabled(RuleKind::Override, "all", false)
        .unwrap();
    scene.check(text("It's time for tea"), "notify highlight");
    scene
        .rules
        .set_enabled(RuleKind::Override, ".m.rule.master", true)
        .unwrap();
    scene.check(text("It's time for tea"), "");
    let mut other = text("hi");
    other["room_id"] = json!("!other:x");
    other["sender"] = json!("@dora:x");
    let scene = Scene::new().rule(RuleKind::Room, "!r:x", json!({ "actions": [] }));
    scene.check(other, "notify");
}

#[test]
fn conditions() {
    let check = |condition: Value, event: Value, expect: bool| {
        let rule = json!({ "conditions": [condition], "actions": ["notify"] });
        let scene = Scene::new().rule(RuleKind::Override, "x", rule);
        let mut scene = scene;
        for kind in RuleKind::ALL {
            for rule in scene.rules.of_kind(kind).as_array().unwrap() {
                let id = rule["rule_id"].as_str().unwrap();
                scene.rules.set_enabled(kind, id, id == "x").unwrap();
            }
        }
        assert_eq!(scene.actions(&event).notify, expect, "{condition} {event}");
    };
    let matches =
        |key: &str, pattern: &str| json!({ "kind": "event_match", "key": key, "pattern": pattern });
    let topic = |topic: Value| state("m.room.topic", "", json!({ "topic": topic }));
    check(
        matches("content.topic", "lunc?*"),
        topic(json!("Lunch plans")),
        true,
    );
    check(
        matches("content.topic", "lunc?*"),
        topic(json!("LUNCH")),
        true,
    );
    check(
        matches("content.topic", "lunc?*"),
        topic(json!(" lunch")),
        false,
    );
    check(
        matches("content.topic", "lunc?*"),
        topic(json!("lunc")),
        false,
    );
    check(
        matches("content.topic", "lunc?*"),
        topic(Value::Null),
        false,
    );
    check(matches("content.missing", "*"), topic(json!("x")), false);
    check(matches("room_id", "!r:x"), topic(json!("x")), true);
    check(
        matches("content.body", "ex*ple"),
        text("An example event."),
        true,
    );
    check(matches("content.body", "ex*ple"), text("exple"), true);
    check(
        matches("content.body", "ex*ple"),
        text("An exciting triple-whammy"),
        true,
    );
    check(
        matches("content.body", "ex"),
        text("An example event."),
        false,
    );
    check(
        matches("state_key", "@alice:example.org"),
        state("x", "@Alice:example.org", json!({})),
        true,
    );
    check(
        matches("state_key", "@alice:example.org"),
        state("x", "@bob:example.org", json!({})),
        false,
    );

    let is = |key: &str, value: Value| json!({ "kind": "event_property_is", "key": key, "value": value });
    let create = |value: Value| state("m.room.create", "", json!({ "m.federate": value }));
    check(
        is(r"content.m\.federate", json!(true)),
        create(json!(true)),
        true,
    );
    check(
        is(r"content.m\.federate", json!(true)),
        create(json!("true")),
        false,
    );
    check(
        is(r"content.m\.federate", json!(true)),
        create(json!(1)),
        false,
    );
    check(
        is("content.m.federate", json!(true)),
        create(json!(true)),
        false,
    );
    check(is(r"content.m\.federate", json!(1)), create(json!(1)), true);
    check(
        is(r"content.m\.federate", Value::Null),
        create(Value::Null),
        true,
    );
    check(
        is(r"content.m\.federate", json!("A")),
        create(json!("a")),
        false,
    );
    check(is("content.nothing", Value::Null), create(json!(1)), false);
    check(
        is(r"content.m\.federate", json!([])),
        create(json!([])),
        false,
    );

    let contains = |value: Value| json!({ "kind": "event_property_contains", "key": "content.list", "value": value });
    let list = |list: Value| event("x", json!({ "list": list }));
    check(contains(json!("#a:x")), list(json!(["#b:x", "#a:x"])), true);
    check(contains(json!(":x")), list(json!(["#b:x", "#a:x"])), false);
    check(contains(json!(1)), list(json!([{}, [], 1])), true);
    check(contains(json!("#a:x")), list(json!("#a:x")), false);
    check(
        contains(json!("@alice:example.org")),
        list(json!(["@alice:example.org"])),
        true,
    );

    // The scene's room has three members.
    let count = |is: &str| json!({ "kind": "room_member_count", "is": is });
    for (is, expect) in [
        ("3", true),
        ("==3", true),
        ("2", false),
        ("<3", false),
        ("<4", true),
        ("<=3", true),
        (">2", true),
        (">3", false),
        (">=3", true),
        (">=4", false),
        ("", false),
        ("x", false),
        ("=3", false),
        ("<>3", false),
        (" 3", false),
        ("-3", false),
        ("+3", false),
        ("99999999999999999999", false),
    ] {
        check(count(is), text("x"), expect);
    }
    let name = json!({ "kind": "contains_display_name" });
    check(name.clone(), text("ask alice a. about it"), true);
    check(name.clone(), text("ask alice ab"), false);
    check(name, topic(json!("alice a.")), false);
    check(json!({ "kind": "org.example.unknown" }), text("x"), false);
    check(
        json!({ "kind": "event_match", "key": "type" }),
        text("x"),
        false,
    );
    check(
        json!({ "kind": "sender_notification_permission", "key": "room" }),
        text("x"),
        false,
    );
}

#[test]
fn actions_are_kept() {
    let rule = json!({ "actions": [
        "notify",
        { "set_tweak": "highlight", "value": false },
        { "set_tweak": "sound", "value": "bing" },
        { "set_tweak": "light", "value": { "colour": "red" } },
    ] });
    let scene = Scene::new().rule(RuleKind::Override, "x", rule);
    let actions = scene.actions(&text("hi"));
    assert!(!actions.highlight);
    assert_eq!(
        actions.tweaks_json(),
        json!({ "sound": "bing", "light": { "colour": "red" } })
    );
    assert_eq!(
        actions.actions_json(),
        json!([
            "notify",
            { "set_tweak": "sound", "value": "bing" },
            { "set_tweak": "light", "value": { "colour": "red" } },
        ])
    );
}

#[test]
fn an_event_of_the_store() {
    let pdu = json!({
        "type": "m.room.member", "state_key": "@alice:example.org", "sender": "@bob:example.org",
        "room_id": "!r:x", "origin_server_ts": 1, "depth": 1, "prev_events": [], "auth_events": [],
        "content": { "membership": "invite" },
    });
    let id = EventId::parse("$event").unwrap();
    let event = Event::from_pdu(id, None, pdu.to_string().into()).unwrap();
    let scene = Scene::new();
    let rules = scene.rules.compile();
    let event = PushEvent::new(&event);
    let prepared = rules.prepare(&event, &scene.room);
    let told = |user_id| {
        prepared
            .for_user(&UserFacts {
                user_id,
                display_name: None,
            })
            .clone()
    };
    assert!(told(user_id!("@alice:example.org")).notify);
    assert!(!told(user_id!("@bob:example.org")).notify);
    assert!(!told(user_id!("@carol:example.org")).notify);
    assert!(!prepared.is_same_for_all());
    let message = PushEvent::from_json(&text("hi"));
    assert!(rules.prepare(&message, &scene.room).is_same_for_all());
}

proptest! {
    /// Hostile rules and events are evaluated, whatever they are.
    #[test]
    fn anything_is_evaluated(
        key in r"(type|content|content\.body|[a-z.\\]{0,8})",
        pattern in r"[a-z*?]{0,8}",
        body in any::<String>(),
        kind in 0..6_usize,
    ) {
        let kinds = ["event_match", "event_property_is", "event_property_contains",
            "room_member_count", "sender_notification_permission", "contains_display_name"];
        let condition = json!({
            "kind": kinds[kind], "key": key, "pattern": pattern, "value": pattern, "is": pattern,
        });
        let rule = json!({ "conditions": [condition], "actions": ["notify"] });
        let scene = Scene::new().rule(RuleKind::Override, "x", rule);
        let event = text(&body);
        prop_assert_eq!(scene.actions(&event), scene.actions(&event));
        scene.actions(&Value::Null);
        scene.actions(&json!({ "content": body, "sender": 1, "room_id": [] }));
    }
}
