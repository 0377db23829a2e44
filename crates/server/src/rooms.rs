//! Rooms in memory, and the order of decisions about each.
//!
//! A room has a *turn*: who holds it decides on the newest room, also on what is handed in but not
//! yet stored. Handed-in batches are stored in that order; if one fails, those behind it rest on a
//! revision that never came and are decided again. Readers see the *committed* room only.

mod by_time;
mod create;
mod directory;
mod ephemeral;
mod hierarchy;
pub mod joined_members;
mod membership;
mod read;
mod relations;
mod send;
mod sharing;
mod succession;
#[cfg(test)]
mod tests;
mod threads;

pub use create::NewRoom;
pub use directory::{DirectoryPage, DirectoryQuery, PublicRoom};
pub use ephemeral::ReadMark;
pub(crate) use ephemeral::THREAD_HOPS_MAX;
pub use hierarchy::{DEPTH_MAX, HierarchyPage, HierarchyQuery, SpaceRoom};
pub(crate) use joined_members::JoinedMembers;
pub use read::{Departure, Reader, Shown};
pub use relations::{Related, RelationsQuery};
pub use send::{Sent, TransactionName, membership_in};
pub use threads::{ThreadList, ThreadsIncluded, ThreadsQuery};

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lyceum_account::push::PushEvent;
use lyceum_model::{
    Batch, Change, Committed, Event, Expect, MatrixError, Placement, Position, RoomChange, SentAs,
    Seq, StoredEvent, Touch, TransactionId,
};
use lyceum_room::{Decision, Denied, Room};
use lyceum_storage::{
    CommitError, Direction, Published, RoomRecord, StorageError, Store, TimelinePage,
};
use lyceum_sync::client_event::ClientEvent;
use parking_lot::{Mutex, RwLock};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use serde_json::value::RawValue;

use crate::{decide::pause_before, turns::Turns};

/// How many of the newest events of a room are kept in memory.
const RECENT_EVENTS_MAX: usize = 64;
/// How many of them are kept in the form for push rules, too: those that many readers have yet to
/// count.
const PUSH_EVENTS_MAX: usize = 16;
/// How often a decision is made again on a room that changed meanwhile: nodes that write to one
/// room at the same time get in each other's way.
const DECISION_ATTEMPTS_MAX: u8 = 64;
/// How often the newest events are read again when others come meanwhile.
const LOAD_ATTEMPTS_MAX: usize = 16;

/// All rooms in memory.
#[derive(Debug)]
pub struct Rooms {
    store: Arc<dyn Store>,
    bytes_max: usize,
    uses: AtomicU64,
    /// What `uses` was at the last sweep.
    uses_swept: AtomicU64,
    cells: Mutex<HashMap<OwnedRoomId, Arc<RoomCell>>>,
    listed: directory::Listed,
    /// Who upgrades a room.
    upgrades: Turns,
    /// Transactions that are on their way; who waits for the lock waits for their end.
    transactions: Mutex<HashMap<TransactionId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A transaction on its way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RunningTransaction<'a> {
    rooms: &'a Rooms,
    id: &'a TransactionId,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Drop for RunningTransaction<'_> {
    fn drop(&mut self) {
        self.rooms.transactions.lock().remove(self.id);
    }
}

/// A room in memory.
#[derive(Debug)]
pub struct RoomCell {
    /// Which.
    pub room_id: OwnedRoomId,
    turn: tokio::sync::Mutex<Turn>,
    /// Held while the room is read, so that whoever needs it meanwhile does not read it too.
    loading: tokio::sync::Mutex<()>,
    /// Held while it is decided who types.
    typing_turn: tokio::sync::Mutex<()>,
    last_used: AtomicU64,
    view: RwLock<RoomView>,
}

/// What who decides next begins with.
#[derive(Debug, Default)]
struct Turn {
    /// The room as handed in last; `None`: as stored.
    room: Option<Room>,
    /// Counts how often what was handed in came to nothing. Decisions of one series rest on each
    /// other, so they fail together, and only the first of them starts over.
    series: u64,
    /// Up to how many commits of other nodes `room` takes in.
    foreign: u64,
}

#[derive(Debug, Default)]
struct RoomView {
    /// Counts the commits that touched the room, so that a reader knows whether one came between.
    touched: u64,
    /// Counts those of other nodes.
    foreign: u64,
    committed: Option<Room>,
    /// Decided and handed in, not yet stored.
    pending: VecDeque<Room>,
    recent: Option<Recent>,
}

/// The newest events of a room.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Oldest first.
    pub entries: VecDeque<Arc<TimelineEntry>>,
    /// Whether the first entry is the first of the room.
    pub is_whole: bool,
    /// About how much memory the entries take.
    bytes: usize,
}

