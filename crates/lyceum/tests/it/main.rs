//! The program as programs meet it: a process of its own for each test, plain TCP.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects has failed"
)]

mod moodle;
mod process;
mod synapse_admin;
