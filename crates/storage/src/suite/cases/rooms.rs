//! Events, states, standings, and what else belongs to rooms.

use std::slice::from_ref;

use lyceum_model::{
    AccountChange, Alias, Appended, Membership, Placement, Position, Receipt, ReceiptKind,
    RoomChange, SentAs, Seq, StateBefore, StateKey, Timestamp, TransactionId, TransactionOutcome,
};
use ruma_common::{OwnedRoomAliasId, OwnedRoomId};
use serde_json::json;

use super::{
    Case, after, append, before, event, heads, member, names, parsed, places, timeline, user,
};
use crate::{
    CommitError, Direction, RoomPage, StateOf, StateSide, StateWanted, StorageError, TimelinePage,
    suite::world::parsed_version,
};

/// Members of the room that is large.
const MEMBERS_MANY: usize = 1_200;

pub(super) async fn run(case: &Case<'_>) {
    places_count_both_ways(case).await;
    an_event_comes_again(case).await;
    states_follow_the_graph(case).await;
    standings_follow_the_present_state(case).await;
    a_redaction_replaces(case).await;
    relations_are_found(case).await;
    names_and_lists(case).await;
    what_happened_to_a_user(case).await;
    erased_events_are_gone(case).await;
    a_purged_room_is_gone(case).await;
    broken_batches_leave_nothing(case).await;
    large_and_strange(case).await;
}

async fn places_count_both_ways(case: &Case<'_>) {
    let room_id = case.make_room("places").await;
    let [old, older] = ["old", "older"].map(|name| event("places", name, None, json!({})));
    let hello = event("places", "hello", None, json!({}));
    let history = |of| append(of, Placement::History, StateBefore::Unknown);
    let committed = case.commit([history(&old), history(&older)]).await;
    let seqs: Vec<_> = committed
        .appended
        .iter()
        .map(|appended| appended.seq)
        .collect();
    assert_eq!(seqs, [Some(Seq(0)), Some(Seq(-1))]);
    let next = event("places", "next", None, json!({}));
    let position = case
        .commit([timeline(&next, after(&hello)), heads(&next, after(&next))])
        .await
        .position;

    let whole = TimelinePage {
        room_id: room_id.clone(),
        from: Seq(i64::MIN),
        until: None,
        up_to: position,
        direction: Direction::Forward,
        limit: 100,
    };
    let back = TimelinePage {
        from: Seq(i64::MAX),
        direction: Direction::Backward,
        ..whole.clone()
    };
    for (page, expected) in [
        (
            whole.clone(),
            "older@-1 old@0 create@1 alice-join@2 hello@3 next@4",
        ),
        (
            back.clone(),
            "next@4 hello@3 alice-join@2 create@1 old@0 older@-1",
        ),
        (
            TimelinePage {
                limit: 2,
                ..back.clone()
            },
            "next@4 hello@3",
        ),
        (
            TimelinePage {
                from: Seq(2),
                ..whole.clone()
            },
            "alice-join@2 hello@3 next@4",
        ),
        (
            TimelinePage {
                from: Seq(2),
                until: Some(Seq(4)),
                ..whole.clone()
            },
            "alice-join@2 hello@3",
        ),
        (
            TimelinePage {
                from: Seq(3),
                ..back.clone()
            },
            "alice-join@2 create@1 old@0 older@-1",
        ),
        (
            TimelinePage {
                until: Some(Seq(3)),
                ..back.clone()
            },
            "next@4 hello@3",
        ),
        (
            TimelinePage {
                up_to: before(position),
                limit: 1,
                ..back.clone()
            },
            "hello@3",
        ),
        (
            TimelinePage {
                up_to: before(committed.position),
                from: Seq(1),
                ..back.clone()
            },
            "",
        ),
    ] {
        let events = case.store.timeline(page.clone()).await.expect("an answer");
        assert_eq!(places(&events), expected, "{page:?}");
    }
    let seq_at = |at| case.store.seq_at(&room_id, at);
    assert_eq!(seq_at(position).await.expect("an answer"), Seq(4));
    assert_eq!(seq_at(before(position)).await.expect("an answer"), Seq(3));
    assert_eq!(seq_at(Position(0)).await.expect("an answer"), Seq(0));
    let room = case
        .store
        .room(&room_id)
        .await
        .expect("an answer")
        .expect("the room is there");
    assert_eq!(
        (room.last_seq, room.last_position, room.revision),
        (Seq(4), position, 2)
    );
    assert_eq!(names(&room.state), "create alice-join");
    assert_eq!(room.heads[0].event_id, next.id);
}

