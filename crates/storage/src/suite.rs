//! The suite that every engine must pass: the memory engine says what is right.
//!
//! An engine's tests call [`run_all`]. It puts the same random batches into the engine and into a
//! [`MemoryStore`], several in flight at once and some of them stale or broken, puts the same
//! questions to both, closes and crashes the engine and compares again; then it goes through
//! cases with known answers. It panics with the seed, the question and both answers.
//!
//! Invariants: no clock, no chance but the seed; needs no particular runtime.

mod accounts;
mod cases;
mod chance;
mod questions;
mod world;

use std::{fmt::Write, sync::Arc};

use async_trait::async_trait;
use lyceum_model::{Appended, Batch, Committed, Position, RoomChange, StateBefore, Touch};
use parking_lot::Mutex;

use self::{
    chance::Chance,
    questions::{Asked, ask_all},
    world::World,
};
use crate::{CommitError, Published, StorageError, Store, memory::MemoryStore};

/// Seeds that are always run.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Groups of batches that a seed makes.
const GROUPS: usize = 60;
/// The most batches that are in flight at once.
const GROUP_BATCHES_MAX: usize = 8;
/// After so many groups all questions are compared.
const GROUPS_COMPARED: usize = 4;
/// Steps of the sweep after each group, so that it goes on while groups are stored.
const GROUP_SWEEPS: usize = 3;
/// Lines shown around the first line in which two answers differ.
const LINES_SHOWN: usize = 12;

/// Makes stores of one engine.
#[async_trait]
pub trait EngineFactory: Send + Sync {
    /// A new store without any data.
    async fn open(&self) -> Arc<dyn Store>;

    /// Closes a store and opens its data again.
    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;

    /// Leaves a store as a crash would (without [`Store::close`]; batches may be in flight) and
    /// opens its data again. What no ticket acknowledged may be there or not.
    async fn crash_and_reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// Runs everything; panics at the first difference.
pub async fn run_all(factory: &dyn EngineFactory) {
    run_cases(factory).await;
    for seed in SEEDS {
        run_seed(factory, seed).await;
    }
}

/// Runs the cases with known answers.
pub async fn run_cases(factory: &dyn EngineFactory) {
    cases::run(factory).await;
}

/// Runs the comparison with the memory engine from one seed.
pub async fn run_seed(factory: &dyn EngineFactory, seed: u64) {
    let mut run = Run {
        seed,
        chance: Chance::new(seed),
        world: World::new(),
        memory: MemoryStore::new(),
        store: factory.open().await,
        told: Arc::default(),
        place: String::new(),
    };
    run.listen();
    for group in 0..GROUPS {
        run.place = format!("group {group}");
        run.submit_group().await;
        for _ in 0..GROUP_SWEEPS {
            run.store.sweep().await.expect("the sweep goes on");
        }
        if group % GROUPS_COMPARED == 0 {
            run.compare().await;
        }
        match group % 20 {
            9 => {
                run.place = format!("reopened after group {group}");
                run.reopen(factory).await;
            }
            19 => {
                run.place = format!("crashed after group {group}");
                run.crash(factory).await;
            }
            _ => {}
        }
    }
    run.place = "the end".to_owned();
    run.compare().await;
    run.store.close().await.expect("the store closes");
}

/// What a listener was told.
type Told = Arc<Mutex<Vec<(Position, Vec<Touch>, Option<Vec<Appended>>)>>>;

struct Run {
    seed: u64,
    chance: Chance,
    world: World,
    memory: MemoryStore,
    store: Arc<dyn Store>,
    told: Told,
    place: String,
}

impl Run {
    fn listen(&mut self) {
        self.told = Told::default();
        let told = self.told.clone();
        self.store
            .listen(Box::new(move |published| note(&told, &published)));
    }

