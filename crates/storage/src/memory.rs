//! The memory engine: the specification of what every change does and of what every question is
//! answered.
//!
//! Invariants: as short as it can be right; no cache, no index that a scan can replace. A batch is
//! applied to a copy (the maps share what they have in common) that replaces the data only when
//! all went well, so nothing half applied is ever seen. Nothing survives the process.

mod account_changes;
mod account_questions;
mod data;
mod room_changes;
mod room_questions;

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Formatter},
    sync::Arc,
};

use async_trait::async_trait;
use lyceum_model::{
    AccessToken, AccountDataEntry, Alias, BackupSession, BackupVersion, Batch, Committed,
    CrossSigningKey, Device, DeviceKeys, Event, KeySignature, Media, MediaId, OneTimeKey, Position,
    Presence, Receipt, RegistrationToken, Seq, StoredEvent, Threepid, Ticket, TicketKind,
    Timestamp, ToDevice, TransactionId, TransactionOutcome, UnreadCounts, User,
};
use parking_lot::Mutex;
use ruma_common::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId,
    UserId,
};

use crate::{
    ClaimableKey, CommitTicket, KeyCounts, MediaPage, Published, RoomMembership, RoomPage,
    RoomRecord, RoomSummary, StateOf, StateWanted, StorageError, Store, Swept, TimelinePage,
    UserChanges, UserPage, UserSelection, touches,
};

use data::Data;

type Listener = Box<dyn Fn(Published) + Send + Sync>;

/// All data of a server in memory.
#[derive(Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
    /// Locked by whoever writes, until the listener was told.
    listener: Mutex<Option<Listener>>,
    /// A bug that the suite must find.
    #[cfg(test)]
    pub(crate) bug: Option<fn(&mut Batch)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store with the same data and no listener, as if this one had been closed and
    /// opened again.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let data = Data {
            is_closed: false,
            ..self.now()
        };
        Self {
            data: Mutex::new(data),
            #[cfg(test)]
            bug: self.bug,
            ..Self::default()
        }
    }

    #[cfg(test)]
    fn with_bug(&self, batch: &Batch) -> Batch {
        let mut batch = batch.clone();
        if let Some(bug) = self.bug {
            bug(&mut batch);
        }
        batch
    }

    /// The data as it is now.
    fn now(&self) -> Data {
        self.data.lock().clone()
    }
}

