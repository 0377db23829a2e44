//! Sending messages: rates and costs with 1, 10 and 64 in flight, and disk bytes a message.
//!
//! Afterwards every room is read back to its beginning: each acknowledged message must be there
//! once, under its event id, in its room, with its body, and none that was not acknowledged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::paginate::read_all;
use crate::connection::Connection;
use crate::load::{Bound, Load, load};
use crate::process::{Usage, disk_bytes};
use crate::sheet::{Better, Sheet};
use crate::world::{self, Account, Room, World};

/// Members of the one room, all of whom send.
const PEOPLE: usize = 10;
/// Rooms of the other load; two members each.
const ROOMS: usize = 20;
/// Messages of one load, so that reading back stays short.
const MESSAGES_MAX: u64 = 30_000;
/// For background work of a server that runs on, before the disk is looked at.
const SETTLE: Duration = Duration::from_millis(1500);

/// The body of a message: short, and different from all others.
pub(super) fn text_of(label: &str, ticket: u64) -> String {
    format!("message {ticket} of {label}: see you at the lecture at ten")
}

/// The rows that describe one load of sends.
pub(super) fn put_figures(
    sheet: &mut Sheet,
    server: &str,
    (id, label): (&str, &str),
    in_flight: usize,
    load: &Load,
    used: Usage,
) {
    let count = load.count.max(1) as f64;
    let id = format!("send.{id}.{in_flight}");
    let label = format!("send, {label}, {in_flight} in flight");
    let mut put = |part: &str, what: &str, unit: (&'static str, Better), value: f64| {
        sheet.put(
            server,
            (format!("{id}.{part}"), format!("{label}{what}")),
            unit,
            value,
        );
    };
    put("rate", "", ("/s", Better::Higher), load.rate());
    put(
        "p50",
        ": median",
        ("ms", Better::Lower),
        load.latency_ms(0.5),
    );
    put(
        "p99",
        ": 99 %",
        ("ms", Better::Lower),
        load.latency_ms(0.99),
    );
    put(
        "cpu",
        ": CPU of the server",
        ("ms", Better::Lower),
        used.cpu_ms / count,
    );
    put(
        "flushes",
        ": disk flushes a message",
        ("", Better::Neither),
        used.flushes as f64 / count,
    );
}

pub(super) async fn rates(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let people = world.accounts(PEOPLE).await?;
    let one = vec![world.public_room(&people[0], &people[1..]).await?];
    let mut many = Vec::new();
    for index in 0..ROOMS {
        let (owner, other) = (&people[index % PEOPLE], &people[(index + 1) % PEOPLE]);
        many.push(
            world
                .public_room(owner, std::slice::from_ref(other))
                .await?,
        );
    }
    world.long_room = Some(one[0].clone());

    for (id, label, rooms) in [("one", "one room", one), ("many", "20 rooms", many)] {
        let mut sent = Vec::new();
        for in_flight in [1, 10, 64] {
            let plan = Plan {
                label: format!("{id}-{in_flight}"),
                rooms: Arc::new(rooms.clone()),
                people: Arc::new(people.clone()),
            };
            // Caches fill before the measured load, as they have on a server that runs.
            let warm = Bound {
                time: world.budget / 8,
                count_max: 50,
            };
            sent.extend(
                plan.with_label("warm")
                    .send(world, in_flight.min(10), warm)
                    .await?
                    .1,
            );
            let before = world.server.usage();
            let bound = world.bound(MESSAGES_MAX);
            let (load, acknowledged) = plan.send(world, in_flight, bound).await?;
            let used = world.server.usage().since(before);
            put_figures(
                sheet,
                &world.server.name,
                (id, label),
                in_flight,
                &load,
                used,
            );
            sent.extend(acknowledged);
        }
        verify(world, &rooms, &sent).await?;
        if let Some(last) = sent.last() {
            world.last_event = Some((
                rooms[last.room].clone(),
                last.event_id.clone(),
                last.text.clone(),
            ));
        }
    }
    Ok(())
}

