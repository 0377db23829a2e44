//! What is done once for a whole group of batches: reading what they will ask for, and writing
//! what they collected.

use lyceum_model::{Batch, Change, Expect, RoomChange, StateBefore};
use lyceum_storage::StorageError;
use ruma_common::EventId;

use super::{Apply, Shared};
use crate::{
    ledger::{Ledger, Pending, encode_heads},
    sql::{Insert, Param, Sql, params},
    transaction_key::{buckets, key_of},
};

const USERS: Insert = Insert {
    into: "users (number, user_id)",
    columns: 2,
    conflict: "",
};
const ROOMS: Insert = Insert {
    into: "rooms (number, room_id)",
    columns: 2,
    conflict: "",
};
const EVENTS: Insert = Insert {
    into: "events (number, hash, position, placement, state_before, state_after, link, body, \
           sent_as)",
    columns: 9,
    conflict: "",
};
const RELATIONS: Insert = Insert {
    into: "relations (parent, seq, number, kind)",
    columns: 4,
    conflict: "ON CONFLICT (parent, seq, number) DO NOTHING",
};
const TRANSACTIONS: Insert = Insert {
    into: "transactions (bucket, key, at, outcome)",
    columns: 4,
    conflict: "ON CONFLICT (bucket, key) DO NOTHING",
};
const ROOTS: Insert = Insert {
    into: "state_roots (number, hash, sweep)",
    columns: 3,
    conflict: "",
};
const NODES: Insert = Insert {
    into: "state_nodes (hash, node, sweep)",
    columns: 3,
    // A node that is there may be one that nothing reached until now: no sweep may take it.
    conflict: "ON CONFLICT (hash) DO UPDATE SET sweep = excluded.sweep \
               WHERE state_nodes.sweep < excluded.sweep",
};
const ROOM_HEADS: Insert = Insert {
    into: "room_heads (room, version, revision, heads, state, first_seq, last_seq, \
           last_position, aside, joined, is_published)",
    columns: 11,
    conflict: "ON CONFLICT (room) DO UPDATE SET version = excluded.version, \
               revision = excluded.revision, heads = excluded.heads, state = excluded.state, \
               first_seq = excluded.first_seq, last_seq = excluded.last_seq, \
               last_position = excluded.last_position, aside = excluded.aside, \
               joined = excluded.joined, is_published = excluded.is_published",
};
const COUNTERS: Insert = Insert {
    into: "counters (name, value)",
    columns: 2,
    conflict: "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
};

impl<'a> Apply<'a> {
    /// Reads at once what the batches of a group will ask for: known events, transactions.
    pub(crate) fn prepare(
        sql: &'a mut dyn Sql,
        ledger: &'a mut Ledger,
        shared: &'a Shared,
        batches: &[&Batch],
    ) -> Result<(), StorageError> {
        let mut events: Vec<&EventId> = Vec::new();
        let mut keys = Vec::new();
        for batch in batches {
            for change in &batch.changes {
                let Change::Room(change) = change else {
                    continue;
                };
                match change {
                    RoomChange::Append {
                        event,
                        state_before,
                        ..
                    } => {
                        events.push(&event.id);
                        name_events(state_before, &mut events);
                    }
                    RoomChange::Heads { heads, .. } => name_events(&heads.state, &mut events),
                    RoomChange::Redact { redacted, .. } => events.push(&redacted.id),
                    RoomChange::EraseEvents { event_ids, .. } => {
                        events.extend(event_ids.iter().map(|event_id| &**event_id));
                    }
                    RoomChange::Transaction { id, .. } => keys.push(key_of(id)),
                    RoomChange::Create { .. }
                    | RoomChange::Forget { .. }
                    | RoomChange::SetAlias(_)
                    | RoomChange::RemoveAlias(_)
                    | RoomChange::Publish { .. }
                    | RoomChange::Typing { .. }
                    | RoomChange::Purge { .. } => {}
                }
            }
            for expect in &batch.expects {
                if let Expect::TransactionAbsent(id) = expect {
                    keys.push(key_of(id));
                }
            }
        }
        let position = lyceum_model::Position(0);
        let mut apply = Self {
            sql,
            ledger,
            shared,
            position,
            messages: 0,
        };
        if !events.is_empty() {
            apply.find_places(&events)?;
        }
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > 1 {
            let names: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let rows = apply.sql.query(
                concat!(
                    buckets!(),
                    "SELECT t.key FROM buckets b JOIN transactions t ON t.bucket = b.bucket \
                     WHERE t.key IN (?1[x])"
                ),
                &[Param::Blobs(&names)],
            )?;
            for key in &keys {
                apply.ledger.transactions.insert(*key, false);
            }
            for mut row in rows {
                apply.ledger.transactions.insert(row.take(0)?, true);
            }
        }
        Ok(())
    }

