//! The engines against the suite of `lyceum_storage`, and what only a stored engine can fail at.

mod postgres_server;
mod postgres_suite;
mod sqlite_suite;
