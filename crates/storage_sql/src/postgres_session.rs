//! A connection to PostgreSQL, used from a plain thread.
//!
//! Each connection has a small runtime of its own that runs only while the thread waits for an
//! answer. Inserts are collected and sent together with whatever follows them, so that the end of
//! a group is one round trip. PostgreSQL cannot store the character U+0000 in a text; it is
//! escaped on the way in and restored on the way out.

use std::{
    borrow::Cow,
    collections::HashMap,
    future::{Future, poll_fn},
    task::Poll,
};

use bytes::BytesMut;
use lyceum_storage::StorageError;
use tokio::runtime::Runtime;
use tokio_postgres::{
    Client, Statement,
    error::SqlState,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use crate::{
    migrations::for_postgres,
    postgres_tls::Address,
    sql::{Insert, Param, Row, Session, Sql, Value},
};

/// The advisory lock under which everything is written: "lyceum".
const WRITE_LOCK: i64 = 0x6c79_6365_756d;
/// A node that stands still while it writes, or is gone without a word, loses the right to write after
/// so many milliseconds: the others wait for it.
const WRITER_IDLE_MS_MAX: u32 = 5_000;
/// The advisory lock of the one connection that sweeps.
const SWEEP_LOCK: i64 = WRITE_LOCK + 1;
/// How many rows one `INSERT` may have; statements of these sizes are prepared.
const INSERT_ROWS: [usize; 4] = [64, 16, 4, 1];

const ESCAPE: char = '\u{10FFFE}';

/// A connection with its prepared statements.
pub(crate) struct PostgresSession {
    /// Before the runtime, so that it is dropped first.
    client: Client,
    runtime: Runtime,
    statements: HashMap<(usize, usize, usize), Statement>,
    /// What has not been sent yet.
    collected: Vec<Collected>,
}

impl std::fmt::Debug for PostgresSession {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresSession")
            .finish_non_exhaustive()
    }
}

/// A runtime for one connection.
pub(crate) fn runtime() -> Result<Runtime, StorageError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StorageError::Broken(format!("no runtime: {error}")))
}

