//! The only place that starts tasks: they are named, watched, and end with the server.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};

/// How long a stopping server waits for its tasks before it drops them.
const HARD_STOP_AFTER: Duration = Duration::from_secs(30);

/// Starts and stops the server's tasks.
#[derive(Debug, Clone)]
pub struct Supervisor {
    stop: Arc<watch::Sender<bool>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self {
            stop: Arc::new(watch::channel(false).0),
            tasks: Arc::default(),
        }
    }
}

impl Supervisor {
    /// Starts a task. It should end soon after [`Supervisor::stopped`] resolves.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task panicked");
            }
        }
        tasks.spawn(async move {
            task.await;
            tracing::trace!(name, "task ended");
        });
    }

    /// Calls `tick` every `period` until the server stops. A tick is bounded and idempotent.
    pub fn every<F, T>(&self, name: &'static str, period: Duration, mut tick: T)
    where
        T: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let supervisor = self.clone();
        self.spawn(name, async move {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval.tick().await;
            loop {
                tokio::select! {
                    () = supervisor.stopped() => return,
                    _ = interval.tick() => tick().await,
                }
            }
        });
    }

    /// Resolves when the server begins to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as this supervisor, so waiting cannot fail.
        let _ = stop.wait_for(|stopping| *stopping).await;
    }

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Tells all tasks to stop, without waiting for them.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Tells all tasks to stop and waits for them, at most 30 seconds.
    pub async fn stop(&self) {
        self.begin_stop();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = tokio::time::timeout(HARD_STOP_AFTER, async {
            while tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!("some tasks did not end in time and were dropped");
            tasks.abort_all();
        }
    }
}
