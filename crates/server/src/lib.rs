//! The shell: load → decide → commit → wake. It keeps caches, jobs and the order of things.
//!
//! Invariants: no HTTP here; nothing is decided here that a rule crate can decide; everything
//! that was acknowledged has gone through [`lyceum_storage::Store::submit`]; caches are filled
//! from what was stored and can be dropped at any time.

pub mod accounts;
pub mod administration;
pub mod application_services;
mod attendance;
pub mod chance;
pub mod clock;
pub mod config;
mod decide;
pub mod encryption;
pub mod feed;
pub mod media;
pub mod presence;
pub mod push_rules;
pub mod rooms;
pub mod sessions;
pub mod supervisor;
pub mod sync;
pub mod unread;

mod server;
#[cfg(test)]
mod test_world;
mod turns;

pub use server::Server;
