//! What SQLite does with the disk: groups, the log, a full disk, one process only.

use std::sync::Arc;

use lyceum_model::{AccountChange, Batch, Change, Expect, Position, Seq};
use lyceum_storage::{CommitError, Direction, StorageError, Store, TimelinePage};
use lyceum_storage_sql::{SqliteOptions, SqliteStore};
use parking_lot::Mutex;
use ruma_common::owned_user_id;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::messages::{event, heads, make_room, message, room_id};

fn open(folder: &TempDir, options: SqliteOptions) -> SqliteStore {
    SqliteStore::open(&folder.path().join("lyceum.db"), options).unwrap()
}

fn setting(key: impl Into<String>, value: impl Into<String>) -> Batch {
    Batch {
        expects: Vec::new(),
        changes: vec![Change::Setting {
            key: key.into(),
            value: Some(value.into()),
        }],
    }
}

#[tokio::test]
async fn batches_that_wait_share_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let told: Arc<Mutex<Vec<u64>>> = Arc::default();
    let listener = Arc::clone(&told);
    store.listen(Box::new(move |published| {
        listener.lock().push(published.position.0)
    }));
    let tickets: Vec<_> = (0..500)
        .map(|index| store.submit(setting("key", index.to_string())))
        .collect();
    for (index, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap().position, Position(index as u64 + 1));
        assert!(
            told.lock().contains(&(index as u64 + 1)),
            "the listener is told first"
        );
    }
    assert_eq!(*told.lock(), (1..=500).collect::<Vec<u64>>());
    let figures = store.figures();
    assert_eq!(figures.commits, 500);
    assert!(figures.groups < 100, "{figures:?}");
    assert_eq!(store.setting("key").await.unwrap().as_deref(), Some("499"));
}

#[tokio::test]
async fn one_bad_batch_does_not_take_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let mut tickets = Vec::new();
    for index in 0..60 {
        tickets.push(store.submit(match index % 3 {
            0 => setting(format!("key{index}"), "value"),
            // A room that nobody made.
            1 => heads(99, &event(99, "m.room.message", None, "{}", None, 1).id).into(),
            _ => {
                let mut batch = setting("never", "stored");
                batch.expect(Expect::UserExists(owned_user_id!("@nobody:example.org")));
                batch
            }
        }));
    }
    let mut position = 0;
    for (index, ticket) in tickets.into_iter().enumerate() {
        match (index % 3, ticket.await) {
            (0, Ok(committed)) => {
                position += 1;
                assert_eq!(committed.position, Position(position));
            }
            (1, Err(CommitError::Storage(StorageError::Broken(_))))
            | (2, Err(CommitError::Stale(Expect::UserExists(_)))) => {}
            (kind, outcome) => panic!("batch {index} of kind {kind}: {outcome:?}"),
        }
    }
    assert_eq!(store.setting("never").await.unwrap(), None);
    assert_eq!(store.position(), Position(20));
}