async fn an_event_comes_again(case: &Case<'_>) {
    case.make_room("again").await;
    let hello = event("again", "hello", None, json!({"body": "hello"}));
    let other = event("again", "hello", None, json!({"body": "another text"}));
    let committed = case.commit([timeline(&other, after(&hello))]).await;
    assert_eq!(
        committed.appended,
        [Appended {
            event_id: hello.id.clone(),
            seq: Some(Seq(3))
        }]
    );
    let stored = case
        .store
        .events(from_ref(&hello.id))
        .await
        .expect("an answer");
    assert_eq!(stored[0].event.json, hello.json);

    let late = event(
        "again",
        "late",
        Some(("m.room.topic", "")),
        json!({"topic": "1"}),
    );
    case.commit([append(&late, Placement::Outlier, StateBefore::Unknown)])
        .await;
    assert_eq!(case.state(&late, StateSide::Before).await, "unknown");
    case.commit([append(&late, Placement::Rejected, after(&hello))])
        .await;
    let stored = case
        .store
        .events(from_ref(&late.id))
        .await
        .expect("an answer");
    assert_eq!(
        (stored[0].placement, stored[0].seq),
        (Placement::Outlier, None)
    );
    assert_eq!(case.state(&late, StateSide::Before).await, "unknown");
    let committed = case.commit([timeline(&late, after(&hello))]).await;
    let stored = case
        .store
        .events(from_ref(&late.id))
        .await
        .expect("an answer");
    assert_eq!(
        (stored[0].placement, stored[0].seq),
        (Placement::Timeline, Some(Seq(4)))
    );
    assert_eq!(stored[0].position, committed.position);
    assert_eq!(
        case.state(&late, StateSide::After).await,
        "create alice-join late"
    );

    let unwanted = event("again", "unwanted", None, json!({}));
    case.commit([append(&unwanted, Placement::Rejected, after(&hello))])
        .await;
    case.commit([append(&unwanted, Placement::SoftFailed, after(&hello))])
        .await;
    case.commit([timeline(&unwanted, after(&hello))]).await;
    let stored = case
        .store
        .events(from_ref(&unwanted.id))
        .await
        .expect("an answer");
    assert_eq!(
        (stored[0].placement, stored[0].seq),
        (Placement::SoftFailed, None)
    );
}

