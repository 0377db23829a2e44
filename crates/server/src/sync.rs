//! Classic sync: what a device must be told since its last token (Client-Server API, "Syncing").
//!
//! A sync looks at what touched the user since the token, loads just that, and lets the pure rules
//! of `lyceum_sync` choose and write the answer. With nothing to tell it waits for a touch.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use lyceum_account::push::PushRules;
use lyceum_model::{
    AccountChange, AccountDataEntry, Event, MatrixError, Membership, Position, Receipt, Seq,
    StateKey, StoredEvent, Timestamp,
};
use lyceum_room::stripped_state;
use lyceum_storage::{
    Direction, KeyCounts, RoomMembership, StateOf, StateSide, StateWanted, StorageError,
    TimelinePage,
};
use lyceum_sync::{
    classic::{
        AccountData, Counts, DeviceLists, JoinedRoom, LeftRoom, StateAfter, StrippedRoom,
        SyncInput, Timeline, Unread, assemble,
    },
    filter::Filter,
    presence::{self, PresenceEvent},
    receipts,
    room_view::{
        self, StateBasis, StateQuestion, StateScope, TimelineCut, choose_full_state_again,
        choose_state, state_basis,
    },
    sent_members::SentMembers,
    summary::{self, SummaryChange},
    token::{SyncToken, TimelineToken},
    typing,
};
use parking_lot::Mutex;
use ruma_common::{OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::task::JoinSet;

use crate::{
    Server,
    feed::{UserCell, UserTouch},
    rooms::{Reader, Recent, TimelineEntry},
    sessions::Session,
    unread::UserReading,
};

/// How many devices are remembered between syncs.
const DEVICES_MAX: usize = 10_000;
/// How much of what a device knows of members is remembered.
const SENT_MEMBERS_BYTES_MAX: usize = 16 * 1024;
/// How many messages to a device one answer carries.
const TO_DEVICE_MAX: usize = 500;
/// How many rooms a task tells at least, if several share an answer.
const ROOMS_OF_A_TASK_MIN: usize = 4;
/// How many tasks share an answer: more than there are threads, since some begin later.
const TASKS_MAX: usize = 16;
/// The longest a sync waits.
const TIMEOUT_MS_MAX: u64 = 5 * 60 * 1000;
/// So much later a device hears of what it sent itself, so that the answer to its sending comes
/// first: clients are confused by an event that they do not know for their own yet.
const ECHO_PAUSE: Duration = Duration::from_millis(5);
/// So much later than another node this one may hear of a commit.
const OTHER_NODE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How many users' presence an answer carries.
const PRESENCE_MAX: usize = 1_000;

/// What a client asks of `/sync`.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The token of the last answer.
    pub since: Option<Position>,
    /// What it wants to see.
    pub filter: Arc<Filter>,
    /// Whether it wants all state again.
    pub full_state: bool,
    /// How long to wait for news.
    pub timeout_ms: u64,
    /// Whether it wants the state after the timeline.
    pub use_state_after: Option<StateAfter>,
}

/// What is remembered of syncing devices. Losing it costs repetition only.
#[derive(Debug, Default)]
pub(crate) struct SyncDevices {
    devices: Mutex<HashMap<DeviceName, Arc<Mutex<SyncDevice>>>>,
}

type DeviceName = (OwnedUserId, OwnedDeviceId);

#[derive(Debug)]
struct SyncDevice {
    sent_members: SentMembers,
    /// The token of the last answer from this node. With another one the device comes from another
    /// node, or begins anew: what is remembered of it here may be behind.
    given: Option<Position>,
    key_counts: Option<KeyCounts>,
    /// Messages that were given out but perhaps not received; `None`: not known.
    may_have_given_out: Option<bool>,
}

impl SyncDevice {
    /// The device comes with a token; whether it goes on from the last answer of this node.
    fn come(&mut self, since: Option<Position>) -> bool {
        let goes_on = since.is_some() && self.given == since;
        if !goes_on {
            self.key_counts = None;
            self.may_have_given_out = None;
        }
        goes_on
    }
}

impl SyncDevices {
    fn device(&self, user_id: &UserId, device_id: &OwnedDeviceId) -> Arc<Mutex<SyncDevice>> {
        let mut devices = self.devices.lock();
        if devices.len() >= DEVICES_MAX {
            devices.clear();
        }
        let new = || {
            Arc::new(Mutex::new(SyncDevice {
                sent_members: SentMembers::new(SENT_MEMBERS_BYTES_MAX),
                given: None,
                key_counts: None,
                may_have_given_out: None,
            }))
        };
        devices
            .entry((user_id.to_owned(), device_id.clone()))
            .or_insert_with(new)
            .clone()
    }
}

/// One sync: what it is about.
struct Syncing {
    server: Arc<Server>,
    session: Arc<Session>,
    device_id: OwnedDeviceId,
    device: Arc<Mutex<SyncDevice>>,
    request: SyncRequest,
    /// Whether the device comes with the token of this node's last answer.
    goes_on: bool,
    cell: Arc<UserCell>,
}

/// A room that the user is in, with what is known of its news before it is looked at.
struct RoomToTell {
    room_id: OwnedRoomId,
    touched: RoomTouched,
    account_data: Vec<AccountData>,
    receipts: Vec<Receipt>,
}

/// What touched the user, and up to where.
struct News {
    from: Option<Position>,
    to: Position,
    touches: Option<BTreeSet<Arc<UserTouch>>>,
    /// The user's standing in all rooms, `to` or later.
    memberships: Arc<BTreeMap<OwnedRoomId, RoomMembership>>,
    /// Whether the user was in a room at `from`, for those rooms where the touches say that their
    /// membership changed.
    was_joined: BTreeMap<OwnedRoomId, bool>,
}

impl News {
    fn has(&self, is_it: impl Fn(&UserTouch) -> bool) -> bool {
        self.touches
            .as_ref()
            .is_none_or(|touches| touches.iter().any(|touch| is_it(touch)))
    }

    fn since(&self) -> Position {
        self.from.unwrap_or_default()
    }
}

impl Server {
    /// Answers `GET /sync`: the body of the answer. Waits until there is something to tell, the
    /// time is over, or the server stops.
    pub async fn sync(
        self: &Arc<Self>,
        session: &Arc<Session>,
        request: &SyncRequest,
    ) -> Result<Vec<u8>, MatrixError> {
        let device_id = session.device_id.clone().unwrap_or_else(|| "".into());
        let deadline = tokio::time::Instant::now_from_timeout(request.timeout_ms);
        if let Some(since) = request.since {
            self.reach(since).await?;
        }
        let device = self.sync_devices.device(&session.user_id, &device_id);
        let goes_on = device.lock().come(request.since);
        self.receive_to_device(session, &device_id, &device, request.since)
            .await?;
        loop {
            let now = self.clock.now();
            let cell = self.feed.user(&*self.store, &session.user_id, now).await?;
            let syncing = Arc::new(Syncing {
                server: self.clone(),
                session: session.clone(),
                device_id: device_id.clone(),
                device: device.clone(),
                request: request.clone(),
                goes_on,
                cell: cell.clone(),
            });
            let notified = cell.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if cell.is_dropped() {
                continue;
            }
            let is_last = tokio::time::Instant::now() >= deadline || self.supervisor.is_stopping();
            let news = syncing.news();
            let nothing = news.touches.as_ref().is_some_and(BTreeSet::is_empty);
            if !nothing || is_last || request.full_state {
                let input = syncing.input(news).await?;
                if request.since.is_none() || request.full_state || is_last || input.has_news() {
                    syncing.end(input.next_batch.0);
                    if request.since.is_some() && echoes(&input) {
                        tokio::time::sleep(ECHO_PAUSE).await;
                    }
                    return Ok(assemble(&input));
                }
            }
            tokio::select! {
                () = &mut notified => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = self.supervisor.stopped() => {}
            }
        }
    }