    /// Writes what was collected, and the counters: the end of a group.
    pub(crate) fn finish(
        sql: &'a mut dyn Sql,
        ledger: &'a mut Ledger,
        shared: &'a Shared,
    ) -> Result<(), StorageError> {
        let position = lyceum_model::Position(0);
        let mut apply = Self {
            sql,
            ledger,
            shared,
            position,
            messages: 0,
        };
        apply.flush()?;
        let stored = apply.ledger.stored_counters.list();
        let changed: Vec<Param<'_>> = apply
            .ledger
            .counters
            .list()
            .iter()
            .zip(stored)
            .filter(|(now, stored)| **now != *stored)
            .flat_map(|((name, value), _)| [Param::from(*name), Param::from(*value)])
            .collect();
        apply.sql.insert(&COUNTERS, &changed)
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> Result<(), StorageError> {
        let pending = std::mem::take(&mut self.ledger.pending);
        let mut values = Vec::new();
        for (number, user_id) in &pending.users {
            values.extend_from_slice(params![*number, user_id]);
        }
        self.sql.insert(&USERS, &values)?;
        values.clear();
        for (number, room_id) in &pending.rooms {
            values.extend_from_slice(params![*number, room_id]);
        }
        self.sql.insert(&ROOMS, &values)?;
        values.clear();
        let sweep = self.ledger.counters.sweep;
        for (hash, node) in &pending.nodes {
            values.extend_from_slice(params![&hash.0, &node[..], sweep]);
        }
        self.sql.insert(&NODES, &values)?;
        values.clear();
        for (number, hash) in &pending.roots {
            values.extend_from_slice(params![*number, &hash.0, sweep]);
        }
        self.sql.insert(&ROOTS, &values)?;
        values.clear();
        for event in &pending.events {
            values.extend_from_slice(params![
                event.number,
                event.hash,
                event.position,
                event.placement,
                event.state_before,
                event.state_after,
                event.link,
                &*event.body,
                event.sent_as.as_ref()
            ]);
        }
        self.sql.insert(&EVENTS, &values)?;
        values.clear();
        for relation in &pending.relations {
            values.extend_from_slice(params![
                relation.parent,
                relation.seq,
                relation.number,
                &*relation.kind
            ]);
        }
        self.sql.insert(&RELATIONS, &values)?;
        values.clear();
        for transaction in &pending.transactions {
            values.extend_from_slice(params![
                transaction.bucket,
                &transaction.key,
                transaction.at,
                transaction.outcome.as_ref()
            ]);
        }
        self.sql.insert(&TRANSACTIONS, &values)?;
        self.flush_rooms(&pending)
    }

    fn flush_rooms(&mut self, pending: &Pending) -> Result<(), StorageError> {
        let rooms: Vec<_> = pending
            .changed_rooms
            .iter()
            .filter_map(|room_id| {
                let entry = self.ledger.rooms.get(room_id)?;
                let row = entry.row.as_ref()?;
                Some((entry.number, row, encode_heads(&row.heads)))
            })
            .collect();
        let mut values = Vec::with_capacity(rooms.len() * ROOM_HEADS.columns);
        for (number, row, heads) in &rooms {
            values.extend_from_slice(params![
                *number,
                row.version.as_str(),
                row.revision,
                heads,
                row.state,
                row.first_seq,
                row.last_seq,
                row.last_position,
                row.aside,
                row.joined,
                row.is_published
            ]);
        }
        self.sql.insert(&ROOM_HEADS, &values)
    }
}

/// The events by which a state is told.
fn name_events<'b>(state: &'b StateBefore, events: &mut Vec<&'b EventId>) {
    match state {
        StateBefore::Empty | StateBefore::Unknown => {}
        StateBefore::After(event_id) => events.push(event_id),
        StateBefore::Resolved { base, set, .. } => {
            events.extend(base.as_deref());
            events.extend(set.iter().map(|event_id| &**event_id));
        }
    }
}
