//! The state of a room: which event holds for each (type, state key), as a persistent map.
//!
//! Invariants: cloning costs a few reference counts; members are counted as they change, so that
//! no question about numbers walks the room; what is parsed of an event is parsed once.

use std::{
    ops::Bound,
    sync::{Arc, OnceLock},
};

use imbl::{OrdMap, ordmap::DiffItem};
use lyceum_model::{Event, Membership};
use ruma_common::UserId;

use crate::{
    content::{CreateFacts, JoinRules, membership_of},
    power::PowerLevels,
    rules::RoomRules,
};

const MEMBER: &str = "m.room.member";

/// The state of a room at one point.
#[derive(Debug, Clone, Default)]
pub struct State {
    others: OrdMap<Arc<str>, Entries>,
    members: OrdMap<Arc<str>, Member>,
    other_count: usize,
    joined: u64,
    invited: u64,
    parsed: Parsed,
}

/// The entries of one type. Most types have one, and a map takes ten times as much.
#[derive(Debug, Clone)]
enum Entries {
    One(Arc<Event>),
    Several(OrdMap<Arc<str>, Arc<Event>>),
}

impl Entries {
    fn get(&self, key: &str) -> Option<&Arc<Event>> {
        match self {
            Self::One(event) => (event.state_key.as_deref() == Some(key)).then_some(event),
            Self::Several(entries) => entries.get(key),
        }
    }

    fn insert(&mut self, key: Arc<str>, event: Arc<Event>) -> Option<Arc<Event>> {
        match self {
            Self::One(held) if held.state_key.as_ref() == Some(&key) => {
                Some(std::mem::replace(held, event))
            }
            Self::One(held) => {
                let mut entries = OrdMap::new();
                if let Some(held_key) = &held.state_key {
                    entries.insert(held_key.clone(), held.clone());
                }
                entries.insert(key, event);
                *self = Self::Several(entries);
                None
            }
            Self::Several(entries) => entries.insert(key, event),
        }
    }

    /// Takes an entry out, and whether that was the last.
    fn remove(&mut self, key: &str) -> (Option<Arc<Event>>, bool) {
        match self {
            Self::One(_) => {
                let held = self.get(key).cloned();
                let is_last = held.is_some();
                (held, is_last)
            }
            Self::Several(entries) => {
                let removed = entries.remove(key);
                (removed, entries.is_empty())
            }
        }
    }

    /// Ordered by state key.
    fn values(&self) -> impl Iterator<Item = &Arc<Event>> {
        let (one, several) = match self {
            Self::One(event) => (Some(event), None),
            Self::Several(entries) => (None, Some(entries)),
        };
        let several = several.into_iter().flat_map(OrdMap::values);
        one.into_iter().chain(several)
    }
}

/// A user's entry in a room's state.
#[derive(Debug, Clone)]
pub struct Member {
    /// The member event.
    pub event: Arc<Event>,
    /// What it makes the user; an unreadable one counts as having left.
    pub membership: Membership,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.event.id == other.event.id
    }
}

/// What was parsed of the entries that every decision asks for.
#[derive(Debug, Clone, Default)]
struct Parsed {
    create: OnceLock<Arc<CreateFacts>>,
    power_levels: OnceLock<Arc<PowerLevels>>,
    join_rules: OnceLock<Arc<JoinRules>>,
}

impl State {
    /// The empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// The event that holds for (`kind`, `key`).
    pub fn get(&self, kind: &str, key: &str) -> Option<&Arc<Event>> {
        if kind == MEMBER {
            return self.members.get(key).map(|member| &member.event);
        }
        self.others.get(kind)?.get(key)
    }

    /// Whether there is an entry for (`kind`, `key`).
    pub fn contains(&self, kind: &str, key: &str) -> bool {
        self.get(kind, key).is_some()
    }

    /// Lets a state event hold and returns the one that it replaces. An event without a state
    /// key changes nothing.
    pub fn insert(&mut self, event: Arc<Event>) -> Option<Arc<Event>> {
        let key = event.state_key.clone()?;
        if &*event.kind == MEMBER {
            let membership = membership_of(&event).unwrap_or(Membership::Leave);
            self.count(membership, 1);
            let replaced = self.members.insert(key, Member { event, membership })?;
            self.count(replaced.membership, -1);
            return Some(replaced.event);
        }
        self.forget_parsed(&event.kind);
        let replaced = match self.others.get_mut(&*event.kind) {
            Some(entries) => entries.insert(key, event),
            None => {
                self.others.insert(event.kind.clone(), Entries::One(event));
                None
            }
        };
        if replaced.is_none() {
            self.other_count += 1;
        }
        replaced
    }

    /// Removes an entry and returns its event.
    pub fn remove(&mut self, kind: &str, key: &str) -> Option<Arc<Event>> {
        if kind == MEMBER {
            let member = self.members.remove(key)?;
            self.count(member.membership, -1);
            return Some(member.event);
        }
        self.forget_parsed(kind);
        let (removed, is_last) = self.others.get_mut(kind)?.remove(key);
        let removed = removed?;
        if is_last {
            self.others.remove(kind);
        }
        self.other_count -= 1;
        Some(removed)
    }

