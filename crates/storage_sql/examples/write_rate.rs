//! How many messages a second are made durable, alone and with others in flight, and what they
//! occupy on the disk.
//!
//! `cargo run --release -p lyceum_storage_sql --example write_rate [-- postgres://…/NAME]`;
//! the empty databases NAME1, NAME10 and NAME64 must be there.

#![allow(clippy::disallowed_methods, reason = "measures time")]

#[path = "../tests/it/messages.rs"]
mod messages;

use std::{path::Path, sync::Arc, time::Instant};

use lyceum_storage::Store;
use lyceum_storage_sql::{Figures, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use ruma_common::OwnedEventId;

use messages::{make_room, message};

const MESSAGES: u64 = 20_000;
const ROOMS: u64 = 10;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let url = std::env::args().nth(1);
    runtime.block_on(async {
        for in_flight in [1, 10, 64] {
            let messages = if in_flight == 1 {
                MESSAGES / 4
            } else {
                MESSAGES
            };
            if let Some(url) = &url {
                // An empty database each time, else the rooms are there already.
                let url = format!("{url}{in_flight}");
                let store =
                    Arc::new(PostgresStore::open(&url, &PostgresOptions::default()).expect("it"));
                let dynamic: Arc<dyn Store> = store.clone();
                measure(&dynamic, in_flight, messages, || store.figures()).await;
                store.close().await.expect("closed");
                continue;
            }
            let folder = tempfile::tempdir_in(".").expect("a folder");
            let path = folder.path().join("lyceum.db");
            let store = SqliteStore::open(&path, SqliteOptions::default()).expect("a store");
            let store = Arc::new(store);
            let dynamic: Arc<dyn Store> = store.clone();
            measure(&dynamic, in_flight, messages, || store.figures()).await;
            let with_log = folder_bytes(folder.path());
            store.close().await.expect("closed");
            println!(
                "    {} bytes on disk a message, {} with the log as it was at the end",
                folder_bytes(folder.path()) / messages,
                with_log / messages
            );
        }
    });
}

fn folder_bytes(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).expect("the folder");
    files
        .map(|file| {
            file.and_then(|file| file.metadata())
                .map_or(0, |file| file.len())
        })
        .sum()
}

async fn measure(
    store: &Arc<dyn Store>,
    in_flight: u64,
    messages: u64,
    figures: impl Fn() -> Figures,
) {
    let mut heads = Vec::new();
    for room in 0..ROOMS {
        heads.push(make_room(&**store, room).await);
    }
    let before = figures();
    let start = Instant::now();
    let mut tasks = Vec::new();
    let heads: Arc<Vec<OwnedEventId>> = Arc::new(heads);
    for worker in 0..in_flight {
        let store = Arc::clone(store);
        let heads = Arc::clone(&heads);
        // Each worker has a branch of its own, as if rooms took turns without waiting.
        tasks.push(tokio::task::spawn(async move {
            let room = worker % ROOMS;
            let mut previous = heads[room as usize].clone();
            let mut slowest = 0;
            for index in 0..messages / in_flight {
                let batch = message(room, worker, index, &mut previous);
                let start = Instant::now();
                store.submit(batch).await.expect("stored");
                slowest = slowest.max(start.elapsed().as_micros());
            }
            slowest
        }));
    }
    let mut slowest = 0;
    for task in tasks {
        slowest = slowest.max(task.await.expect("no panic"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = figures();
    println!(
        "{in_flight} in flight: {:.0} messages/s, {:.2} ms each, slowest {:.1} ms, {:.1} batches a \
         group, last fsync {} µs, last group {} µs, log {} KiB",
        messages as f64 / seconds,
        seconds * 1000.0 * in_flight as f64 / messages as f64,
        slowest as f64 / 1000.0,
        (after.commits - before.commits) as f64 / (after.groups - before.groups) as f64,
        after.last_commit_us,
        after.last_group_us,
        after.log_bytes / 1024,
    );
}
