//! The program as programs meet it: a process of its own for each test, plain TCP.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects has failed"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the tests' only way to be told of a server"
)]

mod admin_tools;
mod certificate;
mod moderation;
mod moodle;
mod nodes;
mod process;
mod provisioning;
mod stopping;
mod synapse_admin;
