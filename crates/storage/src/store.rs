//! The questions and the write door.

use std::{collections::BTreeMap, fmt::Debug, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use lyceum_model::{
    AccessToken, AccountDataEntry, Alias, Appended, BackupSession, BackupVersion, Batch, Committed,
    CrossSigningKey, Device, DeviceKeys, Event, Expect, KeySignature, MatrixError, Media, MediaId,
    Membership, OneTimeKey, Position, Presence, Receipt, RegistrationToken, RoomHead, Seq,
    StateKey, StoredEvent, Threepid, Ticket, TicketKind, Timestamp, ToDevice, Touch, TransactionId,
    TransactionOutcome, UnreadCounts, User,
};
use ruma_common::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId,
    RoomVersionId, UserId,
};

/// Storage is broken: a disk, a database, a damaged file. Never "not found".
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// There is no room to write.
    #[error("the disk is full")]
    Full,
    /// The database cannot be reached now.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Anything else.
    #[error("storage failed: {0}")]
    Broken(String),
}

/// Why a batch was not stored. Nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A fact that the decision rested on no longer holds: load again, decide again.
    #[error("decided on something that changed meanwhile: {0:?}")]
    Stale(Expect),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The pending answer to a submitted batch.
pub type CommitTicket =
    Pin<Box<dyn Future<Output = Result<Committed, CommitError>> + Send + 'static>>;

/// A commit that readers can see now.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its number.
    pub position: Position,
    /// What it touched.
    pub touches: Arc<Vec<Touch>>,
    /// The batch and the places of its events, if this node wrote it.
    pub own: Option<(Arc<Batch>, Arc<Vec<Appended>>)>,
}

/// A room with its present state.
#[derive(Debug, Clone)]
pub struct RoomRecord {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// Counts its commits.
    pub revision: u64,
    /// The ends of its graph.
    pub heads: Vec<RoomHead>,
    /// The place of its newest timeline event (0 if none).
    pub last_seq: Seq,
    /// The commit of its newest timeline event.
    pub last_position: Position,
    /// Whether it is in the public directory.
    pub is_published: bool,
    /// Its present state, ordered by (type, state key).
    pub state: Vec<Arc<Event>>,
}

/// A room without its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSummary {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// Whether it is in the public directory.
    pub is_published: bool,
    /// How many members it has.
    pub joined: u64,
}

/// Rooms after a room, ordered by id.
#[derive(Debug, Clone)]
pub struct RoomPage {
    /// Only rooms whose id is greater.
    pub after: Option<OwnedRoomId>,
    /// Only rooms in the public directory.
    pub only_published: bool,
    /// At most so many.
    pub limit: usize,
}

/// Which of the two states around an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateSide {
    /// Before it.
    Before,
    /// After it.
    After,
}

/// The state of a room at one event.
#[derive(Debug, Clone)]
pub struct StateOf {
    /// The event.
    pub event_id: OwnedEventId,
    /// Before or after it.
    pub side: StateSide,
}

/// How much of a state is wanted.
#[derive(Debug, Clone)]
pub enum StateWanted {
    /// All of it.
    All,
    /// These entries.
    Keys(Vec<StateKey>),
}

/// In which direction of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Older events first come the newest: `dir=b`.
    Backward,
    /// Towards the present: `dir=f`.
    Forward,
}

impl Direction {
    /// From where it goes on once the event at this place was read.
    pub fn past(self, seq: Seq) -> Seq {
        match self {
            Self::Backward => seq,
            Self::Forward => Seq(seq.0 + 1),
        }
    }
}

/// A stretch of a room's timeline (events with [`lyceum_model::Placement::Timeline`] or
/// `History`; never soft-failed, rejected or outlying ones).
#[derive(Debug, Clone)]
pub struct TimelinePage {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Forward: the first place wanted. Backward: the place *before* which to begin (exclusive);
    /// `Seq(i64::MAX)` is the end.
    pub from: Seq,
    /// Where to stop: forward exclusive, backward the last one wanted (inclusive).
    pub until: Option<Seq>,
    /// Only events of commits up to this one.
    pub up_to: Position,
    /// The direction; the answer is in this order.
    pub direction: Direction,
    /// At most so many.
    pub limit: usize,
}

