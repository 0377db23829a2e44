//! What the sweep takes off the disk.

use std::{collections::BTreeMap, path::Path, time::Duration};

use lyceum_model::{
    AccountChange, Batch, Placement, Position, Receipt, ReceiptKind, RoomChange, StateBefore,
    Timestamp, UnreadCounts,
};
use lyceum_storage::{Store, Swept};
use lyceum_storage_sql::{PostgresStore, SqliteOptions, SqliteStore};
use ruma_common::{OwnedEventId, OwnedUserId};

use crate::{
    messages::{event, heads, make_room, message, room_id},
    postgres_server::{drop_database, new_database, two_readers},
};

const TABLES: [&str; 12] = [
    "room_heads",
    "events",
    "redactions",
    "relations",
    "state_nodes",
    "state_roots",
    "memberships",
    "aliases",
    "receipts",
    "unread",
    "account_data",
    "purged_rooms",
];

#[tokio::test]
async fn a_purged_room_leaves_nothing_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lyceum.db");
    let open = || SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let store = open();
    make_room(&store, 1).await;
    let before = sqlite_rows(&path);
    fill_room(&store, 2).await;
    let full = sqlite_rows(&path);
    for table in TABLES.iter().filter(|table| **table != "aliases") {
        let is_more = full[table] > before[table];
        assert_eq!(is_more, *table != "purged_rooms", "{table}: {full:?}");
    }
    purge(&store, 2).await;
    // It goes on after a restart, from wherever it was.
    for steps in [1, 5, 3] {
        for _ in 0..steps {
            store.sweep().await.unwrap();
        }
    }
    store.close().await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), Swept::Nothing, "it is closed");
    drop(store);
    let store = open();
    sweep(&store).await;
    assert_eq!(sqlite_rows(&path), before);
    // Nothing is left to look at.
    assert_eq!(store.sweep().await.unwrap(), Swept::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_room_leaves_nothing_in_postgres() {
    let Some(url) = new_database("sweep").await else {
        return;
    };
    let open = || PostgresStore::open(&url, &two_readers()).unwrap();
    let (one, two) = (open(), open());
    make_room(&one, 1).await;
    let before = postgres_rows(&url).await;
    fill_room(&one, 2).await;
    purge(&two, 2).await;
    assert_ne!(one.sweep().await.unwrap(), Swept::Nothing);
    assert_eq!(
        two.sweep().await.unwrap(),
        Swept::Nothing,
        "one node sweeps at a time"
    );
    let (swept, ()) = tokio::join!(sweep(&one), async {
        // The same states come again and go again meanwhile, on another node.
        for _ in 0..5 {
            fill_room(&two, 2).await;
            purge(&two, 2).await;
        }
        fill_room(&two, 3).await;
    });
    assert!(swept > 0);
    sweep(&one).await;
    assert_eq!(one.sweep().await.unwrap(), Swept::Nothing);
    sweep(&two).await;
    let fresh = open();
    let room = fresh.room(&room_id(3)).await.unwrap().unwrap();
    assert_eq!(room.state.len(), 102);
    purge(&fresh, 3).await;
    sweep(&fresh).await;
    assert_eq!(postgres_rows(&url).await, before);
    for store in [one, two, fresh] {
        store.close().await.unwrap();
    }
    drop_database(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_go_between() {
    const EVENTS: u64 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lyceum.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let mut head = make_room(&store, 1).await;
    let mut other = make_room(&store, 2).await;
    let tickets: Vec<_> = (0..EVENTS)
        .map(|index| store.submit(message(1, 0, index, &mut head)))
        .collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let start = std::time::Instant::now();
    purge(&store, 1).await;
    let purged = start.elapsed();
    let mut waited = Duration::ZERO;
    let mut sent = 0;
    let (swept, ()) = tokio::join!(sweep(&store), async {
        // As many as there are steps at least, or the sweep would not have let them between.
        while sqlite_rows(&path)["purged_rooms"] > 0 {
            let start = std::time::Instant::now();
            store.submit(message(2, 0, sent, &mut other)).await.unwrap();
            waited = waited.max(start.elapsed());
            sent += 1;
        }
    });
    println!(
        "purged {EVENTS} events in {purged:?}, swept in {swept} steps; \
         {sent} messages between them waited {waited:?} at most"
    );
    assert!(swept as u64 >= EVENTS / 256, "in small portions");
    assert!(sent > 3, "{sent}");
}

#[tokio::test]
async fn the_log_stays_short_while_a_room_is_swept() {
    const LOG_BYTES_MAX: u64 = 1 << 20;
    const MEMBERS: u64 = 6_000;
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        log_bytes_max: LOG_BYTES_MAX,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(&folder.path().join("lyceum.db"), options).unwrap();
    let log = folder.path().join("lyceum.db-wal");
    let mut head = make_room(&store, 1).await;
    let tickets: Vec<_> = (0..MEMBERS)
        .map(|index| store.submit(joined(1, index, &mut head)))
        .collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let before = std::fs::metadata(&log).unwrap().len();
    purge(&store, 1).await;
    let mut longest = 0;
    while store.sweep().await.unwrap() != Swept::Nothing {
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    println!("the log had {before} bytes, and then {longest} at most");
    assert!(longest < before.max(8 * LOG_BYTES_MAX), "{longest}");
}

/// Sweeps until nothing is left; in how many steps that took something away.
async fn sweep(store: &dyn Store) -> usize {
    let mut removed = 0;
    for _ in 0..10_000 {
        match store.sweep().await.unwrap() {
            Swept::Nothing => return removed,
            Swept::Looked => {}
            Swept::Removed => removed += 1,
        }
    }
    panic!("the sweep does not end");
}

async fn purge(store: &dyn Store, room: u64) {
    let room_id = room_id(room);
    store
        .submit(RoomChange::Purge { room_id }.into())
        .await
        .unwrap();
}

/// A room with a hundred more members and all that a room can have.
async fn fill_room(store: &dyn Store, room: u64) {
    let mut head = make_room(store, room).await;
    let first = head.clone();
    for index in 0..100 {
        store.submit(joined(room, index, &mut head)).await.unwrap();
    }
    for index in 0..300 {
        let related = relation(room, &first, index);
        let mut batch = Batch::new();
        batch.push(RoomChange::Append {
            event: related.clone(),
            placement: Placement::Timeline,
            state_before: StateBefore::After(head.clone()),
        });
        if index % 50 == 0 {
            batch.push(RoomChange::Redact {
                redacted: related.clone(),
                because: head.clone(),
            });
        }
        head = related.id.clone();
        store.submit(batch).await.unwrap();
    }
    let mut batch = Batch::new();
    for index in 0..300 {
        let user_id: OwnedUserId = format!("@user{index}:example.org").try_into().unwrap();
        batch
            .push(AccountChange::AccountData {
                user_id: user_id.clone(),
                room_id: Some(room_id(room)),
                kind: "m.fully_read".to_owned(),
                content: Some("{}".to_owned()),
            })
            .push(AccountChange::PutReceipt(Receipt {
                room_id: room_id(room),
                user_id: user_id.clone(),
                kind: ReceiptKind::Read,
                thread: None,
                event_id: head.clone(),
                at: Timestamp(1),
                position: Position(0),
            }))
            .push(AccountChange::PutUnread(UnreadCounts {
                user_id,
                room_id: room_id(room),
                json: "{}".to_owned(),
            }));
    }
    store.submit(batch).await.unwrap();
}

/// The user with this number joins.
fn joined(room: u64, index: u64, head: &mut OwnedEventId) -> Batch {
    let member = event(
        room,
        "m.room.member",
        Some(&format!("@user{index}:example.org")),
        "{\"membership\":\"join\"}",
        Some(head),
        2 + index,
    );
    let before = std::mem::replace(head, member.id.clone());
    let mut batch = Batch::new();
    batch
        .push(RoomChange::Append {
            event: member,
            placement: Placement::Timeline,
            state_before: StateBefore::After(before),
        })
        .push(heads(room, head));
    batch
}

fn relation(room: u64, parent: &OwnedEventId, index: u64) -> std::sync::Arc<lyceum_model::Event> {
    let content = format!(
        "{{\"m.relates_to\":{{\"event_id\":\"{parent}\",\"key\":\"{index}\",\
         \"rel_type\":\"m.annotation\"}}}}"
    );
    event(room, "m.reaction", None, &content, None, 200 + index)
}

fn sqlite_rows(path: &Path) -> BTreeMap<&'static str, i64> {
    let file = rusqlite::Connection::open(path).unwrap();
    let count = |table| {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        file.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    TABLES.iter().map(|table| (*table, count(table))).collect()
}

async fn postgres_rows(url: &str) -> BTreeMap<&'static str, i64> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::task::spawn(connection);
    let mut rows = BTreeMap::new();
    for table in TABLES {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let row = client.query_one(&sql, &[]).await.unwrap();
        rows.insert(table, row.get(0));
    }
    drop(client);
    connection.await.unwrap().unwrap();
    rows
}
