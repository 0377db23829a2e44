//! How long it takes to put a sync together, on one core: a first sync of 50 rooms with 20
//! messages each, and the sync that tells one message.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement reads a clock; its input is fixed"
)]

use std::{hint::black_box, sync::Arc, time::Instant};

use lyceum_model::{Event, Membership, Position, Seq, Timestamp};
use lyceum_sync::{
    classic::{JoinedRoom, SyncInput, Timeline, assemble},
    client_event::{ClientEvent, ShownEvent},
    filter::Filter,
    token::{SyncToken, TimelineToken},
};
use ruma_common::{EventId, RoomId};

fn main() {
    measure("initial sync, 50 rooms x 20 messages", &sync(50, 20), 200);
    measure("incremental sync, one message", &sync(1, 1), 20_000);
    let event = message("!room:server.example", 1);
    let start = Instant::now();
    for _ in 0..20_000 {
        black_box(ClientEvent::new(black_box(&event)));
    }
    println!(
        "client form of one message: {:.2} us",
        per_round_us(start, 20_000)
    );
}

fn measure(name: &str, input: &SyncInput, rounds: u32) {
    let bytes = assemble(input);
    let start = Instant::now();
    for _ in 0..rounds {
        black_box(assemble(black_box(input)));
    }
    println!(
        "{name}: {:.2} us, {} bytes (buffer {})",
        per_round_us(start, rounds),
        bytes.len(),
        bytes.capacity()
    );
}

fn per_round_us(start: Instant, rounds: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn sync(rooms: usize, messages: u64) -> SyncInput {
    let filter = Arc::new(Filter::default());
    let mut input = SyncInput::new(
        SyncToken(Position(99)),
        Timestamp(1_800_000_000_000),
        filter,
    );
    for index in 0..rooms {
        let room_id = format!("!abcdefghijklmnopqr{index}:server.example");
        let mut room = JoinedRoom::new(RoomId::parse(&room_id).unwrap());
        let shown = |number| ShownEvent {
            membership: Some(Membership::Join),
            ..Arc::new(ClientEvent::new(&message(&room_id, number))).into()
        };
        room.timeline = Timeline {
            events: (0..messages).map(shown).collect(),
            limited: true,
            prev_batch: Some(TimelineToken {
                position: Position(99),
                seq: Seq(7),
            }),
        };
        room.state = if messages == 1 {
            Vec::new()
        } else {
            (0..10).map(shown).collect()
        };
        input.joined.push(room);
    }
    input
}

fn message(room_id: &str, number: u64) -> Event {
    let json = format!(
        r#"{{"auth_events":[],"content":{{"body":"message number {number}, not very long","msgtype":"m.text"}},"depth":{number},"hashes":{{"sha256":"x"}},"origin_server_ts":1790000000000,"prev_events":[],"room_id":"{room_id}","sender":"@somebody:server.example","signatures":{{}},"type":"m.room.message"}}"#,
    );
    let id = EventId::parse(format!(
        "$Nhl3rsgHMjkDjMJANawr9HHAhLg4GcoTYrSiYYG{number:04}"
    ))
    .unwrap();
    Event::from_pdu(id, None, json.into()).unwrap()
}