/// A user's standing in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMembership {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The user.
    pub user_id: OwnedUserId,
    /// What they are to it.
    pub membership: Membership,
    /// The member event.
    pub event_id: OwnedEventId,
    /// The commit that brought it into the present state.
    pub position: Position,
    /// Whether they asked not to see it any more.
    pub is_forgotten: bool,
}

/// What happened to a user in `(from, to]`, as far as it cannot be asked for by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChanges {
    /// Rooms with timeline events since, in which the user is joined now, or came or went after the
    /// stretch, and so may have been joined in it.
    pub timelines: Vec<OwnedRoomId>,
    /// Of those rooms the ones with receipts since, private ones too.
    pub receipts: Vec<OwnedRoomId>,
    /// Of those rooms the ones in which somebody began or stopped typing since.
    pub typing: Vec<OwnedRoomId>,
    /// The user's memberships that changed since, of all kinds.
    pub memberships: Vec<RoomMembership>,
}

/// How many keys of each algorithm are left for a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// One-time keys by algorithm.
    pub one_time: BTreeMap<String, u64>,
    /// Algorithms with a fallback key that nobody has used yet.
    pub unused_fallback: Vec<String>,
}

/// A key that can be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimableKey {
    /// The key.
    pub key: OneTimeKey,
    /// Whether it is the fallback key: it stays.
    pub is_fallback: bool,
}

/// Which accounts an admin wants to see.
#[derive(Debug, Clone, Default)]
pub struct UserSelection {
    /// The id or display name (profile field `displayname`) contains this (any case, as Unicode's
    /// lower case compares).
    pub name_contains: Option<String>,
    /// Deactivated ones too.
    pub with_deactivated: bool,
    /// Only admins, or only others.
    pub is_admin: Option<bool>,
    /// Only locked ones, or only others.
    pub is_locked: Option<bool>,
}

/// Accounts after an account, ordered by id.
#[derive(Debug, Clone)]
pub struct UserPage {
    /// Which.
    pub selection: UserSelection,
    /// Only users whose id is greater.
    pub after: Option<OwnedUserId>,
    /// At most so many.
    pub limit: usize,
}

/// Files after a file, ordered by id.
#[derive(Debug, Clone)]
pub struct MediaPage {
    /// Only files of this uploader.
    pub uploader: Option<OwnedUserId>,
    /// Only files whose id is greater.
    pub after: Option<MediaId>,
    /// At most so many.
    pub limit: usize,
}

/// How far [`Store::sweep`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// Nothing is left to do.
    Nothing,
    /// Some was looked at; there may be more.
    Looked,
    /// Some was taken away; there may be more.
    Removed,
}

