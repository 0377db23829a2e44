//! The store as the server sees it: a queue for the writer, readers for the questions.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Formatter},
    sync::Arc,
    thread::JoinHandle,
};

use async_trait::async_trait;
use lyceum_model::{
    AccessToken, AccountDataEntry, Alias, BackupSession, BackupVersion, Batch, CrossSigningKey,
    Device, DeviceKeys, Event, KeySignature, Media, MediaId, OneTimeKey, Position, Presence,
    Receipt, RegistrationToken, Seq, StoredEvent, Threepid, Ticket, TicketKind, Timestamp,
    ToDevice, TransactionId, TransactionOutcome, UnreadCounts, User,
};
use lyceum_storage::{
    ClaimableKey, CommitTicket, KeyCounts, MediaPage, Published, RoomMembership, RoomPage,
    RoomRecord, RoomSummary, StateOf, StateWanted, StorageError, Store, Swept, TimelinePage,
    UserChanges, UserPage, UserSelection,
};
use parking_lot::Mutex;
use ruma_common::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId,
    UserId,
};

use crate::{
    apply::Shared,
    event_body::BodyCodec,
    figures::{Counted, Figures},
    ledger::Ledger,
    node_cache::NodeCache,
    publisher::Publisher,
    questions::{accounts, encryption, files, rooms},
    readers::{OpenSession, Readers, Statements},
    sql::Sql,
    sweep::{Step, Sweep},
    writer::{Engine, Queue, Writer},
};

/// What belongs to one engine only and must be closed with the store.
pub(crate) trait Own: Send + Sync + Debug + 'static {
    /// Whether other nodes write into the same database.
    const IS_SHARED: bool;

    /// Ends what the engine has running. The writer has ended already.
    fn close(&self);
    /// The end that follows is to be as a crash.
    fn abandon(&self) {}
}

/// What the threads of a store share.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) counted: Arc<Counted>,
}

impl Parts {
    pub(crate) fn new(position: Position) -> Self {
        Self {
            shared: Arc::new(Shared {
                codec: BodyCodec::new(),
                nodes: NodeCache::default(),
            }),
            queue: Arc::default(),
            publisher: Arc::new(Publisher::new(position)),
            counted: Arc::default(),
        }
    }
}

/// A store in an SQL database. Closed when dropped, after everything that was handed in.
#[allow(private_bounds, reason = "the engines are in this crate only")]
pub struct SqlStore<E: Own> {
    pub(crate) own: E,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    publisher: Arc<Publisher>,
    counted: Arc<Counted>,
    readers: Readers,
    writer: Mutex<Option<JoinHandle<()>>>,
    open: Arc<OpenSession>,
    sweep: Arc<Mutex<Sweep>>,
}

#[allow(private_bounds, reason = "the engines are in this crate only")]
impl<E: Own> SqlStore<E> {
    pub(crate) fn start<W: Engine + 'static>(
        own: E,
        parts: Parts,
        engine: W,
        ledger: Option<Ledger>,
        (readers, open): (usize, &Arc<OpenSession>),
        lookups: Option<(usize, Arc<OpenSession>)>,
    ) -> Result<Self, StorageError> {
        let Parts {
            shared,
            queue,
            publisher,
            counted,
        } = parts;
        let readers = Readers::start(readers, open, lookups)?;
        let writer = Writer {
            engine,
            queue: Arc::clone(&queue),
            shared: Arc::clone(&shared),
            publisher: Arc::clone(&publisher),
            counted: Arc::clone(&counted),
            ledger,
        };
        let writer = std::thread::Builder::new()
            .name("storage-write".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StorageError::Broken(format!("no thread: {error}")))?;
        let writer = Mutex::new(Some(writer));
        Ok(Self {
            own,
            shared,
            queue,
            publisher,
            counted,
            readers,
            writer,
            open: Arc::clone(open),
            sweep: Arc::default(),
        })
    }

    /// What the store has done so far.
    pub fn figures(&self) -> Figures {
        Figures {
            waiting_batches: self.queue.waiting() as u64,
            waiting_questions: self.readers.waiting() as u64,
            ..self.counted.figures()
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        statements: Statements,
        question: impl Fn(&mut dyn Sql, &Shared) -> Result<T, StorageError> + Send + Sync + 'static,
    ) -> Result<T, StorageError> {
        let shared = Arc::clone(&self.shared);
        self.readers
            .ask(statements, move |sql| question(sql, &shared))
            .await
    }

    /// Ends all threads and leaves everything as it is now, without what waits: for tests.
    #[doc(hidden)]
    pub fn abandon(&self) {
        self.own.abandon();
        self.queue.abandon();
        self.end();
    }

    /// Finishes what was handed in and ends all threads.
    fn end(&self) {
        self.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has failed its tickets already.
            let _ = writer.join();
        }
        self.readers.close();
        std::thread::scope(|scope| {
            // Its connection must not be closed on a thread of the asker's runtime.
            scope.spawn(|| self.sweep.lock().close());
        });
        self.own.close();
    }
}

