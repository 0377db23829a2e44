//! Who is told what: every commit, in order, reaches the users that it concerns.
//!
//! A user who syncs has a [`UserCell`]: the rooms it is in and a bounded list of what touched it
//! lately. A commit is told to the cells of the rooms it touches, so a message costs as much as
//! there are members who sync, and nothing for the others. Cells are caches: one that misses
//! anything is dropped, and storage answers instead.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lyceum_model::{Change, Membership, Placement, Position, RoomChange, Timestamp, Touch};
use lyceum_storage::{Published, RoomMembership, StorageError, Store};
use parking_lot::Mutex;
use ruma_common::{OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId};
use tokio::sync::{Notify, watch};

/// How many touches a user's cell remembers.
const TOUCHES_MAX: usize = 512;
/// A cell that nobody used for so long is dropped.
const CELL_IDLE_MS_MAX: u64 = 10 * 60 * 1000;
/// How often loading a cell is tried again when the user's memberships change meanwhile.
const LOAD_ATTEMPTS_MAX: usize = 8;
/// So many are woken by whoever publishes a commit; a task wakes the others, so that neither the
/// next commit nor the answer to this one waits for a crowd.
const WOKEN_AT_ONCE: usize = 16;
/// So much later a crowd hears who is there: a class that comes online together wakes everybody
/// once or twice, not everybody for everybody.
const CROWD_PAUSE: Duration = Duration::from_secs(1);

/// The order of commits and who waits for them.
#[derive(Debug)]
pub struct Feed {
    position: watch::Sender<Position>,
    cells: Mutex<Cells>,
    /// Who is to be woken by [`Feed::wake_the_rest`].
    rest: Mutex<Vec<Arc<UserCell>>>,
    rest_waits: Notify,
    /// Who is to be woken by [`Feed::wake_crowds`], because of somebody's presence.
    crowd: Mutex<HashMap<OwnedUserId, Arc<UserCell>>>,
    crowd_waits: Notify,
}

#[derive(Debug, Default)]
struct Cells {
    users: HashMap<OwnedUserId, Arc<UserCell>>,
    listeners: HashMap<OwnedRoomId, Vec<Arc<UserCell>>>,
    /// Users whose cells are being loaded, with the newest commit that touched their memberships.
    loading: HashMap<OwnedUserId, Position>,
}

/// What touched a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserTouch {
    /// A room has new events.
    Timeline(OwnedRoomId),
    /// A room has new receipts.
    Receipts(OwnedRoomId),
    /// Who types in a room changed.
    Typing(OwnedRoomId),
    /// The user's own standing in a room changed.
    Membership(OwnedRoomId),
    /// Somebody else's standing in a room that the user is in changed.
    Neighbour(OwnedRoomId, OwnedUserId),
    /// The user's account data.
    AccountData,
    /// A message waits for one of the user's devices.
    ToDevice(OwnedDeviceId),
    /// Keys of one of the user's devices.
    OneTimeKeys(OwnedDeviceId),
    /// Somebody's device list.
    DeviceList(OwnedUserId),
    /// Somebody's presence.
    Presence(OwnedUserId),
}

/// A user who syncs.
#[derive(Debug)]
pub struct UserCell {
    /// Who.
    pub user_id: OwnedUserId,
    notify: Notify,
    last_used: AtomicU64,
    inner: Mutex<UserCellInner>,
}

#[derive(Debug)]
struct UserCellInner {
    is_dropped: bool,
    /// All touches of later commits are in `touches`.
    complete_after: Position,
    touches: VecDeque<(Position, Arc<UserTouch>)>,
    memberships: Arc<BTreeMap<OwnedRoomId, RoomMembership>>,
}