    fn count(&mut self, membership: Membership, change: i64) {
        match membership {
            Membership::Join => self.joined = self.joined.wrapping_add_signed(change),
            Membership::Invite => self.invited = self.invited.wrapping_add_signed(change),
            Membership::Knock | Membership::Leave | Membership::Ban => {}
        }
    }

    fn forget_parsed(&mut self, kind: &str) {
        match kind {
            "m.room.create" => {
                self.parsed.create = OnceLock::new();
                self.parsed.power_levels = OnceLock::new();
            }
            "m.room.power_levels" => self.parsed.power_levels = OnceLock::new(),
            "m.room.join_rules" => self.parsed.join_rules = OnceLock::new(),
            _ => {}
        }
    }

    /// All entries, ordered by (type, state key).
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Event>> {
        let before = self
            .others
            .range::<_, str>((Bound::Unbounded, Bound::Excluded(MEMBER)));
        let after = self
            .others
            .range::<_, str>((Bound::Excluded(MEMBER), Bound::Unbounded));
        before
            .flat_map(|(_, entries)| entries.values())
            .chain(self.members.values().map(|member| &member.event))
            .chain(after.flat_map(|(_, entries)| entries.values()))
    }

    /// All entries of one type, ordered by state key.
    pub fn of_kind<'a>(&'a self, kind: &str) -> Box<dyn Iterator<Item = &'a Arc<Event>> + 'a> {
        if kind == MEMBER {
            return Box::new(self.members.values().map(|member| &member.event));
        }
        Box::new(self.others.get(kind).into_iter().flat_map(Entries::values))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.members.len() + self.other_count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody who has an entry, also those who left, ordered by user id.
    pub fn members(&self) -> impl Iterator<Item = (&UserId, &Member)> {
        self.members
            .iter()
            .filter_map(|(key, member)| Some((<&UserId>::try_from(&**key).ok()?, member)))
    }

    /// Users whose entries differ from those of an earlier state, with what they are now; `None`:
    /// they have none any more. Costs as much as differs, not as much as there is.
    pub fn members_changed_since<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = (&'a str, Option<&'a Member>)> {
        earlier.members.diff(&self.members).map(|item| match item {
            DiffItem::Add(key, member) => (&**key, Some(member)),
            DiffItem::Update {
                new: (key, member), ..
            } => (&**key, Some(member)),
            DiffItem::Remove(key, _) => (&**key, None),
        })
    }

    /// The members proper, ordered by user id.
    pub fn joined_members(&self) -> impl Iterator<Item = (&UserId, &Arc<Event>)> {
        self.members()
            .filter(|(_, member)| member.membership == Membership::Join)
            .map(|(user_id, member)| (user_id, &member.event))
    }

    /// A user's entry.
    pub fn member(&self, user_id: &UserId) -> Option<&Member> {
        self.members.get(user_id.as_str())
    }

    /// What a user is to the room; `None`: never seen there.
    pub fn membership(&self, user_id: &UserId) -> Option<Membership> {
        self.member(user_id).map(|member| member.membership)
    }

    /// Whether a user is a member.
    pub fn is_joined(&self, user_id: &UserId) -> bool {
        self.membership(user_id) == Some(Membership::Join)
    }

    /// How many members the room has.
    pub fn joined_count(&self) -> u64 {
        self.joined
    }

    /// How many users are invited.
    pub fn invited_count(&self) -> u64 {
        self.invited
    }

    /// What the create event says, if there is one.
    pub(crate) fn create_facts(&self, rules: &RoomRules) -> Option<Arc<CreateFacts>> {
        let event = self.get("m.room.create", "")?;
        let facts = self
            .parsed
            .create
            .get_or_init(|| Arc::new(CreateFacts::parse(event, rules)));
        Some(facts.clone())
    }

    /// The power levels that hold.
    pub(crate) fn power_levels(&self, rules: &RoomRules) -> Arc<PowerLevels> {
        self.parsed
            .power_levels
            .get_or_init(|| Arc::new(PowerLevels::of(self, rules)))
            .clone()
    }

    /// The join rules that hold.
    pub(crate) fn join_rules(&self) -> Arc<JoinRules> {
        self.parsed
            .join_rules
            .get_or_init(|| {
                let event = self.get("m.room.join_rules", "");
                Arc::new(
                    event
                        .map(|event| JoinRules::parse(event))
                        .unwrap_or_default(),
                )
            })
            .clone()
    }
}

impl FromIterator<Arc<Event>> for State {
    fn from_iter<I: IntoIterator<Item = Arc<Event>>>(events: I) -> Self {
        let mut state = Self::new();
        for event in events {
            state.insert(event);
        }
        state
    }
}
