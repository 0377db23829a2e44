//! What may happen in a room: building, checking, authorising and resolving, as functions of
//! plain data.
//!
//! Invariants: no IO, no clock, no randomness, no `async`; time comes as `now`, chance as bytes;
//! the same input gives the same bytes. A request is answered by a [`Decision`] (the room
//! afterwards, the new events, the batch to commit) or is [`Denied`]; nothing is changed in
//! place. This crate does not know where rooms are kept, who is logged in, or other servers.

mod authorise;
mod check;
mod content;
mod create;
mod decision;
mod denied;
mod membership;
mod pdu;
mod power;
mod redact;
mod resolve;
mod room;
mod rules;
mod signer;
mod state;
mod stripped;
mod upgrade;
mod visibility;

pub use authorise::AuthEvent;
pub use content::{
    HistoryVisibility, JoinRule, MemberContent, Tombstone, member_content, membership_of,
};
pub use create::{CreateRoom, Preset, RoomEntropy, create};
pub use decision::{Decision, Draft, Past, send};
pub use denied::Denied;
pub use membership::{
    Invite, Join, Knock, Profile, Target, authorising_member, ban, bring_in, invite, join, kick,
    knock, leave, unban, update_profile,
};
pub use pdu::{EVENT_BYTES_MAX, ID_BYTES_MAX, redacted};
pub use power::{Power, PowerLevels};
pub use redact::{Redaction, redact, redaction_target};
pub use resolve::{Known, Resolution, Unresolvable, resolve_state};
pub use room::Room;
pub use rules::RoomRules;
pub use signer::{InvalidKey, Signer};
pub use state::{Member, State};
pub use stripped::{stripped_event, stripped_state};
pub use upgrade::{Upgrade, Upgraded, upgrade};
pub use visibility::{Viewpoint, visible_to};
