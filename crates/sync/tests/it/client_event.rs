use std::sync::Arc;

use lyceum_model::{Event, Membership, Timestamp};
use lyceum_sync::{
    client_event::{BundledRelations, ClientEvent, EventForm, ShownEvent, ThreadSummary, strip},
    filter::{EventFields, EventFormat},
};
use proptest::prelude::*;
use ruma_common::{EventId, RoomId, UserId};
use serde_json::{Value, json, value::RawValue};

use crate::fixture::{ROOM, client, event, event_id, from_parts, message, parse};

const NOW: Timestamp = Timestamp(10_000);

#[test]
fn a_message() {
    check(
        &message("m", "alice", 7),
        json!({
            "content": {"body": "m", "msgtype": "m.text"},
            "event_id": "$m",
            "origin_server_ts": 7000,
            "room_id": "!room:x",
            "sender": "@alice:x",
            "type": "m.room.message",
            "unsigned": {"age": 3000},
        }),
    );
}

#[test]
fn the_bytes_of_a_message() {
    let mut out = Vec::new();
    client(&message("m", "alice", 7)).write(&mut out, &without_room());
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"content":{"body":"m","msgtype":"m.text"},"event_id":"$m","origin_server_ts":7000,"sender":"@alice:x","type":"m.room.message","unsigned":{"age":3000}}"#,
    );
}

#[test]
fn a_state_event_that_replaced_another() {
    let event = from_parts(
        "n",
        "alice",
        "m.room.name",
        Some(""),
        json!({"name": "new"}),
        12,
        json!({"unsigned": {
            "prev_content": {"name": "old"},
            "prev_sender": "@bob:x",
            "replaces_state": "$o",
            "age_ts": 5,
            "invite_room_state": [],
        }}),
    );
    let expected = json!({
        "content": {"name": "new"},
        "event_id": "$n",
        "origin_server_ts": 12000,
        "room_id": "!room:x",
        "sender": "@alice:x",
        "state_key": "",
        "type": "m.room.name",
        "unsigned": {
            "age": -2000,
            "prev_content": {"name": "old"},
            "prev_sender": "@bob:x",
            "replaces_state": "$o",
        },
    });
    assert_eq!(client(&event).replaces_state(), Some(&*event_id("o")));
    let shown = ShownEvent {
        shows_prev_content: true,
        ..client(&event).into()
    };
    assert_eq!(parse(&shown.to_json(&EventForm::new(NOW))), expected);

    // What it replaced may have been redacted.
    let mut unchecked = expected;
    unchecked["unsigned"] = json!({"age": -2000, "replaces_state": "$o"});
    check(&event, unchecked);
}

#[test]
fn redactions_name_their_target_twice() {
    let old = from_parts(
        "r",
        "alice",
        "m.room.redaction",
        None,
        json!({"reason": "spam", "redacts": "$forged"}),
        1,
        json!({"redacts": "$target"}),
    );
    let new = event(
        "r",
        "alice",
        "m.room.redaction",
        json!({"reason": "spam", "redacts": "$target"}),
        1,
    );
    for event in [old, new] {
        check(
            &event,
            json!({
                "content": {"reason": "spam", "redacts": "$target"},
                "event_id": "$r",
                "origin_server_ts": 1000,
                "redacts": "$target",
                "room_id": "!room:x",
                "sender": "@alice:x",
                "type": "m.room.redaction",
                "unsigned": {"age": 9000},
            }),
        );
    }
    let redacted_redaction = event("r", "alice", "m.room.redaction", json!({}), 1);
    let mut out = Vec::new();
    client(&redacted_redaction).write(&mut out, &without_room());
    assert_eq!(parse(&out)["content"], json!({}));
    assert_eq!(parse(&out).get("redacts"), None);
}

#[test]
fn what_a_reader_sees() {
    let redaction = client(&event(
        "r",
        "bob",
        "m.room.redaction",
        json!({"redacts": "$m"}),
        9,
    ));
    let shown = ShownEvent {
        transaction_id: Some("a\"b".into()),
        membership: Some(Membership::Invite),
        redacted_because: Some(redaction),
        ..client(&event("m", "alice", "m.room.message", json!({}), 7)).into()
    };
    let expected = json!({
        "content": {},
        "event_id": "$m",
        "origin_server_ts": 7000,
        "sender": "@alice:x",
        "type": "m.room.message",
        "unsigned": {
            "age": 3000,
            "membership": "invite",
            "redacted_because": {
                "content": {"redacts": "$m"},
                "event_id": "$r",
                "origin_server_ts": 9000,
                "redacts": "$m",
                "sender": "@bob:x",
                "type": "m.room.redaction",
                "unsigned": {"age": 1000},
            },
            "transaction_id": "a\"b",
        },
    });
    assert_eq!(parse(&shown.to_json(&without_room())), expected);
    let with_room = parse(&shown.to_json(&EventForm::new(NOW)));
    assert_eq!(with_room["room_id"], ROOM);
    assert_eq!(with_room["unsigned"]["redacted_because"]["room_id"], ROOM);
}

