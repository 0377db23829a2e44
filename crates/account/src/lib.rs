//! The rules about users and what belongs to them: names, passwords, tokens, interactive
//! authentication, push rules, unread counts, encryption keys, key backups, profiles.
//!
//! Invariants: no IO, no clock, no randomness, no `async`; chance comes as bytes, time as `now`,
//! facts from storage as parameters. Nothing here knows rooms' rules, HTTP or storage.

pub mod backup;
pub mod filter_id;
pub mod interactive_auth;
pub mod keys;
pub mod names;
pub mod password;
pub mod profile;
pub mod push;
pub mod token;
pub mod unread;