impl Debug for MemoryStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn submit(&self, batch: Batch) -> CommitTicket {
        let listener = self.listener.lock();
        let mut data = self.now();
        #[cfg(not(test))]
        let answer = data.commit(&batch);
        #[cfg(test)]
        let answer = data.commit(&self.with_bug(&batch));
        let result = answer.map(|appended| {
            let position = data.position;
            *self.data.lock() = data;
            if let Some(listener) = &*listener {
                listener(Published {
                    position,
                    touches: Arc::new(touches(&batch)),
                    own: Some((Arc::new(batch), Arc::new(appended.clone()))),
                });
            }
            Committed { position, appended }
        });
        Box::pin(std::future::ready(result))
    }

    fn listen(&self, listener: Listener) {
        *self.listener.lock() = Some(listener);
    }

    fn position(&self) -> Position {
        self.data.lock().position
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.data.lock().is_closed = true;
        Ok(())
    }

    async fn sweep(&self) -> Result<Swept, StorageError> {
        Ok(Swept::Nothing)
    }

    async fn room(&self, room_id: &RoomId) -> Result<Option<RoomRecord>, StorageError> {
        Ok(self.now().room(room_id))
    }

    async fn rooms(&self, page: RoomPage) -> Result<Vec<RoomSummary>, StorageError> {
        Ok(self.now().rooms(&page))
    }

    async fn revision(&self, room_id: &RoomId) -> Result<Option<u64>, StorageError> {
        Ok(self.room(room_id).await?.map(|room| room.revision))
    }

    async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<StoredEvent>, StorageError> {
        let data = self.now();
        Ok(ids.iter().filter_map(|id| data.event(id)).collect())
    }

    async fn timeline(&self, page: TimelinePage) -> Result<Vec<StoredEvent>, StorageError> {
        Ok(self.now().timeline(&page))
    }

    async fn seq_at(&self, room_id: &RoomId, at: Position) -> Result<Seq, StorageError> {
        Ok(self.now().seq_at(room_id, at))
    }

    async fn state_at(
        &self,
        of: StateOf,
        wanted: StateWanted,
    ) -> Result<Option<Vec<Arc<Event>>>, StorageError> {
        Ok(self.now().state_at(&of, &wanted))
    }

    async fn state_difference(
        &self,
        from: Option<StateOf>,
        to: StateOf,
    ) -> Result<Option<Vec<Arc<Event>>>, StorageError> {
        Ok(self.now().state_difference(from.as_ref(), &to))
    }

    async fn memberships(&self, user_id: &UserId) -> Result<Vec<RoomMembership>, StorageError> {
        Ok(self.now().memberships(user_id))
    }

    async fn transaction(
        &self,
        id: &TransactionId,
    ) -> Result<Option<TransactionOutcome>, StorageError> {
        Ok(self
            .now()
            .transactions
            .get(id)
            .map(|(outcome, _)| outcome.clone()))
    }

    async fn relations(
        &self,
        parent: &EventId,
        kind: Option<&str>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        Ok(self.now().relations(parent, kind, before, limit))
    }

    async fn related(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, StorageError> {
        let data = self.now();
        let is_related = |id: &&OwnedEventId| !data.relations(id, None, None, 1).is_empty();
        Ok(ids.iter().filter(is_related).cloned().collect())
    }

    async fn alias(&self, alias: &RoomAliasId) -> Result<Option<Alias>, StorageError> {
        Ok(self.now().aliases.get(alias).cloned())
    }

    async fn aliases(&self, room_id: &RoomId) -> Result<Vec<Alias>, StorageError> {
        let data = self.now();
        Ok(data
            .aliases
            .values()
            .filter(|alias| alias.room_id == room_id)
            .cloned()
            .collect())
    }

    async fn typing(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<(OwnedUserId, Timestamp)>, StorageError> {
        Ok(self
            .now()
            .rooms
            .get(room_id)
            .map_or(Vec::new(), |room| room.typing.clone()))
    }

    async fn receipts(
        &self,
        room_ids: &[OwnedRoomId],
        from: Position,
        to: Position,
    ) -> Result<Vec<Receipt>, StorageError> {
        Ok(self.now().receipts(room_ids, from, to))
    }

    async fn receipts_of(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Vec<Receipt>, StorageError> {
        Ok(self.now().receipts_of(room_id, user_id))
    }

    async fn changes_for(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Result<UserChanges, StorageError> {
        Ok(self.now().changes_for(user_id, from, to))
    }

    async fn user(&self, user_id: &UserId) -> Result<Option<User>, StorageError> {
        Ok(self.now().users.get(user_id).cloned())
    }

    async fn users(&self, page: UserPage) -> Result<Vec<User>, StorageError> {
        Ok(self
            .now()
            .users_selected(&page.selection, page.after.as_deref(), page.limit))
    }

    async fn user_count(&self, selection: UserSelection) -> Result<u64, StorageError> {
        Ok(self
            .now()
            .users_selected(&selection, None, usize::MAX)
            .len() as u64)
    }

    async fn profiles(
        &self,
        user_ids: &[OwnedUserId],
    ) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, String>>, StorageError> {
        Ok(self.now().profiles_of(user_ids))
    }

    async fn devices(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Device>, StorageError> {
        let data = self.now();
        Ok(data
            .devices
            .values()
            .filter(|of| user_ids.contains(&of.user_id))
            .cloned()
            .collect())
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<AccessToken>, StorageError> {
        Ok(self.now().tokens.get(hash).cloned())
    }

    async fn tokens_of(&self, user_id: &UserId) -> Result<Vec<AccessToken>, StorageError> {
        let data = self.now();
        Ok(data
            .tokens
            .values()
            .filter(|token| token.user_id == user_id)
            .cloned()
            .collect())
    }

    async fn ticket(&self, kind: TicketKind, key: &str) -> Result<Option<Ticket>, StorageError> {
        Ok(self.now().tickets.get(&(kind, key.to_owned())).cloned())
    }

    async fn account_data(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Result<Vec<AccountDataEntry>, StorageError> {
        Ok(self.now().account_data_between(user_id, from, to))
    }

    async fn account_data_entry(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
    ) -> Result<Option<AccountDataEntry>, StorageError> {
        let key = (
            user_id.to_owned(),
            room_id.map(ToOwned::to_owned),
            kind.to_owned(),
        );
        let entry = self.now().account_data.get(&key).cloned();
        Ok(entry.filter(|entry| entry.content.is_some()))
    }

    async fn filter(
        &self,
        user_id: &UserId,
        filter_id: &str,
    ) -> Result<Option<String>, StorageError> {
        Ok(self
            .now()
            .filters
            .get(&(user_id.to_owned(), filter_id.to_owned()))
            .cloned())
    }

    async fn unread(&self, user_id: &UserId) -> Result<Vec<UnreadCounts>, StorageError> {
        let data = self.now();
        Ok(data
            .unread
            .values()
            .filter(|counts| counts.user_id == user_id)
            .cloned()
            .collect())
    }

    async fn presence(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Presence>, StorageError> {
        let data = self.now();
        Ok(data
            .presence
            .values()
            .filter(|of| user_ids.contains(&of.user_id))
            .cloned()
            .collect())
    }

    async fn presence_changes(
        &self,
        from: Position,
        to: Position,
        limit: usize,
    ) -> Result<Vec<Presence>, StorageError> {
        Ok(self.now().presence_between(from, to, limit))
    }

    async fn registration_token(
        &self,
        token: &str,
    ) -> Result<Option<RegistrationToken>, StorageError> {
        Ok(self.now().registration_tokens.get(token).cloned())
    }

    async fn registration_tokens(&self) -> Result<Vec<RegistrationToken>, StorageError> {
        Ok(self.now().registration_tokens.values().cloned().collect())
    }

    async fn threepids(&self, user_id: &UserId) -> Result<Vec<Threepid>, StorageError> {
        let data = self.now();
        Ok(data
            .threepids
            .values()
            .filter(|of| of.user_id == user_id)
            .cloned()
            .collect())
    }

    async fn threepid(
        &self,
        medium: &str,
        address: &str,
    ) -> Result<Option<Threepid>, StorageError> {
        Ok(self
            .now()
            .threepids
            .get(&(medium.to_owned(), address.to_owned()))
            .cloned())
    }

    async fn device_keys(&self, user_ids: &[OwnedUserId]) -> Result<Vec<DeviceKeys>, StorageError> {
        let data = self.now();
        Ok(data
            .device_keys
            .values()
            .filter(|of| user_ids.contains(&of.user_id))
            .cloned()
            .collect())
    }

    async fn key_counts(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<KeyCounts, StorageError> {
        Ok(self.now().key_counts(user_id, device_id))
    }

    async fn one_time_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        key_ids: &[String],
    ) -> Result<Vec<OneTimeKey>, StorageError> {
        Ok(self.now().one_time_keys_named(user_id, device_id, key_ids))
    }

    async fn claimable_keys(
        &self,
        wanted: &[(OwnedUserId, OwnedDeviceId, String)],
    ) -> Result<BTreeMap<(OwnedUserId, OwnedDeviceId, String), ClaimableKey>, StorageError> {
        let data = self.now();
        Ok(wanted
            .iter()
            .filter_map(|wanted| Some((wanted.clone(), data.claimable_key(wanted)?)))
            .collect())
    }

    async fn cross_signing_keys(
        &self,
        user_ids: &[OwnedUserId],
    ) -> Result<Vec<CrossSigningKey>, StorageError> {
        let data = self.now();
        Ok(data
            .cross_signing_keys
            .values()
            .filter(|key| user_ids.contains(&key.user_id))
            .cloned()
            .collect())
    }

    async fn signatures(&self, targets: &[OwnedUserId]) -> Result<Vec<KeySignature>, StorageError> {
        let data = self.now();
        Ok(data
            .signatures
            .values()
            .filter(|of| targets.contains(&of.target))
            .cloned()
            .collect())
    }

    async fn device_list_changes(
        &self,
        viewer: &UserId,
        from: Position,
        to: Position,
    ) -> Result<Vec<OwnedUserId>, StorageError> {
        Ok(self.now().device_list_changes(viewer, from, to))
    }

    async fn to_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        to: Position,
        limit: usize,
    ) -> Result<Vec<ToDevice>, StorageError> {
        Ok(self.now().to_device_waiting(user_id, device_id, to, limit))
    }

    async fn to_device_count(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<u64, StorageError> {
        let end = Position(u64::MAX);
        Ok(self
            .now()
            .to_device_waiting(user_id, device_id, end, usize::MAX)
            .len() as u64)
    }

    async fn backup(
        &self,
        user_id: &UserId,
        version: Option<u64>,
    ) -> Result<Option<BackupVersion>, StorageError> {
        Ok(self.now().backup(user_id, version))
    }

    async fn newest_backup_number(&self, user_id: &UserId) -> Result<u64, StorageError> {
        Ok(self
            .now()
            .backup_numbers
            .get(user_id)
            .copied()
            .unwrap_or_default())
    }

    async fn backup_sessions(
        &self,
        user_id: &UserId,
        version: u64,
        room_id: Option<&RoomId>,
        session_id: Option<&str>,
    ) -> Result<Vec<BackupSession>, StorageError> {
        Ok(self
            .now()
            .backup_sessions(user_id, version, room_id, session_id))
    }

    async fn media(&self, id: &MediaId) -> Result<Option<Media>, StorageError> {
        Ok(self.now().media.get(id).cloned())
    }

    async fn named_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, StorageError> {
        Ok(self.now().named_bytes(hashes))
    }

    async fn quarantine_of(&self, sha256: &[u8; 32]) -> Result<Option<OwnedUserId>, StorageError> {
        Ok(self.now().quarantine_of(sha256))
    }

    async fn media_list(&self, page: MediaPage) -> Result<Vec<Media>, StorageError> {
        Ok(self.now().media_selected(&page))
    }

    async fn pending_uploads(&self, user_id: &UserId, now: Timestamp) -> Result<u64, StorageError> {
        Ok(self.now().pending_uploads(user_id, now))
    }

    async fn setting(&self, key: &str) -> Result<Option<String>, StorageError> {
        Ok(self.now().settings.get(key).cloned())
    }
}
