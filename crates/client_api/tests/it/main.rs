//! The endpoints by real requests: each test has its own server on a loopback port, over the
//! memory engine.

mod account;
mod bad_input;
mod devices;
mod discovery;
mod harness;
mod keys;
mod login;
mod presence;
mod profile;
mod pushrules;
mod register;
mod room_keys;
mod send_to_device;
mod signing;
mod synapse_admin;
mod user;
mod user_directory;
