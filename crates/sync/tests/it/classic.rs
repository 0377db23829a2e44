use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{AccountDataEntry, Membership, Position, Seq, Timestamp};
use lyceum_sync::{
    classic::{
        AccountData, Counts, JoinedRoom, LeftRoom, StateAfter, StrippedRoom, SyncInput, Timeline,
        Unread, assemble,
    },
    client_event::ShownEvent,
    filter::Filter,
    presence::PresenceEvent,
    summary::SummaryChange,
    token::{SyncToken, TimelineToken},
};
use serde_json::{Value, json, value::RawValue};

use crate::fixture::{client, event_id, member, message, parse, room, state, user};

#[test]
fn nothing_happened() {
    let input = input("{}");
    assert!(!input.has_news());
    assert_eq!(
        String::from_utf8(assemble(&input)).unwrap(),
        r#"{"next_batch":"s12","device_one_time_keys_count":{"signed_curve25519":0},"device_unused_fallback_key_types":[],"org.matrix.msc2732.device_unused_fallback_key_types":[]}"#,
    );
}

#[test]
fn one_message() {
    let mut input = input("{}");
    let mut room = JoinedRoom::new(room("room"));
    room.timeline = timeline([ShownEvent {
        membership: Some(Membership::Join),
        transaction_id: Some("t1".into()),
        ..client(&message("m", "alice", 7)).into()
    }]);
    input.joined.push(room);
    check(
        &input,
        json!({"rooms": {"join": {"!room:x": {
            "account_data": {"events": []},
            "ephemeral": {"events": []},
            "state": {"events": []},
            "summary": {},
            "timeline": {
                "events": [{
                    "content": {"body": "m", "msgtype": "m.text"},
                    "event_id": "$m",
                    "origin_server_ts": 7000,
                    "sender": "@alice:x",
                    "type": "m.room.message",
                    "unsigned": {"age": 3000, "membership": "join", "transaction_id": "t1"},
                }],
                "limited": false,
                "prev_batch": "t12_7",
            },
            "unread_notifications": {"highlight_count": 0, "notification_count": 0},
        }}}}),
    );
}

#[test]
fn everything_about_a_room() {
    let mut input = input("{}");
    input.joined.push(full_room());
    check(
        &input,
        json!({"rooms": {"join": {"!room:x": {
            "account_data": {"events": [
                {"type": "m.tag", "content": {"tags": {}}},
                {"type": "gone", "content": {}},
            ]},
            "ephemeral": {"events": [{"type": "m.typing"}, {"type": "m.receipt"}]},
            "state": {"events": [short(&state("n", "alice", "m.room.name", "", json!({}), 1))]},
            "summary": {
                "m.heroes": ["@bob:x"],
                "m.invited_member_count": 1,
                "m.joined_member_count": 2,
            },
            "timeline": {
                "events": [short(&message("m", "alice", 7))],
                "limited": true,
                "prev_batch": "t12_7",
            },
            "unread_notifications": {"highlight_count": 3, "notification_count": 12},
        }}}}),
    );
}