/// Everything that is stored. Answers to questions see at least every commit whose ticket has
/// resolved; questions with an upper position never see beyond it.
///
/// # What changes do, where their own words leave it open
///
/// - The facts of a batch are checked in their order against what was stored before the batch;
///   `Stale` names the first that does not hold. A batch without changes is a commit too.
/// - Only a bug appends to a room that is not known or is told of states that are not (`After` an
///   event without known state, `set` with something that is no known state event, a present
///   state that is `Unknown`): the batch is refused as [`StorageError::Broken`]. Any other change
///   of something that is not there (a redaction, a receipt, typing, publishing, forgetting, a
///   key, a backup) does nothing.
/// - `Create` of a known room does nothing.
/// - `Append` gives timeline events the places 1, 2, …, history 0, -1, …. An event that is known
///   already stays as it is, and the answer tells its place; but an outlier or rejected event that
///   comes again as timeline, history or soft-failed takes the new placement, place, state and
///   commit (its text stays the stored one).
/// - An event that came of a `Transaction` of the batch that brings it (also of one behind it)
///   remembers the device and its name for it. What is known already stays as it is.
/// - The state after an event is the state before it with the event itself, if it is a state event
///   and not rejected; so it is for soft-failed ones.
/// - `Heads` sets the present state; for each `m.room.member` entry that differs from before, the
///   user's standing becomes what the event says, with this commit as position. It ends where the
///   entry is gone or says nothing known. Being invited, joining and knocking undo forgetting.
/// - `Redact` replaces the stored event; its place, position and states stay. A redacted event
///   relates to what its redacted form says, mostly nothing. It was redacted because of the first
///   redaction, however many follow.
/// - `EraseEvents` takes events as if they had never come; places are not used again, and states that
///   later events rest on stay.
/// - `RemoveDevice` takes the device's tokens, identity keys, one-time and fallback keys, waiting
///   messages and the signatures over its identity key (`target_key` is the device id).
/// - `Expire(t)` takes tickets and tokens that end before `t`, and transactions older than `t` minus
///   24 hours. Typing notices stay until they are replaced.
/// - One-time keys whose id the device has already are left alone. A signature replaces the one
///   by the same key over the same key. `RemoveBackup` leaves the number known, so that it is not
///   used again. Filters by room and session of a backup hold both.
/// - Receipts and typing are kept for known rooms only.
/// - `EraseUserData` takes account data, filters, unread counts, profile, presence, addresses,
///   receipts, backups, the keys of all devices, cross-signing keys, and signatures by or over the
///   user's keys. Devices, tokens, waiting messages, the record and the
///   number of the newest backup stay.
/// - `Purge` takes the room with its events, aliases, standings, receipts, typing, and all users'
///   account data and unread counts of it. It may be created anew, with revision 0 and place 1.
///
/// # Stretches of commits
///
/// Receipts, typing, account data, presence, device lists and standings remember the newest commit
/// that set them: a question about `(from, to]` tells those whose newest commit lies in it. What
/// was set again after `to` is told to whoever asks from `to` on. Timelines remember all.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    // ── writing ──

    /// Hands a batch in. Batches of one node are stored in the order of the calls; the ticket
    /// resolves when the batch is durable and published.
    fn submit(&self, batch: Batch) -> CommitTicket;

    /// Names who is told of every commit, of this node and of others, in the order of positions,
    /// before the ticket of the batch resolves. To be set once, before the first batch. The
    /// listener must be quick: it runs on the path of the writer.
    fn listen(&self, listener: Box<dyn Fn(Published) + Send + Sync>);

    /// The newest published commit.
    fn position(&self) -> Position;
    /// Whether other nodes write too, of whose commits this one is told a moment later.
    fn is_shared(&self) -> bool {
        false
    }

    /// Finishes what was handed in and closes. Nothing may be submitted afterwards.
    async fn close(&self) -> Result<(), StorageError>;

    /// Takes a portion of what nobody can see any more off the disk: what purged rooms and erased
    /// events leave behind. No answer to any question changes by it. Portions are small, commits go
    /// in between, and what was interrupted is taken up again, also by another process. When this
    /// is dropped before it is done, the portion may be passed over until the next sweep.
    async fn sweep(&self) -> Result<Swept, StorageError>;

    // ── rooms ──

    /// A room with its present state; `None` if this server does not know it.
    async fn room(&self, room_id: &RoomId) -> Result<Option<RoomRecord>, StorageError>;
    /// Rooms in the order of their ids.
    async fn rooms(&self, page: RoomPage) -> Result<Vec<RoomSummary>, StorageError>;
    /// How often commits moved a room's heads ([`RoomRecord::revision`]), without the rest.
    async fn revision(&self, room_id: &RoomId) -> Result<Option<u64>, StorageError>;
    /// Those of the events that are known, in the order asked. Each id is asked once.
    async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<StoredEvent>, StorageError>;
    /// A stretch of a timeline.
    async fn timeline(&self, page: TimelinePage) -> Result<Vec<StoredEvent>, StorageError>;
    /// The place of the newest timeline event (not of history) of a room in commits up to `at`;
    /// `Seq(0)` if none.
    async fn seq_at(&self, room_id: &RoomId, at: Position) -> Result<Seq, StorageError>;
    /// The state around an event, ordered by (type, state key); `None` if it is not known.
    async fn state_at(
        &self,
        of: StateOf,
        wanted: StateWanted,
    ) -> Result<Option<Vec<Arc<Event>>>, StorageError>;
    /// Entries of `to` that `from` does not have, or has otherwise; `from: None` is the empty
    /// state. `None` if one of the states is not known. Entries that `to` lacks are not told.
    async fn state_difference(
        &self,
        from: Option<StateOf>,
        to: StateOf,
    ) -> Result<Option<Vec<Arc<Event>>>, StorageError>;
    /// All standings of a user in rooms, forgotten ones too, ordered by room id.
    async fn memberships(&self, user_id: &UserId) -> Result<Vec<RoomMembership>, StorageError>;
    /// What a transaction has done, if it has happened.
    async fn transaction(
        &self,
        id: &TransactionId,
    ) -> Result<Option<TransactionOutcome>, StorageError>;
    /// Events of the timeline or history of `parent`'s room that relate to it, newest first, before
    /// `before` (exclusive), of one relation kind if given. None if `parent` is not known.
    async fn relations(
        &self,
        parent: &EventId,
        kind: Option<&str>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError>;
    /// Those of the events that have relations, in the order asked.
    async fn related(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, StorageError>;
    /// What an alias names.
    async fn alias(&self, alias: &RoomAliasId) -> Result<Option<Alias>, StorageError>;
    /// The aliases of a room, ordered.
    async fn aliases(&self, room_id: &RoomId) -> Result<Vec<Alias>, StorageError>;
    /// Who is typing, ordered by user id (those whose time has passed too).
    async fn typing(&self, room_id: &RoomId)
    -> Result<Vec<(OwnedUserId, Timestamp)>, StorageError>;
    /// Receipts of these rooms that were set in `(from, to]`, private ones too, ordered by room,
    /// user, kind, thread.
    async fn receipts(
        &self,
        room_ids: &[OwnedRoomId],
        from: Position,
        to: Position,
    ) -> Result<Vec<Receipt>, StorageError>;
    /// All receipts of one user in a room, ordered by kind, thread.
    async fn receipts_of(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Vec<Receipt>, StorageError>;
    /// What happened to a user in `(from, to]`; lists ordered by room id.
    async fn changes_for(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Result<UserChanges, StorageError>;

    // ── accounts ──

    /// An account.
    async fn user(&self, user_id: &UserId) -> Result<Option<User>, StorageError>;
    /// Accounts in the order of their ids.
    async fn users(&self, page: UserPage) -> Result<Vec<User>, StorageError>;
    /// How many accounts a selection has.
    async fn user_count(&self, selection: UserSelection) -> Result<u64, StorageError>;
    /// Profile fields (JSON values) of these users; users without a profile are missing.
    async fn profiles(
        &self,
        user_ids: &[OwnedUserId],
    ) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, String>>, StorageError>;
    /// The devices of these users, ordered by user and device id.
    async fn devices(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Device>, StorageError>;
    /// A token by its hash, also when its time has passed.
    async fn token(&self, hash: &[u8; 32]) -> Result<Option<AccessToken>, StorageError>;
    /// All tokens of a user, ordered by hash.
    async fn tokens_of(&self, user_id: &UserId) -> Result<Vec<AccessToken>, StorageError>;
    /// A short-lived secret, also when its time has passed.
    async fn ticket(&self, kind: TicketKind, key: &str) -> Result<Option<Ticket>, StorageError>;
    /// A user's account data of the whole account and all rooms set in `(from, to]`, ordered by
    /// room and type; deleted entries (content `None`) only when `from` is not 0.
    async fn account_data(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Result<Vec<AccountDataEntry>, StorageError>;
    /// One piece of account data, unless it was deleted.
    async fn account_data_entry(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
    ) -> Result<Option<AccountDataEntry>, StorageError>;
    /// A kept filter.
    async fn filter(
        &self,
        user_id: &UserId,
        filter_id: &str,
    ) -> Result<Option<String>, StorageError>;
    /// Counted notifications of a user in all rooms, ordered by room.
    async fn unread(&self, user_id: &UserId) -> Result<Vec<UnreadCounts>, StorageError>;
    /// The presence of these users, as far as they ever had one, ordered by user id.
    async fn presence(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Presence>, StorageError>;
    /// Presence that was set in `(from, to]`, oldest first (in one commit by user id), at most
    /// `limit`.
    async fn presence_changes(
        &self,
        from: Position,
        to: Position,
        limit: usize,
    ) -> Result<Vec<Presence>, StorageError>;
    /// A registration token.
    async fn registration_token(
        &self,
        token: &str,
    ) -> Result<Option<RegistrationToken>, StorageError>;
    /// All registration tokens, ordered.
    async fn registration_tokens(&self) -> Result<Vec<RegistrationToken>, StorageError>;
    /// The addresses bound to a user, ordered by medium and address.
    async fn threepids(&self, user_id: &UserId) -> Result<Vec<Threepid>, StorageError>;
    /// To whom an address is bound.
    async fn threepid(&self, medium: &str, address: &str)
    -> Result<Option<Threepid>, StorageError>;

    // ── encryption ──

    /// The identity keys of all devices of these users, ordered by user and device id.
    async fn device_keys(&self, user_ids: &[OwnedUserId]) -> Result<Vec<DeviceKeys>, StorageError>;
    /// How many keys are left for a device.
    async fn key_counts(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<KeyCounts, StorageError>;
    /// One-time keys of a device that are already there, of those named (to refuse changed ones),
    /// ordered by id.
    async fn one_time_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        key_ids: &[String],
    ) -> Result<Vec<OneTimeKey>, StorageError>;
    /// The keys to hand out next for (user, device, algorithm): the oldest one-time key (those of
    /// one commit by key id), else the fallback key, used or not. Missing where there is none.
    async fn claimable_keys(
        &self,
        wanted: &[(OwnedUserId, OwnedDeviceId, String)],
    ) -> Result<BTreeMap<(OwnedUserId, OwnedDeviceId, String), ClaimableKey>, StorageError>;
    /// The cross-signing keys of these users, ordered by user and usage.
    async fn cross_signing_keys(
        &self,
        user_ids: &[OwnedUserId],
    ) -> Result<Vec<CrossSigningKey>, StorageError>;
    /// All signatures over keys of these users, ordered by target, target key, signer, signer's
    /// key.
    async fn signatures(&self, targets: &[OwnedUserId]) -> Result<Vec<KeySignature>, StorageError>;
    /// Users whose device lists changed (`DeviceListChanged`, and `KeysChangedFor` the viewer) in
    /// `(from, to]`, ordered by id, each once.
    async fn device_list_changes(
        &self,
        viewer: &UserId,
        from: Position,
        to: Position,
    ) -> Result<Vec<OwnedUserId>, StorageError>;
    /// Messages waiting for a device, in commits up to `to`, oldest first, at most `limit`.
    async fn to_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        to: Position,
        limit: usize,
    ) -> Result<Vec<ToDevice>, StorageError>;
    /// How many messages wait for a device.
    async fn to_device_count(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<u64, StorageError>;
    /// A backup version, or the newest one that was not removed.
    async fn backup(
        &self,
        user_id: &UserId,
        version: Option<u64>,
    ) -> Result<Option<BackupVersion>, StorageError>;
    /// The highest version number a user's backups ever had; 0: none.
    async fn newest_backup_number(&self, user_id: &UserId) -> Result<u64, StorageError>;
    /// Keys of a backup, ordered by room and session: all, of one room, or one.
    async fn backup_sessions(
        &self,
        user_id: &UserId,
        version: u64,
        room_id: Option<&RoomId>,
        session_id: Option<&str>,
    ) -> Result<Vec<BackupSession>, StorageError>;

    // ── files and settings ──

    /// The record of a file.
    async fn media(&self, id: &MediaId) -> Result<Option<Media>, StorageError>;
    /// Files in the order of their ids (server, then name).
    async fn media_list(&self, page: MediaPage) -> Result<Vec<Media>, StorageError>;
    /// Those of the bytes, named by their SHA-256, that the record of some file names, ordered.
    async fn named_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, StorageError>;
    /// Who put a file with these bytes into quarantine, if it is still there; of several, the one
    /// whose id comes first.
    async fn quarantine_of(&self, sha256: &[u8; 32]) -> Result<Option<OwnedUserId>, StorageError>;
    /// How many promised uploads (with an `upload_until`) of a user have not come and are not
    /// overdue at `now` (`upload_until` is `now` or later).
    async fn pending_uploads(&self, user_id: &UserId, now: Timestamp) -> Result<u64, StorageError>;
    /// A setting of the server.
    async fn setting(&self, key: &str) -> Result<Option<String>, StorageError>;
}

impl From<StorageError> for MatrixError {
    fn from(error: StorageError) -> Self {
        // Whoever turns it into an answer gives it up, so this is where it is told.
        match &error {
            StorageError::Full => tracing::warn!("the disk is full"),
            StorageError::Unreachable(_) | StorageError::Broken(_) => tracing::error!(%error),
        }
        match error {
            StorageError::Full => Self::storage_full("The server's disk is full"),
            StorageError::Unreachable(_) => {
                Self::new(503, "M_UNKNOWN", "The server's database cannot be reached")
            }
            StorageError::Broken(_) => {
                Self::internal("The server could not read or write its data")
            }
        }
    }
}

impl From<CommitError> for MatrixError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Stale(_) => Self::new(
                409,
                "M_UNKNOWN",
                "This changed at the same time; please try again",
            ),
            CommitError::Storage(error) => error.into(),
        }
    }
}