#[allow(private_bounds, reason = "the engines are in this crate only")]
impl<E: Own> Drop for SqlStore<E> {
    fn drop(&mut self) {
        self.end();
    }
}

#[allow(private_bounds, reason = "the engines are in this crate only")]
impl<E: Own> Debug for SqlStore<E> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqlStore")
            .field("engine", &self.own)
            .field("position", &self.publisher.position())
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[allow(private_bounds, reason = "the engines are in this crate only")]
impl<E: Own> Store for SqlStore<E> {
    fn submit(&self, batch: Batch) -> CommitTicket {
        self.queue.submit(&self.shared.codec, batch)
    }

    fn listen(&self, listener: Box<dyn Fn(Published) + Send + Sync>) {
        self.publisher.listen(listener);
    }

    fn position(&self) -> Position {
        self.publisher.position()
    }

    fn is_shared(&self) -> bool {
        E::IS_SHARED
    }

    async fn close(&self) -> Result<(), StorageError> {
        // Ends within a commit or two; whoever closes has nothing else to do.
        self.end();
        Ok(())
    }

    async fn sweep(&self) -> Result<Swept, StorageError> {
        let (answer, step) = tokio::sync::oneshot::channel();
        let (open, shared) = (Arc::clone(&self.open), Arc::clone(&self.shared));
        let sweep = Arc::clone(&self.sweep);
        // Its connection must not be used on a thread of the asker's runtime.
        std::thread::Builder::new()
            .name("storage-sweep".to_owned())
            .spawn(move || {
                // Whoever asked may have gone; then the next one goes on from here.
                let _ = answer.send(sweep.lock().step(&*open, &shared));
            })
            .map_err(|error| StorageError::Broken(format!("no thread: {error}")))?;
        let step = step
            .await
            .unwrap_or_else(|_| Err(StorageError::Broken("the sweep failed inside".to_owned())));
        match step? {
            Step::Nothing => Ok(Swept::Nothing),
            Step::Looked => Ok(Swept::Looked),
            Step::Write(upkeep) => {
                let done = self.queue.keep_up(upkeep).await;
                if done.is_err() {
                    self.sweep.lock().begin_anew();
                }
                done.map(|()| Swept::Removed)
            }
        }
    }

    async fn room(&self, room_id: &RoomId) -> Result<Option<RoomRecord>, StorageError> {
        let room_id = room_id.to_owned();
        self.ask(Statements::Several, move |sql, shared| {
            rooms::room(sql, shared, &room_id)
        })
        .await
    }

    async fn rooms(&self, page: RoomPage) -> Result<Vec<RoomSummary>, StorageError> {
        self.ask(Statements::One, move |sql, _| rooms::rooms(sql, &page))
            .await
    }

