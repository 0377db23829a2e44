//! Tests of the rules of rooms, through the crate's public face only.

mod bad_input;
mod creation;
mod heads;
mod hostile;
mod memberships;
mod permissions;
mod properties;
mod redactions;
mod resolution;
mod sealing;
mod upgrades;
mod visibility;