#[test]
fn threads_are_counted_apart_when_the_client_wants_it() {
    let mut input = input(r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#);
    input.joined.push(full_room());
    let room = &parse(&assemble(&input))["rooms"]["join"]["!room:x"];
    assert_eq!(
        room["unread_notifications"],
        json!({"highlight_count": 1, "notification_count": 5}),
    );
    assert_eq!(
        room["unread_thread_notifications"],
        json!({
            "$root": {"highlight_count": 2, "notification_count": 6},
            "$tree": {"highlight_count": 0, "notification_count": 1},
        }),
    );
    input.joined[0].unread.threads.clear();
    let room = &parse(&assemble(&input))["rooms"]["join"]["!room:x"];
    assert_eq!(room.get("unread_thread_notifications"), None);
}

#[test]
fn the_filter_is_applied() {
    for (filter, path, expected) in [
        (r#"{"room":{"rooms":[]}}"#, "/rooms", None),
        (r#"{"room":{"not_rooms":["!room:x"]}}"#, "/rooms/join", None),
        (
            r#"{"room":{"not_rooms":["!room:x"]}}"#,
            "/rooms/invite/!invited:x/invite_state",
            Some(json!({"events": [{"type": "m.room.name"}]})),
        ),
        (
            r#"{"room":{"account_data":{"types":["m.*"]}}}"#,
            "/rooms/join/!room:x/account_data/events",
            Some(json!([{"type": "m.tag", "content": {"tags": {}}}])),
        ),
        (
            r#"{"room":{"account_data":{"limit":1}}}"#,
            "/rooms/join/!room:x/account_data/events/1",
            None,
        ),
        (
            r#"{"room":{"account_data":{"not_rooms":["!room:x"]}}}"#,
            "/rooms/join/!room:x/account_data/events",
            Some(json!([])),
        ),
        (
            r#"{"room":{"ephemeral":{"not_types":["m.typing"]}}}"#,
            "/rooms/join/!room:x/ephemeral/events",
            Some(json!([{"type": "m.receipt"}])),
        ),
        (
            r#"{"room":{"ephemeral":{"types":[]}}}"#,
            "/rooms/join/!room:x/ephemeral/events",
            Some(json!([])),
        ),
        (
            r#"{"presence":{"not_senders":["@alice:x"]}}"#,
            "/presence/events",
            Some(json!([{"sender": "@bob:x"}])),
        ),
        (r#"{"presence":{"types":[]}}"#, "/presence", None),
        (
            r#"{"presence":{"limit":1}}"#,
            "/presence/events",
            Some(json!([{"sender": "@alice:x"}])),
        ),
        (
            r#"{"account_data":{"types":["m.direct"]}}"#,
            "/account_data/events",
            Some(json!([{"type": "m.direct", "content": {"@bob:x": ["!room:x"]}}])),
        ),
        (
            r#"{"account_data":{"not_types":["*"]}}"#,
            "/account_data",
            None,
        ),
        (
            r#"{"event_fields":["content.body"]}"#,
            "/rooms/join/!room:x/timeline/events/0",
            Some(json!({"content": {"body": "m"}})),
        ),
        (
            r#"{"event_format":"federation"}"#,
            "/rooms/join/!room:x/timeline/events/0/depth",
            Some(json!(7)),
        ),
    ] {
        let answer = parse(&assemble(&full_input(filter)));
        assert_eq!(answer.pointer(path), expected.as_ref(), "{filter} {path}");
    }
}

#[test]
fn all_sections() {
    check(
        &full_input(r#"{"room":{"not_rooms":["!room:x"]}}"#),
        json!({
            "account_data": {"events": [
                {"type": "m.direct", "content": {"@bob:x": ["!room:x"]}},
                {"type": "other", "content": {}},
            ]},
            "device_lists": {"changed": ["@alice:x"], "left": []},
            "device_one_time_keys_count": {"curve25519": 10, "signed_curve25519": 20},
            "device_unused_fallback_key_types": ["signed_curve25519"],
            "org.matrix.msc2732.device_unused_fallback_key_types": ["signed_curve25519"],
            "presence": {"events": [{"sender": "@alice:x"}, {"sender": "@bob:x"}]},
            "rooms": {
                "invite": {"!invited:x": {"invite_state": {"events": [{"type": "m.room.name"}]}}},
                "knock": {"!knocked:x": {"knock_state": {"events": []}}},
                "leave": {"!left:x": {
                    "account_data": {"events": []},
                    "state": {"events": []},
                    "timeline": {
                        "events": [short(&member("l", "me", "leave", 3))],
                        "limited": false,
                        "prev_batch": "t12_7",
                    },
                }},
            },
            "to_device": {"events": [{"type": "m.dummy"}]},
        }),
    );
}

#[test]
fn state_is_told_under_the_name_that_was_asked_for() {
    for (use_state_after, name) in [
        (None, "state"),
        (Some(StateAfter::Stable), "state_after"),
        (Some(StateAfter::Unstable), "org.matrix.msc4222.state_after"),
    ] {
        let mut input = full_input("{}");
        input.use_state_after = use_state_after;
        let answer = parse(&assemble(&input));
        for (path, count) in [("/rooms/join/!room:x", 1), ("/rooms/leave/!left:x", 0)] {
            let room = answer.pointer(path).unwrap().as_object().unwrap();
            let names: Vec<&str> = room
                .keys()
                .map(String::as_str)
                .filter(|name| name.contains("state"))
                .collect();
            assert_eq!(names, [name]);
            assert_eq!(room[name]["events"].as_array().unwrap().len(), count);
        }
    }
}

#[test]
fn what_counts_as_news() {
    type Change = fn(&mut SyncInput);
    let cases: [(&str, Change, bool); 21] = [
        (
            "{}",
            |input| input.joined.push(JoinedRoom::new(room("a"))),
            false,
        ),
        ("{}", |input| joined(input).is_shown_always = true, true),
        ("{}", |input| joined(input).timeline.limited = true, true),
        ("{}", |input| joined(input).timeline = timeline([]), false),
        (
            "{}",
            |input| joined(input).state = vec![client(&message("m", "a", 1)).into()],
            true,
        ),
        (
            "{}",
            |input| joined(input).unread.main.notifications = 1,
            false,
        ),
        ("{}", |input| joined(input).typing = Some("{}".into()), true),
        (
            r#"{"room":{"ephemeral":{"types":["m.receipt"]}}}"#,
            |input| joined(input).typing = Some("{}".into()),
            false,
        ),
        (
            "{}",
            |input| joined(input).receipts = vec!["{}".into()],
            true,
        ),
        (
            "{}",
            |input| joined(input).account_data = vec![account_data("a", "{}")],
            true,
        ),
        (
            r#"{"room":{"account_data":{"types":[]}}}"#,
            |input| joined(input).account_data = vec![account_data("a", "{}")],
            false,
        ),
        (
            r#"{"room":{"rooms":[]}}"#,
            |input| joined(input).is_shown_always = true,
            false,
        ),
        ("{}", |input| input.invited = vec![stripped("a", &[])], true),
        (
            r#"{"room":{"rooms":[]}}"#,
            |input| input.invited = vec![stripped("a", &[])],
            false,
        ),
        ("{}", |input| input.knocked = vec![stripped("a", &[])], true),
        (
            "{}",
            |input| input.left = vec![LeftRoom::new(room("a"))],
            false,
        ),
        ("{}", |input| input.to_device = vec!["{}".into()], true),
        (
            "{}",
            |input| input.device_lists.left = vec![user("a")],
            true,
        ),
        (
            "{}",
            |input| input.account_data = vec![account_data("a", "{}")],
            true,
        ),
        (
            r#"{"account_data":{"types":["b"]}}"#,
            |input| input.account_data = vec![account_data("a", "{}")],
            false,
        ),
        (
            "{}",
            |input| {
                input.one_time_key_counts.insert("a".into(), 1);
            },
            false,
        ),
    ];
    for (index, (filter, change, expected)) in cases.into_iter().enumerate() {
        let mut input = input(filter);
        change(&mut input);
        assert_eq!(input.has_news(), expected, "case {index}");
        // What is news is told, and nothing else.
        input.one_time_key_counts.clear();
        let quiet = assemble(&SyncInput::new(
            input.next_batch,
            input.now,
            input.filter.clone(),
        ));
        assert_eq!(assemble(&input) != quiet, expected, "case {index}");
    }
}

#[test]
fn deleted_account_data_is_told_as_empty() {
    let entry = AccountDataEntry {
        room_id: None,
        kind: "gone".into(),
        content: None,
        position: Position(1),
    };
    assert_eq!(AccountData::from(entry), account_data("gone", "{}"));
}

fn check(input: &SyncInput, mut expected: Value) {
    assert!(input.has_news());
    for (name, value) in [
        ("next_batch", json!("s12")),
        (
            "device_one_time_keys_count",
            json!({"signed_curve25519": 0}),
        ),
        ("device_unused_fallback_key_types", json!([])),
        (
            "org.matrix.msc2732.device_unused_fallback_key_types",
            json!([]),
        ),
    ] {
        if expected.get(name).is_none() {
            expected[name] = value;
        }
    }
    assert_eq!(parse(&assemble(input)), expected);
}

fn input(filter: &str) -> SyncInput {
    let filter = Arc::new(Filter::parse(filter).unwrap());
    SyncInput::new(SyncToken(Position(12)), Timestamp(10_000), filter)
}

fn full_input(filter: &str) -> SyncInput {
    let mut input = input(filter);
    input.joined = vec![full_room(), JoinedRoom::new(room("quiet"))];
    input.invited = vec![stripped("invited", &[r#"{"type":"m.room.name"}"#])];
    input.knocked = vec![stripped("knocked", &[])];
    let mut left = LeftRoom::new(room("left"));
    left.timeline = timeline([client(&member("l", "me", "leave", 3)).into()]);
    input.left = vec![left];
    input.account_data = vec![
        account_data("m.direct", r#"{"@bob:x":["!room:x"]}"#),
        account_data("other", "{}"),
    ];
    input.presence = ["alice", "bob"]
        .map(|name| PresenceEvent {
            sender: user(name),
            json: format!(r#"{{"sender":"@{name}:x"}}"#),
        })
        .into();
    input.to_device = vec![r#"{"type":"m.dummy"}"#.to_owned()];
    input.device_lists.changed = vec![user("alice")];
    input.one_time_key_counts = BTreeMap::from([
        ("curve25519".to_owned(), 10),
        ("signed_curve25519".to_owned(), 20),
    ]);
    input.unused_fallback_key_types = vec!["signed_curve25519".to_owned()];
    input
}

fn full_room() -> JoinedRoom {
    let mut joined = JoinedRoom::new(room("room"));
    joined.timeline = timeline([client(&message("m", "alice", 7)).into()]);
    joined.timeline.limited = true;
    joined.state = vec![client(&state("n", "alice", "m.room.name", "", json!({}), 1)).into()];
    joined.typing = Some(r#"{"type":"m.typing"}"#.into());
    joined.receipts = vec![r#"{"type":"m.receipt"}"#.into()];
    joined.account_data = vec![
        account_data("m.tag", r#"{"tags":{}}"#),
        account_data("gone", "{}"),
    ];
    joined.summary = Some(SummaryChange {
        heroes: Some(vec![user("bob")]),
        joined: 2,
        invited: 1,
    });
    joined.unread = Unread {
        main: Counts {
            notifications: 5,
            highlights: 1,
        },
        threads: BTreeMap::from([
            (
                event_id("root"),
                Counts {
                    notifications: 6,
                    highlights: 2,
                },
            ),
            (
                event_id("tree"),
                Counts {
                    notifications: 1,
                    highlights: 0,
                },
            ),
        ]),
    };
    joined
}

fn joined(input: &mut SyncInput) -> &mut JoinedRoom {
    input.joined = vec![JoinedRoom::new(room("a"))];
    &mut input.joined[0]
}

fn stripped(name: &str, events: &[&str]) -> StrippedRoom {
    let state = events
        .iter()
        .map(|json| RawValue::from_string((*json).to_owned()).unwrap());
    StrippedRoom {
        room_id: room(name),
        state: state.collect(),
    }
}

fn timeline<const N: usize>(events: [ShownEvent; N]) -> Timeline {
    Timeline {
        events: events.into(),
        limited: false,
        prev_batch: Some(TimelineToken {
            position: Position(12),
            seq: Seq(7),
        }),
    }
}

fn account_data(kind: &str, content: &str) -> AccountData {
    AccountData {
        kind: kind.to_owned(),
        content: content.to_owned(),
    }
}

/// An event as `/sync` shows it.
fn short(event: &lyceum_model::Event) -> Value {
    let mut short = json!({
        "content": parse(event.content.get().as_bytes()),
        "event_id": event.id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": &*event.kind,
        "unsigned": {"age": 10_000 - event.origin_server_ts},
    });
    if let Some(key) = &event.state_key {
        short["state_key"] = json!(&**key);
    }
    short
}
