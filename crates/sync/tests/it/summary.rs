use lyceum_model::{Event, Membership};
use lyceum_sync::{
    room_view::StateScope,
    summary::{heroes, is_due, needs_heroes},
};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

use crate::fixture::{member, message, state, user};

#[test]
fn heroes_are_the_first_others() {
    for (members, expected) in [
        ("me:join", ""),
        ("me:join a:join b:invite", "a b"),
        (
            "a:join b:join c:join d:join e:join f:join g:join me:join",
            "a b c d e",
        ),
        ("b:join me:join a:join", "b a"),
        ("me:join a:leave b:join c:ban d:knock", "b"),
        ("me:join a:leave b:ban c:knock", "a b"),
        ("a:knock", ""),
    ] {
        let members = members.split(' ').enumerate().map(|(depth, text)| {
            let (name, membership) = text.split_once(':').unwrap();
            (name.to_owned(), membership.to_owned(), depth as u64)
        });
        // The order in which they are offered does not matter.
        let mut members: Vec<_> = members.collect();
        members.sort();
        assert_eq!(heroes_of(&members), expected, "{members:?}");
        members.reverse();
        assert_eq!(heroes_of(&members), expected, "{members:?}");
    }
}

#[test]
fn rooms_without_a_name_need_heroes() {
    assert!(needs_heroes(None, None));
    assert!(needs_heroes(Some(""), Some("")));
    assert!(!needs_heroes(Some("name"), None));
    assert!(!needs_heroes(None, Some("#alias:x")));
}

#[test]
fn a_summary_is_due_when_members_or_the_name_change() {
    let since = StateScope::Since { limited: false };
    let member = member("j", "alice", "join", 1);
    let name = state("n", "alice", "m.room.name", "", json!({}), 1);
    let topic = state("t", "alice", "m.room.topic", "", json!({}), 1);
    let message = message("m", "alice", 1);
    for (scope, changed, expected) in [
        (StateScope::Full, vec![], true),
        (since, vec![], false),
        (since, vec![&message, &topic], false),
        (since, vec![&message, &member], true),
        (since, vec![&name], true),
    ] {
        assert_eq!(
            is_due(scope, changed.into_iter().map(|event| &**event)),
            expected
        );
    }
}

proptest! {
    #[test]
    fn heroes_are_those_that_sorting_finds(depths in proptest::collection::vec(0..8_u64, 0..20)) {
        let members: Vec<_> = depths
            .iter()
            .enumerate()
            .map(|(index, depth)| (format!("u{index:02}"), "join".to_owned(), *depth))
            .collect();
        let mut sorted = members.clone();
        // At the same depth (and so the same time) the event id decides: `$u00` and so on.
        sorted.sort_by_key(|(name, _, depth)| (*depth, name.clone()));
        let expected: Vec<_> = sorted.into_iter().take(5).map(|(name, ..)| name).collect();
        prop_assert_eq!(heroes_of(&members), expected.join(" "));
    }
}

fn heroes_of(members: &[(String, String, u64)]) -> String {
    let events: Vec<(_, Membership, Arc<Event>)> = members
        .iter()
        .map(|(name, membership, depth)| {
            let event = member(name, name, membership, *depth);
            (
                user(name),
                Membership::from_name(membership).unwrap(),
                event,
            )
        })
        .collect();
    let members = events
        .iter()
        .map(|(user_id, membership, event)| (&**user_id, *membership, &**event));
    let heroes = heroes(&user("me"), members);
    let names: Vec<_> = heroes.iter().map(|user_id| user_id.localpart()).collect();
    names.join(" ")
}