impl UserCell {
    /// What touched the user in `(from, to]`; `None` if that is too long ago to know here.
    pub fn touches(&self, from: Position, to: Position) -> Option<BTreeSet<Arc<UserTouch>>> {
        let inner = self.inner.lock();
        if inner.is_dropped || from < inner.complete_after {
            return None;
        }
        let newer = inner
            .touches
            .iter()
            .rev()
            .take_while(|(position, _)| *position > from);
        Some(
            newer
                .filter(|(position, _)| *position <= to)
                .map(|(_, touch)| touch.clone())
                .collect(),
        )
    }

    /// The user's standing in all rooms, as of the newest commit.
    pub fn memberships(&self) -> Arc<BTreeMap<OwnedRoomId, RoomMembership>> {
        self.inner.lock().memberships.clone()
    }

    /// The rooms the user is joined to.
    pub fn joined_rooms(&self) -> Vec<OwnedRoomId> {
        let inner = self.inner.lock();
        let joined = inner
            .memberships
            .values()
            .filter(|m| m.membership == Membership::Join);
        joined.map(|m| m.room_id.clone()).collect()
    }

    /// The user's standing in one room.
    pub fn membership(&self, room_id: &ruma_common::RoomId) -> Option<RoomMembership> {
        self.inner.lock().memberships.get(room_id).cloned()
    }

    /// Whether it no longer follows the commits and must be fetched anew.
    pub fn is_dropped(&self) -> bool {
        self.inner.lock().is_dropped
    }

    /// Resolves at the next touch after its creation; create it before looking for touches.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }

    fn touch(&self, position: Position, touch: &Arc<UserTouch>) {
        let mut inner = self.inner.lock();
        let is_same = |(at, last): &(Position, Arc<UserTouch>)| *at == position && last == touch;
        if inner.touches.back().is_some_and(is_same) {
            return;
        }
        if inner.touches.len() == TOUCHES_MAX
            && let Some((oldest, _)) = inner.touches.pop_front()
        {
            inner.complete_after = inner.complete_after.max(oldest);
        }
        inner.touches.push_back((position, touch.clone()));
    }
}

impl Feed {
    /// A feed that begins at `position`. [`Feed::wake_the_rest`] and [`Feed::wake_crowds`] must run
    /// beside it.
    pub fn new(position: Position) -> Self {
        Self {
            position: watch::channel(position).0,
            cells: Mutex::default(),
            rest: Mutex::default(),
            rest_waits: Notify::new(),
            crowd: Mutex::default(),
            crowd_waits: Notify::new(),
        }
    }

    /// The newest commit that was told.
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// The newest commit that was told, and a user's standing in all rooms as of it.
    pub fn standing(
        &self,
        cell: &UserCell,
    ) -> (Position, Arc<BTreeMap<OwnedRoomId, RoomMembership>>) {
        let _no_commit_is_told = self.cells.lock();
        (self.position(), cell.memberships())
    }

