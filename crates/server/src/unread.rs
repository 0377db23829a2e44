//! Notifications that a user has not seen, and what else of a user's account data decides what it
//! is told.
//!
//! Counts are made when somebody syncs: the events since the last count are judged by the user's
//! push rules. So a message costs nothing for members who are away. Counters are stored now and
//! then, so that counting need not begin anew after a restart.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use lyceum_account::{
    push::{self, CompiledRules, PushRules, RoomFacts, SharedRules, UserFacts},
    unread::{Counter, ReadScope},
};
use lyceum_model::{AccountChange, Batch, Event, Receipt, Seq, StoredEvent, Touch, UnreadCounts};
use lyceum_room::{Power, Room, member_content};
use lyceum_storage::{Direction, StorageError, Store, TimelinePage};
use parking_lot::Mutex;
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use crate::rooms::{Recent, THREAD_HOPS_MAX, TimelineEntry};

/// How many users are remembered.
const USERS_MAX: usize = 20_000;
/// How many events are judged at most when counting begins anew.
const EVENTS_COUNTED_MAX: usize = 1_000;
/// How many events are judged at most when counting goes on after a long time, or goes over what was
/// counted because something long ago was read or redacted. Earlier ones are passed over.
const EVENTS_RECOUNTED_MAX: i64 = 2_000;
/// How many events are read at a time.
const CHUNK: usize = 500;
/// How many counters are stored in one go.
const COUNTERS_STORED_MAX: usize = 1_000;

/// What is remembered of users who sync.
#[derive(Debug, Default)]
pub struct Unread {
    users: Mutex<HashMap<OwnedUserId, Arc<UserReading>>>,
    counters: Mutex<HashMap<OwnedUserId, Arc<Mutex<Counters>>>>,
    rules: Mutex<SharedRules>,
    /// Counts what was forgotten, so that what was read before is not remembered after.
    forgotten: std::sync::atomic::AtomicU64,
}

/// What a user's account data says about what it is told, and its counters.
#[derive(Debug)]
pub struct UserReading {
    user_id: OwnedUserId,
    /// Users whose messages it does not want to see.
    pub ignored: Arc<BTreeSet<OwnedUserId>>,
    rules: Arc<CompiledRules>,
    counters: Arc<Mutex<Counters>>,
}

#[derive(Debug, Default)]
struct Counters {
    by_room: BTreeMap<OwnedRoomId, Counter>,
    changed: BTreeSet<OwnedRoomId>,
    stored: Option<BTreeMap<OwnedRoomId, Counter>>,
}

impl Unread {
    /// What is remembered of a user, loaded if it is not there.
    pub async fn reader(
        &self,
        store: &dyn Store,
        user_id: &UserId,
    ) -> Result<Arc<UserReading>, StorageError> {
        use std::sync::atomic::Ordering;
        if let Some(reading) = self.users.lock().get(user_id) {
            return Ok(reading.clone());
        }
        let before = self.forgotten.load(Ordering::SeqCst);
        let rules = store
            .account_data_entry(user_id, None, "m.push_rules")
            .await?;
        let rules = rules.and_then(|entry| entry.content);
        let rules = PushRules::load(user_id, rules.as_deref()).compile();
        let rules = self.rules.lock().share(rules);
        let ignored = store
            .account_data_entry(user_id, None, "m.ignored_user_list")
            .await?;
        let ignored = ignored.and_then(|entry| entry.content);
        let ignored = ignored
            .map(|content| ignored_in(&content))
            .unwrap_or_default();
        let mut users = self.users.lock();
        if users.len() >= USERS_MAX {
            users.clear();
        }
        let counters = self
            .counters
            .lock()
            .entry(user_id.to_owned())
            .or_default()
            .clone();
        let reading = Arc::new(UserReading {
            user_id: user_id.to_owned(),
            ignored: Arc::new(ignored),
            rules,
            counters,
        });
        if self.forgotten.load(Ordering::SeqCst) == before {
            users.insert(user_id.to_owned(), reading.clone());
        }
        Ok(reading)
    }