    /// Waits until this node has been told of a commit that another node may have told a client of.
    async fn reach(&self, position: Position) -> Result<(), MatrixError> {
        if position <= self.feed.position() {
            return Ok(());
        }
        let mut told = self.feed.subscribe();
        let reached = told.wait_for(|told| *told >= position);
        match tokio::time::timeout(OTHER_NODE_PAUSE_MAX, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(MatrixError::new(
                400,
                "M_UNKNOWN_POS",
                "The token is from the future; sync from the beginning",
            )),
        }
    }

    /// A device that comes with a token has received all messages up to it.
    async fn receive_to_device(
        &self,
        session: &Session,
        device_id: &OwnedDeviceId,
        device: &Mutex<SyncDevice>,
        since: Option<Position>,
    ) -> Result<(), MatrixError> {
        let Some(since) = since else { return Ok(()) };
        let known = device.lock().may_have_given_out;
        let is_due = match known {
            Some(given_out) => given_out,
            None => {
                let waiting = self
                    .store
                    .to_device(&session.user_id, device_id, since, 1)
                    .await?;
                !waiting.is_empty()
            }
        };
        // Said before it is stored: a sync that gives out more meanwhile says otherwise after.
        device.lock().may_have_given_out = Some(false);
        if is_due {
            let received = self.commit(AccountChange::ToDeviceReceived {
                user_id: session.user_id.clone(),
                device_id: device_id.clone(),
                to: since,
            });
            if let Err(error) = received.await {
                // They are not told again all the same, and removed another time.
                tracing::debug!(%error, "received messages could not be removed");
                device.lock().may_have_given_out = None;
            }
        }
        Ok(())
    }
}

trait Deadline {
    fn now_from_timeout(timeout_ms: u64) -> Self;
}

impl Deadline for tokio::time::Instant {
    fn now_from_timeout(timeout_ms: u64) -> Self {
        Self::now() + Duration::from_millis(timeout_ms.min(TIMEOUT_MS_MAX))
    }
}

impl Syncing {
    fn user_id(&self) -> &UserId {
        &self.session.user_id
    }

    /// What touched the user since the token.
    fn news(&self) -> News {
        let (to, memberships) = self.server.feed.standing(&self.cell);
        let from = self.request.since;
        let touches = from.and_then(|from| self.cell.touches(from, to));
        News {
            from,
            to,
            touches,
            memberships,
            was_joined: BTreeMap::new(),
        }
    }

    /// Loads what must be told.
    async fn input(self: &Arc<Self>, mut news: News) -> Result<SyncInput, StorageError> {
        let server = &*self.server;
        let to_device = self.to_device(&mut news).await?;
        self.look_back(&mut news).await?;
        let now = server.clock.now();
        let next_batch = SyncToken(news.to);
        let mut input = SyncInput::new(next_batch, now, self.request.filter.clone());
        input.use_state_after = self.request.use_state_after;
        input.to_device = to_device;
        self.device.lock().sent_members.begin(self.request.since);
        let news = Arc::new(news);
        // Asked together: storage answers several at once.
        let (account_data, device_lists, presence, counts) = tokio::try_join!(
            self.account_data(&news),
            self.device_lists(&news),
            self.presence(&news, now),
            self.key_counts(&news),
        )?;
        let (global, by_room) = split_by_room(account_data);
        input.account_data = global;
        input.device_lists = device_lists;
        input.presence = presence;
        input.one_time_key_counts = counts.one_time;
        input.unused_fallback_key_types = counts.unused_fallback;
        self.rooms(&news, by_room, &mut input).await?;
        Ok(input)
    }

    fn end(&self, next_batch: Position) {
        let mut device = self.device.lock();
        device.sent_members.end(next_batch);
        device.given = Some(next_batch);
    }

    /// Messages to this device. If there are too many for one answer, the whole answer is about
    /// an earlier position.
    async fn to_device(&self, news: &mut News) -> Result<Vec<String>, StorageError> {
        let is_touched = news
            .has(|touch| matches!(touch, UserTouch::ToDevice(device) if *device == self.device_id));
        if !is_touched {
            return Ok(Vec::new());
        }
        let since = news.since();
        let mut limit = TO_DEVICE_MAX + 1;
        loop {
            let store = &self.server.store;
            let waiting = store
                .to_device(self.user_id(), &self.device_id, news.to, limit)
                .await?;
            let is_cut = waiting.len() == limit;
            let mut fresh: Vec<_> = waiting
                .into_iter()
                .filter(|message| message.position > since)
                .collect();
            if is_cut && news.from.is_some() {
                // The last commit may be incomplete: leave it for the next answer.
                let last = fresh.last().map(|message| message.position);
                let whole: Vec<_> = fresh
                    .iter()
                    .filter(|message| Some(message.position) != last)
                    .collect();
                let Some(end) = whole.last().map(|message| message.position) else {
                    limit *= 2;
                    continue;
                };
                news.to = end;
                fresh.retain(|message| message.position <= end);
                // What touched the user is told again with the next answer.
                news.touches = news.from.and_then(|from| self.cell.touches(from, end));
            } else if is_cut {
                limit *= 2;
                continue;
            }
            if !fresh.is_empty() {
                self.device.lock().may_have_given_out = Some(true);
            }
            return Ok(fresh.into_iter().map(|message| message.json).collect());
        }
    }

    async fn account_data(&self, news: &News) -> Result<Vec<AccountDataEntry>, StorageError> {
        let is_touched = news.has(|touch| matches!(touch, UserTouch::AccountData));
        if !is_touched {
            return Ok(Vec::new());
        }
        let store = &self.server.store;
        let mut entries = store
            .account_data(self.user_id(), news.since(), news.to)
            .await?;
        let is_push_rules =
            |entry: &AccountDataEntry| entry.room_id.is_none() && entry.kind == "m.push_rules";
        let at = entries.iter().position(is_push_rules);
        if at.is_some() || news.from.is_none() {
            let stored = at.and_then(|at| entries.remove(at).content);
            let rules = PushRules::load(self.user_id(), stored.as_deref());
            entries.push(AccountDataEntry {
                room_id: None,
                kind: "m.push_rules".to_owned(),
                content: Some(rules.content().to_string()),
                position: news.to,
            });
        }
        Ok(entries)
    }

