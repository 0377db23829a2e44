//! Each expectation, where it holds and where it does not.

use lyceum_model::{
    AccountChange, Alias, BackupVersion, Batch, Change, Expect, Media, MediaChange, MediaId,
    OneTimeKey, Position, RegistrationToken, RoomChange, Threepid, Ticket, TicketKind, Timestamp,
    TransactionId, TransactionOutcome, User,
};
use ruma_common::OwnedRoomId;

use serde_json::json;

use super::{
    Case,
    accounts::{account, device, token},
    event, parsed, user,
};
use crate::CommitError;

pub(super) async fn run(case: &Case<'_>) {
    let room_id = case.make_room("expects").await;
    case.commit(facts()).await;
    let of_room = Some(room_id.clone());
    let set = case
        .commit(["m.set", "m.deleted"].map(|kind| set_data(None, kind, Some("{}"))))
        .await;
    let set = case
        .commit([
            set_data(None, "m.set", Some("{}")),
            set_data(of_room.clone(), "m.set", Some("{}")),
            set_data(None, "m.deleted", None),
        ])
        .await
        .position
        .max(set.position);
    let data = |kind: &str, position| {
        Expect::AccountData(user("exp-some"), None, kind.to_owned(), position)
    };
    let room_data = |position| {
        let of_room = of_room.clone();
        Expect::AccountData(user("exp-some"), of_room, "m.set".to_owned(), position)
    };
    let hello = event("expects", "hello", None, json!({"body": "hello"}))
        .id
        .clone();
    let none = user("exp-none");
    let some = user("exp-some");
    let alias = |name: &str| Expect::AliasAbsent(parsed(&format!("#{name}:cases.example")));
    let key = |key_id: &str| Expect::OneTimeKeyExists(some.clone(), "D".into(), key_id.to_owned());
    let address = |text: &str| Expect::ThreepidAbsent("email".to_owned(), text.to_owned());
    let ticket = |kind, key: &str| Expect::TicketExists(kind, key.to_owned());
    let registration = |name: &str, used| Expect::RegistrationTokenUsed(name.to_owned(), used);
    let setting = |value: Option<&str>| Expect::Setting("exp".to_owned(), value.map(str::to_owned));
    for (holds, fails) in [
        (
            Expect::RoomRevision(room_id.clone(), 1),
            Expect::RoomRevision(room_id.clone(), 2),
        ),
        (
            Expect::RoomHeads(room_id.clone(), vec![hello]),
            Expect::RoomHeads(room_id.clone(), Vec::new()),
        ),
        (
            Expect::RoomRevision(parsed("!exp-none:cases.example"), 0),
            Expect::RoomRevision(room_id, 0),
        ),
        (
            Expect::UserAbsent(none.clone()),
            Expect::UserAbsent(some.clone()),
        ),
        (
            Expect::UserExists(some.clone()),
            Expect::UserExists(none.clone()),
        ),
        (alias("exp-none"), alias("exp")),
        (
            Expect::TransactionAbsent(transaction("other")),
            Expect::TransactionAbsent(transaction("done")),
        ),
        (
            ticket(TicketKind::OpenId, "exp"),
            ticket(TicketKind::Login, "exp"),
        ),
        (key("s:1"), key("s:2")),
        (
            Expect::DeviceExists(some.clone(), "D".into()),
            Expect::DeviceExists(some.clone(), "E".into()),
        ),
        (
            Expect::TokenExists([121; 32]),
            Expect::TokenExists([122; 32]),
        ),
        (address("exp-none@x"), address("exp@x")),
        (
            Expect::MediaPending(media("pending")),
            Expect::MediaPending(media("done")),
        ),
        (
            Expect::MediaPending(media("pending")),
            Expect::MediaPending(media("none")),
        ),
        (
            Expect::MediaAbsent(media("none")),
            Expect::MediaAbsent(media("pending")),
        ),
        (
            Expect::NewestBackup(none.clone(), None),
            Expect::NewestBackup(some.clone(), None),
        ),
        (
            Expect::NewestBackup(some.clone(), Some(2)),
            Expect::NewestBackup(some.clone(), Some(3)),
        ),
        (
            Expect::UserIs(Box::new(account("exp-some"))),
            Expect::UserIs(Box::new(User {
                is_locked: false,
                ..account("exp-some")
            })),
        ),
        (data("m.set", Some(set)), data("m.set", None)),
        (
            data("m.none", None),
            Expect::UserIs(Box::new(account("exp-none"))),
        ),
        (data("m.deleted", None), data("m.deleted", Some(set))),
        (room_data(Some(set)), room_data(Some(Position(set.0 - 1)))),
        (
            Expect::AccountData(none.clone(), None, "m.set".to_owned(), None),
            Expect::AccountData(none.clone(), None, "m.set".to_owned(), Some(set)),
        ),
        (
            Expect::BackupEtag(some.clone(), 2, 7),
            Expect::BackupEtag(some.clone(), 2, 0),
        ),
        (
            Expect::BackupEtag(some.clone(), 1, 0),
            Expect::BackupEtag(some.clone(), 3, 0),
        ),
        (
            Expect::BackupEtag(some.clone(), 1, 0),
            Expect::BackupEtag(none.clone(), 1, 0),
        ),
        (registration("exp", 4), registration("exp", 5)),
        (registration("exp", 4), registration("exp-none", 0)),
        (setting(Some("value")), setting(None)),
        (
            Expect::Setting("exp-none".to_owned(), None),
            setting(Some("other")),
        ),
    ] {
        check(case, holds, fails).await;
    }
    several(case).await;
}

