//! The answers: one function for each question of [`lyceum_storage::Store`].

pub(crate) mod accounts;
pub(crate) mod encryption;
pub(crate) mod files;
pub(crate) mod rooms;