    /// Forgets what a commit made untrue.
    pub fn publish(&self, touches: &[Touch]) {
        for touch in touches {
            if let Touch::AccountData(user_id) = touch {
                self.forgotten
                    .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                self.users.lock().remove(user_id);
            }
        }
    }

    /// Stores counters that changed.
    pub async fn write(&self, store: &dyn Store) {
        let users: Vec<_> = {
            let mut counters = self.counters.lock();
            if counters.len() > USERS_MAX {
                counters.retain(|_, known| {
                    Arc::strong_count(known) > 1 || !known.lock().changed.is_empty()
                });
            }
            counters
                .iter()
                .map(|(user_id, known)| (user_id.clone(), known.clone()))
                .collect()
        };
        let mut batch = Batch::new();
        let mut written = Vec::new();
        for (user_id, known) in &users {
            let mut counters = known.lock();
            while batch.changes.len() < COUNTERS_STORED_MAX
                && let Some(room_id) = counters.changed.pop_first()
            {
                let Some(counter) = counters.by_room.get(&room_id) else {
                    continue;
                };
                written.push((known.clone(), room_id.clone()));
                batch.push(AccountChange::PutUnread(UnreadCounts {
                    user_id: user_id.clone(),
                    json: counter.to_json(),
                    room_id,
                }));
            }
        }
        if !batch.changes.is_empty()
            && let Err(error) = store.submit(batch).await
        {
            tracing::warn!(%error, "counted notifications could not be stored");
            for (known, room_id) in written {
                known.lock().changed.insert(room_id);
            }
        }
    }
}

impl UserReading {
    /// Counts a room from where the user joined it, whatever was counted when they were there
    /// before.
    pub async fn begin_anew(
        &self,
        store: &dyn Store,
        room: &Room,
        recent: &Recent,
    ) -> Result<(), StorageError> {
        let start = self.start_of_counting(store, room, recent).await?;
        let mut counters = self.counters.lock();
        let counter = Counter::starting_at(start);
        counters.by_room.insert(room.room_id.clone(), counter);
        counters.changed.insert(room.room_id.clone());
        Ok(())
    }

    /// The user's counter of a room, up to date with the room's newest events and with the user's
    /// own `receipts` among those given; `None`: with all that are stored.
    pub async fn count(
        &self,
        store: &dyn Store,
        room: &Room,
        recent: &Recent,
        receipts: Option<&[Receipt]>,
    ) -> Result<Counter, StorageError> {
        let known = self.counters.lock().by_room.get(&room.room_id).cloned();
        let (mut counter, before, receipts) = match known {
            Some(counter) => {
                let before = Some(counter.clone());
                let own = match receipts {
                    Some(receipts) => own_receipts(receipts, &self.user_id, &room.room_id),
                    None => store.receipts_of(&room.room_id, &self.user_id).await?,
                };
                (counter, before, own)
            }
            None => {
                let counter = self.first_counter(store, room, recent).await?;
                let own = store.receipts_of(&room.room_id, &self.user_id).await?;
                (counter, None, own)
            }
        };
        let world = (store, room, recent);
        self.go_on(&mut counter, world, &receipts).await?;
        if let Some(from) = counter.blurred_from()
            && counter.up_to().0 - from.0 <= EVENTS_RECOUNTED_MAX
        {
            let own = store.receipts_of(&room.room_id, &self.user_id).await?;
            counter = Counter::starting_at(from);
            // Before what they are about, which so does not get into a sum.
            for (scope, seq) in places_of(store, &own).await? {
                counter.read_up_to(&scope, seq);
            }
            self.go_on(&mut counter, world, &[]).await?;
        }
        counter.keep();
        if before.as_ref() != Some(&counter) {
            let mut counters = self.counters.lock();
            counters
                .by_room
                .insert(room.room_id.clone(), counter.clone());
            counters.changed.insert(room.room_id.clone());
        }
        Ok(counter)
    }

