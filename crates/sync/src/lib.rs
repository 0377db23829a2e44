//! What a client must be told, and in which bytes.
//!
//! Invariants: no IO, no clock, no randomness, no `async`; the same input gives the same bytes.
//! Nothing here knows storage, HTTP or the rules of rooms: the shell loads what a function asks
//! for and hands it over as slices and closures. An event is turned into its client form once
//! ([`client_event::ClientEvent`]); answers copy its bytes. JSON texts that are handed in must be
//! valid JSON: they were parsed before they were stored.

pub mod classic;
pub mod client_event;
mod event_fields;
pub mod filter;
pub mod history;
mod json_text;
pub mod presence;
pub mod receipts;
pub mod room_view;
pub mod sent_members;
pub mod summary;
pub mod token;
pub mod typing;
