//! Which state holds where branches of a room's graph meet (state resolution).
//!
//! Works on loaded events only; what is missing is named, so that the shell can load it and ask
//! again.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lyceum_model::{Event, StateKey};
use ruma_common::{EventId, OwnedEventId, RoomId, room_version_rules::StateResolutionV2Rules};
use ruma_events::StateEventType;
use ruma_state_res::{StateMap, utils::event_id_set::EventIdSet};
use sha1::{Digest, Sha1};

use crate::{
    authorise::{AuthEvent, judge_by_rules},
    rules::RoomRules,
    state::State,
};

/// Events beyond the states themselves that resolution may look at.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The authorisation chains of the states, by id.
    pub events: BTreeMap<OwnedEventId, Arc<Event>>,
    /// Those of them that the rules rejected.
    pub rejected: BTreeSet<OwnedEventId>,
}

/// What resolution came to.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// The state that holds.
    State(State),
    /// These events must be loaded first, ordered by id.
    Needs(Vec<OwnedEventId>),
}

/// The states contradict the rules of any room.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the states cannot be resolved: {0}")]
pub struct Unresolvable(String);

/// Resolves the states of the branches that meet.
pub fn resolve_state(
    rules: &RoomRules,
    forks: &[State],
    known: &Known,
) -> Result<Resolution, Unresolvable> {
    let Some((first, others)) = forks.split_first() else {
        return Ok(Resolution::State(State::new()));
    };
    if others.iter().all(|other| is_same(first, other)) {
        return Ok(Resolution::State(first.clone()));
    }
    match rules.ruma.state_res.v2_rules() {
        Some(v2) => resolve_v2(rules, v2, forks, known),
        None => Ok(Resolution::State(resolve_v1(rules, forks))),
    }
}

fn is_same(one: &State, other: &State) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other.iter())
            .all(|(one, other)| one.id == other.id)
}

// ── room versions 2 and later ──

/// Events by id, wherever they came from.
struct Index<'a> {
    events: BTreeMap<&'a EventId, &'a Arc<Event>>,
    known: &'a Known,
    rules: &'a RoomRules,
}

impl<'a> Index<'a> {
    fn of(forks: &'a [State], known: &'a Known, rules: &'a RoomRules) -> Self {
        let of_states = forks.iter().flat_map(State::iter);
        let events = known
            .events
            .values()
            .chain(of_states)
            .map(|event| (&*event.id, event));
        Self {
            events: events.collect(),
            known,
            rules,
        }
    }

    fn find(&self, id: &EventId) -> Option<AuthEvent> {
        let event = (*self.events.get(id)?).clone();
        Some(if self.known.rejected.contains(id) {
            AuthEvent::rejected(event, self.rules)
        } else {
            AuthEvent::new(event, self.rules)
        })
    }

    /// The full authorisation chain of some events; what is missing goes to `missing`.
    fn auth_chain<'b>(
        &'b self,
        from: impl Iterator<Item = &'b Arc<Event>>,
        missing: &mut BTreeSet<OwnedEventId>,
    ) -> BTreeSet<&'b EventId> {
        let mut chain = BTreeSet::new();
        let mut waiting: Vec<&EventId> = from
            .flat_map(|event| event.auth_events.iter().map(|id| &**id))
            .collect();
        while let Some(id) = waiting.pop() {
            if !chain.insert(id) {
                continue;
            }
            match self.events.get(id) {
                Some(event) => waiting.extend(event.auth_events.iter().map(|id| &**id)),
                None => {
                    missing.insert(id.to_owned());
                }
            }
        }
        chain
    }

    /// Events on a path from one conflicted event to another (room version 12, "Conflicted state
    /// subgraph"), the conflicted events among them.
    fn conflicted_subgraph(
        &self,
        conflicted: &StateMap<Vec<OwnedEventId>>,
    ) -> EventIdSet<OwnedEventId> {
        let conflicted: BTreeSet<&EventId> =
            conflicted.values().flatten().map(|id| &**id).collect();
        let starts = conflicted
            .iter()
            .filter_map(|id| self.events.get(id).copied());
        let mut below = self.auth_chain(starts, &mut BTreeSet::new());
        below.extend(&conflicted);
        // Who among them leads down to a conflicted event: walk up from those.
        let mut above: BTreeMap<&EventId, Vec<&EventId>> = BTreeMap::new();
        for id in &below {
            for auth_id in self
                .events
                .get(id)
                .into_iter()
                .flat_map(|event| &event.auth_events)
            {
                above.entry(auth_id).or_default().push(id);
            }
        }
        let mut leading: BTreeSet<&EventId> = BTreeSet::new();
        let mut waiting: Vec<&EventId> = conflicted.into_iter().collect();
        while let Some(id) = waiting.pop() {
            if leading.insert(id) {
                waiting.extend(above.get(id).into_iter().flatten());
            }
        }
        leading.into_iter().map(ToOwned::to_owned).collect()
    }
}