    async fn key_counts(&self, news: &News) -> Result<KeyCounts, StorageError> {
        if self.session.device_id.is_none() {
            return Ok(KeyCounts::default());
        }
        let is_touched = news.has(
            |touch| matches!(touch, UserTouch::OneTimeKeys(device) if *device == self.device_id),
        );
        if !is_touched && let Some(counts) = &self.device.lock().key_counts {
            return Ok(counts.clone());
        }
        let counts = self
            .server
            .store
            .key_counts(self.user_id(), &self.device_id)
            .await?;
        self.device.lock().key_counts = Some(counts.clone());
        Ok(counts)
    }

    async fn device_lists(&self, news: &News) -> Result<DeviceLists, StorageError> {
        let mut lists = DeviceLists::default();
        let Some(from) = news.from else {
            return Ok(lists);
        };
        let is_touched = news.has(|touch| {
            matches!(
                touch,
                UserTouch::DeviceList(_) | UserTouch::Neighbour(..) | UserTouch::Membership(_)
            )
        });
        if is_touched {
            let server = &*self.server;
            let changes =
                crate::encryption::device_list_changes(server, self.user_id(), from, news.to)
                    .await?;
            lists.changed = changes.changed;
            lists.left = changes.left;
        }
        Ok(lists)
    }

    async fn presence(
        &self,
        news: &News,
        now: Timestamp,
    ) -> Result<Vec<PresenceEvent>, StorageError> {
        let mut told = Vec::new();
        let is_enabled = self.server.config.presence.enabled;
        if !is_enabled || self.request.filter.presence.allows_nothing() {
            return Ok(told);
        }
        let rooms: BTreeSet<OwnedRoomId> = self.cell.joined_rooms().into_iter().collect();
        let users = match &news.touches {
            Some(touches) => self.users_with_news(news, touches, &rooms).await?,
            None => self.nearest(&rooms).await?,
        };
        if users.is_empty() {
            return Ok(told);
        }
        let users: Vec<_> = users.into_iter().collect();
        for known in self.server.store.presence(&users).await? {
            let is_between = known.position > news.since() && known.position <= news.to;
            if news.touches.is_some() || is_between {
                told.push(presence::event(&known, now));
            }
        }
        Ok(told)
    }

    /// The user and the members of these rooms, those of the smallest rooms first.
    async fn nearest(
        &self,
        rooms: &BTreeSet<OwnedRoomId>,
    ) -> Result<BTreeSet<OwnedUserId>, StorageError> {
        let mut loaded = Vec::with_capacity(rooms.len());
        for room_id in rooms {
            loaded.extend(self.server.rooms.room(room_id).await?);
        }
        loaded.sort_by_key(|room| room.state.joined_count());
        let members = loaded.iter().flat_map(|room| room.state.joined_members());
        let mut nearest = BTreeSet::from([self.user_id().to_owned()]);
        for (user_id, _) in members {
            if nearest.len() >= PRESENCE_MAX {
                break;
            }
            nearest.insert(user_id.to_owned());
        }
        Ok(nearest)
    }

    /// Whose presence may be news: that of those who changed it, of those who came into a room of
    /// the user's, and of the members of rooms that the user came into.
    async fn users_with_news(
        &self,
        news: &News,
        touches: &BTreeSet<Arc<UserTouch>>,
        rooms: &BTreeSet<OwnedRoomId>,
    ) -> Result<BTreeSet<OwnedUserId>, StorageError> {
        let (mut users, mut perhaps) = (BTreeSet::new(), BTreeSet::new());
        for touch in touches {
            match &**touch {
                UserTouch::Presence(user_id) | UserTouch::Neighbour(_, user_id) => {
                    perhaps.insert(user_id.clone());
                }
                UserTouch::Membership(room_id) => {
                    if self.was_joined_before(news, room_id).await? {
                        continue;
                    }
                    if let Some(room) = self.server.rooms.room(room_id).await?
                        && room.is_joined(self.user_id())
                    {
                        let members = room.state.joined_members();
                        let members = members.map(|(user_id, _)| user_id.to_owned());
                        users.extend(members.take(PRESENCE_MAX));
                    }
                }
                UserTouch::Timeline(_)
                | UserTouch::Receipts(_)
                | UserTouch::Typing(_)
                | UserTouch::AccountData
                | UserTouch::ToDevice(_)
                | UserTouch::OneTimeKeys(_)
                | UserTouch::DeviceList(_) => {}
            }
        }
        perhaps.retain(|user_id| !users.contains(user_id));
        if perhaps.remove(self.user_id()) {
            users.insert(self.user_id().to_owned());
        }
        users.extend(self.server.members_among(rooms, perhaps).await?);
        Ok(users.into_iter().take(PRESENCE_MAX).collect())
    }

    /// Fills in all rooms that have something to tell.
    async fn rooms(
        self: &Arc<Self>,
        news: &Arc<News>,
        mut account_data: BTreeMap<OwnedRoomId, Vec<AccountData>>,
        input: &mut SyncInput,
    ) -> Result<(), StorageError> {
        let memberships = self.memberships_at(news).await?;
        let touched = self
            .touched_rooms(news, &memberships, &account_data)
            .await?;
        let joined: Vec<_> = touched
            .keys()
            .filter(|room_id| {
                memberships
                    .get(*room_id)
                    .is_some_and(|m| m.membership == Membership::Join)
                    && self.request.filter.room.allows_room(room_id)
            })
            .cloned()
            .collect();
        let (all_receipts, reading) = tokio::try_join!(
            self.receipts(news, &touched, &joined),
            self.server
                .unread
                .reader(&*self.server.store, self.user_id()),
        )?;
        let mut receipts: BTreeMap<OwnedRoomId, Vec<Receipt>> = BTreeMap::new();
        for receipt in all_receipts {
            let of_room = receipts.entry(receipt.room_id.clone()).or_default();
            of_room.push(receipt);
        }
        let is_invited = touched.keys().any(|room_id| {
            let membership = memberships.get(room_id).map(|room| room.membership);
            membership == Some(Membership::Invite)
        });
        let blocks_invites = is_invited && self.server.blocks_invites(self.user_id()).await?;
        let mut to_tell = Vec::with_capacity(joined.len());
        for (room_id, touched) in touched {
            let room_id = &room_id;
            let Some(membership) = memberships.get(room_id) else {
                continue;
            };
            if !self.request.filter.room.allows_room(room_id) {
                continue;
            }
            let account_data = account_data.remove(room_id).unwrap_or_default();
            let is_changed = news.from.is_none_or(|from| membership.position > from);
            match membership.membership {
                Membership::Join => to_tell.push(RoomToTell {
                    room_id: room_id.clone(),
                    touched,
                    account_data,
                    receipts: receipts.remove(room_id).unwrap_or_default(),
                }),
                Membership::Invite | Membership::Knock => {
                    let Some(room) = self.server.rooms.room(room_id).await? else {
                        continue;
                    };
                    if is_changed || self.request.full_state {
                        let stripped = StrippedRoom {
                            room_id: room_id.clone(),
                            state: stripped_state(&room.state, self.user_id()),
                        };
                        if membership.membership == Membership::Invite {
                            let inviter = room.state.member(self.user_id());
                            let is_ignored = inviter.is_some_and(|member| {
                                reading.ignored.contains(&member.event.sender)
                            });
                            if !is_ignored && !blocks_invites {
                                input.invited.push(stripped);
                            }
                        } else {
                            input.knocked.push(stripped);
                        }
                    }
                }
                Membership::Leave | Membership::Ban => {
                    let is_wanted = match news.from {
                        Some(_) => is_changed,
                        None => self.request.filter.room.include_leave,
                    };
                    // A room that another device left and forgot at once must still go away here.
                    let is_shown = news.from.is_some() || !membership.is_forgotten;
                    if is_wanted && is_shown {
                        let room = self.left_room(news, room_id, account_data).await?;
                        input.left.extend(room);
                    }
                }
            }
        }
        input.joined = self.joined_rooms(news, to_tell, &reading).await?;
        Ok(())
    }

