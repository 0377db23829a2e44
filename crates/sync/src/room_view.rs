//! What of a room a sync tells: which events of its timeline, and which of its state.
//!
//! Invariants: the decisions are functions of what the shell has loaded; what to load is decided
//! here too ([`state_basis`], [`lazy_members`], [`rewind`]). A client that applies `state` and
//! then the timeline (or `state_after` alone) knows the room's state, but for members that lazy
//! loading keeps from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lyceum_model::{Event, Seq, StateKey, StoredEvent};
use ruma_common::{OwnedEventId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use crate::{
    filter::{Filter, RoomEventFilter},
    sent_members::SentMembers,
};

/// How many events of a timeline a sync tells if the filter does not say.
pub const TIMELINE_LIMIT_DEFAULT: usize = 10;

/// How many events of a timeline a sync tells at most.
pub const TIMELINE_LIMIT_MAX: usize = 100;

/// Takes the newest events of a timeline that a client wants and may see.
#[derive(Debug)]
pub struct TimelineCut<'a> {
    filter: &'a RoomEventFilter,
    limit: usize,
    taken: Vec<StoredEvent>,
    left_out: Vec<Arc<Event>>,
    newest: Option<Seq>,
    oldest: Option<Seq>,
    is_cut: bool,
}

/// The newest events of a timeline.
#[derive(Debug)]
pub struct TimelineTaken {
    /// The events, oldest first.
    pub events: Vec<StoredEvent>,
    /// Whether older ones that would be shown were left over.
    pub limited: bool,
    /// The place before which what was not told lies: for `prev_batch`. `None` if nothing was
    /// offered.
    pub start: Option<Seq>,
    /// State events within the stretch that the filter keeps from the timeline, oldest first: the
    /// client must learn of them through `state`.
    pub left_out_state: Vec<Arc<Event>>,
}

impl<'a> TimelineCut<'a> {
    /// Takes at most `limit` events that `filter` lets through.
    pub fn new(filter: &'a RoomEventFilter, limit: usize) -> Self {
        Self {
            filter,
            limit,
            taken: Vec::new(),
            left_out: Vec::new(),
            newest: None,
            oldest: None,
            is_cut: false,
        }
    }

    /// Offers the next older event; `is_shown`: the user may see it (history visibility, ignored
    /// senders) and the filter's wishes about relations are met. Answers whether it wants more.
    pub fn offer(&mut self, event: &StoredEvent, is_shown: bool) -> bool {
        if self.is_cut {
            return false;
        }
        let is_wanted = is_shown && self.filter.matches(&event.event);
        if is_wanted && self.taken.len() >= self.limit {
            self.is_cut = true;
            self.newest = self.newest.or(event.seq.map(|seq| Seq(seq.0 + 1)));
            return false;
        }
        self.newest = self.newest.or(event.seq.map(|seq| Seq(seq.0 + 1)));
        self.oldest = event.seq.or(self.oldest);
        if is_wanted {
            self.taken.push(event.clone());
        } else if is_shown && event.event.state_key.is_some() {
            self.left_out.push(event.event.clone());
        }
        true
    }

    /// What was taken. `is_exhausted`: all events of the stretch were offered; if the shell
    /// stopped early for other reasons there may be more.
    pub fn finish(mut self, is_exhausted: bool) -> TimelineTaken {
        self.taken.reverse();
        self.left_out.reverse();
        TimelineTaken {
            limited: self.is_cut || !is_exhausted,
            start: self.oldest.or(self.newest),
            events: self.taken,
            left_out_state: self.left_out,
        }
    }
}

/// Against what the client's knowledge of a room's state is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateScope {
    /// It knows nothing, or wants everything: the first sync, the first one after joining, and
    /// `full_state`.
    Full,
    /// It knows the state as of `since`.
    Since {
        /// Whether events between `since` and the timeline were left out.
        limited: bool,
    },
}

/// Which state the shell must load for [`choose_state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateBasis {
    /// None: the timeline tells all.
    Nothing,
    /// All state before the first event of the timeline (the present state if it is empty).
    AllBefore,
    /// All state after the last event of the timeline.
    AllAfter,
    /// Entries that differ between `since` and the first event of the timeline.
    ChangedBefore,
    /// Entries that differ between `since` and the end of the timeline.
    ChangedAfter,
}

/// Which state to load, `uses_state_after` being what the client asked for.
pub fn state_basis(scope: StateScope, uses_state_after: bool) -> StateBasis {
    match (scope, uses_state_after) {
        (StateScope::Full, false) => StateBasis::AllBefore,
        (StateScope::Full, true) => StateBasis::AllAfter,
        (StateScope::Since { limited: false }, false) => StateBasis::Nothing,
        (StateScope::Since { limited: true }, false) => StateBasis::ChangedBefore,
        (StateScope::Since { .. }, true) => StateBasis::ChangedAfter,
    }
}

/// What the choice of state depends on.
#[derive(Clone, Copy)]
pub struct StateQuestion<'a> {
    /// Who asks.
    pub user_id: &'a UserId,
    /// The room.
    pub room_id: &'a RoomId,
    /// What the client knows.
    pub scope: StateScope,
    /// Whether it wants the state after the timeline.
    pub uses_state_after: bool,
    /// What it does not want.
    pub filter: &'a Filter,
    /// The timeline as shown, oldest first.
    pub timeline: &'a [Arc<Event>],
    /// [`TimelineTaken::left_out_state`].
    pub left_out_state: &'a [Arc<Event>],
    /// What [`state_basis`] asks for, in any order. "Before the timeline" may mean before its
    /// first event as shown, or before [`TimelineTaken::start`].
    pub entries: &'a [Arc<Event>],
    /// The heroes that the summary names.
    pub heroes: &'a [OwnedUserId],
    /// The member event of a user before the timeline (or after it, with `uses_state_after`);
    /// asked for those of [`lazy_members`] only.
    pub member: &'a dyn Fn(&UserId) -> Option<Arc<Event>>,
}

