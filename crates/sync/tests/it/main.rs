//! What clients are told: tables, expected answers and properties.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod any_input;
mod classic;
mod client_event;
mod convergence;
mod ephemeral;
mod filter;
mod fixture;
mod history;
mod room_view;
mod sent_members;
mod summary;
mod token;
