//! What is stored, how a batch is applied to it, and which facts hold.

use std::sync::Arc;

use imbl::OrdMap;
use lyceum_model::{
    AccessToken, AccountDataEntry, Alias, Appended, BackupSession, BackupVersion, Batch, Change,
    CrossSigningKey, Device, DeviceKeys, Event, Expect, KeySignature, Media, MediaChange, MediaId,
    OneTimeKey, Placement, Position, Presence, Receipt, ReceiptKind, RegistrationToken, RoomHead,
    SentAs, Seq, StateKey, Threepid, Ticket, TicketKind, Timestamp, ToDevice, TransactionId,
    TransactionOutcome, UnreadCounts, User,
};
use ruma_common::{
    OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId,
};

use crate::{CommitError, RoomMembership, StorageError};

/// A room's state: which event stands for each entry.
pub(super) type State = OrdMap<StateKey, OwnedEventId>;
pub(super) type DeviceName = (OwnedUserId, OwnedDeviceId);
/// Whose, of which room and type.
pub(super) type AccountDataName = (OwnedUserId, Option<OwnedRoomId>, String);
/// Target, target's key, signer, signer's key.
pub(super) type SignatureName = (OwnedUserId, String, OwnedUserId, String);

#[derive(Clone, Default)]
pub(super) struct Data {
    pub(super) position: Position,
    pub(super) is_closed: bool,
    /// To-device messages of the batch that is being applied.
    pub(super) messages: u32,

    pub(super) rooms: OrdMap<OwnedRoomId, Room>,
    pub(super) events: OrdMap<OwnedEventId, KnownEvent>,
    pub(super) aliases: OrdMap<OwnedRoomAliasId, Alias>,
    pub(super) transactions: OrdMap<TransactionId, (TransactionOutcome, Timestamp)>,

    pub(super) users: OrdMap<OwnedUserId, User>,
    pub(super) profiles: OrdMap<(OwnedUserId, String), String>,
    pub(super) devices: OrdMap<DeviceName, Device>,
    pub(super) tokens: OrdMap<[u8; 32], AccessToken>,
    pub(super) tickets: OrdMap<(TicketKind, String), Ticket>,
    pub(super) account_data: OrdMap<AccountDataName, AccountDataEntry>,
    pub(super) filters: OrdMap<(OwnedUserId, String), String>,
    pub(super) unread: OrdMap<(OwnedUserId, OwnedRoomId), UnreadCounts>,
    pub(super) presence: OrdMap<OwnedUserId, Presence>,
    pub(super) registration_tokens: OrdMap<String, RegistrationToken>,
    pub(super) threepids: OrdMap<(String, String), Threepid>,

    pub(super) device_keys: OrdMap<DeviceName, DeviceKeys>,
    /// By key id, with the commit that added it.
    pub(super) one_time_keys: OrdMap<(DeviceName, String), (Position, OneTimeKey)>,
    /// Fingerprints of one-time keys that were handed out.
    pub(super) taken_keys: OrdMap<(DeviceName, i64), ()>,
    /// By algorithm, with whether it was handed out.
    pub(super) fallback_keys: OrdMap<(DeviceName, String), (OneTimeKey, bool)>,
    pub(super) cross_signing_keys:
        OrdMap<(OwnedUserId, lyceum_model::CrossSigningUsage), CrossSigningKey>,
    pub(super) signatures: OrdMap<SignatureName, KeySignature>,
    pub(super) device_lists: OrdMap<OwnedUserId, Position>,
    /// By viewer and whose keys they are.
    pub(super) keys_for: OrdMap<(OwnedUserId, OwnedUserId), Position>,
    pub(super) to_device: OrdMap<(DeviceName, Position, u32), ToDevice>,
    pub(super) backups: OrdMap<(OwnedUserId, u64), Backup>,
    pub(super) backup_numbers: OrdMap<OwnedUserId, u64>,

    pub(super) media: OrdMap<MediaId, Media>,
    pub(super) settings: OrdMap<String, String>,
}

#[derive(Clone)]
pub(super) struct Room {
    pub(super) version: RoomVersionId,
    pub(super) revision: u64,
    pub(super) heads: Vec<RoomHead>,
    pub(super) state: State,
    pub(super) is_published: bool,
    /// Events of the timeline (from 1 upwards) and of history (from 0 downwards).
    pub(super) timeline: OrdMap<Seq, (Position, OwnedEventId)>,
    pub(super) members: OrdMap<OwnedUserId, RoomMembership>,
    pub(super) typing: Vec<(OwnedUserId, Timestamp)>,
    pub(super) typing_position: Position,
    pub(super) receipts: OrdMap<(OwnedUserId, ReceiptKind, Option<String>), Receipt>,
}