    /// Follows the newest position.
    pub fn subscribe(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// The cell of a user, loaded if it is not there.
    pub async fn user(
        &self,
        store: &dyn Store,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<Arc<UserCell>, StorageError> {
        if let Some(cell) = self.cells.lock().users.get(user_id) {
            cell.last_used.store(now.0, Ordering::Relaxed);
            return Ok(cell.clone());
        }
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let before = {
                let mut cells = self.cells.lock();
                let before = self.position();
                cells.loading.insert(user_id.to_owned(), before);
                before
            };
            let loaded = store.memberships(user_id).await;
            let mut cells = self.cells.lock();
            if let Some(cell) = cells.users.get(user_id) {
                return Ok(cell.clone());
            }
            let memberships = match loaded {
                Ok(memberships) => memberships,
                Err(error) => {
                    cells.loading.remove(user_id);
                    return Err(error);
                }
            };
            // Absent: somebody else who loaded it gave up, and what came since is not known.
            if cells
                .loading
                .get(user_id)
                .is_none_or(|touched| *touched > before)
            {
                continue;
            }
            cells.loading.remove(user_id);
            let cell = Arc::new(UserCell {
                user_id: user_id.to_owned(),
                notify: Notify::new(),
                last_used: AtomicU64::new(now.0),
                inner: Mutex::new(UserCellInner {
                    is_dropped: false,
                    complete_after: self.position(),
                    touches: VecDeque::new(),
                    memberships: Arc::new(
                        memberships
                            .into_iter()
                            .map(|membership| (membership.room_id.clone(), membership))
                            .collect(),
                    ),
                }),
            });
            for room_id in cell.joined_rooms() {
                cells
                    .listeners
                    .entry(room_id)
                    .or_default()
                    .push(cell.clone());
            }
            cells.users.insert(user_id.to_owned(), cell.clone());
            return Ok(cell);
        }
        Err(StorageError::Broken(
            "the user's memberships change too fast to be read".to_owned(),
        ))
    }

    /// The cell of a user, if there is one.
    pub fn active_user(&self, user_id: &UserId) -> Option<Arc<UserCell>> {
        self.cells.lock().users.get(user_id).cloned()
    }

    /// How many users sync.
    pub fn active_users(&self) -> usize {
        self.cells.lock().users.len()
    }

    /// Drops cells that nobody used lately.
    pub fn sweep(&self, now: Timestamp) {
        let mut cells = self.cells.lock();
        let idle: Vec<OwnedUserId> = cells
            .users
            .values()
            .filter(|cell| {
                now.0.saturating_sub(cell.last_used.load(Ordering::Relaxed)) > CELL_IDLE_MS_MAX
            })
            .map(|cell| cell.user_id.clone())
            .collect();
        for user_id in idle {
            cells.drop_user(&user_id);
        }
    }

    /// Wakes everybody, for a stop.
    pub fn wake_all(&self) {
        for cell in self.cells.lock().users.values() {
            cell.notify.notify_waiters();
        }
    }

    /// Tells a commit to whom it concerns. Called in the order of positions.
    pub fn publish(&self, published: &Published) {
        let position = published.position;
        let mut cells = self.cells.lock();
        let mut woken = Woken::default();
        for touch in published.touches.iter() {
            cells.tell(position, touch, published, &mut woken);
        }
        self.position.send_replace(position);
        drop(cells);
        if woken.soon.len() <= WOKEN_AT_ONCE {
            woken.now.append(&mut woken.soon);
        } else {
            self.wake_soon(woken.soon);
        }
        let rest = woken.now.split_off(woken.now.len().min(WOKEN_AT_ONCE));
        wake(woken.now);
        if !rest.is_empty() {
            self.rest.lock().extend(rest);
            self.rest_waits.notify_one();
        }
    }

    fn wake_soon(&self, woken: Vec<Arc<UserCell>>) {
        let mut crowd = self.crowd.lock();
        crowd.extend(woken.into_iter().map(|cell| (cell.user_id.clone(), cell)));
        drop(crowd);
        self.crowd_waits.notify_one();
    }

    /// Wakes those for whom whoever publishes has no time. Does not end.
    pub async fn wake_the_rest(&self) {
        loop {
            self.rest_waits.notified().await;
            let rest = std::mem::take(&mut *self.rest.lock());
            wake(rest);
        }
    }

    /// Wakes crowds once for all that touched them meanwhile. Does not end.
    pub async fn wake_crowds(&self) {
        loop {
            self.crowd_waits.notified().await;
            tokio::time::sleep(CROWD_PAUSE).await;
            let crowd = std::mem::take(&mut *self.crowd.lock());
            wake(crowd.into_values());
        }
    }
}

/// Who is to be woken because of a commit.
#[derive(Default)]
struct Woken {
    now: Vec<Arc<UserCell>>,
    /// Because of somebody's presence.
    soon: Vec<Arc<UserCell>>,
}

fn wake(cells: impl IntoIterator<Item = Arc<UserCell>>) {
    for cell in cells {
        cell.notify.notify_waiters();
    }
}

impl Cells {
    fn tell(
        &mut self,
        position: Position,
        touch: &Touch,
        published: &Published,
        woken: &mut Woken,
    ) {
        let now = &mut woken.now;
        match touch {
            Touch::Room(room_id) => {
                self.tell_room(position, room_id, now, || {
                    UserTouch::Timeline(room_id.clone())
                });
            }
            Touch::Receipts(room_id) => {
                self.tell_room(position, room_id, now, || {
                    UserTouch::Receipts(room_id.clone())
                });
            }
            Touch::Typing(room_id) => {
                self.tell_room(position, room_id, now, || {
                    UserTouch::Typing(room_id.clone())
                });
            }
            Touch::Redacted(room_id, _) | Touch::Directory(room_id) => {
                let _ = room_id;
            }
            Touch::Purged(room_id) => {
                let listeners = self.listeners.remove(room_id).unwrap_or_default();
                for cell in listeners {
                    self.drop_user(&cell.user_id);
                    now.push(cell);
                }
            }
            Touch::Membership(room_id, user_id) => {
                self.tell_room(position, room_id, now, || {
                    UserTouch::Neighbour(room_id.clone(), user_id.clone())
                });
                self.change_membership(position, room_id, user_id, published, now);
            }
            Touch::PrivateReceipts(user_id, room_id) => {
                let touch = || UserTouch::Receipts(room_id.clone());
                self.tell_user(position, user_id, now, touch);
            }
            Touch::AccountData(user_id) => {
                self.tell_user(position, user_id, now, || UserTouch::AccountData);
            }
            Touch::ToDevice(user_id, device_id) => {
                let touch = || UserTouch::ToDevice(device_id.clone());
                self.tell_user(position, user_id, now, touch);
            }
            Touch::OneTimeKeys(user_id, device_id) => {
                let touch = || UserTouch::OneTimeKeys(device_id.clone());
                self.tell_user(position, user_id, now, touch);
            }
            Touch::KeysFor(viewer, user_id) => {
                let touch = || UserTouch::DeviceList(user_id.clone());
                self.tell_user(position, viewer, now, touch);
            }
            Touch::DeviceList(user_id) => {
                let touch = UserTouch::DeviceList(user_id.clone());
                self.tell_neighbours(position, user_id, now, touch);
            }
            Touch::Presence(user_id) => {
                let touch = UserTouch::Presence(user_id.clone());
                self.tell_neighbours(position, user_id, &mut woken.soon, touch);
            }
            Touch::User(_) | Touch::Token(_) | Touch::Media(_) | Touch::Setting(_) => {}
        }
    }

