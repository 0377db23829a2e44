//! The one thread of a node that writes: all batches that wait become one transaction.
//!
//! A batch is stored whole or not at all. Facts are checked before a batch changes anything, so a
//! stale batch leaves nothing. If anything else fails, the whole transaction is rolled back, all
//! knowledge is read again, and the batches are tried one by one; so one batch that cannot be
//! stored does not take others with it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use lyceum_model::{Appended, Batch, Change, Committed, RoomChange, Touch};
use lyceum_storage::{CommitError, CommitTicket, Published, StorageError, touches};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{
    apply::{Applied, Apply, Shared, Upkeep},
    event_body::BodyCodec,
    figures::{Counted, Stopwatch},
    ledger::Ledger,
    publisher::{Publisher, Turn},
    sql::Session,
};

/// No more batches may wait than this, nor more bytes of them.
const WAITING_BATCHES_MAX: usize = 50_000;
const WAITING_BYTES_MAX: usize = 256 << 20;
/// One transaction takes no more than this.
const GROUP_BATCHES_MAX: usize = 1_000;
const GROUP_BYTES_MAX: usize = 16 << 20;
/// What a change costs in memory beside its events, about.
const CHANGE_BYTES: usize = 400;

/// What differs between the engines for the writer.
pub(crate) trait Engine: Send {
    /// The connection.
    fn session(&mut self) -> Result<&mut dyn Session, StorageError>;
    /// Begins the transaction of a group, and brings the ledger up to date.
    fn begin(&mut self, ledger: &mut Option<Ledger>) -> Result<(), StorageError>;
    /// Makes the transaction durable. Returns the commits of others that come before these and
    /// may not have been published here.
    fn commit(
        &mut self,
        published: &[Published],
        turn: &Turn<'_>,
    ) -> Result<Vec<Published>, StorageError>;
    /// The transaction failed: makes everything ready for the next one, as far as possible.
    fn recover(&mut self, error: &StorageError);
    /// A group has ended.
    fn rest(&mut self) {}
}

/// Something that waits to be written.
struct Waiting {
    task: Task,
    bytes: usize,
}

enum Task {
    Batch {
        batch: Arc<Batch>,
        touches: Arc<Vec<Touch>>,
        bodies: Vec<Arc<[u8]>>,
        answer: oneshot::Sender<Result<Committed, CommitError>>,
    },
    Upkeep {
        upkeep: Upkeep,
        answer: oneshot::Sender<Result<(), StorageError>>,
    },
}

/// How a task ended.
enum Outcome {
    Batch(Result<Committed, CommitError>),
    Upkeep,
}

impl Waiting {
    /// Whoever asked may have gone; it is done all the same.
    fn answer(self, outcome: Result<Outcome, StorageError>) {
        match (self.task, outcome) {
            (Task::Batch { answer, .. }, Ok(Outcome::Batch(outcome))) => {
                let _ = answer.send(outcome);
            }
            (Task::Batch { answer, .. }, Err(error)) => {
                let _ = answer.send(Err(error.into()));
            }
            (Task::Upkeep { answer, .. }, Ok(Outcome::Upkeep)) => {
                let _ = answer.send(Ok(()));
            }
            (Task::Upkeep { answer, .. }, Err(error)) => {
                let _ = answer.send(Err(error));
            }
            // Outcomes are made from tasks, one by one.
            (Task::Batch { .. }, Ok(Outcome::Upkeep))
            | (Task::Upkeep { .. }, Ok(Outcome::Batch(_))) => {}
        }
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    is_closed: bool,
}

/// The batches that wait for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl Queue {
    /// Takes a batch in. Everything that need not happen in order is done here.
    pub(crate) fn submit(&self, codec: &BodyCodec, batch: Batch) -> CommitTicket {
        let bodies = match bodies_of(codec, &batch) {
            Ok(bodies) => bodies,
            Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
        };
        let bytes = bodies.iter().map(|body| body.len() * 4).sum::<usize>()
            + CHANGE_BYTES * (1 + batch.changes.len());
        let touches = Arc::new(touches(&batch));
        let (answer, ticket) = oneshot::channel();
        let task = Task::Batch {
            batch: Arc::new(batch),
            touches,
            bodies,
            answer,
        };
        if let Err(error) = self.push(Waiting { task, bytes }) {
            return Box::pin(std::future::ready(Err(error.into())));
        }
        Box::pin(async { ticket.await.unwrap_or_else(|_| Err(writer_ended().into())) })
    }

    /// Has a portion of the sweep's work done, among the batches.
    pub(crate) async fn keep_up(&self, upkeep: Upkeep) -> Result<(), StorageError> {
        let (answer, done) = oneshot::channel();
        self.push(Waiting {
            task: Task::Upkeep { upkeep, answer },
            bytes: CHANGE_BYTES,
        })?;
        done.await.unwrap_or_else(|_| Err(writer_ended()))
    }

    fn push(&self, waiting: Waiting) -> Result<(), StorageError> {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(StorageError::Broken("storage is closed".to_owned()));
            }
            if state.waiting.len() >= WAITING_BATCHES_MAX || state.bytes >= WAITING_BYTES_MAX {
                return Err(StorageError::Unreachable("too many writes wait".to_owned()));
            }
            state.bytes += waiting.bytes;
            state.waiting.push_back(waiting);
        }
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Lets nothing more in.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// Forgets what waits, as a crash would.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.waiting.clear();
        drop(state);
        self.wake.notify_all();
    }

    /// The next group; `None` when everything is done and nothing more will come.
    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while bytes < GROUP_BYTES_MAX && group.len() < GROUP_BATCHES_MAX {
            let Some(waiting) = state.waiting.pop_front() else {
                break;
            };
            bytes += waiting.bytes;
            group.push(waiting);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        Some(group)
    }
}