#[test]
fn relations_are_bundled() {
    let edit = ShownEvent::from(client(&message("edit", "alice", 8)));
    let nested = BundledRelations {
        replacement: Some(edit.clone()),
        ..Default::default()
    };
    let latest = ShownEvent {
        relations: Some(Arc::new(nested)),
        ..client(&message("latest", "bob", 9)).into()
    };
    let relations = BundledRelations {
        replacement: Some(edit),
        thread: Some(ThreadSummary {
            latest_event: latest,
            count: 7,
            current_user_participated: true,
        }),
        references: vec![event_id("a"), event_id("b")],
    };
    let shown = ShownEvent {
        relations: Some(Arc::new(relations)),
        ..client(&message("root", "alice", 7)).into()
    };
    let edit = json!({
        "content": {"body": "edit", "msgtype": "m.text"},
        "event_id": "$edit",
        "origin_server_ts": 8000,
        "sender": "@alice:x",
        "type": "m.room.message",
        "unsigned": {"age": 2000},
    });
    assert_eq!(
        parse(&shown.to_json(&without_room()))["unsigned"],
        json!({
            "age": 3000,
            "m.relations": {
                "m.reference": {"chunk": [{"event_id": "$a"}, {"event_id": "$b"}]},
                "m.replace": edit,
                "m.thread": {
                    "count": 7,
                    "current_user_participated": true,
                    "latest_event": {
                        "content": {"body": "latest", "msgtype": "m.text"},
                        "event_id": "$latest",
                        "origin_server_ts": 9000,
                        "sender": "@bob:x",
                        "type": "m.room.message",
                        "unsigned": {"age": 1000, "m.relations": {"m.replace": edit}},
                    },
                },
            },
        }),
    );
    let none = ShownEvent {
        relations: Some(Arc::new(BundledRelations::default())),
        ..client(&message("root", "alice", 7)).into()
    };
    assert_eq!(
        parse(&none.to_json(&without_room()))["unsigned"],
        json!({"age": 3000})
    );
}

#[test]
fn the_federation_format() {
    let event = from_parts(
        "n",
        "alice",
        "m.room.name",
        Some(""),
        json!({"name": "new"}),
        7,
        json!({"unsigned": {"replaces_state": "$o"}}),
    );
    let shown = ShownEvent {
        transaction_id: Some("t".into()),
        ..client(&event).into()
    };
    let form = EventForm {
        format: EventFormat::Federation,
        ..without_room()
    };
    assert_eq!(
        parse(&shown.to_json(&form)),
        json!({
            "auth_events": [],
            "content": {"name": "new"},
            "depth": 7,
            "event_id": "$n",
            "hashes": {"sha256": "hash"},
            "origin_server_ts": 7000,
            "prev_events": [],
            "room_id": "!room:x",
            "sender": "@alice:x",
            "signatures": {"x": {"ed25519:1": "signature"}},
            "state_key": "",
            "type": "m.room.name",
            "unsigned": {"age": 3000, "replaces_state": "$o", "transaction_id": "t"},
        }),
    );
}

#[test]
fn fields_are_selected() {
    let event = event(
        "m",
        "alice",
        "m.room.message",
        json!({"body": "b", "a.b": {"c": 1, "d": 2}, "a\\b": 3, "m.relates_to": {"key": "k"}}),
        7,
    );
    for (fields, expected) in [
        (vec![], json!({})),
        (vec!["type"], json!({"type": "m.room.message"})),
        (
            vec!["type", "sender"],
            json!({"sender": "@alice:x", "type": "m.room.message"}),
        ),
        (vec!["content.body"], json!({"content": {"body": "b"}})),
        (
            vec!["content.body", "content"],
            json!({"content": parse(event.content.get().as_bytes())}),
        ),
        (
            vec!["content", "content.body"],
            json!({"content": parse(event.content.get().as_bytes())}),
        ),
        (
            vec!["content.a\\.b.c"],
            json!({"content": {"a.b": {"c": 1}}}),
        ),
        (vec!["content.a\\\\b"], json!({"content": {"a\\b": 3}})),
        (
            vec!["content.m\\.relates_to.key"],
            json!({"content": {"m.relates_to": {"key": "k"}}}),
        ),
        (vec!["content.nothing"], json!({})),
        (vec!["content.body.inner"], json!({})),
        (vec!["content.a.b.c"], json!({})),
        (vec![""], json!({})),
        (vec!["unsigned.age"], json!({"unsigned": {"age": 3000}})),
    ] {
        let chosen = EventFields::new(&fields).unwrap();
        let form = EventForm {
            fields: Some(&chosen),
            ..without_room()
        };
        let mut out = Vec::new();
        client(&event).write(&mut out, &form);
        assert_eq!(parse(&out), expected, "{fields:?}");
    }
}