#[derive(Clone)]
pub(super) struct KnownEvent {
    pub(super) event: Arc<Event>,
    pub(super) seq: Option<Seq>,
    pub(super) position: Position,
    pub(super) placement: Placement,
    pub(super) redacted_because: Option<OwnedEventId>,
    pub(super) sent_as: Option<SentAs>,
    /// The state before it, if it is known.
    pub(super) state_before: Option<State>,
}

#[derive(Clone)]
pub(super) struct Backup {
    pub(super) version: BackupVersion,
    pub(super) sessions: OrdMap<(OwnedRoomId, String), BackupSession>,
}

impl Data {
    /// Applies a batch; after an error the data is to be thrown away.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Vec<Appended>, CommitError> {
        if self.is_closed {
            return Err(StorageError::Broken("storage is closed".to_owned()).into());
        }
        if let Some(expect) = batch.expects.iter().find(|expect| !self.holds(expect)) {
            return Err(CommitError::Stale(expect.clone()));
        }
        self.position.0 += 1;
        self.messages = 0;
        let mut appended = Vec::new();
        let sent = batch.sent();
        for change in &batch.changes {
            match change {
                Change::Room(change) => self.change_room(change, &sent, &mut appended)?,
                Change::Account(change) => self.change_account(change),
                Change::Media(change) => self.change_media(change),
                Change::Setting { key, value } => {
                    set(&mut self.settings, key.clone(), value.clone());
                }
            }
        }
        Ok(appended)
    }

    fn change_media(&mut self, change: &MediaChange) {
        match change {
            MediaChange::Put(media) => {
                self.media.insert(media.id.clone(), media.clone());
            }
            MediaChange::Remove(id) => {
                self.media.remove(id);
            }
            MediaChange::Accessed(id, at) => {
                if let Some(media) = self.media.get_mut(id) {
                    media.last_access = Some(*at);
                }
            }
        }
    }

    fn holds(&self, expect: &Expect) -> bool {
        match expect {
            Expect::RoomRevision(room_id, revision) => {
                self.rooms.get(room_id).map_or(0, |room| room.revision) == *revision
            }
            Expect::RoomHeads(room_id, heads) => self
                .rooms
                .get(room_id)
                .is_some_and(|room| room.heads.iter().map(|head| &head.event_id).eq(heads)),
            Expect::UserAbsent(user_id) => !self.users.contains_key(user_id),
            Expect::UserExists(user_id) => self.users.contains_key(user_id),
            Expect::UserIs(user) => self.users.get(&user.user_id) == Some(&**user),
            Expect::AccountData(user_id, room_id, kind, position) => {
                let key = (user_id.clone(), room_id.clone(), kind.clone());
                let entry = self.account_data.get(&key);
                let entry = entry.filter(|entry| entry.content.is_some());
                entry.map(|entry| entry.position) == *position
            }
            Expect::AliasAbsent(alias) => !self.aliases.contains_key(alias),
            Expect::TransactionAbsent(id) => !self.transactions.contains_key(id),
            Expect::TicketExists(kind, key) => self.tickets.contains_key(&(*kind, key.clone())),
            Expect::OneTimeKeyExists(user_id, device_id, key_id) => {
                let device = (user_id.clone(), device_id.clone());
                self.one_time_keys.contains_key(&(device, key_id.clone()))
            }
            Expect::DeviceExists(user_id, device_id) => self
                .devices
                .contains_key(&(user_id.clone(), device_id.clone())),
            Expect::TokenExists(hash) => self.tokens.contains_key(hash),
            Expect::ThreepidAbsent(medium, address) => !self
                .threepids
                .contains_key(&(medium.clone(), address.clone())),
            Expect::MediaPending(id) => self
                .media
                .get(id)
                .is_some_and(|media| media.sha256.is_none()),
            Expect::MediaAbsent(id) => !self.media.contains_key(id),
            Expect::NewestBackup(user_id, version) => {
                self.backup(user_id, None).map(|backup| backup.version) == *version
            }
            Expect::BackupEtag(user_id, version, etag) => self
                .backup(user_id, Some(*version))
                .is_some_and(|backup| backup.etag == *etag),
            Expect::RegistrationTokenUsed(token, completed) => self
                .registration_tokens
                .get(token)
                .is_some_and(|token| token.completed == *completed),
            Expect::Setting(key, value) => self.settings.get(key) == value.as_ref(),
        }
    }
}

/// Sets an entry, or takes it away.
pub(super) fn set<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Keeps the entries that are wanted.
pub(super) fn retain<K: Ord + Clone, V: Clone>(
    map: &mut OrdMap<K, V>,
    is_wanted: impl Fn(&K, &V) -> bool,
) {
    let unwanted: Vec<K> = map
        .iter()
        .filter(|(key, value)| !is_wanted(key, value))
        .map(|(key, _)| key.clone())
        .collect();
    for key in unwanted {
        map.remove(&key);
    }
}
