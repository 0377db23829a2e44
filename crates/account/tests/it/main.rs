//! The rules about accounts, tested from outside.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "tables of tests read better so"
)]

mod backup;
mod interactive_auth;
mod keys;
mod names;
mod profile;
mod push_evaluation;
mod push_rules;
mod secrets;
mod unread;
