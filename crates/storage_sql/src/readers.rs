//! The threads that answer questions, each with a connection of its own.
//!
//! A question waits for a free reader, never for the writer. What panics in a question fails that
//! question only. Where the engine allows, whoever asks for a few rows by their key reads them
//! here and now: waking a thread and being woken by it costs more than such a look
//! (docs/decisions/lookups-without-a-thread.md).

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use lyceum_storage::StorageError;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::sql::{Session, Sql};

/// No more questions may wait than this.
const WAITING_MAX: usize = 20_000;
const THREAD_STACK_BYTES: usize = 1 << 20;

/// Opens a connection for a reader.
pub(crate) type OpenSession =
    dyn Fn() -> Result<Box<dyn Session>, StorageError> + Send + Sync + 'static;

/// What a question consists of: whether it needs to see one moment over several statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statements {
    /// It is one statement that finds a few rows by their key, in microseconds.
    Lookup,
    /// It is one statement.
    One,
    /// It is several.
    Several,
}

type Job = Box<dyn FnOnce(Result<&mut dyn Sql, StorageError>) + Send>;

struct Waiting {
    jobs: VecDeque<(Statements, Job)>,
    is_closed: bool,
}

struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// The readers of a store.
pub(crate) struct Readers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lookups: Mutex<Vec<Lookup>>,
    open_lookup: Option<Arc<OpenSession>>,
}

/// A connection for lookups, opened when it is first needed.
type Lookup = Option<Box<dyn Session>>;

impl std::fmt::Debug for Readers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Readers")
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl Readers {
    /// Starts `count` threads. So many `lookups` can happen at once without one of them, over
    /// connections of their own; an engine whose connections wait for another process has none.
    pub(crate) fn start(
        count: usize,
        open: &Arc<OpenSession>,
        lookups: Option<(usize, Arc<OpenSession>)>,
    ) -> Result<Self, StorageError> {
        let queue = Arc::new(Queue {
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                is_closed: false,
            }),
            wake: Condvar::new(),
        });
        let mut threads = Vec::with_capacity(count);
        for index in 0..count.max(1) {
            let queue = Arc::clone(&queue);
            let open = Arc::clone(open);
            let thread = std::thread::Builder::new()
                .name(format!("storage-read-{index}"))
                .stack_size(THREAD_STACK_BYTES)
                .spawn(move || read(&queue, &*open))
                .map_err(|error| StorageError::Broken(format!("no thread: {error}")))?;
            threads.push(thread);
        }
        let (at_once, open_lookup) = lookups.unzip();
        let at_once = at_once.unwrap_or_default();
        Ok(Self {
            queue,
            threads: Mutex::new(threads),
            lookups: Mutex::new(std::iter::repeat_with(|| None).take(at_once).collect()),
            open_lookup,
        })
    }

    /// Answers a question on one of the readers. Where a connection was lost, the question is
    /// asked again: the database may be back, and each reader notices by itself.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        statements: Statements,
        question: impl Fn(&mut dyn Sql) -> Result<T, StorageError> + Send + Sync + 'static,
    ) -> Result<T, StorageError> {
        if statements == Statements::Lookup
            && let Some(answer) = self.look_up(&question)
        {
            return answer;
        }
        let question = Arc::new(question);
        let attempts = self.threads.lock().len();
        for _ in 0..attempts {
            let answer = self.ask_once(statements, Arc::clone(&question)).await;
            if !matches!(answer, Err(StorageError::Unreachable(_))) {
                return answer;
            }
        }
        self.ask_once(statements, question).await
    }

    /// Answers a question here, if a connection is free for it.
    fn look_up<T>(
        &self,
        question: &impl Fn(&mut dyn Sql) -> Result<T, StorageError>,
    ) -> Option<Result<T, StorageError>> {
        let open = self.open_lookup.as_ref()?;
        let mut session = match self.lookups.lock().pop()? {
            Some(session) => session,
            None => match open() {
                Ok(session) => session,
                Err(error) => {
                    self.lookups.lock().push(None);
                    return Some(Err(error));
                }
            },
        };
        let answer = catch_unwind(AssertUnwindSafe(|| question(session.sql())));
        let kept = (answer.is_ok() && session.is_alive()).then_some(session);
        self.lookups.lock().push(kept);
        Some(answer.unwrap_or_else(|_| Err(failed_inside())))
    }

    async fn ask_once<T: Send + 'static>(
        &self,
        statements: Statements,
        question: Arc<impl Fn(&mut dyn Sql) -> Result<T, StorageError> + Send + Sync + 'static>,
    ) -> Result<T, StorageError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |sql| {
            // Whoever asked may have gone; then nobody misses the answer.
            let _ = sender.send(sql.and_then(|sql| question(sql)));
        });
        {
            let mut waiting = self.queue.waiting.lock();
            if waiting.is_closed {
                return Err(StorageError::Unreachable("storage is closed".to_owned()));
            }
            if waiting.jobs.len() >= WAITING_MAX {
                return Err(StorageError::Unreachable(
                    "too many questions wait".to_owned(),
                ));
            }
            waiting.jobs.push_back((statements, job));
        }
        self.queue.wake.notify_one();
        receiver.await.unwrap_or_else(|_| Err(failed_inside()))
    }

    /// How many questions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting.lock().jobs.len()
    }

    /// Answers what waits, then ends the threads.
    pub(crate) fn close(&self) {
        self.queue.waiting.lock().is_closed = true;
        self.queue.wake.notify_all();
        self.lookups.lock().clear();
        for thread in self.threads.lock().drain(..) {
            // A reader that panicked has told its asker already.
            let _ = thread.join();
        }
    }
}

fn failed_inside() -> StorageError {
    StorageError::Broken("a question failed inside".to_owned())
}

fn read(queue: &Queue, open: &OpenSession) {
    let mut session = None;
    loop {
        let (statements, job) = {
            let mut waiting = queue.waiting.lock();
            loop {
                if let Some(job) = waiting.jobs.pop_front() {
                    break job;
                }
                if waiting.is_closed {
                    return;
                }
                queue.wake.wait(&mut waiting);
            }
        };
        if session.is_none() {
            match open() {
                Ok(opened) => session = Some(opened),
                Err(error) => {
                    job(Err(error));
                    continue;
                }
            }
        }
        let Some(open_session) = session.as_mut() else {
            continue;
        };
        if !answer(&mut **open_session, statements, job) {
            session = None;
        }
    }
}

/// Answers a question; whether the connection can be used again.
fn answer(session: &mut dyn Session, statements: Statements, job: Job) -> bool {
    if statements != Statements::Several {
        return catch_unwind(AssertUnwindSafe(|| job(Ok(session.sql())))).is_ok()
            && session.is_alive();
    }
    if let Err(error) = session.begin_read() {
        job(Err(error));
        return false;
    }
    let is_done = catch_unwind(AssertUnwindSafe(|| job(Ok(session.sql())))).is_ok();
    session.rollback();
    is_done && session.is_alive()
}