#[tokio::test]
async fn nobody_else_opens_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let path = folder.path().join("lyceum.db");
    let second = SqliteStore::open(&path, SqliteOptions::default());
    assert!(
        matches!(second, Err(StorageError::Unreachable(_))),
        "{second:?}"
    );
    store.close().await.unwrap();
    SqliteStore::open(&path, SqliteOptions::default()).unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_writes_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let mut head = make_room(&store, 1).await;
    store.submit(message(1, 0, 0, &mut head)).await.unwrap();
    store.limit_bytes(Some(600 << 10));
    let mut stored: u64 = 1;
    loop {
        let before = head.clone();
        // Several at once, so that whole groups fail.
        let batches: Vec<Batch> = (0..5)
            .map(|index| message(1, 0, stored + index, &mut head))
            .collect();
        let filler = setting(format!("filler{stored}"), "x".repeat(2000));
        let tickets: Vec<_> = batches
            .into_iter()
            .chain([filler])
            .map(|batch| store.submit(batch))
            .collect();
        let mut outcomes = Vec::new();
        for ticket in tickets {
            outcomes.push(ticket.await);
        }
        let count = outcomes
            .iter()
            .take(5)
            .filter(|outcome| outcome.is_ok())
            .count();
        stored += count as u64;
        if outcomes.iter().all(Result::is_ok) {
            continue;
        }
        assert!(
            outcomes
                .iter()
                .any(|outcome| matches!(outcome, Err(CommitError::Storage(StorageError::Full)))),
            "{outcomes:?}"
        );
        // Where the room really stands, for what follows.
        head = store.room(&room_id(1)).await.unwrap().unwrap().heads[0]
            .event_id
            .clone();
        assert!(count > 0 || head == before);
        break;
    }
    let record = store.room(&room_id(1)).await.unwrap().unwrap();
    assert_eq!(record.last_seq, Seq(2 + stored as i64), "reading goes on");
    store.limit_bytes(None);
    for index in 0..20 {
        store
            .submit(message(1, 1, stored + index, &mut head))
            .await
            .unwrap();
    }
    let record = store.room(&room_id(1)).await.unwrap().unwrap();
    assert_eq!(
        record.last_seq,
        Seq(22 + stored as i64),
        "there is room again"
    );
    let position = store.position();
    store.close().await.unwrap();
    drop(store);
    let store = open(&folder, SqliteOptions::default());
    assert_eq!(store.position(), position);
}

#[tokio::test]
async fn the_log_stays_short_under_constant_load() {
    const LOG_BYTES_MAX: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = open(
        &folder,
        SqliteOptions {
            log_bytes_max: LOG_BYTES_MAX,
            ..SqliteOptions::default()
        },
    );
    let log = folder.path().join("lyceum.db-wal");
    let mut longest = 0;
    for group in 0..600 {
        let tickets: Vec<_> = (0..4)
            .map(|index| {
                let user_id = owned_user_id!("@alice:example.org");
                store.submit(
                    AccountChange::PutFilter {
                        user_id,
                        filter_id: format!("{group}-{index}"),
                        json: "x".repeat(6000),
                    }
                    .into(),
                )
            })
            .collect();
        for ticket in tickets {
            ticket.await.unwrap();
        }
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    // 14 MB went through it. It is looked at every 64 groups, while writing goes on.
    println!("the log had at most {longest} bytes");
    assert!(longest < 8 * LOG_BYTES_MAX, "{longest}");
}

#[tokio::test]
async fn the_log_is_made_long_beside_commits_that_a_crash_leaves() {
    const LOG_BYTES_MAX: u64 = 16 << 20;
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        log_bytes_max: LOG_BYTES_MAX,
        ..SqliteOptions::default()
    };
    let store = open(&folder, options);
    let log = folder.path().join("lyceum.db-wal");
    let mut head = make_room(&store, 1).await;
    let mut stored = 0;
    // Written meanwhile, it is far less than that.
    while std::fs::metadata(&log).unwrap().len() < LOG_BYTES_MAX / 2 {
        store
            .submit(message(1, 1, stored, &mut head))
            .await
            .unwrap();
        stored += 1;
        assert!(stored < 100_000, "the log's file stays short");
    }
    store.abandon();
    drop(store);
    let store = open(&folder, options);
    let record = store.room(&room_id(1)).await.unwrap().unwrap();
    assert_eq!(record.heads[0].event_id, head);
    assert_eq!(record.last_seq, Seq(2 + stored as i64));
    store.close().await.unwrap();
    assert_eq!(std::fs::metadata(&log).map_or(0, |log| log.len()), 0);
}