    /// Counts what came since the counter was last up to date, and takes in these receipts.
    async fn go_on(
        &self,
        counter: &mut Counter,
        (store, room, recent): (&dyn Store, &Room, &Recent),
        receipts: &[Receipt],
    ) -> Result<(), StorageError> {
        let facts = facts_of(room);
        let entries = entries_after(store, &room.room_id, recent, counter.up_to()).await?;
        for entry in &entries {
            let actions = self.judge(room, &facts, entry);
            let is_own = entry.event.sender == self.user_id;
            // Of what nobody is told, nobody need know where it belongs.
            let thread = match is_own || actions.notify {
                true => thread_of(store, recent, &entry.event).await?,
                false => None,
            };
            counter.add(entry.seq, thread.as_deref(), &actions);
            if is_own {
                let scope = thread.map_or(ReadScope::Main, ReadScope::Thread);
                counter.read_up_to(&scope, entry.seq);
            }
        }
        for seq in redacted_by(store, &entries).await? {
            counter.forget(seq);
        }
        for (scope, seq) in places_of(store, receipts).await? {
            counter.read_up_to(&scope, seq);
        }
        Ok(())
    }

    /// What the user's rules say of an event; of one's own one is not told.
    fn judge(&self, room: &Room, facts: &RoomFacts, entry: &TimelineEntry) -> push::Actions {
        let event = &entry.event;
        let is_gone = entry.redacted_because.is_some();
        if event.sender == self.user_id || is_gone || self.ignored.contains(&event.sender) {
            return push::Actions::default();
        }
        let member = room.state.member(&self.user_id);
        let display_name = member.and_then(|member| member_content(&member.event).displayname);
        let sender_power = match room.power_levels().user(&event.sender) {
            Power::Level(level) => level,
            Power::Infinite => i64::MAX,
        };
        let facts = RoomFacts {
            sender_power,
            ..facts.clone()
        };
        let user = UserFacts {
            user_id: &self.user_id,
            display_name: display_name.as_deref(),
        };
        push::evaluate(&self.rules, &entry.push_event(), &facts, &user)
    }

    /// A counter to begin with: the stored one, or one that begins where the user joined.
    async fn first_counter(
        &self,
        store: &dyn Store,
        room: &Room,
        recent: &Recent,
    ) -> Result<Counter, StorageError> {
        let is_loaded = self.counters.lock().stored.is_some();
        if !is_loaded {
            let stored = store.unread(&self.user_id).await?;
            let stored = stored
                .into_iter()
                .filter_map(|counts| Some((counts.room_id, Counter::from_json(&counts.json)?)))
                .collect();
            self.counters.lock().stored.get_or_insert(stored);
        }
        let stored = {
            let counters = self.counters.lock();
            counters
                .stored
                .as_ref()
                .and_then(|stored| stored.get(&room.room_id).cloned())
        };
        let start = self.start_of_counting(store, room, recent).await?;
        Ok(match stored {
            Some(counter) if counter.up_to() >= earliest_of(recent) => counter,
            _ => Counter::starting_at(start),
        })
    }

    /// Behind which event counting begins when nothing is known: the user's member event.
    async fn start_of_counting(
        &self,
        store: &dyn Store,
        room: &Room,
        recent: &Recent,
    ) -> Result<Seq, StorageError> {
        let last = recent.entries.back().map_or(Seq(0), |entry| entry.seq);
        let joined = match room.state.member(&self.user_id) {
            Some(member) => match recent.event(&member.event.id) {
                Some(entry) => entry.seq,
                None => {
                    let found = store.events(std::slice::from_ref(&member.event.id)).await?;
                    found
                        .first()
                        .and_then(|stored| stored.seq)
                        .unwrap_or_default()
                }
            },
            None => last,
        };
        Ok(joined.max(earliest_of(recent)))
    }
}

/// The thread that an event is part of, by itself or through what it relates to (Client-Server API,
/// "Threaded read receipts").
async fn thread_of(
    store: &dyn Store,
    recent: &Recent,
    event: &Arc<Event>,
) -> Result<Option<OwnedEventId>, StorageError> {
    let mut event = event.clone();
    for _ in 0..=THREAD_HOPS_MAX {
        if let Some(root) = event.thread_root() {
            return Ok(Some(root.clone()));
        }
        let Some(relation) = &event.relates_to else {
            break;
        };
        let parent = match recent.event(&relation.parent) {
            Some(entry) => Some(entry.event.clone()),
            None => {
                let found = store.events(std::slice::from_ref(&relation.parent)).await?;
                found.into_iter().next().map(|stored| stored.event)
            }
        };
        let Some(parent) = parent.filter(|parent| parent.room_id == event.room_id) else {
            break;
        };
        event = parent;
    }
    Ok(None)
}

