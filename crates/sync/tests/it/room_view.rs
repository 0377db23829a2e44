use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{Event, Position, Seq};
use lyceum_sync::{
    filter::{Filter, RoomEventFilter},
    room_view::{
        StateBasis, StateQuestion, StateScope, TimelineCut, choose_state, rewind, state_basis,
    },
    sent_members::SentMembers,
};
use ruma_common::OwnedUserId;
use serde_json::json;

use crate::fixture::{from_parts, ids, member, message, room, state, stored, user};

const SINCE: StateScope = StateScope::Since { limited: false };
const GAP: StateScope = StateScope::Since { limited: true };

#[test]
fn what_to_load() {
    for (scope, uses_state_after, expected) in [
        (StateScope::Full, false, StateBasis::AllBefore),
        (StateScope::Full, true, StateBasis::AllAfter),
        (SINCE, false, StateBasis::Nothing),
        (SINCE, true, StateBasis::ChangedAfter),
        (GAP, false, StateBasis::ChangedBefore),
        (GAP, true, StateBasis::ChangedAfter),
    ] {
        assert_eq!(state_basis(scope, uses_state_after), expected);
    }
}

#[test]
fn timelines_are_cut() {
    // Newest first; `x` is a message that nobody sees, `n` a state event that the filter hides.
    for (offered, limit, is_exhausted, expected) in [
        ("", 3, true, "  unlimited from None"),
        ("m5 m4", 3, true, "m4 m5  unlimited from Some(4)"),
        ("m5 m4 m3", 3, true, "m3 m4 m5  unlimited from Some(3)"),
        ("m5 m4 m3 m2", 3, true, "m3 m4 m5  limited from Some(3)"),
        (
            "m5 m4 m3 x2 x1",
            3,
            true,
            "m3 m4 m5  unlimited from Some(1)",
        ),
        ("m5 m4 m3 x2 m1", 3, true, "m3 m4 m5  limited from Some(2)"),
        ("m5 x4 m3", 2, true, "m3 m5  unlimited from Some(3)"),
        ("m5 n4 n3 m2", 2, true, "m2 m5 n3 n4 unlimited from Some(2)"),
        ("m5 n4 m3 m2", 2, true, "m3 m5 n4 limited from Some(3)"),
        ("m5 x4", 3, false, "m5  limited from Some(4)"),
        ("m5 m4", 0, true, "  limited from Some(6)"),
        ("x5 x4", 0, true, "  unlimited from Some(4)"),
    ] {
        let filter = RoomEventFilter::parse(r#"{"not_types":["m.room.name"]}"#).unwrap();
        let mut cut = TimelineCut::new(&filter, limit);
        for text in offered.split_whitespace() {
            let seq: i64 = text[1..].parse().unwrap();
            let event = if text.starts_with('n') {
                state(text, "alice", "m.room.name", "", json!({}), 1)
            } else {
                message(text, "alice", 1)
            };
            if !cut.offer(&stored(&event, seq), !text.starts_with('x')) {
                break;
            }
        }
        let taken = cut.finish(is_exhausted);
        let limited = if taken.limited {
            "limited"
        } else {
            "unlimited"
        };
        let events: Vec<Arc<Event>> = taken.events.iter().map(|s| s.event.clone()).collect();
        let text = format!(
            "{} {} {limited} from {:?}",
            ids(&events),
            ids(&taken.left_out_state),
            taken.start.map(|Seq(seq)| seq)
        );
        assert_eq!(text, expected, "{offered} limit {limit}");
    }
}

#[test]
fn without_lazy_loading_all_is_told() {
    check(
        &Case {
            scope: StateScope::Full,
            entries: room_state(),
            ..Case::default()
        },
        "c a1 b1 d1 me1 n",
    );
    check(
        &Case {
            scope: SINCE,
            timeline: vec![message("m", "a", 9)],
            ..Case::default()
        },
        "",
    );
    let changed = vec![
        state("n2", "a", "m.room.name", "", json!({}), 8),
        member("b2", "b", "leave", 7),
    ];
    check(
        &Case {
            scope: GAP,
            entries: changed,
            ..Case::default()
        },
        "b2 n2",
    );
}

#[test]
fn the_filter_chooses() {
    for (filter, expected) in [
        (json!({"types": ["m.room.name"]}), "n"),
        (json!({"not_types": ["m.room.member"]}), "c n"),
        (json!({"senders": ["@b:x"]}), "b1"),
        (json!({"not_rooms": ["!room:x"]}), ""),
        (json!({"types": []}), ""),
        (
            json!({"types": ["m.room.name"], "lazy_load_members": true}),
            "n",
        ),
    ] {
        let filter = json!({"room": {"state": filter}}).to_string();
        let entries = room_state();
        check(
            &Case {
                scope: StateScope::Full,
                entries,
                filter: &filter,
                ..Case::default()
            },
            expected,
        );
    }
}

#[test]
fn lazy_loading_tells_members_that_matter() {
    let timeline = vec![message("m", "a", 9), message("m2", "a", 10)];
    check(
        &Case {
            scope: StateScope::Full,
            entries: room_state(),
            timeline: timeline.clone(),
            filter: LAZY,
            ..Case::default()
        },
        "c a1 me1 n",
    );
    check(
        &Case {
            scope: StateScope::Full,
            entries: room_state(),
            timeline: timeline.clone(),
            heroes: vec![user("d")],
            filter: LAZY,
            ..Case::default()
        },
        "c a1 d1 me1 n",
    );
    check(
        &Case {
            scope: SINCE,
            timeline: timeline.clone(),
            filter: LAZY,
            ..Case::default()
        },
        "a1",
    );
    check(
        &Case {
            scope: SINCE,
            timeline,
            heroes: vec![user("d")],
            filter: LAZY,
            ..Case::default()
        },
        "a1 d1",
    );
    let stranger = vec![message("m", "nobody", 9)];
    check(
        &Case {
            scope: SINCE,
            timeline: stranger,
            filter: LAZY,
            ..Case::default()
        },
        "",
    );
}

#[test]
fn members_that_changed_in_a_gap_are_always_told() {
    let changed = vec![member("b2", "b", "leave", 7), member("d1", "d", "join", 4)];
    let case = || Case {
        scope: GAP,
        entries: changed.clone(),
        timeline: vec![message("m", "a", 9)],
        filter: LAZY,
        ..Case::default()
    };
    check(&case(), "a1 b2 d1");
    check(
        &Case {
            known: room_state(),
            ..case()
        },
        "b2 d1",
    );
    check(
        &Case {
            known: room_state(),
            filter: REDUNDANT,
            ..case()
        },
        "a1 b2 d1",
    );
}

#[test]
fn known_members_are_told_again_with_the_full_state_only() {
    let timeline = vec![message("m", "a", 9)];
    let known = room_state();
    let case = || Case {
        timeline: timeline.clone(),
        known: known.clone(),
        ..Case::default()
    };
    check(
        &Case {
            scope: SINCE,
            filter: LAZY,
            ..case()
        },
        "",
    );
    check(
        &Case {
            scope: SINCE,
            filter: REDUNDANT,
            ..case()
        },
        "a1",
    );
    let entries = room_state();
    check(
        &Case {
            scope: StateScope::Full,
            filter: LAZY,
            entries,
            ..case()
        },
        "c a1 me1 n",
    );
}

#[test]
fn state_of_the_timeline_is_told_once() {
    let name = state("n2", "a", "m.room.name", "", json!({}), 9);
    let timeline = vec![name.clone()];
    let entries = vec![name];
    let case = || Case {
        timeline: timeline.clone(),
        entries: entries.clone(),
        ..Case::default()
    };
    check(
        &Case {
            scope: GAP,
            ..case()
        },
        "",
    );
    check(
        &Case {
            scope: SINCE,
            uses_state_after: true,
            ..case()
        },
        "n2",
    );
}

#[test]
fn state_that_the_filter_keeps_from_the_timeline_is_told() {
    let left_out = vec![
        state("n2", "a", "m.room.name", "", json!({}), 8),
        state("n3", "a", "m.room.name", "", json!({}), 9),
        member("b2", "b", "leave", 9),
    ];
    let case = || Case {
        left_out: left_out.clone(),
        ..Case::default()
    };
    check(
        &Case {
            scope: SINCE,
            ..case()
        },
        "b2 n3",
    );
    check(
        &Case {
            scope: SINCE,
            filter: LAZY,
            ..case()
        },
        "b2 n3",
    );
    check(
        &Case {
            scope: StateScope::Full,
            entries: room_state(),
            ..case()
        },
        "c a1 b2 d1 me1 n3",
    );
    check(
        &Case {
            scope: SINCE,
            uses_state_after: true,
            ..case()
        },
        "",
    );
}

#[test]
fn timelines_are_rewound() {
    let first = state("n1", "a", "m.room.name", "", json!({}), 1);
    let replacing = |id: &str, replaced: &str, depth| {
        let more = json!({"unsigned": {"replaces_state": replaced}});
        from_parts(id, "a", "m.room.topic", Some(""), json!({}), depth, more)
    };
    let timeline = [
        first,
        message("m", "a", 2),
        replacing("t2", "$t1", 3),
        replacing("t3", "$t2", 4),
    ];
    let entries: Vec<String> = rewind(&timeline)
        .into_iter()
        .map(|(name, before)| format!("{} {before:?}", name.kind))
        .collect();
    assert_eq!(entries, ["m.room.name None", "m.room.topic Some(\"$t1\")"]);
}

const LAZY: &str = r#"{"room":{"state":{"lazy_load_members":true}}}"#;
const REDUNDANT: &str =
    r#"{"room":{"state":{"lazy_load_members":true,"include_redundant_members":true}}}"#;

struct Case<'a> {
    scope: StateScope,
    uses_state_after: bool,
    filter: &'a str,
    timeline: Vec<Arc<Event>>,
    left_out: Vec<Arc<Event>>,
    entries: Vec<Arc<Event>>,
    heroes: Vec<OwnedUserId>,
    /// Members that the client has been told.
    known: Vec<Arc<Event>>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            scope: SINCE,
            uses_state_after: false,
            filter: "{}",
            timeline: Vec::new(),
            left_out: Vec::new(),
            entries: Vec::new(),
            heroes: Vec::new(),
            known: Vec::new(),
        }
    }
}