    /// The rooms that the user is in, told by several threads if there are many.
    async fn joined_rooms(
        self: &Arc<Self>,
        news: &Arc<News>,
        mut to_tell: Vec<RoomToTell>,
        reading: &Arc<UserReading>,
    ) -> Result<Vec<JoinedRoom>, StorageError> {
        let share = ROOMS_OF_A_TASK_MIN.max(to_tell.len().div_ceil(TASKS_MAX));
        // Dropped with the request, if the client goes away.
        let mut tasks = JoinSet::new();
        while to_tell.len() >= 2 * share {
            let part = to_tell.split_off(to_tell.len() - share);
            let (syncing, news, reading) = (self.clone(), news.clone(), reading.clone());
            tasks.spawn(async move { syncing.tell(&news, part, &reading).await });
        }
        let mut joined = self.tell(news, to_tell, reading).await?;
        while let Some(told) = tasks.join_next().await {
            let broken = |error| StorageError::Broken(format!("a part of a sync: {error}"));
            joined.extend(told.map_err(broken)??);
        }
        joined.sort_unstable_by(|one, other| one.room_id.cmp(&other.room_id));
        Ok(joined)
    }

    async fn tell(
        &self,
        news: &News,
        to_tell: Vec<RoomToTell>,
        reading: &Arc<UserReading>,
    ) -> Result<Vec<JoinedRoom>, StorageError> {
        let mut joined = Vec::with_capacity(to_tell.len());
        for room in to_tell {
            joined.extend(self.joined_room(news, room, reading).await?);
        }
        Ok(joined)
    }

    /// The user's standing in all rooms at the end of what is told. If it has changed since, rooms
    /// in which they were a member are told up to there, and all else with the next answer.
    async fn memberships_at(
        &self,
        news: &News,
    ) -> Result<Arc<BTreeMap<OwnedRoomId, RoomMembership>>, StorageError> {
        let mut memberships = news.memberships.clone();
        let is_later = |membership: &&RoomMembership| membership.position > news.to;
        let later: Vec<_> = memberships
            .values()
            .filter(is_later)
            .map(|membership| membership.room_id.clone())
            .collect();
        for room_id in later {
            let was_joined = self.was_joined(&room_id, news.to).await?;
            let memberships = Arc::make_mut(&mut memberships);
            match memberships.get_mut(&room_id) {
                Some(membership) if was_joined => membership.membership = Membership::Join,
                _ => drop(memberships.remove(&room_id)),
            }
        }
        Ok(memberships)
    }

    /// The rooms that something happened in, with what.
    async fn touched_rooms(
        &self,
        news: &News,
        memberships: &BTreeMap<OwnedRoomId, RoomMembership>,
        account_data: &BTreeMap<OwnedRoomId, Vec<AccountData>>,
    ) -> Result<BTreeMap<OwnedRoomId, RoomTouched>, StorageError> {
        let mut touched: BTreeMap<OwnedRoomId, RoomTouched> = BTreeMap::new();
        for room_id in account_data.keys() {
            touched.entry(room_id.clone()).or_default();
        }
        if news.from.is_none() || self.request.full_state {
            let typing_rooms = self.server.typing_rooms.lock();
            for room_id in memberships.keys() {
                let all = RoomTouched {
                    typing: typing_rooms.contains(room_id),
                    ..RoomTouched::all()
                };
                touched.insert(room_id.clone(), all);
            }
            if news.from.is_none() {
                return Ok(touched);
            }
        }
        let Some(touches) = &news.touches else {
            let changes = self
                .server
                .store
                .changes_for(self.user_id(), news.since(), news.to)
                .await?;
            for room_id in changes.timelines {
                touched.entry(room_id).or_default().timeline = true;
            }
            for room_id in changes.receipts {
                touched.entry(room_id).or_default().receipts = true;
            }
            for room_id in changes.typing {
                touched.entry(room_id).or_default().typing = true;
            }
            for membership in changes.memberships {
                touched.entry(membership.room_id).or_default().come_or_go();
            }
            return Ok(touched);
        };
        for touch in touches {
            match &**touch {
                UserTouch::Timeline(room_id) | UserTouch::Neighbour(room_id, _) => {
                    touched.entry(room_id.clone()).or_default().timeline = true;
                }
                UserTouch::Receipts(room_id) => {
                    touched.entry(room_id.clone()).or_default().receipts = true;
                }
                UserTouch::Typing(room_id) => {
                    touched.entry(room_id.clone()).or_default().typing = true;
                }
                UserTouch::Membership(room_id) => {
                    touched.entry(room_id.clone()).or_default().come_or_go();
                }
                UserTouch::AccountData
                | UserTouch::ToDevice(_)
                | UserTouch::OneTimeKeys(_)
                | UserTouch::DeviceList(_)
                | UserTouch::Presence(_) => {}
            }
        }
        Ok(touched)
    }

    async fn receipts(
        &self,
        news: &News,
        touched: &BTreeMap<OwnedRoomId, RoomTouched>,
        joined: &[OwnedRoomId],
    ) -> Result<Vec<Receipt>, StorageError> {
        let rooms: Vec<_> = joined
            .iter()
            .filter(|room_id| touched[*room_id].receipts)
            .cloned()
            .collect();
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        self.server
            .store
            .receipts(&rooms, news.since(), news.to)
            .await
    }

