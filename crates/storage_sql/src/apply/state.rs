//! States of rooms: roots, nodes, and what a new state means for memberships.

use std::{collections::BTreeMap, collections::HashMap, sync::Arc};

use lyceum_model::{Event, Membership, RoomHeads, StateBefore, StateKey};
use lyceum_storage::{
    StorageError,
    state_trie::{self, Changed, KeyHash, NodeHash, TrieError},
};
use ruma_common::{OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use super::Apply;
use crate::{
    event_number::{from_local, to_local},
    event_rows::{ROWS_MAX, rows_by_number, to_events},
    sql::{Insert, Param, params, texts},
};

const MEMBERSHIPS: Insert = Insert {
    into: "memberships (who, room, membership, event, position, is_forgotten)",
    columns: 6,
    conflict: "ON CONFLICT (who, room) DO UPDATE SET membership = excluded.membership, \
               event = excluded.event, position = excluded.position, is_forgotten = CASE \
               WHEN excluded.membership < 3 THEN 0 ELSE memberships.is_forgotten END",
};

/// The stored number of a membership. Those below 3 make a room be shown again.
pub(crate) fn membership_code(membership: Membership) -> i64 {
    match membership {
        Membership::Join => JOIN,
        Membership::Invite => 1,
        Membership::Knock => 2,
        Membership::Leave => 3,
        Membership::Ban => 4,
    }
}

/// The membership with a stored number.
pub(crate) fn membership_of(code: i64) -> Result<Membership, StorageError> {
    Ok(match code {
        JOIN => Membership::Join,
        1 => Membership::Invite,
        2 => Membership::Knock,
        3 => Membership::Leave,
        4 => Membership::Ban,
        _ => return Err(StorageError::Broken(format!("unknown membership {code}"))),
    })
}

const JOIN: i64 = 0;

#[derive(Deserialize)]
struct MemberContent {
    membership: Membership,
}

/// What a failure inside a state means.
#[allow(clippy::needless_pass_by_value, reason = "a function for map_err")]
pub(crate) fn trie_failed(error: TrieError<StorageError>) -> StorageError {
    match error {
        TrieError::Load(error) => error,
        TrieError::Damaged(_) => {
            StorageError::Broken("a node of a room's state is damaged".to_owned())
        }
    }
}

impl Apply<'_> {
    /// The root of a state, by its number.
    fn root_hash(&mut self, number: i64) -> Result<NodeHash, StorageError> {
        if number == 0 {
            return Ok(NodeHash::EMPTY);
        }
        if let Some(hash) = self.ledger.root_hashes.get(&number) {
            return Ok(*hash);
        }
        let row = self.sql.first(
            "SELECT hash FROM state_roots WHERE number = ?1",
            params![number],
        )?;
        let mut row =
            row.ok_or_else(|| StorageError::Broken("a room's state is missing".to_owned()))?;
        let hash = NodeHash(row.take(0)?);
        self.ledger.root_hashes.insert(number, hash);
        self.ledger.root_numbers.insert(hash, number);
        Ok(hash)
    }

    /// The number of a root, which gets one if it has none.
    fn root_number(&mut self, hash: NodeHash) -> Result<i64, StorageError> {
        if hash == NodeHash::EMPTY {
            return Ok(0);
        }
        if let Some(number) = self.ledger.root_numbers.get(&hash) {
            return Ok(*number);
        }
        let row = self.sql.first(
            "SELECT number, sweep FROM state_roots WHERE hash = ?1",
            params![&hash.0],
        )?;
        let sweep = self.ledger.counters.sweep;
        let number = match row {
            Some(mut row) => {
                let number: i64 = row.take(0)?;
                if row.take::<i64>(1)? < sweep {
                    // Nothing may have reached it until now: no sweep may take it.
                    self.sql.execute(
                        "UPDATE state_roots SET sweep = ?2 WHERE number = ?1",
                        params![number, sweep],
                    )?;
                }
                number
            }
            None => {
                self.ledger.counters.roots += 1;
                self.ledger
                    .pending
                    .roots
                    .push((self.ledger.counters.roots, hash));
                self.ledger.counters.roots
            }
        };
        self.ledger.root_hashes.insert(number, hash);
        self.ledger.root_numbers.insert(hash, number);
        Ok(number)
    }

    fn keep(&mut self, changed: Changed) -> Result<i64, StorageError> {
        for node in changed.new_nodes {
            let bytes: Arc<[u8]> = node.bytes.into();
            self.shared.nodes.put(node.hash, Arc::clone(&bytes));
            self.ledger.pending.nodes.insert(node.hash, bytes);
        }
        self.root_number(changed.root)
    }

    /// The number of the root of the state that is meant; `None` if it is not known.
    pub(super) fn state(&mut self, state: &StateBefore) -> Result<Option<i64>, StorageError> {
        match state {
            StateBefore::Unknown => Ok(None),
            StateBefore::Empty => Ok(Some(0)),
            StateBefore::After(event_id) => self.state_after(event_id).map(Some),
            StateBefore::Resolved { base, set, removed } => {
                let base = match base {
                    Some(base) => self.state_after(base)?,
                    None => 0,
                };
                let mut changes = BTreeMap::new();
                for event_id in set {
                    let place = self.place(event_id)?.ok_or_else(|| {
                        StorageError::Broken(format!("a state names no event: {event_id}"))
                    })?;
                    let event = self.events(&[place.number])?.remove(&place.number);
                    let name = event.and_then(|event| event.state_name()).ok_or_else(|| {
                        StorageError::Broken(format!("a state names no state event: {event_id}"))
                    })?;
                    changes.insert(key_hash(&name), Some(to_local(place.number)));
                }
                for name in removed {
                    changes.insert(key_hash(name), None);
                }
                self.change_state(base, &changes).map(Some)
            }
        }
    }

    fn state_after(&mut self, event_id: &ruma_common::EventId) -> Result<i64, StorageError> {
        self.place(event_id)?
            .and_then(|place| place.state_after)
            .ok_or_else(|| StorageError::Broken(format!("the state is not known after {event_id}")))
    }

    /// The state `root` with an event in it.
    pub(super) fn with_event(
        &mut self,
        root: i64,
        name: &StateKey,
        number: i64,
    ) -> Result<i64, StorageError> {
        self.change_state(
            root,
            &BTreeMap::from([(key_hash(name), Some(to_local(number)))]),
        )
    }

    fn change_state(
        &mut self,
        root: i64,
        changes: &BTreeMap<KeyHash, Option<u64>>,
    ) -> Result<i64, StorageError> {
        if changes.is_empty() {
            return Ok(root);
        }
        let hash = self.root_hash(root)?;
        let (sql, nodes) = (&mut *self.sql, &self.shared.nodes);
        let unsaved = &self.ledger.pending.nodes;
        let changed = state_trie::change(hash, changes, &mut |hashes: &[NodeHash]| {
            nodes.load(sql, unsaved, hashes)
        })
        .map_err(trie_failed)?;
        self.keep(changed)
    }

    /// Events by their numbers: those of this group, or from the database.
    pub(super) fn events(
        &mut self,
        numbers: &[i64],
    ) -> Result<HashMap<i64, Arc<Event>>, StorageError> {
        let mut found = HashMap::with_capacity(numbers.len());
        let mut missing = Vec::new();
        for number in numbers {
            match self.ledger.fresh.get(number) {
                Some(event) => {
                    found.insert(*number, Arc::clone(event));
                }
                None => missing.push(*number),
            }
        }
        if !missing.is_empty() {
            let rows = rows_by_number(self.sql, &missing)?;
            let events = to_events(self.sql, &self.shared.codec, &rows)?;
            found.extend(rows.iter().map(|row| row.number).zip(events));
        }
        Ok(found)
    }

    /// The room has new ends and a new present state.
    pub(super) fn heads(
        &mut self,
        room_id: &RoomId,
        heads: &RoomHeads,
    ) -> Result<(), StorageError> {
        let state = self.state(&heads.state)?.ok_or_else(|| {
            StorageError::Broken("a room's present state must be known".to_owned())
        })?;
        let entry = self.known_room(room_id)?;
        let (room, before) = (entry.0, entry.1.state);
        let joined = if state == before {
            0
        } else {
            self.members(room, before, state)?
        };
        let (_, row) = self.known_room(room_id)?;
        row.state = state;
        row.revision += 1;
        row.heads.clone_from(&heads.heads);
        row.heads
            .sort_unstable_by(|a, b| a.event_id.cmp(&b.event_id));
        row.joined += joined;
        self.room_changed(room_id);
        Ok(())
    }

    /// Brings memberships from one present state to another; by how many the joined grew.
    fn members(&mut self, room: i64, before: i64, after: i64) -> Result<i64, StorageError> {
        let (before, after) = (self.root_hash(before)?, self.root_hash(after)?);
        let (sql, nodes) = (&mut *self.sql, &self.shared.nodes);
        let unsaved = &self.ledger.pending.nodes;
        let differences = state_trie::difference(before, after, &mut |hashes: &[NodeHash]| {
            nodes.load(sql, unsaved, hashes)
        })
        .map_err(trie_failed)?;
        let mut numbers = Vec::with_capacity(differences.len());
        for difference in &differences {
            let local = difference.to.or(difference.from).unwrap_or_default();
            let number = from_local(room, local).ok_or_else(|| {
                StorageError::Broken("an entry of a room's state is damaged".to_owned())
            })?;
            numbers.push((number, difference.to.is_some()));
        }
        let mut joined = 0;
        for numbers in numbers.chunks(ROWS_MAX) {
            let wanted: Vec<i64> = numbers.iter().map(|(number, _)| *number).collect();
            let events = self.events(&wanted)?;
            // Who, and what they are now: membership and event.
            let mut members: Vec<(OwnedUserId, Option<(i64, i64)>)> = Vec::new();
            for (number, is_present) in numbers {
                let event = events.get(number).ok_or_else(|| {
                    StorageError::Broken("an event of a room's state is missing".to_owned())
                })?;
                if &*event.kind != "m.room.member" {
                    continue;
                }
                let Some(Ok(user_id)) = event.state_key.as_deref().map(UserId::parse) else {
                    continue;
                };
                let membership = is_present
                    .then(|| serde_json::from_str::<MemberContent>(event.content.get()).ok())
                    .flatten();
                members.push((
                    user_id,
                    membership.map(|of| (membership_code(of.membership), *number)),
                ));
            }
            joined += self.put_members(room, &members)?;
        }
        Ok(joined)
    }

    fn put_members(
        &mut self,
        room: i64,
        members: &[(OwnedUserId, Option<(i64, i64)>)],
    ) -> Result<i64, StorageError> {
        if members.is_empty() {
            return Ok(0);
        }
        self.know_users(members.iter().map(|(user_id, _)| &**user_id))?;
        let mut users = Vec::with_capacity(members.len());
        for (user_id, _) in members {
            users.push(self.ledger.user(self.sql, user_id)?);
        }
        let were_joined = self.sql.number(
            "SELECT COUNT(*) FROM memberships \
             WHERE room = ?1 AND membership = 0 AND who IN (?2[])",
            params![room, &users],
        )?;
        let mut are_joined = 0;
        let mut values = Vec::with_capacity(members.len() * MEMBERSHIPS.columns);
        let mut gone = Vec::new();
        for (user, (_, membership)) in users.iter().zip(members) {
            let Some((membership, event)) = membership else {
                gone.push(*user);
                continue;
            };
            are_joined += i64::from(*membership == JOIN);
            values.extend_from_slice(params![
                *user,
                room,
                *membership,
                *event,
                self.position,
                false
            ]);
        }
        self.sql.insert(&MEMBERSHIPS, &values)?;
        if !gone.is_empty() {
            self.sql.execute(
                "DELETE FROM memberships WHERE room = ?1 AND who IN (?2[])",
                params![room, &gone],
            )?;
        }
        Ok(are_joined - were_joined)
    }

    /// Reads the numbers of users whose numbers are not known, all at once.
    fn know_users<'u>(
        &mut self,
        user_ids: impl Iterator<Item = &'u UserId>,
    ) -> Result<(), StorageError> {
        let unknown: Vec<&UserId> = user_ids
            .filter(|user_id| !self.ledger.users.contains_key(*user_id))
            .collect();
        if unknown.len() < 2 {
            return Ok(());
        }
        let names = texts(&unknown);
        let rows = self.sql.query(
            "SELECT number, user_id FROM users WHERE user_id IN (?1[])",
            &[Param::Texts(&names)],
        )?;
        for mut row in rows {
            let number = row.take(0)?;
            self.ledger.users.insert(row.take(1)?, number);
        }
        Ok(())
    }
}

fn key_hash(name: &StateKey) -> KeyHash {
    KeyHash::of(&name.kind, &name.key)
}