async fn states_follow_the_graph(case: &Case<'_>) {
    let room_id = case.make_room("states").await;
    let hello = event("states", "hello", None, json!({}));
    let topic = |name: &str| {
        event(
            "states",
            name,
            Some(("m.room.topic", "")),
            json!({"t": name}),
        )
    };
    let (left, right) = (topic("left"), topic("right"));
    let (rejected, soft) = (topic("rejected"), topic("soft"));
    let merge = event("states", "merge", None, json!({}));
    let resolved = StateBefore::Resolved {
        base: Some(left.id.clone()),
        set: vec![right.id.clone()],
        removed: vec![StateKey::new("m.room.member", user("alice").as_str())],
    };
    case.commit([
        timeline(&left, after(&hello)),
        timeline(&right, after(&hello)),
        append(&rejected, Placement::Rejected, after(&hello)),
        append(&soft, Placement::SoftFailed, after(&rejected)),
        timeline(&merge, resolved.clone()),
        heads(&merge, after(&merge)),
    ])
    .await;
    for (event, side, expected) in [
        (&left, StateSide::Before, "create alice-join"),
        (&left, StateSide::After, "create alice-join left"),
        (&right, StateSide::After, "create alice-join right"),
        (&rejected, StateSide::Before, "create alice-join"),
        (&rejected, StateSide::After, "create alice-join"),
        (&soft, StateSide::Before, "create alice-join"),
        (&soft, StateSide::After, "create alice-join soft"),
        (&merge, StateSide::Before, "create right"),
        (&merge, StateSide::After, "create right"),
        (
            &event("states", "never", None, json!({})),
            StateSide::After,
            "unknown",
        ),
        (
            &event("states", "create", None, json!({})),
            StateSide::Before,
            "",
        ),
    ] {
        assert_eq!(
            case.state(event, side).await,
            expected,
            "{side:?} {}",
            event.id
        );
    }
    let room = case
        .store
        .room(&room_id)
        .await
        .expect("an answer")
        .expect("the room is there");
    assert_eq!(names(&room.state), "create right");
    let at = |event_id: &ruma_common::OwnedEventId| StateOf {
        event_id: event_id.clone(),
        side: StateSide::After,
    };
    for (from, to, expected) in [
        (Some(at(&left.id)), at(&right.id), "right"),
        (Some(at(&right.id)), at(&left.id), "left"),
        (Some(at(&left.id)), at(&merge.id), "right"),
        (Some(at(&merge.id)), at(&left.id), "alice-join left"),
        (Some(at(&merge.id)), at(&merge.id), ""),
        (None, at(&merge.id), "create right"),
    ] {
        let events = case.store.state_difference(from.clone(), to.clone()).await;
        let events = events.expect("an answer").expect("both are known");
        assert_eq!(names(&events), expected, "{from:?} {to:?}");
    }
    let wanted = vec![
        StateKey::new("m.room.topic", ""),
        StateKey::new("m.room.name", ""),
    ];
    let events = case
        .store
        .state_at(at(&left.id), StateWanted::Keys(wanted))
        .await;
    assert_eq!(
        names(&events.expect("an answer").expect("it is known")),
        "left"
    );
}

async fn standings_follow_the_present_state(case: &Case<'_>) {
    let room_id = case.make_room("standings").await;
    let bob = user("standings-bob");
    let standing = async || {
        let all = case.store.memberships(&bob).await.expect("an answer");
        all.first().map(|of| {
            (
                of.membership,
                of.is_forgotten,
                of.position,
                of.event_id.clone(),
            )
        })
    };
    let mut last = event("standings", "hello", None, json!({}));
    let mut positions = Vec::new();
    for (name, membership, is_forgotten) in [
        ("invite", Membership::Invite, false),
        ("leave", Membership::Leave, true),
        ("ban", Membership::Ban, true),
        ("knock", Membership::Knock, false),
        ("join", Membership::Join, false),
    ] {
        let event = member("standings", name, "standings-bob", membership.as_str());
        let position = case
            .commit([timeline(&event, after(&last)), heads(&event, after(&event))])
            .await
            .position;
        let was_forgotten = name == "ban";
        let expected = (membership, was_forgotten, position, event.id.clone());
        assert_eq!(standing().await, Some(expected.clone()), "{name}");
        positions.push(position);
        last = event;
        if is_forgotten {
            let forget = RoomChange::Forget {
                room_id: room_id.clone(),
                user_id: bob.clone(),
            };
            case.commit([forget.into()]).await;
            let expected = (expected.0, true, expected.2, expected.3);
            assert_eq!(standing().await, Some(expected), "{name}, forgotten");
        }
    }
    let joined = async || {
        let after = Some(parsed("!standing:cases.example"));
        let page = RoomPage {
            after,
            only_published: false,
            limit: 1,
        };
        case.store.rooms(page).await.expect("an answer")[0].joined
    };
    assert_eq!(joined().await, 2);
    // A state event that is not in the present state changes nothing.
    let kicked = member("standings", "kicked", "standings-bob", "leave");
    case.commit([append(&kicked, Placement::SoftFailed, after(&last))])
        .await;
    assert_eq!(standing().await.map(|of| of.0), Some(Membership::Join));
    // The entry is gone after a resolution.
    let without = StateBefore::Resolved {
        base: Some(last.id.clone()),
        set: Vec::new(),
        removed: vec![StateKey::new("m.room.member", bob.as_str())],
    };
    case.commit([heads(&last, without)]).await;
    assert_eq!(standing().await, None);
    assert_eq!(joined().await, 1);
}

