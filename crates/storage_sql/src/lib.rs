//! Storage in SQL: SQLite, embedded, and PostgreSQL, shared by several nodes.
//!
//! Invariants: one schema and one text of each statement for both; one thread of a node writes,
//! and everything that waits for it becomes one transaction; whoever asks never waits for whoever
//! writes; a ticket resolves when its batch survives a loss of power. What the answers mean is
//! defined by the memory engine of `lyceum_storage`.

mod apply;
mod event_body;
mod event_number;
mod event_rows;
mod figures;
mod ledger;
mod migrations;
mod node_cache;
mod postgres;
mod postgres_session;
mod postgres_tls;
mod publisher;
mod questions;
mod readers;
mod sql;
mod sqlite;
mod sqlite_session;
mod store;
mod sweep;
mod transaction_key;
mod writer;

#[doc(hidden)]
pub use event_body::dictionary_sample;
pub use figures::Figures;
pub use postgres::{Postgres, PostgresOptions, PostgresStore};
pub use sqlite::{Sqlite, SqliteOptions, SqliteStore};
pub use store::SqlStore;
