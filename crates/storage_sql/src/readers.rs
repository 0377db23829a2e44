//! The threads that answer questions, each with a connection of its own.
//!
//! A question waits for a free reader, never for the writer. What panics in a question fails that
//! question only.

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

/// Whether a question needs to see one moment over several statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statements {
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
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Readers")
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl Readers {
    pub(crate) fn start(count: usize, open: &Arc<OpenSession>) -> Result<Self, StorageError> {
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
        Ok(Self {
            queue,
            threads: Mutex::new(threads),
        })
    }

    /// Answers a question on one of the readers. Where a connection was lost, the question is
    /// asked again: the database may be back, and each reader notices by itself.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        statements: Statements,
        question: impl Fn(&mut dyn Sql) -> Result<T, StorageError> + Send + Sync + 'static,
    ) -> Result<T, StorageError> {
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
        receiver
            .await
            .unwrap_or_else(|_| Err(StorageError::Broken("a question failed inside".to_owned())))
    }

    /// How many questions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting.lock().jobs.len()
    }

    /// Answers what waits, then ends the threads.
    pub(crate) fn close(&self) {
        self.queue.waiting.lock().is_closed = true;
        self.queue.wake.notify_all();
        for thread in self.threads.lock().drain(..) {
            // A reader that panicked has told its asker already.
            let _ = thread.join();
        }
    }
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
    if statements == Statements::One {
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
