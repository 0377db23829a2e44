//! A connection to a SQLite file.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lyceum_storage::StorageError;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, config::DbConfig, ffi, hooks::Wal, types::ValueRef,
};

use crate::sql::{Insert, Param, Row, Session, Sql, Value};

/// Statements that each connection keeps prepared.
const STATEMENTS_MAX: usize = 256;
/// How long a connection waits for a lock; only a checkpoint that restarts the log holds one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long starting the log anew waits for readers: the writer waits as long.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(100);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// The one that writes.
    Write,
    /// One of those that read.
    Read,
    /// Reads a few rows by their key.
    LookUp,
    /// Moves the log into the database.
    Checkpoint,
}

/// Statements as SQLite wants them, by the address of the text they were written as, and whether
/// their lists have one element.
type Translated = HashMap<(usize, usize, bool), String>;

/// A connection with its prepared statements.
#[derive(Debug)]
pub(crate) struct SqliteSession {
    connection: Connection,
    translated: Translated,
}

impl SqliteSession {
    pub(crate) fn open(path: &Path, purpose: Use) -> Result<Self, StorageError> {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        let timeout = match purpose {
            Use::Write | Use::Read | Use::LookUp => BUSY_TIMEOUT,
            Use::Checkpoint => CHECKPOINT_TIMEOUT,
        };
        connection.busy_timeout(timeout).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // A statement keeps its plan whatever is bound to it; otherwise some are parsed anew at
        // each use, to look at statistics that we do not collect.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(failed)?;
        let settings = match purpose {
            // The log grows until the checkpoint thread has moved it; never on the writer's path.
            Use::Write => {
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -4096; \
                 PRAGMA temp_store = MEMORY;"
            }
            Use::Read => {
                "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; \
                 PRAGMA query_only = ON; PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY;"
            }
            Use::LookUp => {
                "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; \
                 PRAGMA query_only = ON; PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY;"
            }
            Use::Checkpoint => {
                "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; \
                 PRAGMA cache_size = -256;"
            }
        };
        connection.execute_batch(settings).map_err(failed)?;
        Ok(Self {
            connection,
            translated: HashMap::new(),
        })
    }

    /// Moves the log into the database file. Returns pages in the log and pages moved of them,
    /// and whether somebody stood in the way.
    pub(crate) fn checkpoint(&mut self, mode: &str) -> Result<(bool, i64, i64), StorageError> {
        self.connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                Ok((row.get::<_, i64>(0)? != 0, row.get(1)?, row.get(2)?))
            })
            .map_err(failed)
    }

    /// Has each commit say how many pages the log has then.
    pub(crate) fn watch_log(&mut self, pages: Arc<AtomicU64>) -> Result<(), StorageError> {
        let hook = move |_: &mut Wal, in_log: i32| {
            pages.store(u64::try_from(in_log).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        };
        self.connection.wal_hook(Some(hook)).map_err(failed)
    }

    /// Sets how many pages the database file may have.
    pub(crate) fn limit_pages(&mut self, pages: u64) -> Result<(), StorageError> {
        let pages = pages.clamp(1, 4_294_967_294);
        self.connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .map_err(failed)
    }

    /// The size of a page in bytes.
    pub(crate) fn page_bytes(&mut self) -> Result<u64, StorageError> {
        let bytes: i64 = self
            .connection
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .map_err(failed)?;
        Ok(bytes.cast_unsigned().max(1))
    }

    fn begin(&mut self, statement: &'static str) -> Result<(), StorageError> {
        self.connection
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute([]))
            .map_err(failed)?;
        Ok(())
    }
}