impl Recent {
    fn push(&mut self, entry: Arc<TimelineEntry>) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        if let Some(old) = self.entries.len().checked_sub(PUSH_EVENTS_MAX + 1) {
            self.entries[old].push_event.lock().take();
        }
        while self.entries.len() > RECENT_EVENTS_MAX {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.bytes());
            }
            self.is_whole = false;
        }
    }

    fn pop(&mut self) {
        if let Some(newest) = self.entries.pop_back() {
            self.bytes = self.bytes.saturating_sub(newest.bytes());
        }
    }
}

/// An event as clients get it.
#[derive(Debug)]
pub struct TimelineEntry {
    /// The event.
    pub event: Arc<Event>,
    /// Its client form.
    pub client: Arc<ClientEvent>,
    /// Its place.
    pub seq: Seq,
    /// The commit that brought it.
    pub position: Position,
    /// The client form of the redaction that took its content.
    pub redacted_because: Option<Arc<ClientEvent>>,
    /// As what it was sent, if a client of this server sent it in a transaction.
    pub sent_as: Option<SentAs>,
    push_event: Mutex<Option<Arc<PushEvent>>>,
}

impl TimelineEntry {
    /// An entry of an event that was just stored.
    fn new(event: Arc<Event>, seq: Seq, position: Position) -> Self {
        Self {
            client: Arc::new(ClientEvent::new(&event)),
            event,
            seq,
            position,
            redacted_because: None,
            sent_as: None,
            push_event: Mutex::default(),
        }
    }

    /// The event in the form that push rules look at; made once while it is new.
    pub fn push_event(&self) -> Arc<PushEvent> {
        let mut made = self.push_event.lock();
        made.get_or_insert_with(|| Arc::new(PushEvent::new(&self.event)))
            .clone()
    }

    /// About how many bytes it occupies in memory, without the form for push rules.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.event.bytes() + self.client.bytes()
    }

    /// The event as storage would tell it.
    pub fn stored(&self) -> StoredEvent {
        StoredEvent {
            event: self.event.clone(),
            seq: Some(self.seq),
            position: self.position,
            placement: Placement::Timeline,
            redacted_because: None,
            sent_as: self.sent_as.clone(),
        }
    }

    /// An entry of an event from storage; `None` for events outside the timeline.
    pub fn from_stored(stored: &StoredEvent) -> Option<Self> {
        let because = stored.redacted_because.as_deref();
        Some(Self {
            redacted_because: because.map(|because| Arc::new(ClientEvent::new(because))),
            sent_as: stored.sent_as.clone(),
            ..Self::new(stored.event.clone(), stored.seq?, stored.position)
        })
    }
}

