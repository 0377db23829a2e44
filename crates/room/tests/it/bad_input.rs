//! Malformed contents: refused with the right error, nothing made.

use lyceum_room::{Denied, Draft};
use lyceum_testkit::{Scene, alice};
use serde_json::value::RawValue;

#[test]
fn contents_that_are_no_canonical_objects() {
    for content in [
        "[]",
        "null",
        "\"text\"",
        "1",
        r#"{"a":1.5}"#,
        r#"{"a":1e3}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":-9007199254740992}"#,
        r#"{"a":123456789012345678901234567890}"#,
    ] {
        check("m.room.message", content, "bad json");
    }
    check("m.room.message", r#"{"a":9007199254740991}"#, "sent");
    check("m.room.message", r#"{"a":-9007199254740991}"#, "sent");
}

#[test]
fn deep_nesting() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    check("m.room.message", &nested(99), "sent");
    check("m.room.message", &nested(100), "bad json");
    check("m.room.message", &nested(200), "bad json");
    check("m.room.message", &nested(100_000), "bad json");
}

#[test]
fn sizes() {
    let body = |length: usize| format!(r#"{{"body":"{}"}}"#, "x".repeat(length));
    check("m.room.message", &body(64_000), "sent");
    check("m.room.message", &body(65_535), "too large");
    check("m.room.message", &body(1_000_000), "too large");
    check(&"k".repeat(255), "{}", "sent");
    check(&"k".repeat(256), "{}", "too large");
}

#[test]
fn an_event_may_fill_its_limit_exactly() {
    let scene = Scene::public();
    let send = |length: usize| {
        let content = format!(r#"{{"body":"{}"}}"#, "x".repeat(length));
        let content = RawValue::from_string(content).expect("is JSON");
        let draft = Draft::message("m.room.message", content);
        lyceum_room::send(&scene.room, &alice(), draft, &scene.signer, scene.now)
    };
    let overhead = send(0).expect("may send").event().json.len();
    let full = send(lyceum_room::EVENT_BYTES_MAX - overhead).expect("just fits");
    assert_eq!(full.event().json.len(), lyceum_room::EVENT_BYTES_MAX);
    assert!(send(lyceum_room::EVENT_BYTES_MAX - overhead + 1).is_err());
}

#[test]
fn wrong_types() {
    for (kind, content) in [
        ("m.room.message", r#"{"body":1}"#),
        ("m.room.message", r#"{"msgtype":[]}"#),
        ("m.room.name", r#"{"name":{}}"#),
        ("m.room.topic", r#"{"topic":null}"#),
        ("m.room.join_rules", r#"{}"#),
        ("m.room.join_rules", r#"{"join_rule":7}"#),
        ("m.room.power_levels", r#"{"ban":"50"}"#),
        ("m.room.power_levels", r#"{"users":[]}"#),
        (
            "m.room.power_levels",
            r#"{"users":{"@alice:example.org":"100"}}"#,
        ),
        ("m.room.power_levels", r#"{"users":{"alice":100}}"#),
        ("m.room.power_levels", r#"{"events":{"x":null}}"#),
        ("m.room.canonical_alias", r#"{"alias":1}"#),
        ("m.room.canonical_alias", r#"{"alt_aliases":["a",1]}"#),
        ("m.room.tombstone", r#"{"replacement_room":1}"#),
        ("m.room.server_acl", r#"{"allow":"*"}"#),
    ] {
        check_state(kind, "", content, "bad json");
    }
    check_state(
        "m.room.member",
        "nobody",
        r#"{"membership":"join"}"#,
        "bad json",
    );
    check_state(
        "m.room.member",
        "@bob:example.org",
        r#"{"membership":"king"}"#,
        "bad json",
    );
    check_state("m.room.member", "@bob:example.org", r#"{}"#, "bad json");
    check("m.room.member", r#"{"membership":"join"}"#, "bad json");
    check("m.room.redaction", r#"{}"#, "invalid");
}

#[test]
fn state_that_would_lock_the_server_out() {
    check_state(
        "m.room.server_acl",
        "",
        r#"{"allow":["*"],"deny":["evil.org"]}"#,
        "sent",
    );
    check_state(
        "m.room.server_acl",
        "",
        r#"{"allow":["*"],"deny":["EXAMPLE.*"]}"#,
        "invalid",
    );
    check_state(
        "m.room.server_acl",
        "",
        r#"{"allow":["other.org"]}"#,
        "invalid",
    );
    check_state(
        "m.room.server_acl",
        "",
        r#"{"deny":["evil.org"]}"#,
        "invalid",
    );
    check_state(
        "m.room.server_acl",
        "",
        r#"{"allow":["exam?le.o*g"]}"#,
        "sent",
    );
}

fn check(kind: &str, content: &str, expect: &str) {
    check_draft(kind, None, content, expect);
}

fn check_state(kind: &str, key: &str, content: &str, expect: &str) {
    check_draft(kind, Some(key), content, expect);
}

fn check_draft(kind: &str, state_key: Option<&str>, content: &str, expect: &str) {
    for version in ["1", "12"] {
        let scene = Scene::public_in(version);
        let content = RawValue::from_string(content.to_owned()).expect("is JSON");
        let draft = Draft {
            kind: kind.to_owned(),
            state_key: state_key.map(str::to_owned),
            content,
            redacts: None,
        };
        let outcome = lyceum_room::send(&scene.room, &alice(), draft, &scene.signer, scene.now);
        let told = match &outcome {
            Ok(_) => "sent",
            Err(Denied::BadJson(_)) => "bad json",
            Err(Denied::TooLarge(_) | Denied::FieldTooLarge(_)) => "too large",
            Err(Denied::InvalidParam(_)) => "invalid",
            Err(_) => "other",
        };
        assert_eq!(told, expect, "{kind} in {version}: {:?}", outcome.err());
    }
}