fn room_state() -> Vec<Arc<Event>> {
    vec![
        state("n", "a", "m.room.name", "", json!({}), 5),
        member("me1", "me", "join", 4),
        member("d1", "d", "join", 4),
        member("b1", "b", "join", 3),
        member("a1", "a", "join", 2),
        state("c", "a", "m.room.create", "", json!({}), 1),
    ]
}

fn check(case: &Case<'_>, expected: &str) {
    let members: BTreeMap<OwnedUserId, Arc<Event>> = room_state()
        .into_iter()
        .filter(|event| &*event.kind == "m.room.member")
        .map(|event| (event.sender.clone(), event))
        .collect();
    let filter = Filter::parse(case.filter).unwrap();
    let mut sent = SentMembers::new(10_000);
    let (me, room_id) = (user("me"), room("room"));
    let mut question = StateQuestion {
        user_id: &me,
        room_id: &room_id,
        scope: StateScope::Full,
        uses_state_after: false,
        filter: &filter,
        timeline: &case.known,
        left_out_state: &[],
        entries: &[],
        heroes: &[],
        member: &|user_id| members.get(user_id).cloned(),
    };
    sent.begin(None);
    choose_state(&question, &mut sent);
    sent.end(Position(1));
    sent.begin(Some(Position(1)));
    question.scope = case.scope;
    question.uses_state_after = case.uses_state_after;
    question.timeline = &case.timeline;
    question.left_out_state = &case.left_out;
    question.entries = &case.entries;
    question.heroes = &case.heroes;
    if case.known.is_empty() {
        sent = SentMembers::new(10_000);
    }
    assert_eq!(ids(&choose_state(&question, &mut sent)), expected);
}
