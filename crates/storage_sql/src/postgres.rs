//! The shared engine: one PostgreSQL database for any number of equal nodes.
//!
//! Each node commits groups like SQLite's writer does. A transaction takes one advisory lock
//! first, so positions are given by one node at a time and become visible in their order. What
//! each commit touched is kept in a log for a while; one notice a group makes the other nodes
//! read it. Whatever a node knows is forgotten when it finds that another one has written.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::poll_fn;
use lyceum_model::{Position, Touch};
use lyceum_storage::{Published, StorageError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Connection};

use crate::{
    ledger::{Counters, Ledger},
    migrations::migrate,
    postgres_session::{PostgresSession, failed, runtime},
    postgres_tls::Address,
    publisher::{Publisher, Turn},
    readers::OpenSession,
    sql::{Param, Session, Sql, params},
    store::{Own, Parts, SqlStore},
    writer::Engine,
};

/// How many readers there are unless said otherwise.
const READERS: usize = 8;
/// Without a notice the log is looked at after this.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// After a lost connection the next one is tried after this.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Rows of the log that are read at once.
const LOG_ROWS: i64 = 1000;
/// The log is shortened this often, in so many rounds at most.
const TRIM_PAUSE: Duration = Duration::from_secs(60);
const TRIM_ROUNDS_MAX: u32 = 50;

/// How a PostgreSQL store is opened.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// How many threads, with a connection each, answer questions.
    pub readers: usize,
    /// Files with certificates (PEM) of authorities that are believed beside the system's.
    pub tls_authorities: Vec<PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            readers: READERS,
            tls_authorities: Vec::new(),
        }
    }
}

/// What belongs to PostgreSQL only.
#[derive(Debug)]
pub struct Postgres {
    follower: Arc<Follower>,
    follower_thread: Mutex<Option<JoinHandle<()>>>,
}

/// A store in a PostgreSQL database, shared with other nodes.
pub type PostgresStore = SqlStore<Postgres>;

impl PostgresStore {
    /// Opens the database at `postgres://user@host:port/database`, with `?sslmode=…` encrypted.
    pub fn open(url: &str, options: &PostgresOptions) -> Result<Self, StorageError> {
        let address = Address::parse(url, &options.tls_authorities)?;
        // Its runtime must not be started inside the caller's.
        let (session, ledger) = std::thread::scope(|scope| {
            scope
                .spawn(|| prepare(&address))
                .join()
                .unwrap_or_else(|_| Err(StorageError::Broken("opening failed inside".to_owned())))
        })?;
        let parts = Parts::new(Position(ledger.counters.position.cast_unsigned()));
        let follower = Arc::new(Follower {
            publisher: Arc::clone(&parts.publisher),
            look: Arc::new(Notify::new()),
            noticed: Arc::default(),
            is_closed: AtomicBool::new(false),
        });
        let follower_thread = {
            let follower = Arc::clone(&follower);
            let address = address.clone();
            std::thread::Builder::new()
                .name("storage-follow".to_owned())
                .spawn(move || follower.run(&address))
                .map_err(|error| StorageError::Broken(format!("no thread: {error}")))?
        };
        let engine = PostgresWriter {
            address: address.clone(),
            session: Some(session),
        };
        let own = Postgres {
            follower,
            follower_thread: Mutex::new(Some(follower_thread)),
        };
        let open: Arc<OpenSession> = Arc::new(move || -> Result<Box<dyn Session>, StorageError> {
            Ok(Box::new(PostgresSession::open(&address)?))
        });
        Self::start(
            own,
            parts,
            engine,
            Some(ledger),
            (options.readers, &open),
            None,
        )
    }
}

fn prepare(address: &Address) -> Result<(PostgresSession, Ledger), StorageError> {
    let mut session = PostgresSession::open(address)?;
    session.begin_write()?;
    migrate(&mut session)?;
    let ledger = Ledger::read(&mut session)?;
    session.commit()?;
    Ok((session, ledger))
}

impl Own for Postgres {
    const IS_SHARED: bool = true;