#[tokio::test]
async fn a_message_needs_few_bytes() {
    const MESSAGES: u64 = 3000;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let mut heads = Vec::new();
    for room in 0..10 {
        heads.push(make_room(&store, room).await);
    }
    let mut tickets = Vec::new();
    for index in 0..MESSAGES {
        let room = index % 10;
        tickets.push(store.submit(message(room, room, index, &mut heads[room as usize])));
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    store.close().await.unwrap();
    let bytes = std::fs::metadata(folder.path().join("lyceum.db"))
        .unwrap()
        .len();
    println!(
        "a short message occupies {} bytes on the disk, with everything",
        bytes / MESSAGES
    );
    assert!(bytes / MESSAGES < 700, "{}", bytes / MESSAGES);
}

#[tokio::test]
async fn events_whose_hashes_collide_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let mut head = make_room(&store, 1).await;
    store.submit(message(1, 0, 0, &mut head)).await.unwrap();
    let first = head.clone();
    store.close().await.unwrap();
    drop(store);
    let second = message(1, 0, 1, &mut head);
    // Now the first event lies where the second one will be looked for.
    let digest = Sha256::digest(head.as_bytes());
    let hash = i64::from_le_bytes(digest[..8].try_into().unwrap());
    let file = rusqlite::Connection::open(folder.path().join("lyceum.db")).unwrap();
    let changed = file
        .execute(
            "UPDATE events SET hash = ?1 WHERE number = (SELECT MAX(number) FROM events)",
            [hash],
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(file);
    let store = open(&folder, SqliteOptions::default());
    assert!(
        store
            .events(std::slice::from_ref(&head))
            .await
            .unwrap()
            .is_empty()
    );
    // Its hash is another one now; so the state is told in another way.
    let mut second = second;
    for change in &mut second.changes {
        if let Change::Room(lyceum_model::RoomChange::Append { state_before, .. }) = change {
            *state_before = lyceum_model::StateBefore::Empty;
        }
    }
    let committed = store.submit(second).await.unwrap();
    assert_eq!(committed.appended[0].seq, Some(Seq(4)));
    let found = store.events(std::slice::from_ref(&head)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].event.id, head);
    assert!(
        store.events(&[first]).await.unwrap().is_empty(),
        "it lies elsewhere now"
    );
}

#[tokio::test]
async fn an_existing_database_opens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let mut head = make_room(&store, 1).await;
    for index in 0..50 {
        store.submit(message(1, 0, index, &mut head)).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let start = std::time::Instant::now();
    let store = open(&folder, SqliteOptions::default());
    let record = store.room(&room_id(1)).await.unwrap().unwrap();
    println!(
        "opened and read a room in {} µs",
        start.elapsed().as_micros()
    );
    assert_eq!(record.state.len(), 2);
    assert_eq!(record.last_seq, Seq(52));
    let page = TimelinePage {
        room_id: room_id(1),
        from: Seq(i64::MAX),
        until: None,
        up_to: store.position(),
        direction: Direction::Backward,
        limit: 10,
    };
    assert_eq!(store.timeline(page).await.unwrap()[0].event.id, head);
}

#[tokio::test]
async fn places_are_found_where_events_were_erased() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, SqliteOptions::default());
    let mut head = make_room(&store, 1).await;
    // Position and place of each commit's newest event.
    let mut places = vec![(1, 2)];
    let mut ids = Vec::new();
    for index in 0..150 {
        store.submit(message(1, 0, index, &mut head)).await.unwrap();
        places.push((index + 2, index as i64 + 3));
        ids.push(head.clone());
    }
    let erased: Vec<usize> = (0..150)
        .filter(|index| index % 7 < 4 && *index < 149)
        .collect();
    let event_ids = erased.iter().map(|index| ids[*index].clone()).collect();
    let erase = lyceum_model::RoomChange::EraseEvents {
        room_id: room_id(1),
        event_ids,
    };
    store.submit(erase.into()).await.unwrap();
    places.retain(|(position, _)| !erased.contains(&(*position as usize).wrapping_sub(2)));
    for at in 0..=152 {
        let newest = places.iter().rev().find(|(position, _)| *position <= at);
        let expected = newest.map_or(0, |(_, seq)| *seq);
        assert_eq!(
            store.seq_at(&room_id(1), Position(at)).await.unwrap(),
            Seq(expected),
            "{at}"
        );
    }
}
