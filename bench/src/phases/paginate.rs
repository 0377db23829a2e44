//! Back-pagination through a long room, newest first.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::clock::now;
use crate::connection::Connection;
use crate::load::{Bound, median};
use crate::sheet::{Better, Sheet};
use crate::world::{Account, World, segment, text_of};

/// What clients ask for when somebody scrolls up.
const PAGE: usize = 50;
/// What the driver asks for when it reads a room back to verify it.
const LARGE_PAGE: usize = 500;
/// No room of a run is longer.
const PAGES_MAX: usize = 5_000;
const MEASURED_PAGES_MAX: usize = 1_000;
/// Messages of the room that is made when no other phase has made one.
const MESSAGES: u64 = 1_000;

/// A message as read back.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) event_id: String,
    pub(super) text: String,
}

pub(super) async fn run(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let room = match world.long_room.clone() {
        Some(room) => room,
        None => make_long_room(world).await?,
    };
    let mut connection = world.server.connection();
    connection.open().await?;
    let (mut times_ms, mut events) = (Vec::new(), 0);
    let mut from = None;
    let before = world.server.usage();
    let start = now();
    while start.elapsed() < world.budget && times_ms.len() < MEASURED_PAGES_MAX {
        let began = now();
        let path = page_path(&room.id, PAGE, from.as_deref());
        let answer = connection.get(&path, &room.owner.token).await?;
        times_ms.push(began.elapsed().as_secs_f64() * 1000.0);
        let page = answer.accepted()?;
        let chunk = page["chunk"].as_array().map_or(0, Vec::len);
        events += chunk;
        from = page["end"].as_str().map(str::to_owned);
        if from.is_none() {
            break;
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let used = world.server.usage().since(before);
    ensure!(events > 0, "the room has no history");
    let (server, pages) = (&world.server.name, times_ms.len() as f64);
    let id = ("paginate.ms", "page of 50 backwards");
    sheet.put(server, id, ("ms", Better::Lower), median(&times_ms));
    let id = ("paginate.rate", "events read backwards");
    sheet.put(server, id, ("/s", Better::Higher), events as f64 / elapsed);
    let id = ("paginate.cpu", "page of 50 backwards: CPU of the server");
    sheet.put(server, id, ("ms", Better::Lower), used.cpu_ms / pages);
    Ok(())
}

/// All messages of a room, newest first; every event once.
pub(super) async fn read_all(
    connection: &mut Connection,
    account: &Account,
    room_id: &str,
) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let path = page_path(room_id, LARGE_PAGE, from.as_deref());
        let page = connection.get(&path, &account.token).await?.accepted()?;
        let chunk = page["chunk"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for event in chunk
            .iter()
            .filter(|event| event["type"] == "m.room.message")
        {
            messages.push(message_of(event)?);
        }
        match page["end"].as_str() {
            Some(end) if from.as_deref() != Some(end) => from = Some(end.to_owned()),
            _ => return Ok(messages),
        }
    }
    anyhow::bail!("the history of {room_id} does not end")
}

fn message_of(event: &Value) -> Result<Message> {
    Ok(Message {
        event_id: text_of(event, "event_id")?,
        text: text_of(&event["content"], "body")?,
    })
}

fn page_path(room_id: &str, limit: usize, from: Option<&str>) -> String {
    let from = from.map_or(String::new(), |from| format!("&from={}", segment(from)));
    format!(
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit={limit}{from}",
        segment(room_id)
    )
}

async fn make_long_room(world: &mut World) -> Result<crate::world::Room> {
    let people = world.accounts(10).await?;
    let room = world.public_room(&people[0], &people[1..]).await?;
    let plan = super::send::Plan {
        label: "history".to_owned(),
        rooms: vec![room.clone()].into(),
        people: people.into(),
    };
    let bound = Bound {
        time: world.budget * 4,
        count_max: MESSAGES,
    };
    let (_, sent) = plan.send(world, 10, bound).await?;
    super::send::verify(world, std::slice::from_ref(&room), &sent).await?;
    world.long_room = Some(room.clone());
    Ok(room)
}