    fn tell_room(
        &self,
        position: Position,
        room_id: &OwnedRoomId,
        woken: &mut Vec<Arc<UserCell>>,
        touch: impl FnOnce() -> UserTouch,
    ) {
        if let Some(listeners) = self.listeners.get(room_id) {
            let touch = Arc::new(touch());
            for cell in listeners {
                cell.touch(position, &touch);
            }
            woken.extend(listeners.iter().cloned());
        }
    }

    fn tell_user(
        &self,
        position: Position,
        user_id: &OwnedUserId,
        woken: &mut Vec<Arc<UserCell>>,
        touch: impl FnOnce() -> UserTouch,
    ) {
        if let Some(cell) = self.users.get(user_id) {
            cell.touch(position, &Arc::new(touch()));
            woken.push(cell.clone());
        }
    }

    /// Tells everybody who may share a room with the user, and the user.
    fn tell_neighbours(
        &self,
        position: Position,
        user_id: &OwnedUserId,
        woken: &mut Vec<Arc<UserCell>>,
        touch: UserTouch,
    ) {
        let touch = Arc::new(touch);
        let mut tell = |cell: &Arc<UserCell>| {
            cell.touch(position, &touch);
            woken.push(cell.clone());
        };
        let Some(own) = self.users.get(user_id) else {
            self.users.values().for_each(tell);
            return;
        };
        tell(own);
        let mut told: HashSet<&OwnedUserId> = HashSet::from([user_id]);
        let rooms = own.joined_rooms();
        for room_id in &rooms {
            for cell in self.listeners.get(room_id).into_iter().flatten() {
                if told.insert(&cell.user_id) {
                    tell(cell);
                }
            }
        }
    }

