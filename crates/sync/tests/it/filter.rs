use lyceum_sync::filter::{EventFormat, Filter, RoomEventFilter, TypePattern};
use proptest::prelude::*;
use serde_json::json;

use crate::fixture::{event, room, user};

#[test]
fn patterns_stand_for_types() {
    for (pattern, kind, expected) in [
        ("m.room.message", "m.room.message", true),
        ("m.room.message", "m.room.messages", false),
        ("m.room.message", "m.room.messag", false),
        ("*", "", true),
        ("*", "anything", true),
        ("**", "anything", true),
        ("m.room.*", "m.room.", true),
        ("m.room.*", "m.room.name", true),
        ("m.room.*", "m.roomy", false),
        ("*.name", "m.room.name", true),
        ("*.name", "m.room.names", false),
        ("m.*.name", "m.room.name", true),
        ("m.*.name", "m.name", false),
        ("m.*.name", "m..name", true),
        ("m.*room*.name", "m.a.room.b.name", true),
        ("a*a", "a", false),
        ("a*a", "aa", true),
        ("*ab*ab", "ab", false),
        ("*ab*ab", "abxab", true),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(
            TypePattern::new(pattern).matches(kind),
            expected,
            "{pattern} {kind}"
        );
    }
}

#[test]
fn events_are_chosen() {
    let plain = event("e", "alice", "m.room.message", json!({"body": "x"}), 1);
    let with_url = event(
        "e",
        "alice",
        "m.room.message",
        json!({"url": "mxc://x/y"}),
        1,
    );
    let inner_url = event(
        "e",
        "alice",
        "m.room.message",
        json!({"file": {"url": "mxc"}}),
        1,
    );
    let reaction = event("e", "bob", "m.reaction", json!({}), 1);
    for (filter, expected) in [
        (json!({}), [true, true, true, true]),
        (json!({"types": ["m.room.*"]}), [true, true, true, false]),
        (json!({"types": []}), [false, false, false, false]),
        (
            json!({"types": null, "not_types": null}),
            [true, true, true, true],
        ),
        (json!({"not_types": ["m.re*"]}), [true, true, true, false]),
        (
            json!({"types": ["*"], "not_types": ["m.reaction"]}),
            [true, true, true, false],
        ),
        (json!({"senders": ["@bob:x"]}), [false, false, false, true]),
        (
            json!({"not_senders": ["@bob:x"]}),
            [true, true, true, false],
        ),
        (
            json!({"senders": ["@bob:x"], "not_senders": ["@bob:x"]}),
            [false; 4],
        ),
        (json!({"contains_url": true}), [false, true, false, false]),
        (json!({"contains_url": false}), [true, false, true, true]),
        (json!({"rooms": ["!room:x"]}), [true; 4]),
        (json!({"rooms": ["!other:x"]}), [false; 4]),
        (json!({"rooms": []}), [false; 4]),
        (json!({"not_rooms": ["!room:x"]}), [false; 4]),
        (
            json!({"rooms": ["!room:x"], "not_rooms": ["!room:x"]}),
            [false; 4],
        ),
        (json!({"limit": 3, "unknown": {"field": 1}}), [true; 4]),
    ] {
        let parsed = RoomEventFilter::parse(&filter.to_string()).unwrap();
        let events = [&plain, &with_url, &inner_url, &reaction];
        assert_eq!(
            events.map(|event| parsed.matches(event)),
            expected,
            "{filter}"
        );
    }
}

#[test]
fn relations_are_asked_for() {
    let alice = user("alice");
    let bob = user("bob");
    let children = [("m.thread", &*alice), ("m.replace", &*bob)];
    for (filter, expected) in [
        (json!({}), true),
        (json!({"related_by_rel_types": ["m.thread"]}), true),
        (json!({"related_by_rel_types": ["m.reference"]}), false),
        (json!({"related_by_senders": ["@bob:x"]}), true),
        (json!({"related_by_senders": ["@carol:x"]}), false),
        (
            json!({"related_by_rel_types": ["m.thread"], "related_by_senders": ["@bob:x"]}),
            false,
        ),
        (
            json!({"related_by_rel_types": ["m.thread"], "related_by_senders": ["@alice:x"]}),
            true,
        ),
    ] {
        let parsed = RoomEventFilter::parse(&filter.to_string()).unwrap();
        assert_eq!(parsed.asks_for_relations(), filter != json!({}), "{filter}");
        assert_eq!(parsed.matches_relations(children), expected, "{filter}");
    }
}

#[test]
fn limits_are_bounded() {
    for (filter, expected) in [
        (json!({}), 10),
        (json!({"limit": null}), 10),
        (json!({"limit": 0}), 0),
        (json!({"limit": 1}), 1),
        (json!({"limit": 5000}), 100),
        (json!({"limit": 18_446_744_073_709_551_615_u64}), 100),
    ] {
        let parsed = RoomEventFilter::parse(&filter.to_string()).unwrap();
        assert_eq!(parsed.limit(10, 100), expected, "{filter}");
    }
}