fn writer_ended() -> StorageError {
    StorageError::Broken("the writer ended".to_owned())
}

/// The stored forms of the events that a batch appends or redacts, in their order.
fn bodies_of(codec: &BodyCodec, batch: &Batch) -> Result<Vec<Arc<[u8]>>, StorageError> {
    let mut bodies = Vec::new();
    for change in &batch.changes {
        if let Change::Room(
            RoomChange::Append { event, .. }
            | RoomChange::Redact {
                redacted: event, ..
            },
        ) = change
        {
            bodies.push(codec.encode(&event.id, &event.room_id, &event.json)?.into());
        }
    }
    Ok(bodies)
}

/// The writer's thread.
pub(crate) struct Writer<E> {
    pub(crate) engine: E,
    pub(crate) queue: Arc<Queue>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) counted: Arc<Counted>,
    pub(crate) ledger: Option<Ledger>,
}

impl<E: Engine> Writer<E> {
    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        while let Some(group) = self.queue.next_group() {
            if catch_unwind(AssertUnwindSafe(|| self.write(group))).is_err() {
                // Whoever waits for the group is told that the writer ended.
                tracing::error!("a commit failed inside");
                self.fail(&StorageError::Broken("a commit failed inside".to_owned()));
            }
            self.engine.rest();
        }
    }

    fn write(&mut self, group: Vec<Waiting>) {
        let watch = Stopwatch::start();
        match self.try_group(&group) {
            Ok(outcomes) => {
                self.counted
                    .last_group_us
                    .store(watch.us(), Ordering::Relaxed);
                for (waiting, outcome) in group.into_iter().zip(outcomes) {
                    waiting.answer(Ok(outcome));
                }
            }
            Err(error) => {
                self.fail(&error);
                let may_be_one_batch = matches!(error, StorageError::Broken(_));
                if group.len() > 1 && may_be_one_batch {
                    for waiting in group {
                        self.write(vec![waiting]);
                    }
                    return;
                }
                for waiting in group {
                    waiting.answer(Err(error.clone()));
                }
            }
        }
    }

    fn fail(&mut self, error: &StorageError) {
        self.counted.failures.fetch_add(1, Ordering::Relaxed);
        self.ledger = None;
        self.engine.recover(error);
    }

    /// Stores a group in one transaction and publishes it.
    fn try_group(&mut self, group: &[Waiting]) -> Result<Vec<Outcome>, StorageError> {
        self.engine.begin(&mut self.ledger)?;
        let ledger = self.ledger.as_mut().ok_or_else(|| {
            StorageError::Broken("the writer does not know where it stands".to_owned())
        })?;
        let sql = self.engine.session()?.sql();
        let batches: Vec<&Batch> = group
            .iter()
            .filter_map(|waiting| match &waiting.task {
                Task::Batch { batch, .. } => Some(&**batch),
                Task::Upkeep { .. } => None,
            })
            .collect();
        Apply::prepare(sql, ledger, &self.shared, &batches)?;
        let mut outcomes = Vec::with_capacity(group.len());
        let mut published = Vec::with_capacity(group.len());
        let mut stale = 0;
        let mut has_upkeep = false;
        for waiting in group {
            let (batch, touches, bodies) = match &waiting.task {
                Task::Batch {
                    batch,
                    touches,
                    bodies,
                    ..
                } => (batch, touches, bodies),
                Task::Upkeep { upkeep, .. } => {
                    Apply::upkeep(sql, ledger, &self.shared, upkeep)?;
                    has_upkeep = true;
                    outcomes.push(Outcome::Upkeep);
                    continue;
                }
            };
            outcomes.push(Outcome::Batch(
                match Apply::batch(sql, ledger, &self.shared, batch, bodies)? {
                    Applied::Done(position, appended) => {
                        let own: Arc<Vec<Appended>> = Arc::new(appended.clone());
                        published.push(Published {
                            position,
                            touches: Arc::clone(touches),
                            own: Some((Arc::clone(batch), own)),
                        });
                        Ok(Committed { position, appended })
                    }
                    Applied::Stale(expect) => {
                        stale += 1;
                        Err(CommitError::Stale(expect))
                    }
                },
            ));
        }
        self.counted.stale.fetch_add(stale, Ordering::Relaxed);
        if published.is_empty() && !has_upkeep {
            self.engine.session()?.rollback();
            ledger.end_group();
            return Ok(outcomes);
        }
        Apply::finish(sql, ledger, &self.shared)?;
        let commits = published.len() as u64;
        let watch = Stopwatch::start();
        let mut turn = self.publisher.turn();
        let foreign = self.engine.commit(&published, &turn)?;
        self.counted
            .last_commit_us
            .store(watch.us(), Ordering::Relaxed);
        self.counted.commits.fetch_add(commits, Ordering::Relaxed);
        self.counted.groups.fetch_add(1, Ordering::Relaxed);
        self.counted
            .last_group_batches
            .store(commits, Ordering::Relaxed);
        ledger.end_group();
        for published in foreign.into_iter().chain(published) {
            turn.publish(published);
        }
        Ok(outcomes)
    }
}