/// Why a decision about a room came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// This server does not know the room.
    #[error("unknown room")]
    UnknownRoom,
    /// The rules say no.
    #[error("{0:?}")]
    Denied(Denied),
    /// The request is refused for another reason.
    #[error(transparent)]
    Refused(#[from] MatrixError),
    /// The transaction happened before.
    #[error("the transaction happened already")]
    Repeated(Box<TransactionId>),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Denied> for RoomError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<RoomError> for MatrixError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::UnknownRoom => Self::not_found("This server does not know that room"),
            RoomError::Denied(denied) => denied.into(),
            RoomError::Refused(error) => error,
            RoomError::Repeated(_) => Self::internal("The transaction's outcome was lost"),
            RoomError::Commit(error) => error.into(),
            RoomError::Storage(error) => error.into(),
        }
    }
}

impl Rooms {
    /// No rooms yet; at most about this many bytes of them.
    pub fn new(store: Arc<dyn Store>, bytes_max: usize) -> Self {
        Self {
            store,
            bytes_max,
            uses: AtomicU64::new(0),
            uses_swept: AtomicU64::new(0),
            cells: Mutex::default(),
            listed: directory::Listed::default(),
            upgrades: Turns::default(),
            transactions: Mutex::default(),
        }
    }

    /// Begins a transaction; `None` if the same one was on its way, after that has ended. Two at
    /// once would be no harm, but the second would undo all that was decided behind it.
    pub(crate) async fn begin_transaction<'a>(
        &'a self,
        id: &'a TransactionId,
    ) -> Option<RunningTransaction<'a>> {
        let running = {
            let mut transactions = self.transactions.lock();
            match transactions.get(id) {
                Some(running) => running.clone(),
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    let held = turn.clone().try_lock_owned();
                    transactions.insert(id.clone(), turn);
                    return Some(RunningTransaction {
                        rooms: self,
                        id,
                        _turn: held.expect("nobody else knows this lock yet"),
                    });
                }
            }
        };
        drop(running.lock().await);
        None
    }

    /// The cell of a room, whether or not the room exists.
    fn cell(&self, room_id: &RoomId) -> Arc<RoomCell> {
        let mut cells = self.cells.lock();
        let cell = match cells.get(room_id) {
            Some(cell) => cell.clone(),
            None => {
                let cell = Arc::new(RoomCell {
                    room_id: room_id.to_owned(),
                    turn: tokio::sync::Mutex::default(),
                    loading: tokio::sync::Mutex::default(),
                    typing_turn: tokio::sync::Mutex::default(),
                    last_used: AtomicU64::new(0),
                    view: RwLock::default(),
                });
                cells.insert(room_id.to_owned(), cell.clone());
                cell
            }
        };
        cell.last_used
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        cell
    }

    /// A room as stored.
    pub async fn room(&self, room_id: &RoomId) -> Result<Option<Room>, StorageError> {
        let cell = self.cell(room_id);
        self.committed(&cell).await
    }

    async fn committed(&self, cell: &RoomCell) -> Result<Option<Room>, StorageError> {
        if let Some(room) = &cell.view.read().committed {
            return Ok(Some(room.clone()));
        }
        let _loading = cell.loading.lock().await;
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let touched = {
                let view = cell.view.read();
                if let Some(room) = &view.committed {
                    return Ok(Some(room.clone()));
                }
                view.touched
            };
            let Some(record) = self.store.room(&cell.room_id).await? else {
                self.forget_unknown(cell);
                return Ok(None);
            };
            let room = room_of(record)?;
            let mut view = cell.view.write();
            if view.touched == touched {
                view.committed = Some(room.clone());
                return Ok(Some(room));
            }
        }
        // It changes faster than it can be read; what was read last is as good as any.
        let record = self.store.room(&cell.room_id).await?;
        record.map(room_of).transpose()
    }

    /// The newest events of a room, oldest first.
    pub async fn recent(&self, room_id: &RoomId) -> Result<Recent, StorageError> {
        let cell = self.cell(room_id);
        if let Some(recent) = &cell.view.read().recent {
            return Ok(recent.clone());
        }
        let _loading = cell.loading.lock().await;
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let (touched, known) = {
                let view = cell.view.read();
                if let Some(recent) = &view.recent {
                    return Ok(recent.clone());
                }
                (view.touched, view.committed.clone())
            };
            let recent = self.load_recent(room_id, known.as_ref()).await?;
            let mut view = cell.view.write();
            if view.touched == touched {
                view.recent = Some(recent.clone());
                return Ok(recent);
            }
        }
        self.load_recent(room_id, None).await
    }

    /// Waits for the turn to decide who types in a room, and keeps it while `decide` runs.
    pub(crate) async fn in_typing_turn<T>(
        &self,
        room_id: &RoomId,
        decide: impl Future<Output = T>,
    ) -> T {
        let cell = self.cell(room_id);
        let _turn = cell.typing_turn.lock().await;
        decide.await
    }

    /// A room as stored, with its newest events: both of the same moment.
    pub async fn snapshot(&self, room_id: &RoomId) -> Result<Option<(Room, Recent)>, StorageError> {
        let cell = self.cell(room_id);
        for _ in 0..LOAD_ATTEMPTS_MAX {
            {
                let view = cell.view.read();
                if let (Some(room), Some(recent)) = (&view.committed, &view.recent) {
                    return Ok(Some((room.clone(), recent.clone())));
                }
            }
            if self.committed(&cell).await?.is_none() {
                return Ok(None);
            }
            self.recent(room_id).await?;
        }
        let Some(room) = self.room(room_id).await? else {
            return Ok(None);
        };
        Ok(Some((room, self.recent(room_id).await?)))
    }

    /// Reads the newest events of a room; those that are in its state as `known` are not kept twice.
    async fn load_recent(
        &self,
        room_id: &RoomId,
        known: Option<&Room>,
    ) -> Result<Recent, StorageError> {
        let page = TimelinePage {
            room_id: room_id.to_owned(),
            from: Seq(i64::MAX),
            until: None,
            up_to: Position(u64::MAX >> 1),
            direction: Direction::Backward,
            limit: RECENT_EVENTS_MAX / 2,
        };
        let mut stored = self.store.timeline(page).await?;
        let is_whole = stored.len() < RECENT_EVENTS_MAX / 2;
        for stored in &mut stored {
            if let Some(held) = known.and_then(|room| same_in_state(room, &stored.event)) {
                stored.event = held.clone();
            }
        }
        let mut recent = Recent {
            is_whole,
            ..Recent::default()
        };
        for entry in stored.iter().rev().filter_map(TimelineEntry::from_stored) {
            recent.push(Arc::new(entry));
        }
        Ok(recent)
    }

    /// Decides about a room in its turn, hands the batch in, and waits until it is stored. `decide`
    /// is called again when the room changed meanwhile; `amend` adds to the batch (a transaction,
    /// say) after each decision that changes something.
    pub async fn decide<D, A>(
        &self,
        room_id: &RoomId,
        mut decide: D,
        mut amend: A,
    ) -> Result<(Decision, Option<Committed>), RoomError>
    where
        D: FnMut(&Room) -> Result<Decision, RoomError> + Send,
        A: FnMut(&Decision, &mut Batch) + Send,
    {
        let cell = self.cell(room_id);
        let mut stale = None;
        for attempt in 0..DECISION_ATTEMPTS_MAX {
            pause_before(attempt).await;
            let mut turn = cell.turn.lock().await;
            let foreign = cell.view.read().foreign;
            if turn.foreign != foreign {
                turn.begin_anew(foreign);
            }
            let series = turn.series;
            let room = match turn.room.take() {
                Some(room) => room,
                None => self.committed(&cell).await?.ok_or(RoomError::UnknownRoom)?,
            };
            let decided = decide(&room).map(|mut decision| {
                let mut batch = std::mem::take(&mut decision.batch);
                amend(&decision, &mut batch);
                (decision, batch)
            });
            let is_checked_by_storage = |(_, batch): &(Decision, Batch)| !batch.changes.is_empty();
            if !decided.as_ref().is_ok_and(is_checked_by_storage) {
                // What another node wrote may not have been told here yet.
                if attempt + 1 < DECISION_ATTEMPTS_MAX && self.is_behind(&room).await? {
                    cell.forget();
                    turn.begin_anew(foreign);
                    continue;
                }
                turn.room = Some(room);
                return decided.map(|(decision, _)| (decision, None));
            }
            let (decision, batch) = decided?;
            if !decision.is_unchanged() {
                cell.view.write().pending.push_back(decision.room.clone());
            }
            let ticket = self.store.submit(batch);
            turn.room = Some(decision.room.clone());
            drop(turn);
            match ticket.await {
                Ok(committed) => return Ok((decision, Some(committed))),
                Err(CommitError::Stale(Expect::TransactionAbsent(id))) => {
                    cell.start_over(series).await;
                    return Err(RoomError::Repeated(Box::new(id)));
                }
                Err(CommitError::Stale(expect)) => {
                    cell.start_over(series).await;
                    let is_about_room =
                        matches!(&expect, Expect::RoomRevision(..) | Expect::RoomHeads(..));
                    stale = Some(expect);
                    if !is_about_room {
                        break;
                    }
                }
                Err(error) => {
                    cell.start_over(series).await;
                    return Err(error.into());
                }
            }
        }
        let expect = stale.expect("the loop ends early only after something was stale");
        Err(CommitError::Stale(expect).into())
    }

    /// Whether another node has changed a room since it was as it is here.
    async fn is_behind(&self, room: &Room) -> Result<bool, StorageError> {
        if !self.store.is_shared() {
            return Ok(false);
        }
        let revision = self.store.revision(&room.room_id).await?;
        Ok(revision.is_some_and(|revision| revision > room.revision))
    }

    /// Stores the first decision about a room that does not exist yet. The turn is held until it
    /// is stored: a second creation of a room with the same id must not be taken for the first.
    pub async fn found(&self, mut decision: Decision) -> Result<(Decision, Committed), RoomError> {
        let cell = self.cell(&decision.room.room_id);
        let mut turn = cell.turn.lock().await;
        if turn.room.is_some() || cell.view.read().committed.is_some() {
            let expect = Expect::RoomRevision(decision.room.room_id.clone(), 0);
            return Err(CommitError::Stale(expect).into());
        }
        cell.view.write().pending.push_back(decision.room.clone());
        match self.store.submit(std::mem::take(&mut decision.batch)).await {
            Ok(committed) => {
                turn.room = Some(decision.room.clone());
                Ok((decision, committed))
            }
            Err(error) => {
                cell.view.write().pending.clear();
                Err(error.into())
            }
        }
    }

    /// Takes in a commit. Called in the order of positions.
    pub fn publish(&self, published: &Published) {
        let mut own = own_events(published);
        for touch in published.touches.iter() {
            match touch {
                Touch::Room(room_id) => {
                    if let Some(cell) = self.existing(room_id) {
                        let own = own
                            .as_mut()
                            .map(|own| own.remove(room_id).unwrap_or_default());
                        cell.publish(own, published.position);
                    }
                    self.listed.forget(room_id);
                }
                Touch::Redacted(room_id, event_id) => {
                    if let Some(cell) = self.existing(room_id) {
                        cell.publish_redaction(event_id, published);
                    }
                    self.listed.forget(room_id);
                }
                Touch::Purged(room_id) => {
                    self.cells.lock().remove(room_id);
                    self.listed.forget(room_id);
                }
                _ => {}
            }
        }
    }

    fn existing(&self, room_id: &RoomId) -> Option<Arc<RoomCell>> {
        self.cells.lock().get(room_id).cloned()
    }

    fn forget_unknown(&self, cell: &RoomCell) {
        let mut cells = self.cells.lock();
        if cells
            .get(&cell.room_id)
            .is_some_and(|same| Arc::strong_count(same) <= 2)
        {
            cells.remove(&cell.room_id);
        }
    }

    /// How many rooms are in memory, and about how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        let cells: Vec<_> = self.cells.lock().values().cloned().collect();
        (cells.len(), cells.iter().map(|cell| cell.bytes()).sum())
    }

    /// Drops the rooms that were not used for longest when there are too many bytes of them. Rooms
    /// that were used since the last sweep stay, however many: they would only be read anew.
    pub fn sweep(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        let used_since = self.uses_swept.swap(uses, Ordering::Relaxed);
        let mut cells: Vec<_> = self.cells.lock().values().cloned().collect();
        let mut bytes: usize = cells.iter().map(|cell| cell.bytes()).sum();
        if bytes <= self.bytes_max {
            return;
        }
        cells.sort_by_key(|cell| cell.last_used.load(Ordering::Relaxed));
        for cell in cells {
            let is_in_use = cell.last_used.load(Ordering::Relaxed) >= used_since;
            if bytes <= self.bytes_max || is_in_use {
                return;
            }
            let cell_bytes = cell.bytes();
            let mut all = self.cells.lock();
            // Ours and the map's: nobody else is using it.
            if Arc::strong_count(&cell) == 2 && cell.view.read().pending.is_empty() {
                all.remove(&cell.room_id);
                bytes = bytes.saturating_sub(cell_bytes);
            }
        }
    }
}