#[test]
fn a_whole_filter_is_read() {
    let filter = Filter::parse(
        r#"{"event_fields":["type","content.body"],"event_format":"federation",
            "presence":{"types":["m.presence"],"not_senders":["@alice:x"]},
            "account_data":{"not_types":["*"]},
            "room":{"rooms":["!a:x"],"not_rooms":["!b:x"],"include_leave":true,
              "state":{"lazy_load_members":true,"include_redundant_members":true},
              "timeline":{"limit":20,"unread_thread_notifications":true},
              "ephemeral":{"types":[]},"account_data":{"limit":0}}}"#,
    )
    .unwrap();
    assert_eq!(filter.event_format, EventFormat::Federation);
    assert!(filter.event_fields.is_some());
    assert!(!filter.presence.allows("m.presence", Some(&user("alice"))));
    assert!(filter.presence.allows("m.presence", Some(&user("bob"))));
    assert!(filter.account_data.allows_nothing());
    assert!(filter.room.allows_room(&room("a")));
    assert!(!filter.room.allows_room(&room("b")) && !filter.room.allows_room(&room("c")));
    assert!(filter.room.include_leave);
    assert!(filter.lazy_load_members() && filter.include_redundant_members());
    assert!(filter.room.timeline.unread_thread_notifications);
    assert_eq!(filter.room.timeline.events.limit, Some(20));
    assert!(filter.room.ephemeral.allows_nothing() && filter.room.account_data.allows_nothing());
    assert_eq!(Filter::parse("{}").unwrap(), Filter::default());
}

#[test]
fn what_is_no_filter_is_refused() {
    let deep_path = format!(r#"{{"event_fields":["{}a"]}}"#, "a.".repeat(40));
    let long = format!(r#"{{"event_fields":["{}"]}}"#, "a".repeat(70_000));
    for json in [
        "",
        "[]",
        "7",
        "\"x\"",
        "{",
        r#"{"event_format":"xml"}"#,
        r#"{"event_fields":"type"}"#,
        r#"{"event_fields":[1]}"#,
        r#"{"room":[]}"#,
        r#"{"presence":[]}"#,
        r#"{"room":{"state":[]}}"#,
        r#"{"room":{"timeline":{"limit":-1}}}"#,
        r#"{"room":{"timeline":{"limit":"10"}}}"#,
        r#"{"room":{"timeline":{"types":"m.room.message"}}}"#,
        r#"{"room":{"timeline":{"types":[{}]}}}"#,
        r#"{"room":{"timeline":{"senders":["alice"]}}}"#,
        r#"{"room":{"timeline":{"contains_url":"yes"}}}"#,
        r#"{"room":{"state":{"lazy_load_members":1}}}"#,
        r##"{"room":{"rooms":["#room:x"]}}"##,
        r#"{"room":{"include_leave":"true"}}"#,
        r#"{"presence":{"limit":1.5}}"#,
        &deep_path,
        &long,
    ] {
        assert!(Filter::parse(json).is_err(), "{json}");
    }
    assert!(RoomEventFilter::parse("[]").is_err());
    assert!(RoomEventFilter::parse(r#"{"types":1}"#).is_err());
}

#[test]
fn a_filter_that_allows_nothing_is_known() {
    for (filter, expected) in [
        (json!({}), false),
        (json!({"limit": 0}), true),
        (json!({"types": []}), true),
        (json!({"senders": []}), true),
        (json!({"rooms": []}), true),
        (json!({"not_types": ["*"]}), true),
        (json!({"not_types": ["m.*"]}), false),
        (json!({"not_types": [""]}), false),
    ] {
        let parsed = RoomEventFilter::parse(&filter.to_string()).unwrap();
        assert_eq!(parsed.allows_nothing(), expected, "{filter}");
    }
}

proptest! {
    #[test]
    fn patterns_match_as_the_obvious_matcher_does(
        pattern in "[ab*]{0,8}", kind in "[ab]{0,10}",
    ) {
        prop_assert_eq!(
            TypePattern::new(pattern.as_str()).matches(&kind),
            obvious_match(pattern.as_bytes(), kind.as_bytes()),
        );
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Filter::parse(&text);
        let _ = RoomEventFilter::parse(&text);
    }
}

fn obvious_match(pattern: &[u8], kind: &[u8]) -> bool {
    match (pattern.first(), kind.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            obvious_match(&pattern[1..], kind)
                || (!kind.is_empty() && obvious_match(pattern, &kind[1..]))
        }
        (Some(a), Some(b)) if a == b => obvious_match(&pattern[1..], &kind[1..]),
        _ => false,
    }
}