    async fn joined_room(
        &self,
        news: &News,
        room: RoomToTell,
        reading: &Arc<UserReading>,
    ) -> Result<Option<JoinedRoom>, StorageError> {
        let RoomToTell {
            room_id,
            touched,
            account_data,
            receipts,
        } = room;
        let room_id = &room_id;
        let server = &*self.server;
        let Some((room, recent)) = server.rooms.snapshot(room_id).await? else {
            return Ok(None);
        };
        let is_new = news.from.is_none()
            || (touched.membership && !self.was_joined_before(news, room_id).await?);
        let is_whole = is_new || self.request.full_state;
        let mut joined = JoinedRoom::new(room_id.clone());
        joined.is_shown_always = is_whole;
        joined.account_data = if is_new && news.from.is_some() {
            // The whole of it, also what was set before joining.
            self.all_account_data(room_id, news.to).await?
        } else {
            account_data
        };
        let receipts = if is_new && news.from.is_some() {
            server
                .store
                .receipts(std::slice::from_ref(room_id), Position(0), news.to)
                .await?
        } else {
            receipts
        };
        let reader = Reader {
            user_id: self.user_id().to_owned(),
            // At the end of what is told, that is. By now they may have left.
            membership: Some(Membership::Join),
            room: room.clone(),
            left: None,
            ignored: reading.ignored.clone(),
            sees_all: false,
        };
        if touched.timeline || is_whole {
            let scope_from = if is_new { None } else { news.from };
            self.fill_timeline(news, &reader, &recent, scope_from, is_whole, &mut joined)
                .await?;
        }
        joined.receipts = receipts::event_json(&receipts, self.user_id());
        let is_typing_told =
            touched.typing && (!is_new || server.typing_rooms.lock().contains(room_id));
        if is_typing_told {
            let mut users = server.store.typing(room_id).await?;
            users.retain(|(user_id, _)| room.is_joined(user_id));
            joined.typing = Some(typing::event_json(&users, server.clock.now()));
        }
        if is_new && news.from.is_some() {
            reading.begin_anew(&*server.store, &room, &recent).await?;
        }
        // What was read at another node is not among the receipts of this stretch.
        let has_all_receipts = self.goes_on || news.from.is_none();
        let receipts_since = has_all_receipts.then_some(&*receipts);
        let counter = reading
            .count(&*server.store, &room, &recent, receipts_since)
            .await?;
        joined.unread = Unread {
            main: counts(counter.main()),
            threads: counter
                .threads()
                .into_iter()
                .map(|(root, counted)| (root, counts(counted)))
                .collect(),
        };
        Ok(Some(joined))
    }

    async fn all_account_data(
        &self,
        room_id: &RoomId,
        to: Position,
    ) -> Result<Vec<AccountData>, StorageError> {
        let all = self
            .server
            .store
            .account_data(self.user_id(), Position(0), to)
            .await?;
        let of_room = all
            .into_iter()
            .filter(|entry| entry.room_id.as_deref() == Some(room_id));
        Ok(of_room.map(AccountData::from).collect())
    }

    /// Finds out in which of the rooms whose membership changed the user was before: more than one
    /// part of the answer depends on it.
    async fn look_back(&self, news: &mut News) -> Result<(), StorageError> {
        let since = news.since();
        for touch in news.touches.iter().flatten() {
            if let UserTouch::Membership(room_id) = &**touch {
                let was_joined = self.was_joined(room_id, since).await?;
                news.was_joined.insert(room_id.clone(), was_joined);
            }
        }
        Ok(())
    }

    /// Whether the user was in a room at the time of the token from which the news are told.
    async fn was_joined_before(&self, news: &News, room_id: &RoomId) -> Result<bool, StorageError> {
        match news.was_joined.get(room_id) {
            Some(was_joined) => Ok(*was_joined),
            None => self.was_joined(room_id, news.since()).await,
        }
    }

    /// Whether the user was in a room at the time of a token.
    async fn was_joined(&self, room_id: &RoomId, at: Position) -> Result<bool, StorageError> {
        let store = &self.server.store;
        let Some(event_id) = self.last_event(room_id, at).await? else {
            return Ok(false);
        };
        let of = StateOf {
            event_id,
            side: StateSide::After,
        };
        let own = StateKey::new("m.room.member", self.user_id().as_str());
        let state = store
            .state_at(of, StateWanted::Keys(vec![own]))
            .await?
            .unwrap_or_default();
        Ok(state
            .first()
            .is_some_and(|event| lyceum_room::membership_of(event) == Some(Membership::Join)))
    }

    /// The newest timeline event of a room at the time of a token.
    async fn last_event(
        &self,
        room_id: &RoomId,
        at: Position,
    ) -> Result<Option<OwnedEventId>, StorageError> {
        let store = &self.server.store;
        let seq = store.seq_at(room_id, at).await?;
        if seq.0 <= 0 {
            return Ok(None);
        }
        let page = TimelinePage {
            room_id: room_id.to_owned(),
            from: Seq(seq.0 + 1),
            until: Some(seq),
            up_to: at,
            direction: Direction::Backward,
            limit: 1,
        };
        Ok(store
            .timeline(page)
            .await?
            .first()
            .map(|stored| stored.event.id.clone()))
    }

