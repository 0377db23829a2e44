//! The program as programs meet it: a process of its own for each test, plain TCP.

mod moodle;
mod process;
mod synapse_admin;