/// Growth of the data folder by short messages. A server that was started here is stopped for each
/// reading, so that logs and caches of its database are folded in.
pub(super) async fn disk(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    if world.server.has_remote_database() {
        let note = "disk left out, and CPU and memory are those of the server alone: its database \
                    is another process";
        sheet.note(&world.server.name, note);
        return Ok(());
    }
    ensure!(world.server.data.is_dir(), "the data folder is not known");
    let people = world.accounts(PEOPLE).await?;
    let rooms = vec![world.public_room(&people[0], &people[1..]).await?];
    let plan = Plan {
        label: "disk".to_owned(),
        rooms: Arc::new(rooms.clone()),
        people: Arc::new(people),
    };
    let warm = Bound {
        time: world.budget / 4,
        count_max: 1_000,
    };
    let (_, mut sent) = plan.with_label("warm").send(world, 10, warm).await?;
    let before = bytes_at_rest(world).await?;
    let (load, acknowledged) = plan.send(world, 10, world.bound(MESSAGES_MAX)).await?;
    let after = bytes_at_rest(world).await?;
    sent.extend(acknowledged);
    verify(world, &rooms, &sent).await?;
    let bytes = after.saturating_sub(before) as f64 / load.count.max(1) as f64;
    let server = &world.server.name;
    let id = ("disk.message.bytes", "disk a short message");
    sheet.put(server, id, ("bytes", Better::Lower), bytes);
    let id = ("disk.messages", "messages sent for that");
    sheet.put(server, id, ("", Better::Neither), load.count as f64);
    Ok(())
}

async fn bytes_at_rest(world: &mut World) -> Result<u64> {
    if !world.server.is_started_here() {
        sleep(SETTLE).await;
        return Ok(disk_bytes(&world.server.data));
    }
    world.server.stop().await?;
    let bytes = disk_bytes(&world.server.data);
    world.server.start_again().await?;
    Ok(bytes)
}

/// Who sends what where.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) label: String,
    pub(super) rooms: Arc<Vec<Room>>,
    pub(super) people: Arc<Vec<Arc<Account>>>,
}

/// A message that the server has acknowledged.
#[derive(Debug)]
pub(super) struct Sent {
    room: usize,
    event_id: String,
    text: String,
}

#[derive(Debug)]
struct Sender {
    connection: Connection,
    sent: Vec<Sent>,
}

impl Plan {
    fn with_label(&self, label: &str) -> Plan {
        Plan {
            label: format!("{label}-{}", self.label),
            ..self.clone()
        }
    }

    /// Sends until the bound; what was acknowledged.
    pub(super) async fn send(
        &self,
        world: &World,
        in_flight: usize,
        bound: Bound,
    ) -> Result<(Load, Vec<Sent>)> {
        let connections = world.server.connections(in_flight).await?;
        let senders = connections.into_iter().map(|connection| Sender {
            connection,
            sent: Vec::new(),
        });
        let plan = self.clone();
        let (load, senders) = load(senders.collect(), bound, move |mut sender, ticket| {
            let plan = plan.clone();
            async move {
                let room_index = ticket as usize % plan.rooms.len();
                let room = &plan.rooms[room_index];
                let account = match plan.rooms.len() {
                    1 => &plan.people[ticket as usize % plan.people.len()],
                    _ => &room.owner,
                };
                let text = text_of(&plan.label, ticket);
                let transaction_id = format!("{}-{ticket}", plan.label);
                let connection = &mut sender.connection;
                let event_id =
                    world::send_text(connection, account, &room.id, &transaction_id, &text).await?;
                sender.sent.push(Sent {
                    room: room_index,
                    event_id,
                    text,
                });
                Ok(sender)
            }
        })
        .await?;
        Ok((
            load,
            senders.into_iter().flat_map(|sender| sender.sent).collect(),
        ))
    }
}

/// Reads the rooms back and compares with what was acknowledged.
pub(super) async fn verify(world: &World, rooms: &[Room], sent: &[Sent]) -> Result<()> {
    let mut expected: Vec<HashMap<&str, &str>> = vec![HashMap::new(); rooms.len()];
    for message in sent {
        let earlier = expected[message.room].insert(&message.event_id, &message.text);
        ensure!(
            earlier.is_none(),
            "two messages have the event id {}",
            message.event_id
        );
    }
    let mut connection = world.server.connection();
    for (room, mut expected) in rooms.iter().zip(expected) {
        for message in read_all(&mut connection, &room.owner, &room.id).await? {
            match expected.remove(message.event_id.as_str()) {
                Some(text) => ensure!(
                    message.text == text,
                    "{} has the body {:?}, sent was {text:?}",
                    message.event_id,
                    message.text
                ),
                None => anyhow::bail!("{} came twice or was never acknowledged", message.event_id),
            }
        }
        let missing = expected.keys().next();
        ensure!(
            expected.is_empty(),
            "{} acknowledged messages are missing, among them {missing:?}",
            expected.len()
        );
    }
    Ok(())
}