impl Turn {
    /// The next decision begins with what is stored: another node has changed the room. What is on
    /// its way fails or succeeds by itself.
    fn begin_anew(&mut self, foreign: u64) {
        self.series += 1;
        self.room = None;
        self.foreign = foreign;
    }
}

impl RoomCell {
    /// A decision of this series came to nothing: the next one begins with what is stored.
    async fn start_over(&self, series: u64) {
        let mut turn = self.turn.lock().await;
        if turn.series == series {
            turn.series += 1;
            turn.room = None;
            self.view.write().pending.clear();
            self.forget();
        }
    }

    /// What is in memory may be behind what another node wrote.
    fn forget(&self) {
        let mut view = self.view.write();
        view.touched += 1;
        view.committed = None;
    }

    /// How often commits touched the room since it came into memory.
    fn touched(&self) -> u64 {
        self.view.read().touched
    }

    fn publish(&self, own: Option<OwnEvents>, position: Position) {
        let mut view = self.view.write();
        view.touched += 1;
        let Some(own) = own else {
            view.foreign += 1;
            view.committed = None;
            view.recent = None;
            return;
        };
        if let Some(revision) = own.revision {
            while view
                .pending
                .front()
                .is_some_and(|room| room.revision < revision)
            {
                view.pending.pop_front();
            }
            view.committed = match view.pending.pop_front() {
                Some(room) if room.revision == revision => Some(room),
                _ => None,
            };
        }
        if let Some(recent) = &mut view.recent {
            for (event, seq, sent_as) in own.timeline {
                // Whoever read storage between the commit and now has these events already.
                while recent.entries.back().is_some_and(|last| last.seq >= seq) {
                    recent.pop();
                }
                recent.push(Arc::new(TimelineEntry {
                    sent_as,
                    ..TimelineEntry::new(event, seq, position)
                }));
            }
        }
    }