async fn a_redaction_replaces(case: &Case<'_>) {
    case.make_room("redaction").await;
    let hello = event("redaction", "hello", None, json!({"body": "hello"}));
    let redacted = event("redaction", "hello", None, json!({}));
    let because = event("redaction", "because", None, json!({"redacts": hello.id}));
    let redact = RoomChange::Redact {
        redacted: redacted.clone(),
        because: because.id.clone(),
    };
    case.commit([redact.into()]).await;
    let stored = case
        .store
        .events(from_ref(&hello.id))
        .await
        .expect("an answer");
    assert_eq!(stored[0].event.json, redacted.json);
    assert_eq!(stored[0].event.content.get(), "{}");
    assert_eq!(
        (stored[0].seq, stored[0].placement),
        (Some(Seq(3)), Placement::Timeline)
    );
    assert!(
        stored[0].redacted_because.is_none(),
        "the redaction is not known yet"
    );
    case.commit([timeline(&because, after(&hello))]).await;
    let stored = case
        .store
        .events(from_ref(&hello.id))
        .await
        .expect("an answer");
    let redaction = stored[0]
        .redacted_because
        .as_ref()
        .expect("the redaction is known");
    assert_eq!(redaction.json, because.json);
    let second = event("redaction", "second", None, json!({"redacts": hello.id}));
    let redact = RoomChange::Redact {
        redacted,
        because: second.id.clone(),
    };
    case.commit([timeline(&second, after(&because)), redact.into()])
        .await;
    let stored = case
        .store
        .events(from_ref(&hello.id))
        .await
        .expect("an answer");
    let redaction = stored[0].redacted_because.as_ref();
    assert_eq!(
        redaction.map(|redaction| &redaction.id),
        Some(&because.id),
        "the first redaction stays"
    );
}

async fn relations_are_found(case: &Case<'_>) {
    case.make_room("relations").await;
    case.make_room("elsewhere").await;
    let hello = event("relations", "hello", None, json!({}));
    let relate = |room: &str, name: &str, kind: &str, to: &str| {
        let relation = json!({"rel_type": kind, "event_id": to, "key": "k"});
        event(room, name, None, json!({"m.relates_to": relation}))
    };
    let thread = relate("relations", "thread", "m.thread", hello.id.as_str());
    let like = relate("relations", "like", "m.annotation", hello.id.as_str());
    let hidden = relate("relations", "hidden", "m.annotation", hello.id.as_str());
    let old = relate("relations", "old", "m.annotation", hello.id.as_str());
    let elsewhere = relate("elsewhere", "thread", "m.thread", hello.id.as_str());
    case.commit([
        timeline(&thread, after(&hello)),
        timeline(&like, after(&thread)),
        append(&hidden, Placement::SoftFailed, after(&hello)),
        append(&old, Placement::History, StateBefore::Unknown),
        timeline(&elsewhere, StateBefore::Empty),
    ])
    .await;
    let relations = async |kind, before, limit| {
        let found = case.store.relations(&hello.id, kind, before, limit).await;
        places(&found.expect("an answer"))
    };
    assert_eq!(relations(None, None, 9).await, "like@5 thread@4 old@0");
    assert_eq!(
        relations(Some("m.annotation"), None, 9).await,
        "like@5 old@0"
    );
    assert_eq!(relations(None, Some(Seq(5)), 1).await, "thread@4");
    let redacted = event("relations", "like", None, json!({}));
    let redact = RoomChange::Redact {
        redacted,
        because: hello.id.clone(),
    };
    case.commit([redact.into(), timeline(&hidden, after(&hello))])
        .await;
    assert_eq!(relations(None, None, 9).await, "thread@4 old@0");
}

