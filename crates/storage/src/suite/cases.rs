//! Cases with known answers: each change and each expectation by itself.

mod accounts;
mod expects;
mod keys;
mod rooms;
mod sweeps;

use std::sync::Arc;

use lyceum_model::{
    Batch, Change, Committed, Event, Placement, Position, RoomChange, RoomHead, RoomHeads, Seq,
    StateBefore, StoredEvent,
};
use ruma_common::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

use super::{
    EngineFactory,
    world::{from_value, parsed, parsed_version},
};
use crate::{CommitError, Store, Swept};

/// Runs all cases, on one store; each speaks of its own rooms and users.
pub(super) async fn run(factory: &dyn EngineFactory) {
    let store = factory.open().await;
    rooms::run(&Case { store: &*store }).await;
    accounts::run(&Case { store: &*store }).await;
    keys::run(&Case { store: &*store }).await;
    expects::run(&Case { store: &*store }).await;
    store.close().await.expect("the store closes");
    sweeps::run(factory).await;
}

/// What the cases do with a store.
struct Case<'a> {
    store: &'a dyn Store,
}

impl Case<'_> {
    async fn try_commit(
        &self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Committed, CommitError> {
        let changes = changes.into_iter().collect();
        self.store
            .submit(Batch {
                expects: Vec::new(),
                changes,
            })
            .await
    }

    async fn commit(&self, changes: impl IntoIterator<Item = Change>) -> Committed {
        self.try_commit(changes).await.expect("the batch is stored")
    }

    /// Sweeps so many steps; whether something was left to do.
    async fn sweep(&self, steps: usize) -> bool {
        for _ in 0..steps {
            if self.store.sweep().await.expect("the sweep goes on") == Swept::Nothing {
                return false;
            }
        }
        true
    }

    /// A room in which alice has joined, with the places 1 to 3.
    async fn make_room(&self, name: &str) -> OwnedRoomId {
        let room_id: OwnedRoomId = parsed(&format!("!{name}:cases.example"));
        let create = event(name, "create", Some(("m.room.create", "")), json!({}));
        let alice = member(name, "alice-join", "alice", "join");
        let hello = event(name, "hello", None, json!({"body": "hello"}));
        self.commit([
            RoomChange::Create {
                room_id: room_id.clone(),
                version: parsed_version("11"),
            }
            .into(),
            timeline(&create, StateBefore::Empty),
            timeline(&alice, StateBefore::After(create.id.clone())),
            timeline(&hello, StateBefore::After(alice.id.clone())),
            heads(&hello, StateBefore::After(hello.id.clone())),
        ])
        .await;
        room_id
    }

    /// The ids of a state's events, without their room's name.
    async fn state(&self, of: &Arc<Event>, side: crate::StateSide) -> String {
        let of = crate::StateOf {
            event_id: of.id.clone(),
            side,
        };
        let answer = self.store.state_at(of, crate::StateWanted::All).await;
        answer
            .expect("an answer")
            .map_or("unknown".to_owned(), |events| names(&events))
    }
}

fn user(name: &str) -> OwnedUserId {
    parsed(&format!("@{name}:cases.example"))
}

/// An event whose id is `$room-name`; `state` is its type and state key.
fn event(room: &str, name: &str, state: Option<(&str, &str)>, content: Value) -> Arc<Event> {
    let mut value = json!({
        "auth_events": [], "depth": 1, "hashes": {"sha256": "x"},
        "origin_server_ts": 1, "prev_events": [], "room_id": format!("!{room}:cases.example"),
        "sender": user("alice"), "signatures": {}, "type": "m.room.message",
    });
    value["content"] = content;
    if let Some((kind, key)) = state {
        value["type"] = json!(kind);
        value["state_key"] = json!(key);
    }
    let room_id = parsed(&format!("!{room}:cases.example"));
    Arc::new(from_value(
        parsed(&format!("${room}-{name}")),
        room_id,
        &value,
    ))
}

fn member(room: &str, name: &str, of: &str, membership: &str) -> Arc<Event> {
    event(
        room,
        name,
        Some(("m.room.member", user(of).as_str())),
        json!({"membership": membership}),
    )
}

fn append(event: &Arc<Event>, placement: Placement, state_before: StateBefore) -> Change {
    RoomChange::Append {
        event: event.clone(),
        placement,
        state_before,
    }
    .into()
}

fn timeline(event: &Arc<Event>, state_before: StateBefore) -> Change {
    append(event, Placement::Timeline, state_before)
}

fn after(event: &Arc<Event>) -> StateBefore {
    StateBefore::After(event.id.clone())
}

fn heads(head: &Arc<Event>, state: StateBefore) -> Change {
    let heads = vec![RoomHead {
        event_id: head.id.clone(),
        depth: head.depth,
    }];
    let heads = RoomHeads { heads, state };
    RoomChange::Heads {
        room_id: head.room_id.clone(),
        heads,
    }
    .into()
}

/// Ids of events without `$room-`.
fn names(events: &[Arc<Event>]) -> String {
    let names: Vec<&str> = events.iter().map(|event| short(event)).collect();
    names.join(" ")
}

/// Ids and places.
fn places(events: &[StoredEvent]) -> String {
    let places: Vec<String> = events
        .iter()
        .map(|stored| match stored.seq {
            Some(Seq(seq)) => format!("{}@{seq}", short(&stored.event)),
            None => short(&stored.event).to_owned(),
        })
        .collect();
    places.join(" ")
}

fn short(event: &Event) -> &str {
    event
        .id
        .as_str()
        .split_once('-')
        .map_or(event.id.as_str(), |(_, name)| name)
}

fn before(position: Position) -> Position {
    Position(position.0 - 1)
}
