//! The one form in which anything is written: a batch of changes with the facts it rests on.

use std::collections::BTreeMap;

use ruma_common::{
    EventId, OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId,
};
use serde::{Deserialize, Serialize};

use crate::{
    AccountChange, Appended, MediaChange, MediaId, RoomChange, SentAs, TicketKind, TransactionId,
    TransactionOutcome, User,
};

/// The number of a commit. Positions are total and gapless: who sees one sees all below it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

/// Everything one decision changes. It is stored whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Facts that must still hold.
    pub expects: Vec<Expect>,
    /// What changes, applied in this order.
    pub changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fact that must still hold.
    pub fn expect(&mut self, expect: Expect) -> &mut Self {
        self.expects.push(expect);
        self
    }

    /// As what the events were sent that came of transactions of this batch.
    pub fn sent(&self) -> BTreeMap<&EventId, SentAs> {
        let sent = self.changes.iter().filter_map(|change| match change {
            Change::Room(RoomChange::Transaction {
                id,
                outcome: TransactionOutcome::Event(event_id),
                ..
            }) => {
                let sent_as = SentAs {
                    device_id: id.device_id.clone(),
                    transaction_id: id.transaction_id.as_str().into(),
                };
                Some((&**event_id, sent_as))
            }
            _ => None,
        });
        sent.collect()
    }

    /// Adds a change.
    pub fn push(&mut self, change: impl Into<Change>) -> &mut Self {
        self.changes.push(change.into());
        self
    }
}

impl<C: Into<Change>> From<C> for Batch {
    fn from(change: C) -> Self {
        Self {
            expects: Vec::new(),
            changes: vec![change.into()],
        }
    }
}

/// A fact on which a decision rested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The room is still at this revision (0: not known yet).
    RoomRevision(OwnedRoomId, u64),
    /// The ends of the room's graph are these events. Two decisions that were made side by side
    /// have the same revision but not the same ends.
    RoomHeads(OwnedRoomId, Vec<OwnedEventId>),
    /// No user of this name exists.
    UserAbsent(OwnedUserId),
    /// The user exists.
    UserExists(OwnedUserId),
    /// The user's record is still this one.
    UserIs(Box<User>),
    /// This piece of a user's account data (of a room, if one is given) was last set by this
    /// commit; `None`: it is not there, or was deleted.
    AccountData(OwnedUserId, Option<OwnedRoomId>, String, Option<Position>),
    /// The alias names nothing.
    AliasAbsent(OwnedRoomAliasId),
    /// The transaction has not happened.
    TransactionAbsent(TransactionId),
    /// The ticket is there.
    TicketExists(TicketKind, String),
    /// The one-time key has not been handed out: user, device, key id.
    OneTimeKeyExists(OwnedUserId, OwnedDeviceId, String),
    /// The device is there.
    DeviceExists(OwnedUserId, OwnedDeviceId),
    /// The access token (its hash) is still valid.
    TokenExists([u8; 32]),
    /// No e-mail address or phone number like this is bound to anybody: medium, address.
    ThreepidAbsent(String, String),
    /// The file's bytes have not come yet.
    MediaPending(MediaId),
    /// No record of this file.
    MediaAbsent(MediaId),
    /// The backup's newest version (`None`: there is none) is this one.
    NewestBackup(OwnedUserId, Option<u64>),
    /// The backup version is there and its etag is this one: user, version, etag.
    BackupEtag(OwnedUserId, u64, u64),
    /// A registration token is there, with this many completed registrations.
    RegistrationTokenUsed(String, u64),
    /// The server setting has this value.
    Setting(String, Option<String>),
}

/// A change, by subject.
#[derive(Debug, Clone)]
pub enum Change {
    /// About a room.
    Room(RoomChange),
    /// About an account.
    Account(AccountChange),
    /// About a file.
    Media(MediaChange),
    /// A value that belongs to the whole server, such as its signing keys.
    Setting {
        /// Its name.
        key: String,
        /// Its value; `None` removes it.
        value: Option<String>,
    },
}

impl From<RoomChange> for Change {
    fn from(change: RoomChange) -> Self {
        Self::Room(change)
    }
}

impl From<AccountChange> for Change {
    fn from(change: AccountChange) -> Self {
        Self::Account(change)
    }
}

impl From<MediaChange> for Change {
    fn from(change: MediaChange) -> Self {
        Self::Media(change)
    }
}

/// What storage answers to a stored batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The commit's number.
    pub position: Position,
    /// The places of the appended events, in the order of the batch.
    pub appended: Vec<Appended>,
}

/// What a commit touched, for whoever must wake or forget something. This is also what the
/// other nodes read of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Touch {
    /// The room's timeline or state.
    Room(OwnedRoomId),
    /// A user's membership in a room changed.
    Membership(OwnedRoomId, OwnedUserId),
    /// Receipts in a room.
    Receipts(OwnedRoomId),
    /// Who is typing in a room.
    Typing(OwnedRoomId),
    /// An event was redacted in this room.
    Redacted(OwnedRoomId, OwnedEventId),
    /// The directory: aliases, published rooms.
    Directory(OwnedRoomId),
    /// The room is gone.
    Purged(OwnedRoomId),
    /// A user's account data, filters, push rules, read marks.
    AccountData(OwnedUserId),
    /// A user's private receipts.
    PrivateReceipts(OwnedUserId, OwnedRoomId),
    /// The user's record, devices, tokens, profile.
    User(OwnedUserId),
    /// The user's devices or cross-signing keys as others see them.
    DeviceList(OwnedUserId),
    /// A user's keys as one user sees them: first whose eyes, then whose keys.
    KeysFor(OwnedUserId, OwnedUserId),
    /// One-time or fallback keys of a device.
    OneTimeKeys(OwnedUserId, OwnedDeviceId),
    /// A message waits for a device.
    ToDevice(OwnedUserId, OwnedDeviceId),
    /// A user's presence.
    Presence(OwnedUserId),
    /// A token (its hash) is no longer valid.
    Token([u8; 32]),
    /// A file.
    Media(MediaIdText),
    /// A setting of the server.
    Setting(String),
}

/// A [`MediaId`] as one text, `server_name/media_id`.
pub type MediaIdText = String;