async fn names_and_lists(case: &Case<'_>) {
    let room_id = case.make_room("names").await;
    let other: OwnedRoomId = parsed("!other:cases.example");
    let alias: OwnedRoomAliasId = parsed("#names:cases.example");
    let set = |room_id: &OwnedRoomId, alias: &OwnedRoomAliasId| Alias {
        alias: alias.clone(),
        room_id: room_id.clone(),
        creator: user("alice"),
    };
    let second: OwnedRoomAliasId = parsed("#Names:cases.example");
    case.commit([
        RoomChange::SetAlias(set(&room_id, &alias)).into(),
        RoomChange::SetAlias(set(&room_id, &second)).into(),
        RoomChange::Publish {
            room_id: room_id.clone(),
            is_published: true,
        }
        .into(),
        RoomChange::Publish {
            room_id: other.clone(),
            is_published: true,
        }
        .into(),
    ])
    .await;
    let aliases = case.store.aliases(&room_id).await.expect("an answer");
    assert_eq!(aliases, [set(&room_id, &second), set(&room_id, &alias)]);
    case.commit([
        RoomChange::SetAlias(set(&other, &alias)).into(),
        RoomChange::RemoveAlias(second.clone()).into(),
    ])
    .await;
    assert_eq!(
        case.store.alias(&alias).await.expect("an answer"),
        Some(set(&other, &alias))
    );
    assert_eq!(case.store.alias(&second).await.expect("an answer"), None);
    let page = RoomPage {
        after: None,
        only_published: true,
        limit: 9,
    };
    let rooms = case.store.rooms(page).await.expect("an answer");
    assert_eq!(rooms.len(), 1);
    assert_eq!((&rooms[0].room_id, rooms[0].joined), (&room_id, 1));

    let typing = vec![(user("alice"), Timestamp(5)), (user("bob"), Timestamp(7))];
    let change = RoomChange::Typing {
        room_id: room_id.clone(),
        users: typing.clone(),
    };
    case.commit([change.into()]).await;
    assert_eq!(
        case.store.typing(&room_id).await.expect("an answer"),
        typing
    );
    case.commit([RoomChange::Typing {
        room_id: room_id.clone(),
        users: Vec::new(),
    }
    .into()])
        .await;
    assert_eq!(case.store.typing(&room_id).await.expect("an answer"), []);

    let id = TransactionId {
        user_id: user("alice"),
        device_id: "D".into(),
        scope: "send".to_owned(),
        transaction_id: "1".to_owned(),
    };
    let outcome = TransactionOutcome::Event(parsed("$sent"));
    let at = Timestamp(1_000);
    case.commit([RoomChange::Transaction {
        id: id.clone(),
        outcome: outcome.clone(),
        at,
    }
    .into()])
        .await;
    assert_eq!(
        case.store.transaction(&id).await.expect("an answer"),
        Some(outcome)
    );
    let sent = event("names", "sent", None, json!({}));
    let of_event = TransactionId {
        scope: "another".to_owned(),
        ..id.clone()
    };
    case.commit([
        timeline(&sent, StateBefore::Unknown),
        RoomChange::Transaction {
            id: of_event,
            outcome: TransactionOutcome::Event(sent.id.clone()),
            at,
        }
        .into(),
    ])
    .await;
    let known = case.store.events(from_ref(&sent.id)).await;
    let sent_as = SentAs {
        device_id: "D".into(),
        transaction_id: "1".into(),
    };
    assert_eq!(known.expect("an answer").remove(0).sent_as, Some(sent_as));
    let other = TransactionId {
        device_id: "E".into(),
        ..id
    };
    assert_eq!(
        case.store.transaction(&other).await.expect("an answer"),
        None
    );
}