    fn change_membership(
        &mut self,
        position: Position,
        room_id: &OwnedRoomId,
        user_id: &OwnedUserId,
        published: &Published,
        woken: &mut Vec<Arc<UserCell>>,
    ) {
        if let Some(touched) = self.loading.get_mut(user_id) {
            *touched = position;
        }
        let Some(cell) = self.users.get(user_id).cloned() else {
            return;
        };
        let Some(change) = own_change(published, room_id, user_id) else {
            self.drop_user(user_id);
            woken.push(cell);
            return;
        };
        let mut inner = cell.inner.lock();
        let memberships = Arc::make_mut(&mut inner.memberships);
        match change {
            OwnChange::Forgotten => {
                if let Some(membership) = memberships.get_mut(room_id) {
                    membership.is_forgotten = true;
                }
            }
            OwnChange::Member(membership, event_id) => {
                let was_joined = memberships
                    .get(room_id)
                    .is_some_and(|before| before.membership == Membership::Join);
                memberships.insert(
                    room_id.clone(),
                    RoomMembership {
                        room_id: room_id.clone(),
                        user_id: user_id.clone(),
                        membership,
                        event_id,
                        position,
                        is_forgotten: false,
                    },
                );
                let listeners = self.listeners.entry(room_id.clone()).or_default();
                match (was_joined, membership == Membership::Join) {
                    (false, true) => listeners.push(cell.clone()),
                    (true, false) => listeners.retain(|other| other.user_id != *user_id),
                    (true, true) | (false, false) => {}
                }
            }
        }
        drop(inner);
        let touch = UserTouch::Membership(room_id.clone());
        cell.touch(position, &Arc::new(touch));
        woken.push(cell);
    }

    fn drop_user(&mut self, user_id: &UserId) {
        let Some(cell) = self.users.remove(user_id) else {
            return;
        };
        cell.inner.lock().is_dropped = true;
        for room_id in cell.joined_rooms() {
            if let Some(listeners) = self.listeners.get_mut(&room_id) {
                listeners.retain(|other| !Arc::ptr_eq(other, &cell));
                if listeners.is_empty() {
                    self.listeners.remove(&room_id);
                }
            }
        }
        cell.notify.notify_waiters();
    }
}

enum OwnChange {
    Forgotten,
    Member(Membership, ruma_common::OwnedEventId),
}

/// What a batch of this node does to a user's standing, if it is plain to see: one member event
/// in the timeline. Resolved forks are not plain.
fn own_change(
    published: &Published,
    room_id: &OwnedRoomId,
    user_id: &OwnedUserId,
) -> Option<OwnChange> {
    let (batch, _) = published.own.as_ref()?;
    let mut found = None;
    for change in &batch.changes {
        match change {
            Change::Room(RoomChange::Forget {
                room_id: room,
                user_id: user,
            }) if room == room_id && user == user_id => {
                found = Some(OwnChange::Forgotten);
            }
            Change::Room(RoomChange::Append {
                event,
                placement: Placement::Timeline,
                ..
            }) if event.room_id == *room_id
                && &*event.kind == "m.room.member"
                && event.state_key.as_deref() == Some(user_id.as_str()) =>
            {
                let membership = lyceum_room::membership_of(event)?;
                found = Some(OwnChange::Member(membership, event.id.clone()));
            }
            Change::Room(RoomChange::Heads {
                room_id: room,
                heads,
            }) if room == room_id => {
                if matches!(heads.state, lyceum_model::StateBefore::Resolved { .. }) {
                    return None;
                }
            }
            _ => {}
        }
    }
    found
}
