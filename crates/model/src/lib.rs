//! The words every crate speaks: events, changes, batches and positions as plain data.
//!
//! Invariants: no IO, no clock, no randomness, no `async`; nothing here knows how data is stored,
//! how it is written on the wire, or which rules apply to it.

mod account;
mod batch;
mod event;
mod matrix_error;
mod media;
mod room_change;
mod time;

pub use account::{
    AccessToken, AccountChange, AccountDataEntry, BackupSession, BackupVersion, CrossSigningKey,
    CrossSigningUsage, Device, DeviceKeys, KeySignature, OneTimeKey, Presence, PresenceState,
    Receipt, ReceiptKind, RegistrationToken, Threepid, Ticket, TicketKind, ToDevice, TokenKind,
    UnreadCounts, User,
};
pub use batch::{Batch, Change, Committed, Expect, MediaIdText, Position, Touch};
pub use event::{Event, InvalidEvent, RelatesTo, StateKey};
pub use matrix_error::MatrixError;
pub use media::{Media, MediaChange, MediaId};
pub use room_change::{
    Alias, Appended, Membership, Placement, RoomChange, RoomHead, RoomHeads, SentAs, Seq,
    StateBefore, StoredEvent, TransactionId, TransactionOutcome,
};
pub use time::Timestamp;