/// Whether all lists have one element.
fn are_lists_single(params: &[Param<'_>]) -> bool {
    params.iter().all(|param| match param {
        Param::Null | Param::Int(_) | Param::Text(_) | Param::Blob(_) => true,
        Param::Ints(list) => list.len() == 1,
        Param::Texts(list) => list.len() == 1,
        Param::Blobs(list) => list.len() == 1,
    })
}

/// `IN (?1[])` as SQLite has it; the list comes as JSON, bytes in it as hexadecimal text. A list of
/// one element comes as that element: SQLite makes a table of any other list.
fn translate<'a>(translated: &'a mut Translated, sql: &'static str, is_single: bool) -> &'a str {
    if !sql.contains('[') {
        return sql;
    }
    translated
        .entry((sql.as_ptr() as usize, sql.len(), is_single))
        .or_insert_with(|| {
            let mut out = String::with_capacity(sql.len() + 80);
            for part in sql.split_inclusive(']') {
                let list = part.rfind("(?").zip(part.rfind('['));
                let Some((start, end)) = list else {
                    out.push_str(part);
                    continue;
                };
                out.push_str(&part[..=start]);
                let parameter = &part[start + 1..end];
                if is_single {
                    out.push_str(parameter);
                    continue;
                }
                out.push_str(if part.ends_with("[x]") {
                    "SELECT unhex(value) FROM json_each("
                } else {
                    "SELECT value FROM json_each("
                });
                out.push_str(parameter);
                out.push(')');
            }
            out
        })
}

impl Sql for SqliteSession {
    fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StorageError> {
        let is_single = are_lists_single(params);
        let sql = translate(&mut self.translated, sql, is_single);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        bind(&mut statement, params, is_single)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut answer = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let mut values = Vec::with_capacity(columns);
            for column in 0..columns {
                values.push(match row.get_ref(column).map_err(failed)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(value) => Value::Int(value),
                    ValueRef::Real(_) => {
                        return Err(StorageError::Broken(
                            "a fraction in the database".to_owned(),
                        ));
                    }
                    ValueRef::Text(text) => Value::Text(
                        String::from_utf8(text.to_vec())
                            .map_err(|_| StorageError::Broken("a text is not UTF-8".to_owned()))?,
                    ),
                    ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
                });
            }
            answer.push(Row(values));
        }
        Ok(answer)
    }

    fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StorageError> {
        let is_single = are_lists_single(params);
        let sql = translate(&mut self.translated, sql, is_single);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        bind(&mut statement, params, is_single)?;
        let rows = statement.raw_execute().map_err(failed)?;
        Ok(rows as u64)
    }

    fn insert(
        &mut self,
        insert: &'static Insert,
        values: &[Param<'_>],
    ) -> Result<(), StorageError> {
        if values.is_empty() {
            return Ok(());
        }
        let sql = self
            .translated
            .entry((insert.into.as_ptr() as usize, insert.into.len(), false))
            .or_insert_with(|| insert.for_rows(1));
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        for row in values.chunks_exact(insert.columns) {
            bind(&mut statement, row, false)?;
            statement.raw_execute().map_err(failed)?;
        }
        Ok(())
    }
}

impl Session for SqliteSession {
    fn begin_read(&mut self) -> Result<(), StorageError> {
        self.begin("BEGIN DEFERRED")
    }

    fn begin_write(&mut self) -> Result<(), StorageError> {
        self.begin("BEGIN IMMEDIATE")
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.begin("COMMIT")
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.begin("ROLLBACK")
        {
            tracing::debug!(%error, "a transaction could not be rolled back");
        }
    }

    fn script(&mut self, script: &str) -> Result<(), StorageError> {
        self.connection.execute_batch(script).map_err(failed)
    }

    fn is_alive(&self) -> bool {
        true
    }

    /// There is one process, and it sweeps once at a time.
    fn claim_sweep(&mut self) -> Result<bool, StorageError> {
        Ok(true)
    }

    fn release_sweep(&mut self) {}

    fn sql(&mut self) -> &mut dyn Sql {
        self
    }
}

fn bind(
    statement: &mut rusqlite::CachedStatement<'_>,
    params: &[Param<'_>],
    is_single: bool,
) -> Result<(), StorageError> {
    for (index, param) in params.iter().enumerate() {
        let index = index + 1;
        match *param {
            Param::Null => statement.raw_bind_parameter(index, rusqlite::types::Null),
            Param::Int(value) => statement.raw_bind_parameter(index, value),
            Param::Text(text) => statement.raw_bind_parameter(index, text),
            Param::Blob(bytes) => statement.raw_bind_parameter(index, bytes),
            Param::Ints(&[value]) if is_single => statement.raw_bind_parameter(index, value),
            Param::Texts(&[text]) if is_single => statement.raw_bind_parameter(index, text),
            Param::Blobs(&[bytes]) if is_single => statement.raw_bind_parameter(index, bytes),
            Param::Ints(list) => statement.raw_bind_parameter(index, json_list(list)?),
            Param::Texts(list) => statement.raw_bind_parameter(index, json_list(list)?),
            Param::Blobs(list) => {
                let list: Vec<String> = list.iter().map(|bytes| hexadecimal(bytes)).collect();
                statement.raw_bind_parameter(index, json_list(&list)?)
            }
        }
        .map_err(failed)?;
    }
    Ok(())
}

fn json_list<T: serde::Serialize>(list: &[T]) -> Result<String, StorageError> {
    serde_json::to_string(list).map_err(|error| StorageError::Broken(error.to_string()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// What an error of SQLite means to us.
#[allow(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(crate) fn failed(error: rusqlite::Error) -> StorageError {
    // What readers and the writer share of the log grows with it, and has an error of its own.
    let cannot_grow = |error: &ffi::Error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE;
    if error.sqlite_error().is_some_and(cannot_grow) {
        return StorageError::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StorageError::Full,
        Some(ErrorCode::CannotOpen) => StorageError::Unreachable(error.to_string()),
        _ => StorageError::Broken(error.to_string()),
    }
}
