//! The engines against the suite of `lyceum_storage`, and what only a stored engine can fail at.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests may ask for the environment and spawn"
)]

mod messages;
mod postgres_nodes;
mod postgres_server;
mod postgres_suite;
mod postgres_tls;
mod sqlite_crash;
mod sqlite_disk;
mod sqlite_suite;
mod sweep;