async fn what_happened_to_a_user(case: &Case<'_>) {
    let room_id = case.make_room("happened").await;
    let dora = user("happened-dora");
    let hello = event("happened", "hello", None, json!({}));
    let join = member("happened", "dora", "happened-dora", "join");
    let joined = case
        .commit([timeline(&join, after(&hello)), heads(&join, after(&join))])
        .await
        .position;
    let receipt = |kind, thread: Option<&str>| Receipt {
        room_id: room_id.clone(),
        user_id: user("alice"),
        kind,
        thread: thread.map(str::to_owned),
        event_id: hello.id.clone(),
        at: Timestamp(1),
        position: Position(0),
    };
    let read = receipt(ReceiptKind::Read, None);
    let received = case
        .commit([AccountChange::PutReceipt(read.clone()).into()])
        .await
        .position;
    let users = vec![(user("alice"), Timestamp(9))];
    let typed = case
        .commit([RoomChange::Typing {
            room_id: room_id.clone(),
            users,
        }
        .into()])
        .await
        .position;
    let busy = event("happened", "busy", None, json!({}));
    let sent = case
        .commit([timeline(&busy, after(&join)), heads(&busy, after(&busy))])
        .await
        .position;
    let history = event("happened", "history", None, json!({}));
    let fetched = case
        .commit([append(&history, Placement::History, StateBefore::Unknown)])
        .await
        .position;

    for (from, to, expected) in [
        (before(joined), joined, "timeline membership"),
        // The room went on since, yet what lies between is not missed.
        (before(joined), received, "timeline receipts membership"),
        (received, typed, "typing"),
        (typed, sent, "timeline"),
        (sent, fetched, ""),
        (fetched, fetched, ""),
        (Position(0), fetched, "timeline receipts typing membership"),
    ] {
        let changes = case
            .store
            .changes_for(&dora, from, to)
            .await
            .expect("an answer");
        let mut found = Vec::new();
        for (what, rooms) in [
            ("timeline", &changes.timelines),
            ("receipts", &changes.receipts),
            ("typing", &changes.typing),
        ] {
            if rooms.as_slice() == [room_id.clone()] {
                found.push(what);
            }
        }
        if changes.memberships.len() == 1 && changes.memberships[0].position == joined {
            found.push("membership");
        }
        assert_eq!(found.join(" "), expected, "{from:?} {to:?}");
    }

    let more = [
        receipt(ReceiptKind::ReadPrivate, Some("main")),
        receipt(ReceiptKind::Read, Some("main")),
        receipt(ReceiptKind::Read, None),
    ];
    let position = case
        .commit(
            more.clone()
                .map(|receipt| AccountChange::PutReceipt(receipt).into()),
        )
        .await
        .position;
    let [private, thread, plain] = more.map(|receipt| Receipt {
        position,
        ..receipt
    });
    let rooms = [room_id.clone()];
    let receipts = async |from, to| {
        case.store
            .receipts(&rooms, from, to)
            .await
            .expect("an answer")
    };
    let all = [plain, thread, private];
    assert_eq!(receipts(before(position), position).await, all);
    let of_user = case.store.receipts_of(&room_id, &user("alice")).await;
    assert_eq!(of_user.expect("an answer"), all);
    let nobody = case.store.receipts_of(&room_id, &user("nobody")).await;
    assert_eq!(nobody.expect("an answer"), []);
    // The earlier one was replaced: it is told at its newest place only.
    assert_eq!(receipts(before(received), received).await, []);
}

async fn erased_events_are_gone(case: &Case<'_>) {
    let room_id = case.make_room("erased").await;
    let create = event("erased", "create", Some(("m.room.create", "")), json!({}));
    let hello = event("erased", "hello", None, json!({}));
    let relation = json!({"m.relates_to": {"rel_type": "m.thread", "event_id": "$erased-hello"}});
    let reply = event("erased", "reply", None, relation);
    let topic = event("erased", "topic", Some(("m.room.topic", "")), json!({}));
    let last = event("erased", "last", None, json!({}));
    let outlier = event("erased", "outlier", None, json!({}));
    let old = event("erased", "old", None, json!({}));
    case.commit([
        timeline(&reply, after(&hello)),
        timeline(&topic, after(&reply)),
        timeline(&last, after(&topic)),
        heads(&last, after(&last)),
        append(&outlier, Placement::Outlier, StateBefore::Unknown),
        append(&old, Placement::History, StateBefore::Unknown),
    ])
    .await;
    let all = [&create, &hello, &reply, &topic, &last, &outlier, &old];
    let mut event_ids: Vec<_> = all.iter().map(|event| event.id.clone()).collect();
    let elsewhere = event("purged", "hello", None, json!({}));
    event_ids.extend([elsewhere.id.clone(), hello.id.clone()]);
    let erase = RoomChange::EraseEvents {
        room_id: room_id.clone(),
        event_ids: event_ids.clone(),
    };
    let position = case.commit([erase.into()]).await.position;
    let found = case.store.events(&event_ids[..7]).await;
    assert_eq!(
        places(&found.expect("an answer")),
        "create@1 topic@5 last@6 outlier old@0"
    );
    let page = TimelinePage {
        room_id: room_id.clone(),
        from: Seq(i64::MIN),
        until: None,
        up_to: position,
        direction: Direction::Forward,
        limit: 100,
    };
    let found = case.store.timeline(page).await.expect("an answer");
    assert_eq!(places(&found), "old@0 create@1 alice-join@2 topic@5 last@6");
    assert_eq!(
        case.state(&last, StateSide::After).await,
        "create alice-join topic"
    );
    // What is erased may come again, at a new place, without what belonged to it before.
    case.commit([timeline(&hello, after(&last)), heads(&hello, after(&hello))])
        .await;
    let found = case.store.events(from_ref(&hello.id)).await;
    assert_eq!(places(&found.expect("an answer")), "hello@7");
    let related = case.store.relations(&hello.id, None, None, 10).await;
    assert_eq!(places(&related.expect("an answer")), "");
    case.commit([RoomChange::Purge { room_id }.into()]).await;
}

