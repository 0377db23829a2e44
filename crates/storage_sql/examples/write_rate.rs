//! How many messages a second are made durable, alone and with others in flight, and what they
//! occupy on the disk.
//!
//! `cargo run --release -p lyceum_storage_sql --example write_rate [-- postgres://…]`

#![allow(clippy::disallowed_methods, reason = "measures time")]

use std::{sync::Arc, time::Instant};

use lyceum_model::{
    Batch, Event, Expect, Placement, RoomChange, RoomHead, RoomHeads, StateBefore, Timestamp,
    TransactionId, TransactionOutcome,
};
use lyceum_storage::Store;
use lyceum_storage_sql::{Figures, SqliteOptions, SqliteStore};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomVersionId};
use sha2::{Digest, Sha256};

const MESSAGES: u64 = 20_000;
const ROOMS: u64 = 10;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for in_flight in [1, 10, 64] {
            let folder = tempfile::tempdir_in(".").expect("a folder");
            let path = folder.path().join("lyceum.db");
            let store = SqliteStore::open(&path, SqliteOptions::default()).expect("a store");
            let store = Arc::new(store);
            let bytes = || {
                std::fs::read_dir(folder.path())
                    .expect("the folder")
                    .map(|file| {
                        file.and_then(|file| file.metadata())
                            .map_or(0, |file| file.len())
                    })
                    .sum::<u64>()
            };
            let messages = if in_flight == 1 {
                MESSAGES / 4
            } else {
                MESSAGES
            };
            measure(
                &(Arc::clone(&store) as Arc<dyn Store>),
                in_flight,
                messages,
                || store.figures(),
            )
            .await;
            let with_log = bytes();
            store.close().await.expect("closed");
            println!(
                "    {} bytes on disk a message, {} with the log as it was at the end",
                bytes() / messages,
                with_log / messages
            );
        }
    });
}

async fn measure(
    store: &Arc<dyn Store>,
    in_flight: u64,
    messages: u64,
    figures: impl Fn() -> Figures,
) {
    let mut heads = Vec::new();
    for room in 0..ROOMS {
        heads.push(make_room(store, room).await);
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

async fn make_room(store: &Arc<dyn Store>, room: u64) -> OwnedEventId {
    let create = event(
        room,
        "m.room.create",
        Some(""),
        "{\"room_version\":\"12\"}",
        None,
        0,
    );
    let member = event(
        room,
        "m.room.member",
        Some("@alice:example.org"),
        "{\"membership\":\"join\"}",
        Some(&create.id),
        1,
    );
    let id = member.id.clone();
    let mut batch = Batch::new();
    batch
        .push(RoomChange::Create {
            room_id: room_id(room),
            version: RoomVersionId::V12,
        })
        .push(RoomChange::Append {
            event: Arc::clone(&create),
            placement: Placement::Timeline,
            state_before: StateBefore::Empty,
        })
        .push(RoomChange::Append {
            event: member,
            placement: Placement::Timeline,
            state_before: StateBefore::After(create.id.clone()),
        })
        .push(heads(room, &id));
    store.submit(batch).await.expect("stored");
    id
}

fn message(room: u64, worker: u64, index: u64, previous: &mut OwnedEventId) -> Batch {
    let content = format!(
        "{{\"body\":\"Message {index} of {worker}: shall we meet at five?\",\"msgtype\":\"m.text\"}}"
    );
    let event = event(
        room,
        "m.room.message",
        None,
        &content,
        Some(previous),
        index + 2,
    );
    let id = TransactionId {
        user_id: event.sender.clone(),
        device_id: format!("DEVICE{worker}").into(),
        scope: format!("send/{}/m.room.message", event.room_id),
        transaction_id: format!("m{index}.{worker}"),
    };
    let mut batch = Batch::new();
    batch
        .expect(Expect::TransactionAbsent(id.clone()))
        .push(RoomChange::Append {
            event: Arc::clone(&event),
            placement: Placement::Timeline,
            state_before: StateBefore::After(previous.clone()),
        })
        .push(heads(room, &event.id))
        .push(RoomChange::Transaction {
            id,
            outcome: TransactionOutcome::Event(event.id.clone()),
            at: Timestamp(1_795_398_012_345 + index),
        });
    *previous = event.id.clone();
    batch
}

fn heads(room: u64, id: &EventId) -> RoomChange {
    RoomChange::Heads {
        room_id: room_id(room),
        heads: RoomHeads {
            heads: vec![RoomHead {
                event_id: id.to_owned(),
                depth: 1,
            }],
            state: StateBefore::After(id.to_owned()),
        },
    }
}

fn room_id(room: u64) -> OwnedRoomId {
    format!("!{}", base64(&digest(&[room])))
        .try_into()
        .expect("a room id")
}

fn event(
    room: u64,
    kind: &str,
    state_key: Option<&str>,
    content: &str,
    previous: Option<&EventId>,
    depth: u64,
) -> Arc<Event> {
    let seed = [room, depth, content.len() as u64];
    let mut hasher = Sha256::new();
    hasher.update(content);
    hasher.update(digest(&seed));
    let hash: [u8; 32] = hasher.finalize().into();
    let id: OwnedEventId = format!("${}", base64(&hash).replace('+', "-").replace('/', "_"))
        .try_into()
        .expect("an id");
    let auth: Vec<String> = (0..3)
        .map(|index| {
            let id = base64(&digest(&[room, index]))
                .replace('+', "-")
                .replace('/', "_");
            format!("\"${id}\"")
        })
        .collect();
    let signature: Vec<u8> = [digest(&hash.map(u64::from)), digest(&seed)].concat();
    let json = format!(
        "{{\"auth_events\":[{}],\"content\":{content},\"depth\":{depth},\"hashes\":{{\"sha256\":\"{}\"}},\
         \"origin_server_ts\":{},\"prev_events\":[{}],\"room_id\":\"{}\",\
         \"sender\":\"@alice:example.org\",\"signatures\":{{\"example.org\":{{\"ed25519:a_Qwer\":\"{}\"}}}},{}\
         \"type\":\"{kind}\"}}",
        auth.join(","),
        base64(&digest(&hash.map(u64::from))),
        1_795_398_012_345 + depth,
        previous.map_or_else(String::new, |id| format!("\"{id}\"")),
        room_id(room),
        base64(&signature),
        state_key.map_or_else(String::new, |key| format!("\"state_key\":\"{key}\",")),
    );
    Arc::new(Event::from_pdu(id, Some(room_id(room)), json.into()).expect("an event"))
}

fn digest(numbers: &[u64]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for number in numbers {
        hasher.update(number.to_le_bytes());
    }
    hasher.finalize().into()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(char::from(
                LETTERS[(bits >> (18 - 6 * index) & 63) as usize],
            ));
        }
    }
    out
}