fn resolve_v2(
    rules: &RoomRules,
    v2: &StateResolutionV2Rules,
    forks: &[State],
    known: &Known,
) -> Result<Resolution, Unresolvable> {
    let index = Index::of(forks, known, rules);
    let mut missing = BTreeSet::new();
    let chains: Vec<EventIdSet<OwnedEventId>> = forks
        .iter()
        .map(|fork| {
            let chain = index.auth_chain(fork.iter(), &mut missing);
            chain.into_iter().map(ToOwned::to_owned).collect()
        })
        .collect();
    if let Some(first) = forks.first()
        && rules.room_id_is_create_hash()
        && let Some(event) = first.iter().next()
        && let Some(create_id) = create_event_id(&event.room_id)
        && !index.events.contains_key(&*create_id)
    {
        missing.insert(create_id);
    }
    if !missing.is_empty() {
        return Ok(Resolution::Needs(missing.into_iter().collect()));
    }
    let maps: Vec<StateMap<OwnedEventId>> = forks
        .iter()
        .map(|fork| {
            let entries = fork.iter().filter_map(|event| {
                let key = event.state_key.as_deref()?.to_owned();
                Some(((StateEventType::from(&*event.kind), key), event.id.clone()))
            });
            entries.collect()
        })
        .collect();
    let resolved = ruma_state_res::resolve(
        &rules.ruma.authorization,
        v2,
        &maps,
        chains,
        |id| index.find(id),
        |conflicted| Some(index.conflicted_subgraph(conflicted)),
    )
    .map_err(|error| Unresolvable(error.to_string()))?;

    let mut state = forks[0].clone();
    let mut leaving: BTreeSet<StateKey> = state
        .iter()
        .filter_map(|event| event.state_name())
        .collect();
    let mut entering: Vec<&Arc<Event>> = Vec::new();
    for ((kind, key), id) in &resolved {
        leaving.remove(&StateKey::new(&*kind.to_string(), key.as_str()));
        let present = state.get(&kind.to_string(), key);
        if present.is_none_or(|present| present.id != *id)
            && let Some(event) = index.events.get(&**id)
        {
            entering.push(event);
        }
    }
    for name in leaving {
        state.remove(&name.kind, &name.key);
    }
    for event in entering {
        state.insert(event.clone());
    }
    Ok(Resolution::State(state))
}

fn create_event_id(room_id: &RoomId) -> Option<OwnedEventId> {
    OwnedEventId::try_from(format!("${}", room_id.strip_sigil())).ok()
}

// ── room version 1 ──

/// The algorithm of room version 1. It needs nothing but the states.
fn resolve_v1(rules: &RoomRules, forks: &[State]) -> State {
    let mut candidates: BTreeMap<StateKey, BTreeMap<&EventId, &Arc<Event>>> = BTreeMap::new();
    for event in forks.iter().flat_map(State::iter) {
        if let Some(name) = event.state_name() {
            candidates.entry(name).or_default().insert(&event.id, event);
        }
    }
    let mut resolved = State::new();
    let mut conflicts: BTreeMap<StateKey, Vec<&Arc<Event>>> = BTreeMap::new();
    for (name, events) in candidates {
        let mut events: Vec<&Arc<Event>> = events.into_values().collect();
        if let [event] = events.as_slice() {
            resolved.insert((*event).clone());
            continue;
        }
        events.sort_by_cached_key(|event| {
            let hash: [u8; 20] = Sha1::digest(event.id.as_str().as_bytes()).into();
            (event.depth, Reverse(hash))
        });
        conflicts.insert(name, events);
    }
    for kind in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
        for (_, events) in conflicts.iter().filter(|(name, _)| &*name.kind == kind) {
            for (index, event) in events.iter().enumerate() {
                if index > 0 && judge_by_rules(event, &resolved, rules).is_err() {
                    break;
                }
                resolved.insert((*event).clone());
            }
        }
        conflicts.retain(|name, _| &*name.kind != kind);
    }
    let against = resolved.clone();
    for events in conflicts.values() {
        let allowed = events
            .iter()
            .rev()
            .find(|event| judge_by_rules(event, &against, rules).is_ok());
        // If none is allowed, the shallowest stays, as other servers have it.
        if let Some(event) = allowed.or(events.first()) {
            resolved.insert((*event).clone());
        }
    }
    resolved
}
