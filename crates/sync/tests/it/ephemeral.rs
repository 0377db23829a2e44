//! Receipts, typing notices and presence.

use lyceum_model::{Position, Presence, PresenceState, Receipt, ReceiptKind, Timestamp};
use lyceum_sync::{presence, receipts, typing};
use serde_json::{Value, json};

use crate::fixture::{event_id, parse, room, user};

use ReceiptKind::{Read, ReadPrivate};

#[test]
fn receipts_are_gathered_by_event() {
    check_receipts(&[], &[]);
    check_receipts(
        &[
            receipt("alice", Read, None, "e1", 5),
            receipt("bob", Read, Some("main"), "e1", 6),
            receipt("bob", Read, None, "e2", 7),
            receipt("reader", Read, Some("$root"), "e2", 8),
        ],
        &[json!({
            "$e1": {"m.read": {"@alice:x": {"ts": 5}, "@bob:x": {"thread_id": "main", "ts": 6}}},
            "$e2": {"m.read": {
                "@bob:x": {"ts": 7},
                "@reader:x": {"thread_id": "$root", "ts": 8},
            }},
        })],
    );
}

#[test]
fn private_receipts_are_told_to_their_owner_only() {
    check_receipts(
        &[
            receipt("alice", ReadPrivate, None, "e1", 5),
            receipt("reader", ReadPrivate, None, "e1", 6),
            receipt("reader", Read, None, "e1", 7),
        ],
        &[json!({"$e1": {
            "m.read": {"@reader:x": {"ts": 7}},
            "m.read.private": {"@reader:x": {"ts": 6}},
        }})],
    );
    check_receipts(&[receipt("alice", ReadPrivate, None, "e1", 5)], &[]);
}

#[test]
fn receipts_for_several_threads_at_one_event_take_several_events() {
    check_receipts(
        &[
            receipt("alice", Read, None, "e", 1),
            receipt("alice", Read, Some("main"), "e", 2),
            receipt("bob", Read, Some("main"), "e", 3),
            receipt("alice", Read, Some("$e"), "e", 4),
            receipt("alice", Read, Some("$one-too-many"), "e", 5),
        ],
        &[
            json!({"$e": {"m.read": {
                "@alice:x": {"ts": 1},
                "@bob:x": {"thread_id": "main", "ts": 3},
            }}}),
            json!({"$e": {"m.read": {"@alice:x": {"thread_id": "main", "ts": 2}}}}),
            json!({"$e": {"m.read": {"@alice:x": {"thread_id": "$e", "ts": 4}}}}),
        ],
    );
}

#[test]
fn who_is_typing() {
    let users = [(user("alice"), Timestamp(10)), (user("bob"), Timestamp(20))];
    for (now, expected) in [
        (9, json!(["@alice:x", "@bob:x"])),
        (10, json!(["@bob:x"])),
        (20, json!([])),
    ] {
        assert_eq!(
            parse(typing::event_json(&users, Timestamp(now)).as_bytes()),
            json!({"type": "m.typing", "content": {"user_ids": expected}}),
        );
    }
}

#[test]
fn presence_is_told() {
    for (state, status, last_active, expected) in [
        (
            PresenceState::Online,
            None,
            99_000,
            json!({"presence": "online", "currently_active": true, "last_active_ago": 1000}),
        ),
        (
            PresenceState::Online,
            Some("busy \"now\""),
            40_000,
            json!({"presence": "online", "currently_active": false, "last_active_ago": 60_000,
                "status_msg": "busy \"now\""}),
        ),
        (
            PresenceState::Online,
            None,
            101_000,
            json!({"presence": "online", "currently_active": true, "last_active_ago": 0}),
        ),
        (
            PresenceState::Unavailable,
            None,
            99_000,
            json!({"presence": "unavailable", "last_active_ago": 1000}),
        ),
        (
            PresenceState::Offline,
            None,
            0,
            json!({"presence": "offline"}),
        ),
    ] {
        let presence = Presence {
            user_id: user("alice"),
            state,
            status: status.map(str::to_owned),
            last_active: Timestamp(last_active),
            position: Position(1),
        };
        let now = Timestamp(100_000);
        let event = presence::event(&presence, now);
        assert_eq!(event.sender, user("alice"));
        assert_eq!(
            parse(event.json.as_bytes()),
            json!({"type": "m.presence", "sender": "@alice:x", "content": expected}),
        );
        assert_eq!(
            parse(presence::status_json(&presence, now).as_bytes()),
            expected
        );
    }
}

fn check_receipts(receipts: &[Receipt], expected: &[Value]) {
    let events = receipts::event_json(receipts, &user("reader"));
    let events: Vec<Value> = events.iter().map(|event| parse(event.as_bytes())).collect();
    let expected: Vec<Value> = expected
        .iter()
        .map(|content| json!({"type": "m.receipt", "content": content}))
        .collect();
    assert_eq!(events, expected);
}

fn receipt(name: &str, kind: ReceiptKind, thread: Option<&str>, id: &str, at: u64) -> Receipt {
    Receipt {
        room_id: room("room"),
        user_id: user(name),
        kind,
        thread: thread.map(str::to_owned),
        event_id: event_id(id),
        at: Timestamp(at),
        position: Position(1),
    }
}
