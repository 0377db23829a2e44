//! A process that is killed while it writes loses nothing that was acknowledged, and leaves
//! nothing half done.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use lyceum_model::{Position, Seq, TransactionId, TransactionOutcome};
use lyceum_storage::{Direction, Store, TimelinePage};
use lyceum_storage_sql::{SqliteOptions, SqliteStore};

use crate::messages::{make_room, message, room_id};

const FOLDER: &str = "LYCEUM_TEST_CRASH_FOLDER";
const ROUNDS: u64 = 6;
const WORKERS: u64 = 8;

/// The process that is killed; does nothing unless it was started by the test below.
#[tokio::test(flavor = "multi_thread")]
async fn writes_until_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let (folder, round) = folder.rsplit_once('#').unwrap();
    let round: u64 = round.parse().unwrap();
    let store = SqliteStore::open(
        &Path::new(folder).join("lyceum.db"),
        SqliteOptions {
            log_bytes_max: 256 << 10,
            ..SqliteOptions::default()
        },
    )
    .unwrap();
    let workers = (0..WORKERS).map(async |worker| {
        let room = round * WORKERS + worker;
        let mut head = make_room(&store, room).await;
        for index in 0.. {
            store
                .submit(message(room, worker, index, &mut head))
                .await
                .unwrap();
            // One write, so that lines of several workers stay whole.
            let line = format!("stored {room} {index}\n");
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        }
    });
    futures_util::future::join_all(workers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<i64> = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.resize(((round + 1) * WORKERS) as usize, -1);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sqlite_crash::writes_until_killed",
                "--nocapture",
            ])
            .env(FOLDER, format!("{}#{round}", folder.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        for line in lines {
            let line = line.unwrap();
            let Some(stored) = line.split_once("stored ").map(|(_, stored)| stored) else {
                continue;
            };
            let (room, index) = stored.split_once(' ').unwrap();
            let room: usize = room.parse().unwrap();
            acknowledged[room] = acknowledged[room].max(index.parse().unwrap());
            count += 1;
            if count == 150 * (round + 1) {
                // SIGKILL; what it still wrote into the pipe was acknowledged too.
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it was killed");
        check(folder.path(), &acknowledged).await;
    }
}

async fn check(folder: &Path, acknowledged: &[i64]) {
    let store = SqliteStore::open(&folder.join("lyceum.db"), SqliteOptions::default()).unwrap();
    let mut batches = 0;
    for (room, acknowledged) in acknowledged.iter().enumerate() {
        let room = room as u64;
        let Some(record) = store.room(&room_id(room)).await.unwrap() else {
            assert_eq!(*acknowledged, -1);
            continue;
        };
        // Two events make the room, in one batch.
        let messages = record.last_seq.0 - 2;
        assert!(
            messages > *acknowledged,
            "{messages} of {acknowledged} are there"
        );
        assert_eq!(record.revision, messages as u64 + 1);
        batches += 1 + messages as u64;
        let page = TimelinePage {
            room_id: room_id(room),
            from: Seq(1),
            until: None,
            up_to: Position(u64::MAX >> 1),
            direction: Direction::Forward,
            limit: usize::MAX >> 1,
        };
        let timeline = store.timeline(page).await.unwrap();
        assert_eq!(timeline.len() as i64, record.last_seq.0);
        assert_eq!(timeline.last().unwrap().event.id, record.heads[0].event_id);
        for (index, stored) in timeline.iter().skip(2).enumerate() {
            let id = TransactionId {
                user_id: stored.event.sender.clone(),
                device_id: format!("DEVICE{}", room % WORKERS).into(),
                scope: format!("send/{}/m.room.message", stored.event.room_id),
                transaction_id: format!("m{index}.{}", room % WORKERS),
            };
            assert_eq!(
                store.transaction(&id).await.unwrap(),
                Some(TransactionOutcome::Event(stored.event.id.clone()))
            );
        }
    }
    assert_eq!(store.position(), Position(batches), "positions have no gap");
    store.close().await.unwrap();
}