    fn close(&self) {
        self.follower.is_closed.store(true, Ordering::Release);
        self.follower.look.notify_one();
        if let Some(thread) = self.follower_thread.lock().take() {
            // It holds nothing that its end could break.
            let _ = thread.join();
        }
    }
}

struct PostgresWriter {
    address: Address,
    session: Option<PostgresSession>,
}

/// Rows of positions with what they touched, as the log has them.
fn to_published(
    position: i64,
    touches: &str,
    turn_position: Position,
) -> Result<Published, StorageError> {
    let position = Position(position.cast_unsigned());
    if position.0 != turn_position.0 + 1 {
        return Err(StorageError::Broken(format!(
            "commits after {} are no longer in the log: this node must be started anew",
            turn_position.0
        )));
    }
    let touches: Vec<Touch> = serde_json::from_str(touches)
        .map_err(|error| StorageError::Broken(format!("the log of commits: {error}")))?;
    Ok(Published {
        position,
        touches: Arc::new(touches),
        own: None,
    })
}

impl PostgresWriter {
    fn open_session(&mut self) -> Result<&mut PostgresSession, StorageError> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| !session.is_alive())
        {
            self.session = None;
            self.session = Some(PostgresSession::open(&self.address)?);
        }
        self.session
            .as_mut()
            .ok_or_else(|| StorageError::Unreachable("no connection".to_owned()))
    }
}

impl Engine for PostgresWriter {
    fn session(&mut self) -> Result<&mut dyn Session, StorageError> {
        match &mut self.session {
            Some(session) => Ok(session),
            None => Err(StorageError::Unreachable("no connection".to_owned())),
        }
    }

    fn begin(&mut self, ledger: &mut Option<Ledger>) -> Result<(), StorageError> {
        let session = self.open_session()?;
        session.begin_write()?;
        let counters = Counters::load(session)?;
        // Another node may have written since; then nothing that this one knows need be true.
        if ledger
            .as_ref()
            .is_none_or(|ledger| ledger.stored_counters != counters)
        {
            *ledger = Some(Ledger::at(counters));
        }
        Ok(())
    }

    fn commit(
        &mut self,
        published: &[Published],
        turn: &Turn<'_>,
    ) -> Result<Vec<Published>, StorageError> {
        let session = self
            .session
            .as_mut()
            .ok_or_else(|| StorageError::Unreachable("no connection".to_owned()))?;
        let (Some(first), Some(last)) = (published.first(), published.last()) else {
            // Nothing that anybody could see.
            session.commit()?;
            return Ok(Vec::new());
        };
        let mut foreign: Vec<Published> = Vec::new();
        if first.position.0 > turn.position().0 + 1 {
            let rows = session.query(
                "SELECT position, touches FROM commit_log \
                 WHERE position > ?1 AND position < ?2 ORDER BY position",
                params![turn.position(), first.position],
            )?;
            for mut row in rows {
                let before = foreign
                    .last()
                    .map_or(turn.position(), |commit| commit.position);
                let touches: String = row.take(1)?;
                foreign.push(to_published(row.take(0)?, &touches, before)?);
            }
            let before = foreign
                .last()
                .map_or(turn.position(), |commit| commit.position);
            if before.0 + 1 != first.position.0 {
                return Err(StorageError::Broken(
                    "commits are missing in the log: this node must be started anew".to_owned(),
                ));
            }
        }
        let positions: Vec<i64> = published
            .iter()
            .map(|commit| commit.position.0.cast_signed())
            .collect();
        let touches = published
            .iter()
            .map(|commit| serde_json::to_string(&*commit.touches))
            .collect::<Result<Vec<String>, _>>()
            .map_err(|error| StorageError::Broken(error.to_string()))?;
        let texts: Vec<&str> = touches.iter().map(String::as_str).collect();
        session.collect(
            "WITH written AS (INSERT INTO commit_log (position, node, written, touches) \
             SELECT l.position, pg_backend_pid(), \
             CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT), l.touches \
             FROM UNNEST(CAST(?1 AS BIGINT[]), CAST(?2 AS TEXT[])) AS l (position, touches)) \
             SELECT pg_notify('lyceum_commits', ?3)",
            &[
                Param::Ints(&positions),
                Param::Texts(&texts),
                Param::Text(&last.position.0.to_string()),
            ],
        )?;
        session.commit()?;
        Ok(foreign)
    }