    /// Batches that the memory engine has taken already, with what it answered.
    fn make_group(&mut self) -> Vec<(Batch, Result<Committed, CommitError>)> {
        let mut group = Vec::new();
        for _ in 0..1 + self.chance.below(GROUP_BATCHES_MAX) {
            let mut world = self.world.clone();
            let mut batch = world.batch(&mut self.chance);
            if self.chance.one_in(15) {
                break_batch(&mut batch, &world, &mut self.chance);
            }
            let answer = now(self.memory.submit(batch.clone()));
            if let Ok(committed) = &answer {
                self.world = world;
                self.world.newest = committed.position.0;
            }
            group.push((batch, answer));
        }
        group
    }

    async fn submit_group(&mut self) {
        let group = self.make_group();
        let tickets: Vec<_> = group
            .iter()
            .map(|(batch, _)| self.store.submit(batch.clone()))
            .collect();
        for ((batch, expected), ticket) in group.iter().zip(tickets) {
            let answer = ticket.await;
            if !is_same(&answer, expected) {
                self.fail(
                    &format!("{batch:#?}"),
                    &format!("{expected:#?}"),
                    &format!("{answer:#?}"),
                );
            }
            if let Ok(committed) = &answer {
                self.check_published(batch, committed);
            }
        }
        assert_eq!(
            self.store.position(),
            self.memory.position(),
            "seed {}, {}: the position",
            self.seed,
            self.place
        );
    }

    /// The listener was told of the commit before its ticket resolved, in order.
    fn check_published(&self, batch: &Batch, committed: &Committed) {
        let place = format!("seed {}, {}", self.seed, self.place);
        assert!(
            self.store.position() >= committed.position,
            "{place}: position() lags behind"
        );
        let told = self.told.lock();
        let ordered = told.windows(2).all(|two| two[0].0.0 + 1 == two[1].0.0);
        let positions: Vec<_> = told.iter().map(|told| told.0).collect();
        assert!(ordered, "{place}: the listener was told of {positions:?}");
        let Some((_, touches, appended)) = told.iter().find(|told| told.0 == committed.position)
        else {
            panic!(
                "{place}: nobody was told of {:?} before its ticket",
                committed.position
            );
        };
        assert_eq!(touches, &crate::touches(batch), "{place}: touches");
        assert_eq!(
            appended.as_ref(),
            Some(&committed.appended),
            "{place}: places of its own events"
        );
    }

    async fn compare(&mut self) {
        let seed = self.chance.next();
        let newest = self.memory.position().0;
        let expected = ask_all(&self.memory, &self.world, seed, newest).await;
        let answers = ask_all(&*self.store, &self.world, seed, newest).await;
        for (expected, asked) in expected.iter().zip(&answers) {
            let Asked { question, answer } = asked;
            assert_eq!(
                &expected.question, question,
                "the suite asked two different questions"
            );
            if *answer != expected.answer {
                self.fail(question, &expected.answer, answer);
            }
        }
        assert_eq!(
            expected.len(),
            answers.len(),
            "the suite asked two different lists"
        );
    }

    async fn reopen(&mut self, factory: &dyn EngineFactory) {
        self.store = factory.reopen(self.store.clone()).await;
        self.listen();
        assert_eq!(
            self.store.position(),
            self.memory.position(),
            "{}",
            self.place
        );
        self.compare().await;
    }

    /// Whatever is there after a crash is what was there after one of the batches in flight.
    async fn crash(&mut self, factory: &dyn EngineFactory) {
        let mut states = vec![(self.memory.reopen(), self.world.clone())];
        let mut batches = Vec::new();
        for _ in 0..GROUP_BATCHES_MAX {
            let batch = self.world.batch(&mut self.chance);
            if now(self.memory.submit(batch.clone())).is_ok() {
                batches.push(batch);
                states.push((self.memory.reopen(), self.world.clone()));
            } else {
                self.world = states[states.len() - 1].1.clone();
            }
        }
        let mut tickets: Vec<_> = batches
            .into_iter()
            .map(|batch| self.store.submit(batch))
            .collect();
        let acknowledged = self.chance.below(tickets.len() + 1);
        for ticket in tickets.drain(..acknowledged) {
            ticket
                .await
                .expect("the batch is as good here as in memory");
        }
        let least = states[acknowledged].0.position();
        self.store = factory.crash_and_reopen(self.store.clone()).await;
        drop(tickets);
        let position = self.store.position();
        assert!(
            position >= least,
            "seed {}, {}: {least:?} was acknowledged, {position:?} is there",
            self.seed,
            self.place
        );
        let Some((memory, world)) = states
            .into_iter()
            .find(|(memory, _)| memory.position() == position)
        else {
            panic!(
                "seed {}, {}: {position:?} was never reached",
                self.seed, self.place
            );
        };
        self.memory = memory;
        self.world = world;
        self.listen();
        self.compare().await;
    }