    async fn revision(&self, room_id: &RoomId) -> Result<Option<u64>, StorageError> {
        let room_id = room_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            rooms::revision(sql, &room_id)
        })
        .await
    }

    async fn events(&self, ids: &[OwnedEventId]) -> Result<Vec<StoredEvent>, StorageError> {
        let ids = ids.to_vec();
        self.ask(Statements::Several, move |sql, shared| {
            rooms::events(sql, shared, &ids)
        })
        .await
    }

    async fn timeline(&self, page: TimelinePage) -> Result<Vec<StoredEvent>, StorageError> {
        self.ask(Statements::Several, move |sql, shared| {
            rooms::timeline(sql, shared, &page)
        })
        .await
    }

    async fn seq_at(&self, room_id: &RoomId, at: Position) -> Result<Seq, StorageError> {
        let room_id = room_id.to_owned();
        self.ask(Statements::Several, move |sql, _| {
            rooms::seq_at(sql, &room_id, at)
        })
        .await
    }

    async fn state_at(
        &self,
        of: StateOf,
        wanted: StateWanted,
    ) -> Result<Option<Vec<Arc<Event>>>, StorageError> {
        self.ask(Statements::Several, move |sql, shared| {
            rooms::state_at(sql, shared, &of, &wanted)
        })
        .await
    }

    async fn state_difference(
        &self,
        from: Option<StateOf>,
        to: StateOf,
    ) -> Result<Option<Vec<Arc<Event>>>, StorageError> {
        self.ask(Statements::Several, move |sql, shared| {
            rooms::state_difference(sql, shared, from.as_ref(), &to)
        })
        .await
    }

    async fn memberships(&self, user_id: &UserId) -> Result<Vec<RoomMembership>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::Several, move |sql, shared| {
            rooms::memberships(sql, shared, &user_id)
        })
        .await
    }

    async fn transaction(
        &self,
        id: &TransactionId,
    ) -> Result<Option<TransactionOutcome>, StorageError> {
        let id = id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            rooms::transaction(sql, &id)
        })
        .await
    }

    async fn relations(
        &self,
        parent: &EventId,
        kind: Option<&str>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let parent = parent.to_owned();
        let kind = kind.map(ToOwned::to_owned);
        self.ask(Statements::Several, move |sql, shared| {
            rooms::relations(sql, shared, &parent, kind.as_deref(), before, limit)
        })
        .await
    }

    async fn related(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, StorageError> {
        let ids = ids.to_vec();
        self.ask(Statements::Several, move |sql, shared| {
            rooms::related(sql, shared, &ids)
        })
        .await
    }

    async fn alias(&self, alias: &RoomAliasId) -> Result<Option<Alias>, StorageError> {
        let alias = alias.to_owned();
        self.ask(Statements::Lookup, move |sql, _| rooms::alias(sql, &alias))
            .await
    }

    async fn aliases(&self, room_id: &RoomId) -> Result<Vec<Alias>, StorageError> {
        let room_id = room_id.to_owned();
        self.ask(Statements::One, move |sql, _| rooms::aliases(sql, &room_id))
            .await
    }

    async fn typing(
        &self,
        room_id: &RoomId,
    ) -> Result<Vec<(OwnedUserId, Timestamp)>, StorageError> {
        let room_id = room_id.to_owned();
        self.ask(Statements::One, move |sql, _| rooms::typing(sql, &room_id))
            .await
    }

    async fn receipts(
        &self,
        room_ids: &[OwnedRoomId],
        from: Position,
        to: Position,
    ) -> Result<Vec<Receipt>, StorageError> {
        let room_ids = room_ids.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            rooms::receipts(sql, &room_ids, from, to)
        })
        .await
    }

    async fn receipts_of(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Vec<Receipt>, StorageError> {
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        self.ask(Statements::One, move |sql, _| {
            rooms::receipts_of(sql, &room_id, &user_id)
        })
        .await
    }

    async fn changes_for(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Result<UserChanges, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::Several, move |sql, shared| {
            rooms::changes_for(sql, shared, &user_id, from, to)
        })
        .await
    }

    async fn user(&self, user_id: &UserId) -> Result<Option<User>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::user(sql, &user_id)
        })
        .await
    }

    async fn users(&self, page: UserPage) -> Result<Vec<User>, StorageError> {
        self.ask(Statements::One, move |sql, _| accounts::users(sql, &page))
            .await
    }

    async fn user_count(&self, selection: UserSelection) -> Result<u64, StorageError> {
        self.ask(Statements::One, move |sql, _| {
            accounts::user_count(sql, &selection)
        })
        .await
    }

    async fn profiles(
        &self,
        user_ids: &[OwnedUserId],
    ) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, String>>, StorageError> {
        let user_ids = user_ids.to_vec();
        let statements = match user_ids.len() {
            1 => Statements::Lookup,
            _ => Statements::Several,
        };
        self.ask(statements, move |sql, _| accounts::profiles(sql, &user_ids))
            .await
    }

    async fn devices(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Device>, StorageError> {
        let user_ids = user_ids.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            accounts::devices(sql, &user_ids)
        })
        .await
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<AccessToken>, StorageError> {
        let hash = *hash;
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::token(sql, &hash)
        })
        .await
    }

    async fn tokens_of(&self, user_id: &UserId) -> Result<Vec<AccessToken>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::One, move |sql, _| {
            accounts::tokens_of(sql, &user_id)
        })
        .await
    }

    async fn ticket(&self, kind: TicketKind, key: &str) -> Result<Option<Ticket>, StorageError> {
        let key = key.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::ticket(sql, kind, &key)
        })
        .await
    }

    async fn account_data(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Result<Vec<AccountDataEntry>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::One, move |sql, _| {
            accounts::account_data(sql, &user_id, from, to)
        })
        .await
    }

    async fn account_data_entry(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        kind: &str,
    ) -> Result<Option<AccountDataEntry>, StorageError> {
        let user_id = user_id.to_owned();
        let room_id = room_id.map(ToOwned::to_owned);
        let kind = kind.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::account_data_entry(sql, &user_id, room_id.as_deref(), &kind)
        })
        .await
    }

    async fn filter(
        &self,
        user_id: &UserId,
        filter_id: &str,
    ) -> Result<Option<String>, StorageError> {
        let user_id = user_id.to_owned();
        let filter_id = filter_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::filter(sql, &user_id, &filter_id)
        })
        .await
    }

    async fn unread(&self, user_id: &UserId) -> Result<Vec<UnreadCounts>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::One, move |sql, _| {
            accounts::unread(sql, &user_id)
        })
        .await
    }

    async fn presence(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Presence>, StorageError> {
        let user_ids = user_ids.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            accounts::presence(sql, &user_ids)
        })
        .await
    }

    async fn presence_changes(
        &self,
        from: Position,
        to: Position,
        limit: usize,
    ) -> Result<Vec<Presence>, StorageError> {
        self.ask(Statements::One, move |sql, _| {
            accounts::presence_changes(sql, from, to, limit)
        })
        .await
    }

    async fn registration_token(
        &self,
        token: &str,
    ) -> Result<Option<RegistrationToken>, StorageError> {
        let token = token.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::registration_token(sql, &token)
        })
        .await
    }

    async fn registration_tokens(&self) -> Result<Vec<RegistrationToken>, StorageError> {
        self.ask(Statements::One, move |sql, _| {
            accounts::registration_tokens(sql)
        })
        .await
    }

    async fn threepids(&self, user_id: &UserId) -> Result<Vec<Threepid>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::One, move |sql, _| {
            accounts::threepids(sql, &user_id)
        })
        .await
    }

    async fn threepid(
        &self,
        medium: &str,
        address: &str,
    ) -> Result<Option<Threepid>, StorageError> {
        let medium = medium.to_owned();
        let address = address.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            accounts::threepid(sql, &medium, &address)
        })
        .await
    }

    async fn device_keys(&self, user_ids: &[OwnedUserId]) -> Result<Vec<DeviceKeys>, StorageError> {
        let user_ids = user_ids.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            encryption::device_keys(sql, &user_ids)
        })
        .await
    }

    async fn key_counts(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<KeyCounts, StorageError> {
        let user_id = user_id.to_owned();
        let device_id = device_id.to_owned();
        self.ask(Statements::Several, move |sql, _| {
            encryption::key_counts(sql, &user_id, &device_id)
        })
        .await
    }

    async fn one_time_keys(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        key_ids: &[String],
    ) -> Result<Vec<OneTimeKey>, StorageError> {
        let user_id = user_id.to_owned();
        let device_id = device_id.to_owned();
        let key_ids = key_ids.to_vec();
        self.ask(Statements::One, move |sql, _| {
            encryption::one_time_keys(sql, &user_id, &device_id, &key_ids)
        })
        .await
    }

    async fn claimable_keys(
        &self,
        wanted: &[(OwnedUserId, OwnedDeviceId, String)],
    ) -> Result<BTreeMap<(OwnedUserId, OwnedDeviceId, String), ClaimableKey>, StorageError> {
        let wanted = wanted.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            encryption::claimable_keys(sql, &wanted)
        })
        .await
    }

    async fn cross_signing_keys(
        &self,
        user_ids: &[OwnedUserId],
    ) -> Result<Vec<CrossSigningKey>, StorageError> {
        let user_ids = user_ids.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            encryption::cross_signing_keys(sql, &user_ids)
        })
        .await
    }

    async fn signatures(&self, targets: &[OwnedUserId]) -> Result<Vec<KeySignature>, StorageError> {
        let targets = targets.to_vec();
        self.ask(Statements::Several, move |sql, _| {
            encryption::signatures(sql, &targets)
        })
        .await
    }

    async fn device_list_changes(
        &self,
        viewer: &UserId,
        from: Position,
        to: Position,
    ) -> Result<Vec<OwnedUserId>, StorageError> {
        let viewer = viewer.to_owned();
        self.ask(Statements::One, move |sql, _| {
            encryption::device_list_changes(sql, &viewer, from, to)
        })
        .await
    }

    async fn to_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        to: Position,
        limit: usize,
    ) -> Result<Vec<ToDevice>, StorageError> {
        let user_id = user_id.to_owned();
        let device_id = device_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            encryption::to_device(sql, &user_id, &device_id, to, limit)
        })
        .await
    }

    async fn to_device_count(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<u64, StorageError> {
        let user_id = user_id.to_owned();
        let device_id = device_id.to_owned();
        self.ask(Statements::One, move |sql, _| {
            encryption::to_device_count(sql, &user_id, &device_id)
        })
        .await
    }

    async fn backup(
        &self,
        user_id: &UserId,
        version: Option<u64>,
    ) -> Result<Option<BackupVersion>, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            encryption::backup(sql, &user_id, version)
        })
        .await
    }

    async fn newest_backup_number(&self, user_id: &UserId) -> Result<u64, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            encryption::newest_backup_number(sql, &user_id)
        })
        .await
    }

    async fn backup_sessions(
        &self,
        user_id: &UserId,
        version: u64,
        room_id: Option<&RoomId>,
        session_id: Option<&str>,
    ) -> Result<Vec<BackupSession>, StorageError> {
        let user_id = user_id.to_owned();
        let room_id = room_id.map(ToOwned::to_owned);
        let session_id = session_id.map(ToOwned::to_owned);
        self.ask(Statements::One, move |sql, _| {
            encryption::backup_sessions(
                sql,
                &user_id,
                version,
                room_id.as_deref(),
                session_id.as_deref(),
            )
        })
        .await
    }

    async fn media(&self, id: &MediaId) -> Result<Option<Media>, StorageError> {
        let id = id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| files::media(sql, &id))
            .await
    }

    async fn named_bytes(&self, hashes: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, StorageError> {
        let hashes = hashes.to_vec();
        self.ask(Statements::One, move |sql, _| {
            files::named_bytes(sql, &hashes)
        })
        .await
    }

    async fn quarantine_of(&self, sha256: &[u8; 32]) -> Result<Option<OwnedUserId>, StorageError> {
        let sha256 = *sha256;
        self.ask(Statements::Lookup, move |sql, _| {
            files::quarantine_of(sql, &sha256)
        })
        .await
    }

    async fn media_list(&self, page: MediaPage) -> Result<Vec<Media>, StorageError> {
        self.ask(Statements::One, move |sql, _| files::media_list(sql, &page))
            .await
    }

    async fn pending_uploads(&self, user_id: &UserId, now: Timestamp) -> Result<u64, StorageError> {
        let user_id = user_id.to_owned();
        self.ask(Statements::Lookup, move |sql, _| {
            files::pending_uploads(sql, &user_id, now)
        })
        .await
    }

    async fn setting(&self, key: &str) -> Result<Option<String>, StorageError> {
        let key = key.to_owned();
        self.ask(Statements::Lookup, move |sql, _| files::setting(sql, &key))
            .await
    }
}