impl std::fmt::Debug for StateQuestion<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateQuestion")
            .field("user_id", &self.user_id)
            .field("room_id", &self.room_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Whose member events a client with lazy loading needs: those of the timeline's senders, of the
/// heroes, and with the full state its own.
pub fn lazy_members(
    scope: StateScope,
    user_id: &UserId,
    timeline: &[Arc<Event>],
    heroes: &[OwnedUserId],
) -> BTreeSet<OwnedUserId> {
    let senders = timeline.iter().map(|event| &event.sender);
    let mut members: BTreeSet<OwnedUserId> = senders.chain(heroes).cloned().collect();
    if scope == StateScope::Full {
        members.insert(user_id.to_owned());
    }
    members
}

/// The state events to tell, ordered by (type, state key). Notes the member events told.
///
/// With lazy loading, members are left out that do not matter ([`lazy_members`]) or, unless the
/// client wants them anyway, that it knows; those that changed in a gap are always told.
pub fn choose_state(question: &StateQuestion<'_>, sent: &mut SentMembers) -> Vec<Arc<Event>> {
    choose(question, &[], sent)
}

/// As [`choose_state`], for a client that knows the room from before and gets its full state
/// again (`full_state` with `since`, or joined again). `changed`: what a [`StateScope::Since`]
/// with a gap would be told; with lazy loading it names the members that must not be left out.
pub fn choose_full_state_again(
    question: &StateQuestion<'_>,
    changed: &[Arc<Event>],
    sent: &mut SentMembers,
) -> Vec<Arc<Event>> {
    choose(question, changed, sent)
}

fn choose(
    question: &StateQuestion<'_>,
    changed: &[Arc<Event>],
    sent: &mut SentMembers,
) -> Vec<Arc<Event>> {
    let filter = &question.filter.room.state;
    let lazy = filter.lazy_load_members.then(|| {
        lazy_members(
            question.scope,
            question.user_id,
            question.timeline,
            question.heroes,
        )
    });
    let mut chosen: BTreeMap<(&str, &str), Arc<Event>> = BTreeMap::new();
    let in_timeline: BTreeSet<&OwnedEventId> = if question.uses_state_after {
        BTreeSet::new()
    } else {
        question
            .timeline
            .iter()
            .filter(|e| e.state_key.is_some())
            .map(|e| &e.id)
            .collect()
    };

    let changed_members: BTreeSet<&OwnedEventId> = changed
        .iter()
        .filter(|event| is_member(event))
        .map(|event| &event.id)
        .collect();
    for event in question.entries {
        let Some(name) = name_of(event) else { continue };
        if question.scope == StateScope::Full
            && let Some(lazy) = &lazy
            && is_member(event)
            && !lazy.iter().any(|user_id| user_id.as_str() == name.1)
            && !changed_members.contains(&event.id)
        {
            continue;
        }
        if !in_timeline.contains(&event.id) {
            chosen.insert(name, event.clone());
        }
    }
    if !question.uses_state_after {
        for event in question.left_out_state {
            if let Some(name) = name_of(event) {
                chosen.insert(name, event.clone());
            }
        }
    }

    let mut lazy_events = Vec::new();
    if let Some(lazy) = &lazy {
        let missing = lazy
            .iter()
            .filter(|u| !chosen.contains_key(&(MEMBER, u.as_str())));
        for user_id in missing {
            let Some(event) = (question.member)(user_id) else {
                continue;
            };
            let is_known = question.scope != StateScope::Full
                && !filter.include_redundant_members
                && sent.knows(question.room_id, user_id, &event.id);
            if !is_known && !in_timeline.contains(&event.id) {
                lazy_events.push(event);
            }
        }
    }

    let mut events: Vec<Arc<Event>> = chosen.into_values().chain(lazy_events).collect();
    events.retain(|event| filter.matches(event));
    events.sort_unstable_by(|a, b| (&a.kind, &a.state_key).cmp(&(&b.kind, &b.state_key)));
    if lazy.is_some() {
        let told = events
            .iter()
            .chain(question.timeline)
            .filter(|event| is_member(event));
        for event in told {
            if let Some(user_id) = &event.state_key {
                sent.note(question.room_id, user_id, &event.id);
            }
        }
    }
    events
}

/// How to get from a room's present state to that before a timeline that ends now: the entries
/// that it changed, each with the event that stood there before, if there was one. Right for
/// rooms whose graph had one end all the time; else ask storage.
pub fn rewind(timeline: &[Arc<Event>]) -> Vec<(StateKey, Option<OwnedEventId>)> {
    let mut entries = BTreeMap::new();
    for event in timeline {
        if let Some(name) = event.state_name() {
            entries.entry(name).or_insert_with(|| replaced_by(event));
        }
    }
    entries.into_iter().collect()
}

const MEMBER: &str = "m.room.member";

fn is_member(event: &Event) -> bool {
    &*event.kind == MEMBER && event.state_key.is_some()
}

fn name_of(event: &Event) -> Option<(&str, &str)> {
    Some((&event.kind, event.state_key.as_deref()?))
}

fn replaced_by(event: &Event) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Unsigned {
        replaces_state: Option<OwnedEventId>,
    }
    serde_json::from_str::<Unsigned>(event.unsigned.as_ref()?.get())
        .ok()?
        .replaces_state
}