    /// The timeline, and the state that goes with it.
    async fn fill_timeline(
        &self,
        news: &News,
        reader: &Reader,
        recent: &Recent,
        from: Option<Position>,
        is_whole: bool,
        joined: &mut JoinedRoom,
    ) -> Result<(), StorageError> {
        let server = &*self.server;
        let filter = &self.request.filter;
        let room = &reader.room;
        let (raw, is_exhausted) = self.events_since(reader, recent, from, news.to).await?;
        let limit = filter.room.timeline.limit(
            room_view::TIMELINE_LIMIT_DEFAULT,
            room_view::TIMELINE_LIMIT_MAX,
        );
        let mut cut = TimelineCut::new(&filter.room.timeline, limit);
        // What the user was to the room at each event, in the order of offering.
        let mut memberships = Vec::with_capacity(raw.len());
        for stored in raw.iter().rev() {
            let (is_visible, membership) = server.visibility(reader, stored).await?;
            memberships.push((&stored.event, membership));
            // Members know the present state, whether or not they may see how it came to be.
            let is_shown = (is_visible || is_present(room, &stored.event))
                && server
                    .matches_relations(&filter.room.timeline, &stored.event.id)
                    .await?;
            if !cut.offer(stored, is_shown) {
                break;
            }
        }
        let taken = cut.finish(is_exhausted);
        let start = taken
            .start
            .or_else(|| raw.first().and_then(|stored| stored.seq));
        let shown_events: Vec<Arc<Event>> = taken
            .events
            .iter()
            .map(|stored| stored.event.clone())
            .collect();
        let scope = if is_whole {
            StateScope::Full
        } else {
            StateScope::Since {
                limited: taken.limited,
            }
        };
        let end = self.end_of(&raw, recent, news.to);
        let use_state_after = self.request.use_state_after.is_some();
        let past = Past {
            start: taken.events.first().and_then(|stored| stored.seq),
            first: taken.events.first().map(|stored| stored.event.clone()),
        };
        let entries = self
            .state_entries(
                state_basis(scope, use_state_after),
                reader,
                recent,
                &past,
                from,
                &end,
                &raw,
            )
            .await?;
        let changed = match news.from {
            Some(since) if is_whole => {
                let scope = StateScope::Since { limited: true };
                let basis = state_basis(scope, use_state_after);
                let since = Some(since);
                Some(
                    self.state_entries(basis, reader, recent, &past, since, &end, &raw)
                        .await?,
                )
            }
            _ => None,
        };
        let is_due = summary::is_due(
            scope,
            shown_events
                .iter()
                .chain(&entries)
                .chain(&taken.left_out_state)
                .map(|event| &**event),
        );
        let name = room.name();
        let alias = room.canonical_alias();
        let heroes = if is_due
            && summary::needs_heroes(name.as_deref(), alias.as_ref().map(|alias| alias.as_str()))
        {
            let members = room
                .state
                .members()
                .map(|(user_id, member)| (user_id, member.membership, &*member.event));
            summary::heroes(self.user_id(), members)
        } else {
            Vec::new()
        };
        let wanted = room_view::lazy_members(scope, self.user_id(), &shown_events, &heroes);
        let overlay = if use_state_after {
            BTreeMap::new()
        } else {
            self.members_before(recent, &past, &wanted).await?
        };
        let member = |user_id: &UserId| match overlay.get(user_id) {
            Some(before) => before.clone(),
            None => room
                .state
                .member(user_id)
                .map(|member| member.event.clone()),
        };
        let chosen = {
            let question = StateQuestion {
                user_id: self.user_id(),
                room_id: &room.room_id,
                scope,
                uses_state_after: use_state_after,
                filter,
                timeline: &shown_events,
                left_out_state: &taken.left_out_state,
                entries: &entries,
                heroes: &heroes,
                member: &member,
            };
            match &changed {
                Some(changed) => choose_full_state_again(
                    &question,
                    changed,
                    &mut self.device.lock().sent_members,
                ),
                None => choose_state(&question, &mut self.device.lock().sent_members),
            }
        };
        joined.state = server.show_state(&chosen).await?;
        if is_due {
            joined.summary = Some(SummaryChange {
                heroes: summary::needs_heroes(
                    name.as_deref(),
                    alias.as_ref().map(|alias| alias.as_str()),
                )
                .then_some(heroes),
                joined: room.state.joined_count(),
                invited: room.state.invited_count(),
            });
        }
        let events = with_memberships(&taken.events, &memberships);
        let device_id = Some(&*self.device_id);
        let events = server
            .show_all_among(reader, device_id, events, recent)
            .await?;
        joined.timeline = Timeline {
            events,
            // Whoever joins again has a gap between then and now.
            limited: taken.limited || (from.is_none() && news.from.is_some()),
            prev_batch: start.map(|seq| TimelineToken {
                position: news.to,
                seq,
            }),
        };
        Ok(())
    }

    /// The timeline events in `(from, to]`, oldest first; for a first sight of the room as many of
    /// the newest as can be wanted, and one more. Also whether these are all.
    async fn events_since(
        &self,
        reader: &Reader,
        recent: &Recent,
        from: Option<Position>,
        to: Position,
    ) -> Result<(Vec<StoredEvent>, bool), StorageError> {
        let filter = &self.request.filter.room.timeline;
        let limit = filter.limit(
            room_view::TIMELINE_LIMIT_DEFAULT,
            room_view::TIMELINE_LIMIT_MAX,
        );
        let is_new = |entry: &&Arc<TimelineEntry>| {
            entry.position <= to && from.is_none_or(|from| entry.position > from)
        };
        let here: Vec<_> = recent.entries.iter().filter(is_new).collect();
        let is_all = recent.is_whole
            || recent
                .entries
                .front()
                .is_some_and(|oldest| from.is_some_and(|from| oldest.position <= from));
        if is_all || here.len() > limit {
            return Ok((here.iter().map(|entry| entry.stored()).collect(), is_all));
        }
        let page = TimelinePage {
            room_id: reader.room.room_id.clone(),
            from: Seq(i64::MAX),
            until: match from {
                Some(from) => {
                    let seq = self.server.store.seq_at(&reader.room.room_id, from).await?;
                    Some(Seq(seq.0 + 1))
                }
                None => None,
            },
            up_to: to,
            direction: Direction::Backward,
            limit: (4 * limit + 16).max(2),
        };
        let asked = page.limit;
        let mut stored = self.server.store.timeline(page).await?;
        stored.reverse();
        let is_all = stored.len() < asked;
        Ok((stored, is_all))
    }