    fn publish_redaction(&self, event_id: &EventId, published: &Published) {
        let mut view = self.view.write();
        view.touched += 1;
        let Some(recent) = &mut view.recent else {
            return;
        };
        let Some(index) = recent
            .entries
            .iter()
            .rposition(|entry| entry.event.id == *event_id)
        else {
            return;
        };
        let Some((redacted, because)) = own_redaction(published, event_id) else {
            view.recent = None;
            return;
        };
        let before = &recent.entries[index];
        let because = || because.map(|because| Arc::new(ClientEvent::new(&because)));
        let entry = TimelineEntry {
            redacted_because: before.redacted_because.clone().or_else(because),
            sent_as: before.sent_as.clone(),
            ..TimelineEntry::new(redacted, before.seq, before.position)
        };
        recent.bytes = (recent.bytes + entry.bytes()).saturating_sub(before.bytes());
        recent.entries[index] = Arc::new(entry);
    }

    fn bytes(&self) -> usize {
        /// About what a room takes beside its events.
        const ROOM_BYTES: usize = 2_000;
        /// About what a state event and its places in maps take.
        const STATE_EVENT_BYTES: usize = 2_200;
        let view = self.view.read();
        let state = view
            .committed
            .as_ref()
            .map_or(0, |room| room.state.len() * STATE_EVENT_BYTES);
        let recent = view.recent.as_ref().map_or(0, |recent| recent.bytes);
        ROOM_BYTES + state + recent
    }
}