    fn recover(&mut self, _: &StorageError) {
        if let Some(session) = &mut self.session {
            session.rollback();
            if !session.is_alive() {
                self.session = None;
            }
        }
    }
}

/// Reads what other nodes commit.
#[derive(Debug)]
struct Follower {
    publisher: Arc<Publisher>,
    look: Arc<Notify>,
    /// The newest position that a notice named.
    noticed: Arc<AtomicU64>,
    is_closed: AtomicBool,
}

impl Follower {
    fn run(&self, address: &Address) {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "this node cannot follow the others");
                return;
            }
        };
        while !self.is_closed.load(Ordering::Acquire) {
            let result = runtime.block_on(async {
                let (client, connection) = address.connect().await?;
                runtime.spawn(forward_notices(
                    connection,
                    Arc::clone(&self.look),
                    Arc::clone(&self.noticed),
                ));
                self.follow(&client).await
            });
            if let Err(error) = result {
                if matches!(error, StorageError::Broken(_)) {
                    tracing::error!(%error, "this node does not see what others commit");
                } else {
                    tracing::debug!(%error, "the connection for notices is lost");
                }
                if !self.is_closed.load(Ordering::Acquire) {
                    runtime.block_on(async { tokio::time::sleep(RECONNECT_PAUSE).await });
                }
            }
        }
    }

    async fn follow(&self, client: &Client) -> Result<(), StorageError> {
        client
            .batch_execute("LISTEN lyceum_commits")
            .await
            .map_err(failed)?;
        let read = client
            .prepare(
                "SELECT position, touches FROM commit_log WHERE position > $1 \
                 ORDER BY position LIMIT $2",
            )
            .await
            .map_err(failed)?;
        let mut trim_pause = std::pin::pin!(tokio::time::sleep(TRIM_PAUSE));
        let mut is_noticed = false;
        while !self.is_closed.load(Ordering::Acquire) {
            loop {
                // Nobody commits on this node meanwhile, so all that is found is foreign.
                let mut turn = self.publisher.turn();
                let from = turn.position().0;
                if is_noticed && from >= self.noticed.load(Ordering::Acquire) {
                    // The notice was of a commit of this node.
                    break;
                }
                let from = from.cast_signed();
                let rows = client
                    .query(&read, &[&from, &LOG_ROWS])
                    .await
                    .map_err(failed)?;
                for row in &rows {
                    let position: i64 = row.try_get(0).map_err(failed)?;
                    let touches: &str = row.try_get(1).map_err(failed)?;
                    let published = to_published(position, touches, turn.position())?;
                    turn.publish(published);
                }
                if (rows.len() as i64) < LOG_ROWS {
                    break;
                }
            }
            is_noticed = tokio::select! {
                () = self.look.notified() => true,
                () = tokio::time::sleep(LOOK_PAUSE) => false,
                () = &mut trim_pause => {
                    trim(client).await?;
                    trim_pause.set(tokio::time::sleep(TRIM_PAUSE));
                    false
                }
            };
            if client.is_closed() {
                return Err(StorageError::Unreachable(
                    "the connection is closed".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Removes rows of the log that are older than an hour, oldest first.
async fn trim(client: &Client) -> Result<(), StorageError> {
    for _ in 0..TRIM_ROUNDS_MAX {
        let removed = client
            .execute(
                "DELETE FROM commit_log \
                 WHERE position < (SELECT MIN(position) + 10000 FROM commit_log) \
                 AND written < CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT) - 3600000",
                &[],
            )
            .await
            .map_err(failed)?;
        if removed == 0 {
            break;
        }
    }
    Ok(())
}

/// Drives the connection; each notice asks for a look.
async fn forward_notices<S, T>(
    mut connection: Connection<S, T>,
    look: Arc<Notify>,
    noticed: Arc<AtomicU64>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(notice)) => {
                let position = notice.payload().parse().unwrap_or(u64::MAX);
                noticed.fetch_max(position, Ordering::AcqRel);
                look.notify_one();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the connection for notices ended");
                break;
            }
        }
    }
    look.notify_one();
}