    /// The newest event of the room at the end of what is told.
    fn end_of(&self, raw: &[StoredEvent], recent: &Recent, to: Position) -> Option<OwnedEventId> {
        let last = raw.last().map(|stored| stored.event.id.clone());
        last.or_else(|| {
            let entry = recent
                .entries
                .iter()
                .rev()
                .find(|entry| entry.position <= to)?;
            Some(entry.event.id.clone())
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of it describes one place in a timeline"
    )]
    async fn state_entries(
        &self,
        basis: StateBasis,
        reader: &Reader,
        recent: &Recent,
        past: &Past,
        from: Option<Position>,
        end: &Option<OwnedEventId>,
        raw: &[StoredEvent],
    ) -> Result<Vec<Arc<Event>>, StorageError> {
        let store = &self.server.store;
        let room = &reader.room;
        let after = |event_id: &OwnedEventId| StateOf {
            event_id: event_id.clone(),
            side: StateSide::After,
        };
        let is_now = recent
            .entries
            .back()
            .is_some_and(|last| Some(&last.event.id) == end.as_ref());
        match basis {
            StateBasis::Nothing => Ok(Vec::new()),
            StateBasis::AllAfter => match end {
                Some(end) if !is_now => Ok(store
                    .state_at(after(end), StateWanted::All)
                    .await?
                    .unwrap_or_default()),
                _ => Ok(room.state.iter().cloned().collect()),
            },
            StateBasis::AllBefore => {
                let Some(first) = &past.first else {
                    return Ok(room.state.iter().cloned().collect());
                };
                if let Some(rewound) = self.rewound(recent, past).await? {
                    let mut state = room.state.clone();
                    for (key, before) in rewound {
                        match before {
                            Some(event) => {
                                state.insert(event);
                            }
                            None => {
                                state.remove(&key.kind, &key.key);
                            }
                        }
                    }
                    return Ok(state.iter().cloned().collect());
                }
                let of = StateOf {
                    event_id: first.id.clone(),
                    side: StateSide::Before,
                };
                Ok(store
                    .state_at(of, StateWanted::All)
                    .await?
                    .unwrap_or_default())
            }
            StateBasis::ChangedBefore => {
                let Some(from) = from else {
                    return Ok(Vec::new());
                };
                let since = self.last_event(&room.room_id, from).await?;
                let to = match (&past.first, end) {
                    (Some(first), _) => StateOf {
                        event_id: first.id.clone(),
                        side: StateSide::Before,
                    },
                    (None, Some(end)) => after(end),
                    (None, None) => return Ok(Vec::new()),
                };
                let since = since.as_ref().map(after);
                Ok(store.state_difference(since, to).await?.unwrap_or_default())
            }
            StateBasis::ChangedAfter => {
                let Some(from) = from else {
                    return Ok(Vec::new());
                };
                let is_linear = raw
                    .windows(2)
                    .all(|pair| pair[1].event.prev_events.as_slice() == [pair[0].event.id.clone()]);
                let reaches_back = !raw.is_empty() && raw.len() < 16;
                if is_linear
                    && reaches_back
                    && raw
                        .first()
                        .is_some_and(|first| first.event.prev_events.len() == 1)
                {
                    let mut newest: BTreeMap<StateKey, Arc<Event>> = BTreeMap::new();
                    for stored in raw {
                        if let Some(key) = stored.event.state_name() {
                            newest.insert(key, stored.event.clone());
                        }
                    }
                    return Ok(newest.into_values().collect());
                }
                let Some(end) = end else {
                    return Ok(Vec::new());
                };
                let since = self.last_event(&room.room_id, from).await?;
                let since = since.as_ref().map(after);
                Ok(store
                    .state_difference(since, after(end))
                    .await?
                    .unwrap_or_default())
            }
        }
    }

    /// The entries of the present state that changed since the timeline's first event, with what
    /// stood there before; `None` where the graph is not a plain line that is all in memory.
    async fn rewound(
        &self,
        recent: &Recent,
        past: &Past,
    ) -> Result<Option<Vec<(StateKey, Option<Arc<Event>>)>>, StorageError> {
        let Some(start) = past.start else {
            return Ok(None);
        };
        let Ok(index) = recent
            .entries
            .binary_search_by_key(&start, |entry| entry.seq)
        else {
            return Ok(None);
        };
        let events: Vec<_> = recent
            .entries
            .iter()
            .skip(index)
            .map(|entry| entry.event.clone())
            .collect();
        let is_line = events
            .windows(2)
            .all(|pair| pair[1].prev_events.len() == 1 && pair[1].prev_events[0] == pair[0].id);
        if !is_line
            || events
                .first()
                .is_none_or(|first| first.prev_events.len() > 1)
        {
            return Ok(None);
        }
        let changed = room_view::rewind(&events);
        let ids: Vec<_> = changed
            .iter()
            .filter_map(|(_, before)| before.clone())
            .collect();
        let found = if ids.is_empty() {
            Vec::new()
        } else {
            self.server.store.events(&ids).await?
        };
        let mut rewound = Vec::new();
        for (key, before) in changed {
            let event = match before {
                None => None,
                Some(id) => match found.iter().find(|stored| stored.event.id == id) {
                    Some(stored) => Some(stored.event.clone()),
                    None => return Ok(None),
                },
            };
            rewound.push((key, event));
        }
        Ok(Some(rewound))
    }

    /// The member events of these users in a state.
    async fn members_at(
        &self,
        of: StateOf,
        wanted: &BTreeSet<OwnedUserId>,
    ) -> Result<BTreeMap<OwnedUserId, Arc<Event>>, StorageError> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let keys = wanted
            .iter()
            .map(|user_id| StateKey::new("m.room.member", user_id.as_str()))
            .collect();
        let state = self.server.store.state_at(of, StateWanted::Keys(keys));
        let found = state.await?.unwrap_or_default();
        let of_user = |event: Arc<Event>| {
            let user_id = UserId::parse(event.state_key.as_deref()?).ok()?;
            Some((user_id, event))
        };
        Ok(found.into_iter().filter_map(of_user).collect())
    }