#[derive(Debug, Default)]
struct OwnEvents {
    revision: Option<u64>,
    timeline: Vec<(Arc<Event>, Seq, Option<SentAs>)>,
}

/// The timeline events and new revisions of a batch of this node, by room.
fn own_events(published: &Published) -> Option<BTreeMap<OwnedRoomId, OwnEvents>> {
    let (batch, appended) = published.own.as_ref()?;
    let seqs: HashMap<&OwnedEventId, Seq> = appended
        .iter()
        .filter_map(|appended| Some((&appended.event_id, appended.seq?)))
        .collect();
    let mut sent = batch.sent();
    let mut rooms: BTreeMap<OwnedRoomId, OwnEvents> = BTreeMap::new();
    for expect in &batch.expects {
        if let Expect::RoomRevision(room_id, revision) = expect {
            rooms.entry(room_id.clone()).or_default().revision = Some(revision + 1);
        }
    }
    for change in &batch.changes {
        if let Change::Room(RoomChange::Append {
            event,
            placement: Placement::Timeline,
            ..
        }) = change
            && let Some(seq) = seqs.get(&event.id)
        {
            let room = rooms.entry(event.room_id.clone()).or_default();
            let sent_as = sent.remove(&*event.id);
            room.timeline.push((event.clone(), *seq, sent_as));
        }
    }
    Some(rooms)
}