async fn a_purged_room_is_gone(case: &Case<'_>) {
    let room_id = case.make_room("purged").await;
    let hello = event("purged", "hello", None, json!({}));
    let alias: OwnedRoomAliasId = parsed("#purged:cases.example");
    let zoe = user("purged-zoe");
    let data = |content: &str| AccountChange::AccountData {
        user_id: zoe.clone(),
        room_id: Some(room_id.clone()),
        kind: "m.tag".to_owned(),
        content: Some(content.to_owned()),
    };
    let alias_set = Alias {
        alias: alias.clone(),
        room_id: room_id.clone(),
        creator: user("alice"),
    };
    case.commit([RoomChange::SetAlias(alias_set).into(), data("{}").into()])
        .await;
    let position = case
        .commit([RoomChange::Purge {
            room_id: room_id.clone(),
        }
        .into()])
        .await
        .position;
    let store = case.store;
    assert!(store.room(&room_id).await.expect("an answer").is_none());
    assert!(
        store
            .events(from_ref(&hello.id))
            .await
            .expect("an answer")
            .is_empty()
    );
    assert!(store.alias(&alias).await.expect("an answer").is_none());
    let tag = store
        .account_data_entry(&zoe, Some(&room_id), "m.tag")
        .await;
    assert_eq!(tag.expect("an answer"), None);
    let alice = store.memberships(&user("alice")).await.expect("an answer");
    assert!(alice.iter().all(|of| of.room_id != room_id));
    assert_eq!(
        store.seq_at(&room_id, position).await.expect("an answer"),
        Seq(0)
    );
    // It may come anew, with the same events.
    case.make_room("purged").await;
    let room = store
        .room(&room_id)
        .await
        .expect("an answer")
        .expect("the room is there");
    assert_eq!((room.revision, room.last_seq), (1, Seq(3)));
    case.commit([RoomChange::Purge { room_id }.into()]).await;
}

async fn broken_batches_leave_nothing(case: &Case<'_>) {
    let room_id = case.make_room("broken").await;
    let hello = event("broken", "hello", None, json!({}));
    let unknown = event("broken", "unknown", None, json!({}));
    let good = event("broken", "good", None, json!({}));
    let outlier = event("broken", "outlier", Some(("m.room.topic", "")), json!({}));
    let set = |event_id: &ruma_common::OwnedEventId| StateBefore::Resolved {
        base: None,
        set: vec![event_id.clone()],
        removed: Vec::new(),
    };
    case.commit([append(&outlier, Placement::Outlier, StateBefore::Unknown)])
        .await;
    let position = case.store.position();
    for broken in [
        heads(&good, after(&unknown)),
        heads(&good, after(&outlier)),
        heads(&good, set(&unknown.id)),
        heads(&good, set(&hello.id)),
        heads(&good, StateBefore::Unknown),
        timeline(
            &event("nowhere", "lost", None, json!({})),
            StateBefore::Empty,
        ),
        heads(
            &event("nowhere", "lost", None, json!({})),
            StateBefore::Empty,
        ),
    ] {
        let alias: OwnedRoomAliasId = parsed("#broken:cases.example");
        let set_alias = Alias {
            alias: alias.clone(),
            room_id: room_id.clone(),
            creator: user("a"),
        };
        let batch = [
            RoomChange::SetAlias(set_alias).into(),
            timeline(&good, after(&hello)),
            broken.clone(),
        ];
        let answer = case.try_commit(batch).await;
        assert!(
            matches!(answer, Err(CommitError::Storage(StorageError::Broken(_)))),
            "{broken:?}: {answer:?}"
        );
        assert!(
            case.store.alias(&alias).await.expect("an answer").is_none(),
            "{broken:?}"
        );
        assert!(
            case.store
                .events(from_ref(&good.id))
                .await
                .expect("an answer")
                .is_empty()
        );
    }
    assert_eq!(case.store.position(), position);
    let committed = case.commit([timeline(&good, after(&hello))]).await;
    assert_eq!(
        committed.position.0,
        position.0 + 1,
        "positions have no gaps"
    );
    assert_eq!(
        committed.appended[0].seq,
        Some(Seq(4)),
        "places have no gaps"
    );
    case.commit([]).await;
    assert_eq!(
        case.store.position().0,
        position.0 + 2,
        "an empty batch is a commit too"
    );
}

