//! Reading by `/sync`: the first one of a person with 50 rooms, and those that find nothing new.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::clock::now;
use crate::load::{load, median};
use crate::sheet::{Better, Sheet};
use crate::world::{self, Account, Made, World, segment, text_of, unbounded_time};

const ROOMS: usize = 50;
const MESSAGES: usize = 20;
const ROUNDS_MAX: usize = 10;
const IDLE_MAX: u64 = 100_000;

/// Initial syncs, each on a new device so that no answer comes from a cache of answers.
pub(super) async fn initial(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let reader = reader(world).await?;
    let mut connection = world.server.connection();
    let filter = json!({ "room": { "timeline": { "limit": MESSAGES } } }).to_string();
    let path = format!(
        "/_matrix/client/v3/sync?timeout=0&filter={}",
        segment(&filter)
    );
    let (mut times_ms, mut cpu_ms, mut bytes) = (Vec::new(), 0.0, 0);
    let start = now();
    while times_ms.len() < ROUNDS_MAX && start.elapsed() < world.budget {
        let device = world::log_in(&mut connection, &reader).await?;
        let before = world.server.usage();
        let began = now();
        let answer = connection.get(&path, &device.token).await?;
        times_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        cpu_ms += world.server.usage().since(before).cpu_ms;
        bytes = answer.body.len();
        verify(&answer.accepted()?)?;
    }
    let (server, rounds) = (&world.server.name, times_ms.len() as f64);
    let id = ("sync.initial.ms", "initial sync, 50 rooms of 20 messages");
    sheet.put(server, id, ("ms", Better::Lower), median(&times_ms));
    let id = ("sync.initial.cpu", "initial sync: CPU of the server");
    sheet.put(server, id, ("ms", Better::Lower), cpu_ms / rounds);
    let id = ("sync.initial.kib", "initial sync: size");
    sheet.put(server, id, ("KiB", Better::Neither), bytes as f64 / 1024.0);
    Ok(())
}

/// Incremental syncs from now with `timeout=0`.
pub(super) async fn idle(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let reader = reader(world).await?;
    let mut connection = world.server.connection();
    let mut since = None;
    // Until two syncs in a row find nothing: the state of rest that is measured.
    for _ in 0..20 {
        let path = idle_path(since.as_deref());
        let answer = connection.get(&path, &reader.token).await?.accepted()?;
        let is_at_rest = since.is_some() && is_empty(&answer);
        since = Some(text_of(&answer, "next_batch")?);
        if is_at_rest {
            break;
        }
    }
    let path = idle_path(since.as_deref());
    for in_flight in [1, 10] {
        let (reader, path) = (Arc::clone(&reader), path.clone());
        let workers = world.server.connections(in_flight).await?;
        let before = world.server.usage();
        let (load, _) = load(workers, world.bound(IDLE_MAX), move |mut connection, _| {
            let (reader, path) = (Arc::clone(&reader), path.clone());
            async move {
                let answer = connection.get(&path, &reader.token).await?.accepted()?;
                ensure!(is_empty(&answer), "an idle sync has something: {answer}");
                text_of(&answer, "next_batch")?;
                Ok(connection)
            }
        })
        .await?;
        let used = world.server.usage().since(before);
        let server = &world.server.name;
        let id = (
            format!("sync.idle.{in_flight}.rate"),
            format!("idle sync, {in_flight} in flight"),
        );
        sheet.put(server, id, ("/s", Better::Higher), load.rate());
        let label = format!("idle sync, {in_flight} in flight: CPU of the server");
        let id = (format!("sync.idle.{in_flight}.cpu"), label);
        sheet.put(
            server,
            id,
            ("ms", Better::Lower),
            used.cpu_ms / load.count.max(1) as f64,
        );
    }
    Ok(())
}

fn idle_path(since: Option<&str>) -> String {
    let since = since.map_or(String::new(), |since| format!("&since={}", segment(since)));
    format!("/_matrix/client/v3/sync?timeout=0{since}")
}

fn is_empty(answer: &Value) -> bool {
    answer["rooms"]["join"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
}

fn text(room: usize, message: usize) -> String {
    format!("message {message} in room {room}: see you at the lecture at ten")
}

/// The account with 50 rooms of 20 messages, made once.
async fn reader(world: &mut World) -> Result<Arc<Account>> {
    if let Some(reader) = &world.reader {
        return Ok(Arc::clone(reader));
    }
    let mut connection = world.server.connection();
    let localpart = format!("reader-{}", world.tag);
    let secret = world.server.shared_secret.clone();
    let reader = Arc::new(world::register(&mut connection, &secret, &localpart, false).await?);
    let owner = Arc::clone(&reader);
    world
        .prepare(
            unbounded_time(ROOMS),
            move |mut worker: Made<()>, ticket| {
                let owner = Arc::clone(&owner);
                async move {
                    let body =
                        json!({ "preset": "private_chat", "name": format!("Room {ticket}") });
                    let connection = &mut worker.connection;
                    let room = world::create_room(connection, &owner, &body).await?;
                    for message in 0..MESSAGES {
                        let text = text(ticket as usize, message);
                        let transaction_id = format!("reader-{ticket}-{message}");
                        world::send_text(connection, &owner, &room.id, &transaction_id, &text)
                            .await?;
                    }
                    Ok(worker)
                }
            },
        )
        .await?;
    world.reader = Some(Arc::clone(&reader));
    Ok(reader)
}

/// Every room has its last 20 messages, in order, and its name.
fn verify(answer: &Value) -> Result<()> {
    let rooms = answer["rooms"]["join"]
        .as_object()
        .context("no joined rooms")?;
    ensure!(
        rooms.len() == ROOMS,
        "{} rooms instead of {ROOMS}",
        rooms.len()
    );
    for (room_id, room) in rooms {
        let events = room["timeline"]["events"]
            .as_array()
            .context("no timeline")?;
        ensure!(
            events.len() == MESSAGES,
            "{room_id}: {} events",
            events.len()
        );
        let bodies: Vec<&str> = events
            .iter()
            .filter_map(|event| event["content"]["body"].as_str())
            .collect();
        let state = room["state"]["events"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let name = state
            .iter()
            .find(|event| event["type"] == "m.room.name")
            .and_then(|event| event["content"]["name"].as_str()?.strip_prefix("Room "))
            .and_then(|number| number.parse::<usize>().ok())
            .with_context(|| format!("{room_id} has no name"))?;
        let expected: Vec<String> = (0..MESSAGES).map(|message| text(name, message)).collect();
        ensure!(bodies == expected, "{room_id}: the messages are {bodies:?}");
    }
    Ok(())
}
