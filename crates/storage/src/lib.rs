//! What the server may ask of storage, and the one door through which anything is written.
//!
//! Invariants: state changes only through [`Store::submit`]; every question is bulk, bounded, and
//! in the server's words; no key, row, cursor or transaction appears in a signature. The memory
//! engine ([`memory`]) is the specification of what each engine answers; the suite ([`suite`])
//! compares them.

mod batch_touches;
mod fingerprint;
pub mod memory;
pub mod state_trie;
mod store;
pub mod suite;

pub use batch_touches::touches;
pub use fingerprint::fingerprint;
pub use store::{
    ClaimableKey, CommitError, CommitTicket, Direction, KeyCounts, MediaPage, Published,
    RoomMembership, RoomPage, RoomRecord, RoomSummary, StateOf, StateSide, StateWanted,
    StorageError, Store, Swept, TimelinePage, UserChanges, UserPage, UserSelection,
};