/// Many members at once, a text as large as an event may be, and characters that databases
/// dislike.
async fn large_and_strange(case: &Case<'_>) {
    let room_id: OwnedRoomId = parsed("!large:cases.example");
    let create = event("large", "create", Some(("m.room.create", "")), json!({}));
    let members: Vec<_> = (0..MEMBERS_MANY)
        .map(|n| member("large", &format!("m{n}"), &format!("large{n:05}"), "join"))
        .collect();
    let last = member("large", "last", "large-last", "join");
    let set = members.iter().map(|event| event.id.clone()).collect();
    let state = StateBefore::Resolved {
        base: Some(create.id.clone()),
        set,
        removed: Vec::new(),
    };
    let mut batch = vec![
        RoomChange::Create {
            room_id: room_id.clone(),
            version: parsed_version("10"),
        }
        .into(),
        append(&create, Placement::Outlier, StateBefore::Empty),
    ];
    for event in &members {
        batch.push(append(event, Placement::Outlier, StateBefore::Unknown));
    }
    batch.extend([timeline(&last, state), heads(&last, after(&last))]);
    case.commit(batch).await;
    let room = case
        .store
        .room(&room_id)
        .await
        .expect("an answer")
        .expect("the room is there");
    assert_eq!(room.state.len(), MEMBERS_MANY + 2);
    assert!(room.state.is_sorted_by_key(|event| event.state_name()));
    let of = |side| StateOf {
        event_id: last.id.clone(),
        side,
    };
    let difference = case
        .store
        .state_difference(Some(of(StateSide::Before)), of(StateSide::After))
        .await;
    assert_eq!(
        names(&difference.expect("an answer").expect("both are known")),
        "last"
    );
    let page = RoomPage {
        after: Some(parsed("!larg:x")),
        only_published: false,
        limit: 1,
    };
    let rooms = case.store.rooms(page).await.expect("an answer");
    assert_eq!(rooms[0].joined, MEMBERS_MANY as u64 + 1);

    let long = event("large", "long", None, json!({"body": "ß".repeat(30_000)}));
    let key = "a\u{0}b'\"\\%";
    let note = event(
        "large",
        "note",
        Some(("org.example\u{0}", key)),
        json!({"n": "\u{0}"}),
    );
    let relation = json!({"rel_type": "m.\u{0}x", "event_id": last.id, "key": "\u{0}"});
    let related = event("large", "related", None, json!({"m.relates_to": relation}));
    case.commit([
        timeline(&long, after(&last)),
        timeline(&note, after(&long)),
        timeline(&related, after(&note)),
        heads(&related, after(&related)),
    ])
    .await;
    let ids = [long.id.clone(), note.id.clone(), related.id.clone()];
    let stored = case.store.events(&ids).await.expect("an answer");
    for (stored, event) in stored.iter().zip([&long, &note, &related]) {
        assert_eq!(stored.event.json, event.json);
    }
    let wanted = StateWanted::Keys(vec![StateKey::new("org.example\u{0}", key)]);
    let of = StateOf {
        event_id: related.id.clone(),
        side: StateSide::Before,
    };
    let found = case.store.state_at(of, wanted).await.expect("an answer");
    assert_eq!(names(&found.expect("it is known")), "note");
    for kind in [None, Some("m.\u{0}x")] {
        let found = case
            .store
            .relations(&last.id, kind, None, 5)
            .await
            .expect("an answer");
        assert_eq!(places(&found), "related@4", "{kind:?}");
    }
}