impl PostgresSession {
    pub(crate) fn open(address: &Address) -> Result<Self, StorageError> {
        let runtime = runtime()?;
        let client = runtime.block_on(async {
            let (client, connection) = address.connect().await?;
            runtime.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the database ended");
                }
            });
            client
                .batch_execute(
                    // The statements are written for indices. Without statistics of a new table
                    // the planner would read all of it instead.
                    "SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off; \
                     SET enable_mergejoin = off; SET client_min_messages = warning; \
                     SELECT set_config('synchronous_commit', 'on', false) \
                     WHERE current_setting('synchronous_commit') = 'off'",
                )
                .await
                .map_err(failed)?;
            Ok::<_, StorageError>(client)
        })?;
        Ok(Self {
            client,
            runtime,
            statements: HashMap::new(),
            collected: Vec::new(),
        })
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, StorageError> {
        let key = (sql.as_ptr() as usize, sql.len(), 0);
        self.prepare(key, || translate(sql))
    }

    fn prepare(
        &mut self,
        key: (usize, usize, usize),
        text: impl FnOnce() -> String,
    ) -> Result<Statement, StorageError> {
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let text = text();
        let statement = self
            .runtime
            .block_on(self.client.prepare(&text))
            .map_err(|error| with_text(failed(error), &text))?;
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }

    /// Adds a change that is sent with the next statement that waits for its answer.
    pub(crate) fn collect(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<(), StorageError> {
        let statement = self.statement(sql)?;
        self.collected.push(Collected::Change(
            statement,
            params.iter().map(Into::into).collect(),
        ));
        Ok(())
    }

    /// Sends what was collected, and `last` behind it, without waiting in between.
    fn send_collected<T>(
        &mut self,
        last: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StorageError> {
        let collected = std::mem::take(&mut self.collected);
        let client = &self.client;
        if collected.is_empty() {
            return self.runtime.block_on(last(client)).map_err(failed);
        }
        let send = async |collected: &Collected| match collected {
            Collected::Script(script) => client.batch_execute(script).await,
            Collected::Change(statement, values) => {
                let values: Vec<&(dyn ToSql + Sync)> = values
                    .iter()
                    .map(|value| value as &(dyn ToSql + Sync))
                    .collect();
                client.execute(statement, &values).await.map(|_| ())
            }
        };
        let mut waiting: Vec<_> = collected
            .iter()
            .map(|collected| Some(Box::pin(send(collected))))
            .collect();
        let mut first_error = None;
        self.runtime.block_on(async {
            let mut last = std::pin::pin!(last(client));
            let mut answer = None;
            // Whatever is polled for the first time is sent, so the order of this loop is the
            // order in which the server does it.
            poll_fn(|context| {
                for place in &mut waiting {
                    if let Some(future) = place
                        && let Poll::Ready(result) = future.as_mut().poll(context)
                    {
                        *place = None;
                        if let Err(error) = result {
                            first_error.get_or_insert(error);
                        }
                    }
                }
                if answer.is_none()
                    && let Poll::Ready(result) = last.as_mut().poll(context)
                {
                    answer = Some(result);
                }
                if waiting.iter().all(Option::is_none) && answer.is_some() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            match (first_error, answer) {
                (Some(error), _) => Err(failed(error)),
                (None, Some(answer)) => answer.map_err(failed),
                (None, None) => Err(StorageError::Broken("no answer".to_owned())),
            }
        })
    }

    fn run(&mut self, script: &str) -> Result<(), StorageError> {
        self.send_collected(async |client| client.batch_execute(script).await)
    }
}

/// What is sent together with whatever follows it.
enum Collected {
    /// Statements without parameters.
    Script(String),
    /// A prepared change.
    Change(Statement, Vec<OwnedParam>),
}

/// A statement as PostgreSQL has it.
fn translate(sql: &str) -> String {
    sql.replace("[x]", "[]")
        .split("IN (?")
        .enumerate()
        .map(|(index, part)| {
            // `1[])…` becomes `= ANY($1)…`.
            if index == 0 {
                return Cow::Borrowed(part);
            }
            match part.split_once("[])") {
                Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Cow::Owned(format!("= ANY(${number}){rest}"))
                }
                _ => Cow::Owned(format!("IN (${part}")),
            }
        })
        .collect::<String>()
        .replace('?', "$")
}

impl Sql for PostgresSession {
    fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StorageError> {
        let statement = self.statement(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = params
            .iter()
            .map(|value| value as &(dyn ToSql + Sync))
            .collect();
        let rows = self.send_collected(async |client| client.query(&statement, &values).await)?;
        rows.iter().map(to_row).collect()
    }

    fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StorageError> {
        let statement = self.statement(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = params
            .iter()
            .map(|value| value as &(dyn ToSql + Sync))
            .collect();
        self.send_collected(async |client| client.execute(&statement, &values).await)
    }

    fn insert(
        &mut self,
        insert: &'static Insert,
        values: &[Param<'_>],
    ) -> Result<(), StorageError> {
        let mut rest = values;
        while !rest.is_empty() {
            let rows = INSERT_ROWS
                .into_iter()
                .find(|rows| rows * insert.columns <= rest.len())
                .ok_or_else(|| StorageError::Broken("an incomplete row".to_owned()))?;
            let (chunk, after) = rest.split_at(rows * insert.columns);
            let key = (insert.into.as_ptr() as usize, insert.into.len(), rows);
            let statement = self.prepare(key, || insert.for_rows(rows).replace('?', "$"))?;
            self.collected.push(Collected::Change(
                statement,
                chunk.iter().map(Into::into).collect(),
            ));
            rest = after;
        }
        Ok(())
    }
}

impl Session for PostgresSession {
    fn begin_read(&mut self) -> Result<(), StorageError> {
        self.collected.push(Collected::Script(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
        ));
        Ok(())
    }

    fn begin_write(&mut self) -> Result<(), StorageError> {
        // Statements that follow see what the last holder of the lock has committed.
        self.collected.push(Collected::Script(format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {WRITER_IDLE_MS_MAX}; \
             SELECT pg_advisory_xact_lock({WRITE_LOCK})"
        )));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.run("COMMIT")
    }

    fn rollback(&mut self) {
        let was_begun = self.collected.is_empty()
            || !self
                .collected
                .iter()
                .any(|first| matches!(first, Collected::Script(_)));
        self.collected.clear();
        if was_begun && let Err(error) = self.run("ROLLBACK") {
            tracing::debug!(%error, "a transaction could not be rolled back");
        }
    }

    fn script(&mut self, script: &str) -> Result<(), StorageError> {
        self.run(&for_postgres(script))
    }

    fn is_alive(&self) -> bool {
        !self.client.is_closed()
    }

    fn claim_sweep(&mut self) -> Result<bool, StorageError> {
        let row = self.first("SELECT pg_try_advisory_lock(?1)", &[Param::Int(SWEEP_LOCK)])?;
        row.map_or(Ok(false), |mut row| row.take(0))
    }

    fn release_sweep(&mut self) {
        let released = self.first("SELECT pg_advisory_unlock(?1)", &[Param::Int(SWEEP_LOCK)]);
        if let Err(error) = released {
            // It goes with the connection.
            tracing::debug!(%error, "the turn to sweep could not be given up");
        }
    }

    fn sql(&mut self) -> &mut dyn Sql {
        self
    }
}

/// A parameter that waits to be sent.
#[derive(Debug)]
enum OwnedParam {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Blobs(Vec<Vec<u8>>),
}

impl From<&Param<'_>> for OwnedParam {
    fn from(param: &Param<'_>) -> Self {
        match *param {
            Param::Null => Self::Null,
            Param::Int(value) => Self::Int(value),
            Param::Text(text) => Self::Text(text.to_owned()),
            Param::Blob(bytes) => Self::Blob(bytes.to_vec()),
            Param::Ints(list) => Self::Ints(list.to_vec()),
            Param::Texts(list) => {
                Self::Texts(list.iter().map(|text| escape(text).into()).collect())
            }
            Param::Blobs(list) => Self::Blobs(list.iter().map(|bytes| bytes.to_vec()).collect()),
        }
    }
}

type Encoded = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

impl ToSql for OwnedParam {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Encoded {
        match self {
            Self::Null => Param::Null.to_sql(kind, out),
            Self::Int(value) => Param::Int(*value).to_sql(kind, out),
            Self::Text(text) => Param::Text(text).to_sql(kind, out),
            Self::Blob(bytes) => Param::Blob(bytes).to_sql(kind, out),
            Self::Ints(list) => list.to_sql(kind, out),
            Self::Texts(list) => list.to_sql(kind, out),
            Self::Blobs(list) => list.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for Param<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Encoded {
        match *self {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(value) if *kind == Type::INT4 => i32::try_from(value)?.to_sql(kind, out),
            Param::Int(value) => value.to_sql(kind, out),
            Param::Text(text) => escape(text).to_sql(kind, out),
            Param::Blob(bytes) => bytes.to_sql(kind, out),
            Param::Ints(list) => list.to_sql(kind, out),
            Param::Texts(list) => {
                let list: Vec<Cow<'_, str>> = list.iter().map(|text| escape(text)).collect();
                list.to_sql(kind, out)
            }
            Param::Blobs(list) => list.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, '1']),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

fn restore(text: &str) -> String {
    if !text.contains(ESCAPE) {
        return text.to_owned();
    }
    let mut restored = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == ESCAPE {
            restored.push(if letters.next() == Some('0') {
                '\0'
            } else {
                ESCAPE
            });
        } else {
            restored.push(letter);
        }
    }
    restored
}

fn to_row(row: &tokio_postgres::Row) -> Result<Row, StorageError> {
    let mut values = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row
                .try_get::<_, Option<i64>>(index)
                .map(|v| v.map(Value::Int)),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(index)
                .map(|v| v.map(|v| Value::Int(v.into()))),
            Type::BOOL => row
                .try_get::<_, Option<bool>>(index)
                .map(|v| v.map(|v| Value::Int(v.into()))),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(index)
                .map(|v| v.map(Value::Blob)),
            _ => row
                .try_get::<_, Option<&str>>(index)
                .map(|v| v.map(|v| Value::Text(restore(v)))),
        };
        values.push(value.map_err(failed)?.unwrap_or_default());
    }
    Ok(Row(values))
}

/// What an error of PostgreSQL means to us.
#[allow(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(crate) fn failed(error: tokio_postgres::Error) -> StorageError {
    let Some(code) = error.code() else {
        // No answer of the server: the connection is gone, or could not be made.
        return StorageError::Unreachable(with_causes(&error));
    };
    let class = code.code().get(..2).unwrap_or_default();
    if *code == SqlState::DISK_FULL {
        StorageError::Full
    } else if matches!(class, "08" | "57" | "28" | "3D") || *code == SqlState::TOO_MANY_CONNECTIONS
    {
        StorageError::Unreachable(with_causes(&error))
    } else {
        StorageError::Broken(with_causes(&error))
    }
}

fn with_causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn with_text(error: StorageError, text: &str) -> StorageError {
    match error {
        StorageError::Broken(reason) => StorageError::Broken(format!("{reason} in: {text}")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_translated() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ?1 AND b IN (?2[])", "a = $1 AND b = ANY($2)"),
            (
                "a IN (?1[x]) AND b IN (?12[]) AND c = ?3",
                "a = ANY($1) AND b = ANY($12) AND c = $3",
            ),
            ("(?1, ?2)", "($1, $2)"),
            ("IN (?1, ?2)", "IN ($1, $2)"),
        ] {
            assert_eq!(translate(sql), expected);
        }
    }

    #[test]
    fn texts_come_back() {
        for text in [
            "",
            "plain",
            "\0",
            "a\0b\u{10FFFE}0\u{10FFFE}",
            "\u{10FFFE}\u{10FFFE}\0\0",
        ] {
            assert!(!escape(text).contains('\0'));
            assert_eq!(restore(&escape(text)), text);
        }
    }
}
