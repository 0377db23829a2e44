//! The schema and its way from every released version to the present one.
//!
//! Migrations are numbered from 1, run forward, each in one transaction, and are never changed
//! after a release. Each is written once, in SQLite's dialect.

use lyceum_storage::StorageError;

use crate::sql::{Session, params};

/// All migrations; the first one is number 1.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
    include_str!("../migrations/0003.sql"),
    include_str!("../migrations/0004.sql"),
    include_str!("../migrations/0005.sql"),
];

/// Brings the database to the present schema. The caller holds a write transaction.
pub(crate) fn migrate(session: &mut dyn Session) -> Result<(), StorageError> {
    migrate_to(session, MIGRATIONS.len())
}

/// Brings the database to the schema of a certain number.
pub(crate) fn migrate_to(session: &mut dyn Session, target: usize) -> Result<(), StorageError> {
    session.script(
        "CREATE TABLE IF NOT EXISTS schema_version (only_row INTEGER PRIMARY KEY, version INTEGER NOT NULL);",
    )?;
    let version: i64 = match session.first("SELECT version FROM schema_version", params![])? {
        Some(mut row) => row.take(0)?,
        None => 0,
    };
    let Ok(version) = usize::try_from(version) else {
        return Err(StorageError::Broken(format!(
            "impossible schema version {version}"
        )));
    };
    if version > MIGRATIONS.len() {
        return Err(StorageError::Broken(format!(
            "the database has schema {version}, made by a later release; this one knows {}",
            MIGRATIONS.len()
        )));
    }
    if version >= target {
        return Ok(());
    }
    for migration in &MIGRATIONS[version..target] {
        session.script(migration)?;
    }
    session.execute(
        "INSERT INTO schema_version (only_row, version) VALUES (1, ?1) \
         ON CONFLICT (only_row) DO UPDATE SET version = excluded.version",
        params![target],
    )?;
    Ok(())
}

/// The same script in PostgreSQL's dialect.
pub(crate) fn for_postgres(script: &str) -> String {
    script
        .replace(" INTEGER", " BIGINT")
        .replace(" BLOB", " BYTEA")
        .replace(" TEXT", " TEXT COLLATE \"C\"")
        .replace(") WITHOUT ROWID", ")")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::Ledger,
        sql::Sql,
        sqlite_session::{SqliteSession, Use},
    };

    /// Every released schema leads to the present one.
    #[test]
    fn migrations_start_from_any_version() {
        for start in 0..=MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("lyceum.db");
            let mut session = SqliteSession::open(&path, Use::Write).unwrap();
            session.begin_write().unwrap();
            migrate_to(&mut session, start).unwrap();
            session.commit().unwrap();
            session.begin_write().unwrap();
            migrate(&mut session).unwrap();
            migrate(&mut session).unwrap();
            session.commit().unwrap();
            Ledger::read(&mut session).unwrap();
        }
    }

    #[test]
    fn a_later_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut session =
            SqliteSession::open(&folder.path().join("lyceum.db"), Use::Write).unwrap();
        migrate(&mut session).unwrap();
        session
            .execute("UPDATE schema_version SET version = version + 1", params![])
            .unwrap();
        let error = migrate(&mut session).unwrap_err();
        assert!(error.to_string().contains("later release"), "{error}");
    }
}
