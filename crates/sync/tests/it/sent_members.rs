//! What counts as told to a device, seen through the choice of state.

use lyceum_model::Position;
use lyceum_sync::{
    filter::Filter,
    room_view::{StateQuestion, StateScope, choose_state},
    sent_members::SentMembers,
};

use crate::fixture::{ids, member, message, room, user};

#[test]
fn members_are_told_once_the_client_confirmed_them() {
    let mut sent = SentMembers::new(100_000);
    assert_eq!(sync(&mut sent, Some(1), 2, "a1"), "a1");
    assert_eq!(
        sync(&mut sent, Some(2), 3, "a1"),
        "",
        "it came back: it knows"
    );
    assert_eq!(sync(&mut sent, Some(3), 4, "a2"), "a2", "a new profile");
    assert_eq!(sync(&mut sent, Some(4), 5, "a2"), "");
    assert_eq!(sync(&mut sent, Some(5), 6, "a1"), "a1");
}

#[test]
fn a_lost_answer_is_told_again() {
    let mut sent = SentMembers::new(100_000);
    assert_eq!(sync(&mut sent, Some(1), 2, "a1"), "a1");
    assert_eq!(
        sync(&mut sent, Some(1), 3, "a1"),
        "a1",
        "the first answer never came"
    );
    assert_eq!(sync(&mut sent, Some(3), 4, "a1"), "");
    assert_eq!(
        sync(&mut sent, Some(3), 5, "a1"),
        "",
        "what was known before stays known"
    );
}

#[test]
fn who_goes_back_is_told_everything() {
    let mut sent = SentMembers::new(100_000);
    sync(&mut sent, Some(1), 2, "a1");
    assert_eq!(sync(&mut sent, Some(2), 3, "a1"), "");
    assert_eq!(
        sync(&mut sent, Some(1), 3, "a1"),
        "a1",
        "a client restarted from an old place"
    );
    assert_eq!(sync(&mut sent, Some(3), 4, "a1"), "");
    assert_eq!(
        sync(&mut sent, None, 4, "a1"),
        "a1",
        "a client that starts anew"
    );
}

#[test]
fn memory_is_bounded() {
    let mut sent = SentMembers::new(4096);
    for position in 1..50 {
        sent.begin(Some(Position(position)));
        for index in 0..50 {
            let name = format!("u{position}-{index}");
            choose(&mut sent, &name, &format!("{name}-e"));
        }
        sent.end(Position(position + 1));
        assert!(sent.bytes() <= 4096 + 200, "{}", sent.bytes());
    }
}

/// A sync in which `@a:x`, whose member event is `id`, has sent a message.
fn sync(sent: &mut SentMembers, since: Option<u64>, next_batch: u64, id: &str) -> String {
    sent.begin(since.map(Position));
    let told = choose(sent, "a", id);
    sent.end(Position(next_batch));
    told
}

fn choose(sent: &mut SentMembers, name: &str, id: &str) -> String {
    let filter = Filter::parse(r#"{"room":{"state":{"lazy_load_members":true}}}"#).unwrap();
    let join = member(id, name, "join", 1);
    let question = StateQuestion {
        user_id: &user("me"),
        room_id: &room("room"),
        scope: StateScope::Since { limited: false },
        uses_state_after: false,
        filter: &filter,
        timeline: &[message("m", name, 2)],
        left_out_state: &[],
        entries: &[],
        heroes: &[],
        member: &|_| Some(join.clone()),
    };
    ids(&choose_state(&question, sent))
}