/// No event before this one is judged.
fn earliest_of(recent: &Recent) -> Seq {
    let last = recent.entries.back().map_or(0, |entry| entry.seq.0);
    Seq((last - EVENTS_COUNTED_MAX as i64).max(0))
}

/// The timeline events behind a place, oldest first.
async fn entries_after(
    store: &dyn Store,
    room_id: &RoomId,
    recent: &Recent,
    after: Seq,
) -> Result<Vec<Arc<TimelineEntry>>, StorageError> {
    let Some(oldest) = recent.entries.front() else {
        return Ok(Vec::new());
    };
    let mut entries = Vec::new();
    let mut from = Seq(after.0.max(oldest.seq.0 - EVENTS_RECOUNTED_MAX) + 1);
    while oldest.seq > from && !recent.is_whole {
        let page = TimelinePage {
            room_id: room_id.to_owned(),
            from,
            until: Some(oldest.seq),
            up_to: store.position(),
            direction: Direction::Forward,
            limit: CHUNK,
        };
        let stored: Vec<StoredEvent> = store.timeline(page).await?;
        let Some(last) = stored.last().and_then(|stored| stored.seq) else {
            break;
        };
        from = Seq(last.0 + 1);
        entries.extend(
            stored
                .iter()
                .filter_map(TimelineEntry::from_stored)
                .map(Arc::new),
        );
    }
    entries.extend(
        recent
            .entries
            .iter()
            .filter(|entry| entry.seq > after)
            .cloned(),
    );
    Ok(entries)
}

/// The places of events that were redacted by some of these.
async fn redacted_by(
    store: &dyn Store,
    entries: &[Arc<TimelineEntry>],
) -> Result<Vec<Seq>, StorageError> {
    let targets: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| entry.event.redacts.clone())
        .collect();
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let targets: Vec<_> = targets.into_iter().collect();
    let found = store.events(&targets).await?;
    let redacted = found
        .iter()
        .filter(|stored| stored.redacted_because.is_some());
    Ok(redacted.filter_map(|stored| stored.seq).collect())
}

fn own_receipts(receipts: &[Receipt], user_id: &UserId, room_id: &RoomId) -> Vec<Receipt> {
    let own = |receipt: &&Receipt| receipt.user_id == user_id && receipt.room_id == room_id;
    receipts.iter().filter(own).cloned().collect()
}

async fn places_of(
    store: &dyn Store,
    receipts: &[Receipt],
) -> Result<Vec<(ReadScope, Seq)>, StorageError> {
    if receipts.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt.event_id.clone())
        .collect();
    let events = store.events(&ids).await?;
    let mut places = Vec::new();
    for receipt in receipts {
        let event = events
            .iter()
            .find(|stored| stored.event.id == receipt.event_id);
        if let (Some(scope), Some(seq)) = (
            ReadScope::from_receipt(receipt.thread.as_deref()),
            event.and_then(|stored| stored.seq),
        ) {
            places.push((scope, seq));
        }
    }
    Ok(places)
}

fn facts_of(room: &Room) -> RoomFacts {
    RoomFacts {
        member_count: room.state.joined_count(),
        sender_power: 0,
        notification_levels: room.power_levels().notifications.clone(),
    }
}

fn ignored_in(content: &str) -> BTreeSet<OwnedUserId> {
    #[derive(Deserialize)]
    struct IgnoredUserList {
        #[serde(default)]
        ignored_users: BTreeMap<String, serde::de::IgnoredAny>,
    }
    let list: Option<IgnoredUserList> = serde_json::from_str(content).ok();
    let users = list.map(|list| list.ignored_users).unwrap_or_default();
    users
        .into_keys()
        .filter_map(|user| UserId::parse(user).ok())
        .collect()
}