#[test]
fn stripped_state_of_others_is_pruned() {
    for (given, expected) in [
        (
            json!({"type": "m.room.name", "state_key": "", "sender": "@a:x", "content": {"name": 1},
                "event_id": "$e", "unsigned": {}, "origin_server_ts": 1}),
            Some(
                json!({"type": "m.room.name", "state_key": "", "sender": "@a:x",
                "content": {"name": 1}}),
            ),
        ),
        (json!({"type": "t", "sender": "@a:x", "content": {}}), None),
        (json!({"type": "t", "state_key": "", "content": {}}), None),
        (
            json!({"type": "t", "state_key": "", "sender": "nobody", "content": {}}),
            None,
        ),
        (
            json!({"type": "t", "state_key": "", "sender": "@a:x", "content": []}),
            None,
        ),
        (
            json!({"type": 1, "state_key": "", "sender": "@a:x", "content": {}}),
            None,
        ),
        (json!([]), None),
    ] {
        let raw = RawValue::from_string(given.to_string()).unwrap();
        let stripped = strip(&raw).map(|stripped| parse(stripped.get().as_bytes()));
        assert_eq!(stripped, expected, "{given}");
    }
}

proptest! {
    #[test]
    fn the_client_form_equals_the_obvious_one(shape in any_shape()) {
        let shown = ShownEvent {
            shows_prev_content: true,
            ..Arc::new(ClientEvent::new(&shape.event())).into()
        };
        prop_assert_eq!(parse(&shown.to_json(&EventForm::new(NOW))), shape.obvious());
    }
}

/// An event as its parts, for comparison with the obvious way to make its client form.
#[derive(Debug, Clone)]
struct Shape {
    sender: String,
    kind: String,
    state_key: Option<String>,
    content: Value,
    time: u64,
    prev_content: Option<Value>,
}

impl Shape {
    fn event(&self) -> Event {
        let mut pdu = json!({
            "auth_events": [], "prev_events": [], "depth": 1, "hashes": {}, "signatures": {},
            "room_id": ROOM, "sender": self.sender, "type": self.kind, "content": self.content,
            "origin_server_ts": self.time,
        });
        if let Some(key) = &self.state_key {
            pdu["state_key"] = json!(key);
        }
        if let Some(content) = &self.prev_content {
            pdu["unsigned"] = json!({"prev_content": content, "other": 1});
        }
        Event::from_pdu(EventId::parse("$e").unwrap(), None, pdu.to_string().into()).unwrap()
    }

    fn obvious(&self) -> Value {
        let mut event = json!({
            "room_id": RoomId::parse(ROOM).unwrap(),
            "sender": UserId::parse(&self.sender).unwrap(),
            "type": self.kind,
            "content": self.content,
            "origin_server_ts": self.time,
            "event_id": "$e",
            "unsigned": {"age": i128::from(NOW.0) - i128::from(self.time)},
        });
        if let Some(key) = &self.state_key {
            event["state_key"] = json!(key);
        }
        if let Some(content) = &self.prev_content {
            event["unsigned"]["prev_content"] = content.clone();
        }
        event
    }
}

fn any_shape() -> impl Strategy<Value = Shape> {
    (
        "@[a-z\"\\\\=_]{1,6}:x",
        "[a-z.\"\\\\\u{1}ü]{0,12}",
        proptest::option::of("[a-z\"\\\\\u{7f}\u{2028}]{0,8}"),
        any_object(),
        0..1_u64 << 53,
        proptest::option::of(any_object()),
    )
        .prop_filter("user id", |(sender, ..)| UserId::parse(sender).is_ok())
        .prop_map(
            |(sender, kind, state_key, content, time, prev_content)| Shape {
                sender,
                kind,
                state_key,
                content,
                time,
                prev_content,
            },
        )
}

pub(crate) fn any_object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[\"\\\\\u{1}\n]{0,4}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z.\"]{0,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[a-z.]{0,6}", value, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn without_room() -> EventForm<'static> {
    EventForm {
        with_room_id: false,
        ..EventForm::new(NOW)
    }
}

fn check(event: &Event, mut expected: Value) {
    let mut out = Vec::new();
    client(event).write(&mut out, &EventForm::new(NOW));
    assert_eq!(parse(&out), expected);
    expected.as_object_mut().unwrap().remove("room_id");
    out.clear();
    client(event).write(&mut out, &without_room());
    assert_eq!(parse(&out), expected);
}
