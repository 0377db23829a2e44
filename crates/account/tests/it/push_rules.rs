//! Push rules as clients see and change them.

use lyceum_account::push::{
    PushRuleError, PushRules, RuleKind, SharedRules, TEXT_PATTERNS_MAX, USER_RULES_MAX,
};
use lyceum_model::MatrixError;
use proptest::{
    collection::vec,
    prelude::{any, prop_assert, prop_assert_eq, proptest},
};
use ruma_common::user_id;
use serde_json::{Value, json};

fn load(stored: Option<&str>) -> PushRules {
    PushRules::load(user_id!("@alice:example.org"), stored)
}

fn ids(rules: &PushRules, kind: RuleKind) -> Vec<String> {
    let rules = rules.of_kind(kind);
    let ids = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["rule_id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

fn own_ids(rules: &PushRules, kind: RuleKind) -> String {
    let ids = ids(rules, kind)
        .into_iter()
        .filter(|id| !id.starts_with('.'));
    ids.collect::<Vec<_>>().join(" ")
}

fn quiet() -> Value {
    json!({ "actions": [] })
}

#[test]
fn defaults() {
    let rules = load(None);
    assert_eq!(
        ids(&rules, RuleKind::Override),
        [
            ".m.rule.master",
            ".m.rule.suppress_notices",
            ".m.rule.invite_for_me",
            ".m.rule.member_event",
            ".m.rule.is_user_mention",
            ".m.rule.is_room_mention",
            ".m.rule.tombstone",
            ".m.rule.reaction",
            ".m.rule.room.server_acl",
            ".m.rule.suppress_edits",
        ]
    );
    assert_eq!(
        ids(&rules, RuleKind::Underride),
        [
            ".m.rule.call",
            ".m.rule.encrypted_room_one_to_one",
            ".m.rule.room_one_to_one",
            ".m.rule.message",
            ".m.rule.encrypted",
        ]
    );
    for kind in [RuleKind::Content, RuleKind::Room, RuleKind::Sender] {
        assert_eq!(rules.of_kind(kind), json!([]));
    }
    // Word for word as in the specification.
    let rule = |kind, id| rules.get(kind, id).unwrap().to_json();
    assert_eq!(
        rule(RuleKind::Override, ".m.rule.master"),
        json!({
            "rule_id": ".m.rule.master", "default": true, "enabled": false,
            "conditions": [], "actions": [],
        })
    );
    assert_eq!(
        rule(RuleKind::Override, ".m.rule.is_user_mention"),
        json!({
            "rule_id": ".m.rule.is_user_mention", "default": true, "enabled": true,
            "conditions": [{
                "kind": "event_property_contains",
                "key": "content.m\\.mentions.user_ids",
                "value": "@alice:example.org",
            }],
            "actions": [
                "notify",
                { "set_tweak": "sound", "value": "default" },
                { "set_tweak": "highlight" },
            ],
        })
    );
    assert_eq!(
        rule(RuleKind::Underride, ".m.rule.room_one_to_one"),
        json!({
            "rule_id": ".m.rule.room_one_to_one", "default": true, "enabled": true,
            "conditions": [
                { "kind": "room_member_count", "is": "2" },
                { "kind": "event_match", "key": "type", "pattern": "m.room.message" },
            ],
            "actions": ["notify", { "set_tweak": "sound", "value": "default" }],
        })
    );
    assert_eq!(rules.content(), json!({ "global": rules.global() }));
}

#[test]
fn rules_are_added_in_order() {
    let mut rules = load(None);
    let mut put = |id: &str, before: Option<&str>, after: Option<&str>| {
        rules
            .put(RuleKind::Override, id, &quiet(), before, after)
            .unwrap();
        own_ids(&rules, RuleKind::Override)
    };
    assert_eq!(put("a", None, None), "a");
    assert_eq!(put("b", None, None), "b a");
    assert_eq!(put("c", Some("a"), None), "b c a");
    assert_eq!(put("d", None, Some("a")), "b c a d");
    assert_eq!(put("e", Some("b"), Some("d")), "e b c a d");
    // Updating leaves a rule where it is, unless it is told to move.
    assert_eq!(put("c", None, None), "e b c a d");
    assert_eq!(put("c", Some("e"), None), "c e b a d");
    assert_eq!(put("c", None, Some("d")), "e b a d c");
    assert_eq!(put("c", None, Some("c")), "e b a d c");
    assert_eq!(
        ids(&rules, RuleKind::Override)[..3],
        [".m.rule.master".to_owned(), "e".to_owned(), "b".to_owned()]
    );
    rules.delete(RuleKind::Override, "b").unwrap();
    assert_eq!(own_ids(&rules, RuleKind::Override), "e a d c");
}

#[test]
fn a_rule_as_the_client_gets_it() {
    let mut rules = load(None);
    let check = |rules: &PushRules, kind, id: &str, expect: Value| {
        assert_eq!(rules.get(kind, id).unwrap().to_json(), expect);
    };
    let body = json!({ "pattern": "cake*lie", "actions": ["notify", "dont_notify", "coalesce"] });
    rules
        .put(RuleKind::Content, "nocake", &body, None, None)
        .unwrap();
    let mut expect = json!({
        "rule_id": "nocake", "default": false, "enabled": true,
        "pattern": "cake*lie", "actions": ["notify", "dont_notify", "coalesce"],
    });
    check(&rules, RuleKind::Content, "nocake", expect.clone());
    rules
        .set_enabled(RuleKind::Content, "nocake", false)
        .unwrap();
    expect["enabled"] = json!(false);
    check(&rules, RuleKind::Content, "nocake", expect.clone());
    // It stays disabled when it is updated.
    rules
        .put(RuleKind::Content, "nocake", &body, None, None)
        .unwrap();
    check(&rules, RuleKind::Content, "nocake", expect);
    rules
        .put(RuleKind::Room, "!r:x", &quiet(), None, None)
        .unwrap();
    check(
        &rules,
        RuleKind::Room,
        "!r:x",
        json!({ "rule_id": "!r:x", "default": false, "enabled": true, "actions": [] }),
    );
    rules
        .put(RuleKind::Underride, "u", &quiet(), None, None)
        .unwrap();
    check(
        &rules,
        RuleKind::Underride,
        "u",
        json!({ "rule_id": "u", "default": false, "enabled": true, "actions": [], "conditions": [] }),
    );
    assert_eq!(load(Some(&rules.content().to_string())), rules);
}

#[test]
fn default_rules_are_changed() {
    let mut rules = load(None);
    rules
        .set_enabled(RuleKind::Override, ".m.rule.master", true)
        .unwrap();
    let actions = json!(["notify", { "set_tweak": "sound", "value": "bing" }]);
    rules
        .set_actions(RuleKind::Underride, ".m.rule.message", &actions)
        .unwrap();
    let stored = load(Some(&rules.content().to_string()));
    assert_eq!(stored, rules);
    assert!(
        stored
            .get(RuleKind::Override, ".m.rule.master")
            .unwrap()
            .is_enabled
    );
    let message = stored
        .get(RuleKind::Underride, ".m.rule.message")
        .unwrap()
        .to_json();
    assert_eq!(message["actions"], actions);
    assert_eq!(message["default"], true);
    assert_eq!(
        rules.delete(RuleKind::Override, ".m.rule.master"),
        Err(PushRuleError::NotFound)
    );
}

#[test]
fn refusals() {
    let mut rules = load(None);
    rules
        .put(
            RuleKind::Content,
            "x",
            &json!({ "pattern": "x", "actions": [] }),
            None,
            None,
        )
        .unwrap();
    let mut check = |kind, id: &str, body: Value, near: Option<&str>, expect: (u16, &str)| {
        let error = MatrixError::from(rules.put(kind, id, &body, near, None).unwrap_err());
        assert_eq!((error.status, &*error.code), expect, "{id} {body}");
    };
    let invalid = (400, "M_INVALID_PARAM");
    check(RuleKind::Override, ".mine", quiet(), None, invalid);
    check(RuleKind::Override, "", quiet(), None, invalid);
    check(RuleKind::Override, "a/b", quiet(), None, invalid);
    check(RuleKind::Override, r"a\b", quiet(), None, invalid);
    check(
        RuleKind::Override,
        "a",
        json!({ "actions": ["shout"] }),
        None,
        invalid,
    );
    check(
        RuleKind::Override,
        "a",
        json!({ "actions": [{ "tweak": 1 }] }),
        None,
        invalid,
    );
    check(
        RuleKind::Override,
        "a",
        json!({}),
        None,
        (400, "M_MISSING_PARAM"),
    );
    check(
        RuleKind::Content,
        "a",
        quiet(),
        None,
        (400, "M_MISSING_PARAM"),
    );
    check(
        RuleKind::Override,
        "a",
        json!({ "actions": 1 }),
        None,
        (400, "M_BAD_JSON"),
    );
    let bad = json!({ "actions": [], "conditions": [{}] });
    check(RuleKind::Override, "a", bad, None, (400, "M_BAD_JSON"));
    let bad = json!({ "actions": [], "pattern": 1 });
    check(RuleKind::Content, "a", bad, None, (400, "M_BAD_JSON"));
    check(
        RuleKind::Override,
        "a",
        quiet(),
        Some("unknown"),
        (400, "M_UNKNOWN"),
    );
    check(
        RuleKind::Override,
        "a",
        quiet(),
        Some(".m.rule.master"),
        (400, "M_UNKNOWN"),
    );
    let long = json!({ "actions": [], "pattern": "x".repeat(257) });
    check(RuleKind::Content, "a", long, None, (413, "M_TOO_LARGE"));
    let many = json!({ "actions": vec!["notify"; 100] });
    check(RuleKind::Override, "a", many, None, (413, "M_TOO_LARGE"));
    let error = rules
        .put(RuleKind::Override, "a", &quiet(), Some("x"), None)
        .unwrap_err();
    assert_eq!(error.to_string(), "before/after rule not found: x");
    for result in [
        rules.get(RuleKind::Override, "x").map(|_| ()),
        rules.set_enabled(RuleKind::Override, "x", true),
        rules.set_actions(RuleKind::Override, "x", &json!([])),
        rules.delete(RuleKind::Override, "x"),
    ] {
        assert_eq!(result, Err(PushRuleError::NotFound));
    }
    assert_eq!(
        rules.set_actions(RuleKind::Content, "x", &json!(["shout"])),
        Err(PushRuleError::UnknownAction)
    );
}

#[test]
fn limits() {
    let mut rules = load(None);
    let text = json!({ "pattern": "x", "actions": [] });
    for number in 0..TEXT_PATTERNS_MAX {
        rules
            .put(RuleKind::Content, &format!("c{number}"), &text, None, None)
            .unwrap();
    }
    let more = rules.put(RuleKind::Content, "more", &text, None, None);
    assert_eq!(more, Err(PushRuleError::TooLarge));
    assert_eq!(
        rules.put(RuleKind::Content, "c0", &text, None, None),
        Ok(())
    );
    for number in TEXT_PATTERNS_MAX..USER_RULES_MAX {
        rules
            .put(
                RuleKind::Room,
                &format!("!r{number}:x"),
                &quiet(),
                None,
                None,
            )
            .unwrap();
    }
    let more = rules.put(RuleKind::Room, "!more:x", &quiet(), None, None);
    assert_eq!(more, Err(PushRuleError::TooLarge));
}

#[test]
fn damaged_storage_gives_the_defaults() {
    for stored in [
        "",
        "1",
        "{}",
        r#"{"global":{"override":[1,{"rule_id":1},{"rule_id":"x"}]}}"#,
    ] {
        assert_eq!(load(Some(stored)), load(None), "{stored}");
    }
    // A default rule that is no longer one, or a changed condition, does not come back.
    let stored = json!({ "global": { "override": [
        { "rule_id": ".m.rule.gone", "actions": ["notify"], "enabled": true, "default": true },
        { "rule_id": ".m.rule.tombstone", "actions": [], "enabled": true, "conditions": [] },
    ] } });
    let rules = load(Some(&stored.to_string()));
    assert_eq!(
        ids(&rules, RuleKind::Override),
        ids(&load(None), RuleKind::Override)
    );
    let tombstone = rules.get(RuleKind::Override, ".m.rule.tombstone").unwrap();
    assert_eq!(tombstone.conditions.as_ref().unwrap().len(), 2);
    assert_eq!(tombstone.actions, Vec::<Value>::new());
}

#[test]
fn equal_rules_are_shared() {
    let mut shared = SharedRules::default();
    let alice = shared.share(load(None).compile());
    let bob = PushRules::load(user_id!("@bob:example.org"), None);
    let bob = shared.share(bob.compile());
    assert!(std::sync::Arc::ptr_eq(&alice, &bob));
    for number in 0..1000 {
        let mut rules = load(None);
        rules
            .put(
                RuleKind::Room,
                &format!("!r{number}:x"),
                &quiet(),
                None,
                None,
            )
            .unwrap();
        shared.share(rules.compile());
    }
    assert!(shared.len() <= 128, "{}", shared.len());
    assert!(std::sync::Arc::ptr_eq(
        &alice,
        &shared.share(load(None).compile())
    ));
}

proptest! {
    /// Whatever changes are made, stored rules read back the same, and no default is lost.
    #[test]
    fn stored_rules_read_back(changes in vec(
        (0..5_usize, 0..6_u8, 0..5_u8, proptest::option::of(0..6_u8), any::<bool>()), 0..30,
    )) {
        let mut rules = load(None);
        for (kind, id, what, near, flag) in changes {
            let kind = RuleKind::ALL[kind];
            let id = format!("r{id}");
            let near = near.map(|near| format!("r{near}"));
            let body = json!({ "actions": ["notify"], "pattern": "p" });
            let _result = match what {
                0 => rules.delete(kind, &id),
                1 => rules.set_enabled(kind, &id, flag),
                2 => rules.set_actions(kind, &id, &json!([])),
                3 => rules.put(kind, &id, &body, near.as_deref(), None),
                _ => rules.put(kind, &id, &body, None, near.as_deref()),
            };
        }
        prop_assert_eq!(&load(Some(&rules.content().to_string())), &rules);
        for kind in RuleKind::ALL {
            let all = ids(&rules, kind);
            let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
            prop_assert_eq!(distinct.len(), all.len());
            for id in ids(&load(None), kind) {
                prop_assert!(all.contains(&id));
            }
        }
    }
}
