//! What end-to-end encryption needs of a server: keys of devices and users, messages to devices,
//! key backups (Client-Server API, "End-to-End Encryption"). The server reads none of what they
//! encrypt.
//!
//! Invariants: a one-time key is handed out once; a message to a device is stored once for each
//! transaction and given out until the device has it; a user's key changes hold that user's turn.

pub mod backups;
pub mod claim;
pub mod cross_signing;
mod device_lists;
pub mod query;
pub mod signatures;
pub mod to_device;
pub mod upload;

pub use device_lists::{DeviceListChanges, device_list_changes};