    fn fail(&self, question: &str, expected: &str, answer: &str) -> ! {
        let mut text = format!("seed {}, {}\n", self.seed, self.place);
        let _ = writeln!(text, "asked: {question}");
        let (expected, answer): (Vec<_>, Vec<_>) =
            (expected.lines().collect(), answer.lines().collect());
        let same = expected
            .iter()
            .zip(&answer)
            .take_while(|(a, b)| a == b)
            .count();
        let start = same.saturating_sub(LINES_SHOWN / 2);
        for (title, lines) in [("expected", expected), ("but got", answer)] {
            let _ = writeln!(
                text,
                "── {title} ({} lines, from line {}) ──",
                lines.len(),
                start + 1
            );
            for (index, line) in lines.iter().enumerate().skip(start).take(LINES_SHOWN) {
                let mark = if index == same { '▶' } else { ' ' };
                let _ = writeln!(text, "{mark} {line}");
            }
        }
        panic!("{text}");
    }
}

fn note(told: &Told, published: &Published) {
    let touches = published.touches.to_vec();
    let appended = published
        .own
        .as_ref()
        .map(|(_, appended)| appended.to_vec());
    told.lock().push((published.position, touches, appended));
}

/// Makes a batch one that only a bug can make.
fn break_batch(batch: &mut Batch, world: &World, chance: &mut Chance) {
    let unknown = world::event_id(chance);
    let room = chance.pick(&world.rooms);
    let Some(event) = room.any_event(chance) else {
        return;
    };
    let heads = |state| lyceum_model::RoomHeads {
        heads: Vec::new(),
        state,
    };
    let room_id = room.room_id.clone();
    batch.push(match chance.below(4) {
        0 => RoomChange::Heads {
            room_id,
            heads: heads(StateBefore::After(unknown)),
        },
        1 => {
            let state = StateBefore::Resolved {
                base: None,
                set: vec![unknown],
                removed: Vec::new(),
            };
            RoomChange::Heads {
                room_id,
                heads: heads(state),
            }
        }
        2 => {
            let mut value = serde_json::from_str(&event.json).unwrap_or_default();
            if let serde_json::Value::Object(fields) = &mut value {
                fields.remove("event_id");
            }
            let nowhere = world::parsed("!nowhere:one.example");
            RoomChange::Append {
                event: Arc::new(world::from_value(unknown, nowhere, &value)),
                placement: lyceum_model::Placement::Timeline,
                state_before: StateBefore::Empty,
            }
        }
        _ => RoomChange::Heads {
            room_id: world::parsed("!nowhere:one.example"),
            heads: heads(StateBefore::Empty),
        },
    });
}

/// The texts of broken batches are each engine's own.
fn is_same(
    answer: &Result<Committed, CommitError>,
    expected: &Result<Committed, CommitError>,
) -> bool {
    match (answer, expected) {
        (Ok(answer), Ok(expected)) => answer == expected,
        (Err(CommitError::Stale(answer)), Err(CommitError::Stale(expected))) => answer == expected,
        (
            Err(CommitError::Storage(StorageError::Broken(_))),
            Err(CommitError::Storage(StorageError::Broken(_))),
        ) => true,
        _ => false,
    }
}

/// The answer of the memory engine, which never waits.
fn now(ticket: crate::CommitTicket) -> Result<Committed, CommitError> {
    let mut ticket = ticket;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match ticket.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => unreachable!("the memory engine does not wait"),
    }
}

#[cfg(test)]
mod tests;