/// The redacted form of an event and its redaction, if this node's batch brought them.
fn own_redaction(
    published: &Published,
    event_id: &EventId,
) -> Option<(Arc<Event>, Option<Arc<Event>>)> {
    let (batch, _) = published.own.as_ref()?;
    let (redacted, because_id) = batch.changes.iter().find_map(|change| match change {
        Change::Room(RoomChange::Redact { redacted, because }) if redacted.id == *event_id => {
            Some((redacted.clone(), because.clone()))
        }
        _ => None,
    })?;
    let because = batch.changes.iter().find_map(|change| match change {
        Change::Room(RoomChange::Append { event, .. }) if event.id == because_id => {
            Some(event.clone())
        }
        _ => None,
    });
    Some((redacted, because))
}

/// The same event where a room's state has it.
fn same_in_state<'a>(room: &'a Room, event: &Event) -> Option<&'a Arc<Event>> {
    let held = room.state.get(&event.kind, event.state_key.as_deref()?)?;
    // A redaction changes what an event is, not its id.
    let is_same = held.id == event.id
        && held.json == event.json
        && held.unsigned.as_deref().map(RawValue::get)
            == event.unsigned.as_deref().map(RawValue::get);
    is_same.then_some(held)
}

fn room_of(record: RoomRecord) -> Result<Room, StorageError> {
    let version = record.version.clone();
    Room::new(
        record.room_id,
        &record.version,
        record.revision,
        record.heads,
        record.state,
    )
    .ok_or_else(|| StorageError::Broken(format!("a room has the unknown version {version}")))
}