/// What is there for the expectations.
fn facts() -> Vec<Change> {
    let some = user("exp-some");
    let backup = |version| BackupVersion {
        user_id: some.clone(),
        version,
        algorithm: "a".to_owned(),
        auth_data: "{}".to_owned(),
        etag: 0,
        count: 0,
    };
    let file = |name: &str, sha256| Media {
        id: media(name),
        uploader: None,
        created: Timestamp(1),
        sha256,
        size: 0,
        content_type: None,
        file_name: None,
        upload_until: None,
        last_access: None,
        quarantined_by: None,
        is_safe_from_quarantine: false,
    };
    let alias = Alias {
        alias: parsed("#exp:cases.example"),
        room_id: parsed("!exp:cases.example"),
        creator: some.clone(),
    };
    let at = Timestamp(1);
    vec![
        AccountChange::PutUser(account("exp-some")).into(),
        AccountChange::PutDevice(device("exp-some", "D")).into(),
        AccountChange::PutToken(token(121, "exp-some", Some("D"))).into(),
        RoomChange::SetAlias(alias).into(),
        RoomChange::Transaction {
            id: transaction("done"),
            outcome: TransactionOutcome::Done,
            at,
        }
        .into(),
        AccountChange::PutTicket(Ticket {
            kind: TicketKind::OpenId,
            key: "exp".to_owned(),
            data: "{}".to_owned(),
            expires: at,
        })
        .into(),
        AccountChange::AddOneTimeKeys {
            user_id: some.clone(),
            device_id: "D".into(),
            keys: vec![OneTimeKey {
                key_id: "s:1".to_owned(),
                json: "{}".to_owned(),
            }],
        }
        .into(),
        AccountChange::PutThreepid(Threepid {
            user_id: some.clone(),
            medium: "email".to_owned(),
            address: "exp@x".to_owned(),
            added: at,
            validated: at,
        })
        .into(),
        MediaChange::Put(file("pending", None)).into(),
        MediaChange::Put(file("done", Some([1; 32]))).into(),
        AccountChange::PutBackup(backup(1)).into(),
        AccountChange::PutBackup(BackupVersion {
            etag: 7,
            ..backup(2)
        })
        .into(),
        AccountChange::PutBackup(backup(3)).into(),
        AccountChange::RemoveBackup {
            user_id: some.clone(),
            version: 3,
        }
        .into(),
        AccountChange::PutRegistrationToken(RegistrationToken {
            token: "exp".to_owned(),
            uses_allowed: None,
            pending: 0,
            completed: 4,
            expires: None,
        })
        .into(),
        Change::Setting {
            key: "exp".to_owned(),
            value: Some("value".to_owned()),
        },
    ]
}

fn set_data(room_id: Option<OwnedRoomId>, kind: &str, content: Option<&str>) -> Change {
    AccountChange::AccountData {
        user_id: user("exp-some"),
        room_id,
        kind: kind.to_owned(),
        content: content.map(str::to_owned),
    }
    .into()
}

fn transaction(name: &str) -> TransactionId {
    TransactionId {
        user_id: user("exp-some"),
        device_id: "D".into(),
        scope: "s".to_owned(),
        transaction_id: name.to_owned(),
    }
}

fn media(name: &str) -> MediaId {
    MediaId {
        server_name: parsed("expects.example"),
        media_id: name.to_owned(),
    }
}

async fn check(case: &Case<'_>, holds: Expect, fails: Expect) {
    let mark = |value: &str| Change::Setting {
        key: "exp-mark".to_owned(),
        value: Some(value.to_owned()),
    };
    let batch = Batch {
        expects: vec![holds.clone()],
        changes: vec![mark("held")],
    };
    if let Err(error) = case.store.submit(batch).await {
        panic!("{holds:?} holds, but: {error}");
    }
    let position = case.store.position();
    let batch = Batch {
        expects: vec![holds, fails.clone()],
        changes: vec![mark("stored")],
    };
    match case.store.submit(batch).await {
        Err(CommitError::Stale(stale)) => assert_eq!(stale, fails),
        other => panic!("{fails:?} does not hold, but: {other:?}"),
    }
    assert_eq!(case.store.position(), position, "{fails:?}");
    let found = case.store.setting("exp-mark").await.expect("an answer");
    assert_eq!(found.as_deref(), Some("held"), "{fails:?}");
}

/// The first fact that does not hold is named; facts are those before the batch, and those that
/// batches in flight leave behind.
async fn several(case: &Case<'_>) {
    let taken = Expect::UserAbsent(user("exp-some"));
    let missing = Expect::UserExists(user("exp-none"));
    let batch = Batch {
        expects: vec![missing.clone(), taken],
        changes: Vec::new(),
    };
    let answer = case.store.submit(batch).await;
    assert!(matches!(answer, Err(CommitError::Stale(stale)) if stale == missing));

    let batch = |name: &str| Batch {
        expects: vec![Expect::UserAbsent(user(name))],
        changes: vec![AccountChange::PutUser(account(name)).into()],
    };
    let tickets: Vec<_> = ["exp-1", "exp-1", "exp-2", "exp-1", "exp-2"]
        .map(|name| case.store.submit(batch(name)))
        .into_iter()
        .collect();
    let mut stored = Vec::new();
    for ticket in tickets {
        stored.push(ticket.await.is_ok());
    }
    assert_eq!(
        stored,
        [true, false, true, false, false],
        "one name, one user"
    );
}
