//! Key backups.

use lyceum_account::backup::{
    check_version_update, check_write, merge, new_version, parse_room, parse_rooms, parse_session,
    parse_version, room_json, rooms_json, session_json, version_json, wins,
};
use lyceum_model::{BackupSession, MatrixError};
use proptest::prelude::{any, prop_assert, proptest};
use ruma_common::{room_id, user_id};
use serde_json::{Value, json};

fn session(is_verified: bool, first_message_index: u64, forwarded_count: u64) -> BackupSession {
    BackupSession {
        room_id: room_id!("!r:x").to_owned(),
        session_id: "s".to_owned(),
        first_message_index,
        forwarded_count,
        is_verified,
        session_data: "{}".to_owned(),
    }
}

fn code(error: impl Into<MatrixError>) -> String {
    error.into().code.into_owned()
}

#[test]
fn better_sessions_win() {
    let check = |new: (bool, u64, u64), old: (bool, u64, u64), expect: bool| {
        let wins = wins(&session(new.0, new.1, new.2), &session(old.0, old.1, old.2));
        assert_eq!(wins, expect, "{new:?} {old:?}");
    };
    check((true, 9, 9), (false, 0, 0), true);
    check((false, 0, 0), (true, 9, 9), false);
    check((false, 1, 9), (false, 2, 0), true);
    check((false, 2, 0), (false, 1, 9), false);
    check((true, 1, 0), (true, 1, 1), true);
    check((true, 1, 1), (true, 1, 0), false);
    check((true, 1, 1), (true, 1, 1), false);
}

proptest! {
    #[test]
    fn at_most_one_wins(a in any::<(bool, u64, u64)>(), b in any::<(bool, u64, u64)>()) {
        let (a, b) = (session(a.0, a.1, a.2), session(b.0, b.1, b.2));
        prop_assert!(!(wins(&a, &b) && wins(&b, &a)));
    }
}

#[test]
fn merging() {
    let existing = [session(false, 5, 0)];
    let other = BackupSession {
        session_id: "t".to_owned(),
        ..session(false, 9, 9)
    };
    assert_eq!(
        merge(&existing, vec![session(false, 6, 0), other.clone()]),
        [other]
    );
    assert_eq!(
        merge(&existing, vec![session(false, 4, 0)]),
        [session(false, 4, 0)]
    );
    assert_eq!(merge(&existing, vec![session(false, 5, 0)]), []);
}

#[test]
fn sessions_are_read_and_written() {
    let body = json!({
        "first_message_index": 1,
        "forwarded_count": 2,
        "is_verified": true,
        "session_data": { "ciphertext": "abc" },
    });
    let parsed = parse_session(room_id!("!r:x"), "s", &body).unwrap();
    assert_eq!(session_json(&parsed), body);
    let room = json!({ "sessions": { "s": body } });
    assert_eq!(
        room_json(&parse_room(room_id!("!r:x"), &room).unwrap()),
        room
    );
    let rooms = json!({ "rooms": { "!q:x": room, "!r:x": room } });
    assert_eq!(rooms_json(&parse_rooms(&rooms).unwrap()), rooms);
    assert_eq!(rooms_json(&[]), json!({ "rooms": {} }));

    let check = |key: &str, value: Option<Value>, expect: &str| {
        let mut body = body.clone();
        match value {
            Some(value) => body[key] = value,
            None => drop(body.as_object_mut().unwrap().remove(key)),
        }
        let error = parse_session(room_id!("!r:x"), "s", &body).unwrap_err();
        assert_eq!(code(error), expect, "{key}");
    };
    for key in [
        "first_message_index",
        "forwarded_count",
        "is_verified",
        "session_data",
    ] {
        check(key, None, "M_MISSING_PARAM");
        check(key, Some(json!("x")), "M_BAD_JSON");
    }
    check("first_message_index", Some(json!(-1)), "M_BAD_JSON");
    check(
        "first_message_index",
        Some(json!(1_u64 << 53)),
        "M_BAD_JSON",
    );
    check(
        "session_data",
        Some(json!({ "a": "x".repeat(70_000) })),
        "M_TOO_LARGE",
    );
    for bad in [
        json!({}),
        json!({ "rooms": 1 }),
        json!({ "rooms": { "x": room } }),
        json!([]),
    ] {
        assert!(parse_rooms(&bad).is_err(), "{bad}");
    }
}

#[test]
fn versions() {
    let body = json!({ "algorithm": "m.megolm", "auth_data": { "public_key": "k" } });
    let (algorithm, auth_data) = parse_version(&body).unwrap();
    let mut version = new_version(user_id!("@a:x"), 3, algorithm, auth_data);
    version.count = 7;
    assert_eq!(
        version_json(&version),
        json!({
            "algorithm": "m.megolm", "auth_data": { "public_key": "k" },
            "count": 7, "etag": "0", "version": "3",
        })
    );
    let update = |body: Value| check_version_update(&version, &body).map_err(code);
    let new = json!({ "public_key": "l" });
    let ok = Ok(r#"{"public_key":"l"}"#.to_owned());
    assert_eq!(
        update(json!({ "algorithm": "m.megolm", "auth_data": new })),
        ok
    );
    assert_eq!(
        update(json!({ "algorithm": "m.megolm", "auth_data": new, "version": "3" })),
        ok
    );
    let refused = Err("M_INVALID_PARAM".to_owned());
    assert_eq!(
        update(json!({ "algorithm": "other", "auth_data": new })),
        refused
    );
    assert_eq!(
        update(json!({ "algorithm": "m.megolm", "auth_data": new, "version": "4" })),
        refused
    );
    assert_eq!(
        update(json!({ "algorithm": "m.megolm" })),
        Err("M_MISSING_PARAM".to_owned())
    );

    assert_eq!(check_write(3, Some(3)), Ok(()));
    assert_eq!(code(check_write(3, None).unwrap_err()), "M_NOT_FOUND");
    let error = MatrixError::from(check_write(2, Some(3)).unwrap_err());
    assert_eq!(
        (error.status, &*error.code),
        (403, "M_WRONG_ROOM_KEYS_VERSION")
    );
    assert_eq!(error.body()["current_version"], "3");
}
