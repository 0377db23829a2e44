//! The endpoints by real requests: each test has its own server on a loopback port, over the
//! memory engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod bad_input;
mod chat;
mod devices;
mod discovery;
mod harness;
mod hierarchy;
mod keys;
mod login;
mod media;
mod moodle_pictures;
mod presence;
mod profile;
mod pushrules;
mod register;
mod relations;
mod report;
mod room_keys;
mod rooms_create;
mod rooms_directory;
mod rooms_membership;
mod rooms_messages;
mod rooms_send;
mod rooms_state;
mod send_to_device;
mod side_doors;
mod signing;
mod synapse_admin;
mod sync_model;
mod sync_rooms;
mod sync_waiting;
mod threads;
mod timestamp_to_event;
mod user;
mod user_directory;