    /// Of these members, those whose member event at the timeline's start was not today's.
    async fn members_before(
        &self,
        recent: &Recent,
        past: &Past,
        wanted: &BTreeSet<OwnedUserId>,
    ) -> Result<BTreeMap<OwnedUserId, Option<Arc<Event>>>, StorageError> {
        let mut before = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(before);
        }
        let rewound = match self.rewound(recent, past).await? {
            Some(rewound) => rewound,
            None => {
                let Some(first) = &past.first else {
                    return Ok(before);
                };
                let of = StateOf {
                    event_id: first.id.clone(),
                    side: StateSide::Before,
                };
                let keys = wanted
                    .iter()
                    .map(|user_id| StateKey::new("m.room.member", user_id.as_str()))
                    .collect();
                let state = self
                    .server
                    .store
                    .state_at(of, StateWanted::Keys(keys))
                    .await?;
                let state = state.unwrap_or_default();
                wanted
                    .iter()
                    .map(|user_id| {
                        let event = state
                            .iter()
                            .find(|event| event.state_key.as_deref() == Some(user_id.as_str()));
                        (
                            StateKey::new("m.room.member", user_id.as_str()),
                            event.cloned(),
                        )
                    })
                    .collect()
            }
        };
        for (key, event) in rewound {
            if &*key.kind == "m.room.member"
                && let Ok(user_id) = UserId::parse(&*key.key)
            {
                before.insert(user_id, event);
            }
        }
        Ok(before)
    }

    /// Whether an event was part of the room's state when the user left by `leave_event`.
    async fn was_present(
        &self,
        leave_event: &OwnedEventId,
        stored: &StoredEvent,
    ) -> Result<bool, StorageError> {
        let Some(key) = stored.event.state_name() else {
            return Ok(false);
        };
        let of = StateOf {
            event_id: leave_event.clone(),
            side: StateSide::After,
        };
        let wanted = StateWanted::Keys(vec![key]);
        let then = self.server.store.state_at(of, wanted).await?;
        Ok(then
            .unwrap_or_default()
            .iter()
            .any(|event| event.id == stored.event.id))
    }

    /// A room that the user left or was removed from.
    async fn left_room(
        &self,
        news: &News,
        room_id: &OwnedRoomId,
        account_data: Vec<AccountData>,
    ) -> Result<Option<LeftRoom>, StorageError> {
        let server = &*self.server;
        let Some((room, recent)) = server.rooms.snapshot(room_id).await? else {
            return Ok(None);
        };
        let Some(departure) = server.departure(&room, self.user_id()).await? else {
            return Ok(None);
        };
        let ignored = server.ignored_users(self.user_id()).await?;
        let was_member = departure.was_member;
        let (leave_seq, leave_event) = (departure.seq, departure.event_id.clone());
        let reader = Reader {
            user_id: self.user_id().to_owned(),
            membership: room.state.membership(self.user_id()),
            room,
            left: Some(departure),
            ignored,
            sees_all: false,
        };
        let filter = &self.request.filter;
        let limit = filter.room.timeline.limit(
            room_view::TIMELINE_LIMIT_DEFAULT,
            room_view::TIMELINE_LIMIT_MAX,
        );
        let was_joined = news.from.is_some() && self.was_joined_before(news, room_id).await?;
        let since_seq = match news.from {
            Some(from) if was_joined => Some(server.store.seq_at(room_id, from).await?),
            _ => None,
        };
        // Who left, and was banned after that, was in the room until they left.
        let stay = match since_seq {
            Some(_) if !was_member => server.end_of_stay(&reader.room, self.user_id()).await?,
            _ => reader.left.clone(),
        };
        let is_told_state = stay.as_ref().is_some_and(|stay| stay.was_member);
        let (stay_event, stay_seq) = match stay {
            Some(stay) => (stay.event_id, stay.seq),
            None => (leave_event.clone(), leave_seq),
        };
        let page = TimelinePage {
            room_id: room_id.clone(),
            from: Seq(leave_seq.0 + 1),
            until: match (since_seq, was_member) {
                (Some(seq), _) => Some(Seq(seq.0 + 1)),
                (None, true) => None,
                // An invite that was refused or taken back: only its end is shown.
                (None, false) => Some(leave_seq),
            },
            up_to: news.to,
            direction: Direction::Backward,
            limit: 2 * limit + 16,
        };
        let asked = page.limit;
        let mut cut = TimelineCut::new(&filter.room.timeline, limit);
        let stretch = server.store.timeline(page).await?;
        let is_exhausted = stretch.len() < asked;
        // What the user was to the room at each event, in the order of offering.
        let mut memberships = Vec::with_capacity(stretch.len());
        for stored in &stretch {
            let is_own_leave = stored.event.id == leave_event;
            let (is_visible, membership) = server.visibility(&reader, stored).await?;
            memberships.push((&stored.event, membership));
            let is_shown =
                is_visible || is_own_leave || self.was_present(&stay_event, stored).await?;
            if !cut.offer(stored, is_shown) {
                break;
            }
        }
        let taken = cut.finish(is_exhausted);
        let timeline: Vec<Arc<Event>> = taken
            .events
            .iter()
            .map(|stored| stored.event.clone())
            .collect();
        let scope = if since_seq.is_none() || self.request.full_state {
            StateScope::Full
        } else {
            StateScope::Since {
                limited: taken.limited,
            }
        };
        let store = &server.store;
        let after_leave = StateOf {
            event_id: stay_event.clone(),
            side: StateSide::After,
        };
        let uses_state_after = self.request.use_state_after.is_some();
        let until = match taken.events.first() {
            Some(first) if !uses_state_after && first.seq <= Some(stay_seq) => StateOf {
                event_id: first.event.id.clone(),
                side: StateSide::Before,
            },
            _ => after_leave.clone(),
        };
        let mut entries = match (scope, news.from) {
            _ if !is_told_state && uses_state_after => {
                let own = StateKey::new("m.room.member", self.user_id().as_str());
                let wanted = StateWanted::Keys(vec![own]);
                store
                    .state_at(after_leave, wanted)
                    .await?
                    .unwrap_or_default()
            }
            _ if !is_told_state => Vec::new(),
            (StateScope::Since { limited }, Some(from))
                if limited || uses_state_after || timeline.is_empty() =>
            {
                let since = self.last_event(room_id, from).await?;
                let since = since.map(|event_id| StateOf {
                    event_id,
                    side: StateSide::After,
                });
                let changed = store.state_difference(since, until.clone()).await?;
                changed.unwrap_or_default()
            }
            (StateScope::Since { .. }, _) => Vec::new(),
            (StateScope::Full, _) => store
                .state_at(until.clone(), StateWanted::All)
                .await?
                .unwrap_or_default(),
        };
        let last_own = timeline.iter().find(|event| event.id == leave_event);
        if uses_state_after
            && stay_event != leave_event
            && let Some(last_own) = last_own
        {
            entries.retain(|event| event.state_name() != last_own.state_name());
            entries.push(last_own.clone());
        }
        let wanted = match filter.room.state.lazy_load_members && is_told_state {
            true => room_view::lazy_members(scope, self.user_id(), &timeline, &[]),
            false => BTreeSet::new(),
        };
        let members = self.members_at(until, &wanted).await?;
        let chosen = {
            let question = StateQuestion {
                user_id: self.user_id(),
                room_id,
                scope,
                uses_state_after,
                filter,
                timeline: &timeline,
                left_out_state: &taken.left_out_state,
                entries: &entries,
                heroes: &[],
                member: &|user_id| members.get(user_id).cloned(),
            };
            choose_state(&question, &mut self.device.lock().sent_members)
        };
        let mut left = LeftRoom {
            room_id: room_id.clone(),
            timeline: Timeline {
                events: Vec::new(),
                limited: taken.limited,
                prev_batch: taken
                    .start
                    .or(taken.events.first().and_then(|stored| stored.seq))
                    .map(|seq| TimelineToken {
                        position: news.to,
                        seq,
                    }),
            },
            state: server.show_state(&chosen).await?,
            account_data,
            is_shown_always: true,
        };
        let events = with_memberships(&taken.events, &memberships);
        let device_id = Some(&*self.device_id);
        left.timeline.events = server
            .show_all_among(&reader, device_id, events, &recent)
            .await?;
        Ok(Some(left))
    }
}

/// Whether the device hears of something that it sent itself.
fn echoes(input: &SyncInput) -> bool {
    let events = input.joined.iter().flat_map(|room| &room.timeline.events);
    events
        .into_iter()
        .any(|event| event.transaction_id.is_some())
}

/// Whether an event is part of the room's present state.
fn is_present(room: &lyceum_room::Room, event: &Event) -> bool {
    let key = event.state_key.as_deref();
    key.and_then(|key| room.state.get(&event.kind, key))
        .is_some_and(|present| present.id == event.id)
}

/// Where a timeline begins.
struct Past {
    start: Option<Seq>,
    first: Option<Arc<Event>>,
}

/// What happened in a room.
#[derive(Debug, Clone, Copy, Default)]
struct RoomTouched {
    timeline: bool,
    receipts: bool,
    typing: bool,
    membership: bool,
}

impl RoomTouched {
    /// The user's own standing changed. If they were away in between, nothing told them what
    /// happened meanwhile.
    fn come_or_go(&mut self) {
        *self = Self::all();
    }

    fn all() -> Self {
        Self {
            timeline: true,
            receipts: true,
            typing: true,
            membership: true,
        }
    }
}

/// Events of a timeline with what the user was to the room at each, from what was found out of all
/// that were offered for it, newest first.
fn with_memberships<'a>(
    taken: &'a [StoredEvent],
    offered: &[(&'a Arc<Event>, Option<Membership>)],
) -> impl Iterator<Item = (&'a StoredEvent, Option<Membership>)> + Clone {
    let mut offered = offered.iter().rev();
    let with = |stored: &'a StoredEvent| {
        let found = offered.find(|(event, _)| Arc::ptr_eq(event, &stored.event));
        (stored, found.and_then(|(_, membership)| *membership))
    };
    taken.iter().map(with).collect::<Vec<_>>().into_iter()
}

fn counts(counted: lyceum_account::unread::Counted) -> Counts {
    Counts {
        notifications: counted.notify,
        highlights: counted.highlight,
    }
}

fn split_by_room(
    entries: Vec<AccountDataEntry>,
) -> (Vec<AccountData>, BTreeMap<OwnedRoomId, Vec<AccountData>>) {
    let mut global = Vec::new();
    let mut by_room: BTreeMap<OwnedRoomId, Vec<AccountData>> = BTreeMap::new();
    for entry in entries {
        match entry.room_id.clone() {
            Some(room_id) => by_room.entry(room_id).or_default().push(entry.into()),
            None => global.push(entry.into()),
        }
    }
    (global, by_room)
}
