//! Work that goes on after the answer: deleting rooms, redacting, purging.
//!
//! Invariants: a job is stored before it begins; each step can be done twice; what was interrupted
//! is begun again at the next start.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_account::names;
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    documents, history_purge::PurgeWish, redaction::RedactionWish, room_deletion::DeletionWish,
};
use crate::{Server, chance};

const JOBS: &str = "admin.jobs";
/// How many finished jobs are remembered.
const FINISHED_MAX: usize = 100;
/// How long a finished job is remembered.
const FINISHED_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// It waits.
    Scheduled,
    /// It is being done.
    Active,
    /// It is done.
    Complete,
    /// It came to nothing.
    Failed,
}

impl JobStatus {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Scheduled | Self::Active => false,
            Self::Complete | Self::Failed => true,
        }
    }

    /// Its name in Synapse's answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// A room is shut down, and purged if that is wanted.
    DeleteRoom {
        /// Which.
        room_id: OwnedRoomId,
        /// How.
        wish: DeletionWish,
    },
    /// A user's events are redacted.
    RedactUser {
        /// Whose.
        user_id: OwnedUserId,
        /// How.
        wish: RedactionWish,
    },
    /// Old events of a room are erased.
    PurgeHistory {
        /// Which room's.
        room_id: OwnedRoomId,
        /// Which.
        wish: PurgeWish,
    },
}

impl Work {
    /// Its name in Synapse's answers, where a deletion that purges nothing has no other one.
    pub fn action(&self) -> &'static str {
        match self {
            Self::DeleteRoom { .. } => "shutdown_and_purge_room",
            Self::RedactUser { .. } => "redact_all_events",
            Self::PurgeHistory { .. } => "purge_history",
        }
    }

    /// What it is about.
    pub fn resource_id(&self) -> &str {
        match self {
            Self::DeleteRoom { room_id, .. } | Self::PurgeHistory { room_id, .. } => {
                room_id.as_str()
            }
            Self::RedactUser { user_id, .. } => user_id.as_str(),
        }
    }
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// What is to be done.
    pub work: Work,
    /// How far it is.
    pub status: JobStatus,
    /// When that last changed, in milliseconds.
    pub timestamp_ms: u64,
    /// What came of it so far.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
}

type Jobs = BTreeMap<String, Job>;

impl Server {
    /// Stores a job and begins it.
    pub async fn begin_job(self: &Arc<Self>, work: Work) -> Result<String, CommitError> {
        let id = names::session_id(&chance::bytes());
        let job = Job {
            id: id.clone(),
            work,
            status: JobStatus::Scheduled,
            timestamp_ms: self.clock.now().0,
            result: None,
            error: None,
        };
        let oldest_ms = self.clock.now().0.saturating_sub(FINISHED_MS_MAX);
        documents::update(self, JOBS, |jobs: &mut Jobs| {
            forget_old(jobs, oldest_ms);
            jobs.insert(id.clone(), job.clone());
        })
        .await?;
        self.run_job(job);
        Ok(id)
    }

    /// All jobs that are remembered, oldest change first.
    pub async fn jobs(&self) -> Result<Vec<Job>, StorageError> {
        let jobs: Jobs = documents::read(&*self.store, JOBS).await?;
        let mut jobs: Vec<Job> = jobs.into_values().collect();
        jobs.sort_by(|a, b| (a.timestamp_ms, &a.id).cmp(&(b.timestamp_ms, &b.id)));
        Ok(jobs)
    }

    /// A job.
    pub async fn job(&self, id: &str) -> Result<Option<Job>, StorageError> {
        let mut jobs: Jobs = documents::read(&*self.store, JOBS).await?;
        Ok(jobs.remove(id))
    }

    /// Begins again what was interrupted.
    pub(crate) async fn resume_jobs(self: &Arc<Self>) {
        let jobs = match self.jobs().await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(%error, "interrupted jobs could not be read");
                return;
            }
        };
        for job in jobs {
            if !job.status.is_final() {
                self.run_job(job);
            }
        }
    }

    fn run_job(self: &Arc<Self>, job: Job) {
        let server = self.clone();
        self.supervisor.spawn("job", async move {
            let Job { id, work, .. } = job;
            server.note(&id, JobStatus::Active, None, None).await;
            let stopped = server.supervisor.stopped();
            let done = tokio::select! {
                // It goes on at the next start.
                () = stopped => return,
                done = server.do_work(&id, work) => done,
            };
            match done {
                Ok(result) => server.note(&id, JobStatus::Complete, result, None).await,
                Err(why) => {
                    tracing::warn!(job = id, why, "a job failed");
                    server.note(&id, JobStatus::Failed, None, Some(why)).await;
                }
            }
        });
    }

    async fn do_work(self: &Arc<Self>, id: &str, work: Work) -> Result<Option<Value>, String> {
        match work {
            Work::DeleteRoom { room_id, wish } => {
                let note = |shutdown: Value| self.note(id, JobStatus::Active, Some(shutdown), None);
                let shutdown = self.delete_room(&room_id, wish, note).await;
                shutdown.map(Some).map_err(|error| error.to_string())
            }
            Work::RedactUser { user_id, wish } => {
                let failed = self.redact_user(&user_id, wish).await;
                let failed = failed.map_err(|error| error.to_string())?;
                Ok(Some(json!({ "failed_redactions": failed })))
            }
            Work::PurgeHistory { room_id, wish } => {
                let purged = self.purge_history(&room_id, wish).await;
                purged.map_err(|error| error.to_string())?;
                Ok(None)
            }
        }
    }

    /// Writes how far a job is.
    async fn note(
        &self,
        id: &str,
        status: JobStatus,
        result: Option<Value>,
        error: Option<String>,
    ) {
        let now = self.clock.now().0;
        let noted = documents::update(self, JOBS, |jobs: &mut Jobs| {
            if let Some(job) = jobs.get_mut(id) {
                job.status = status;
                job.timestamp_ms = now;
                if result.is_some() {
                    job.result.clone_from(&result);
                }
                job.error.clone_from(&error);
            }
        })
        .await;
        if let Err(error) = noted {
            tracing::error!(%error, job = id, "how far a job is could not be stored");
        }
    }
}

fn forget_old(jobs: &mut Jobs, oldest_ms: u64) {
    let is_finished = |job: &Job| job.status.is_final();
    jobs.retain(|_, job| !is_finished(job) || job.timestamp_ms >= oldest_ms);
    let mut finished: Vec<(u64, String)> = jobs
        .values()
        .filter(|job| is_finished(job))
        .map(|job| (job.timestamp_ms, job.id.clone()))
        .collect();
    finished.sort();
    let surplus = finished.len().saturating_sub(FINISHED_MAX);
    for (_, id) in &finished[..surplus] {
        jobs.remove(id);
    }
}
