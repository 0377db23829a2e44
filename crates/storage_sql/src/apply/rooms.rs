//! What changes about rooms do.

use std::{collections::BTreeMap, slice, sync::Arc};

use lyceum_model::{
    Appended, Event, Placement, RoomChange, SentAs, Seq, StateBefore, Timestamp, TransactionId,
    TransactionOutcome,
};
use lyceum_storage::StorageError;
use ruma_common::{EventId, OwnedEventId, OwnedUserId, RoomId};

use super::{Apply, upkeep::EventRows};
use crate::{
    event_body::put_id,
    event_number::{aside, in_timeline, room_of},
    event_rows::{hash_of, placement_code, rows_by_id, sent_as_bytes},
    ledger::{NewEvent, NewRelation, NewTransaction, Place, RoomEntry, RoomRow, room_columns},
    sql::params,
    transaction_key::{bucket_of, buckets, key_of},
};

impl Apply<'_> {
    pub(super) fn room(
        &mut self,
        change: &RoomChange,
        bodies: &mut slice::Iter<'_, Arc<[u8]>>,
        sent: &BTreeMap<&EventId, SentAs>,
        appended: &mut Vec<Appended>,
    ) -> Result<(), StorageError> {
        match change {
            RoomChange::Create { room_id, version } => {
                self.room_number(room_id)?;
                if let Some(entry) = self.ledger.rooms.get_mut(room_id)
                    && entry.row.is_none()
                {
                    entry.row = Some(RoomRow::new(version.clone()));
                    self.room_changed(room_id);
                }
            }
            RoomChange::Append {
                event,
                placement,
                state_before,
            } => {
                let form = (next_body(bodies)?, sent.get(&*event.id).map(sent_as_bytes));
                let seq = self.append(event, *placement, state_before, form)?;
                appended.push(Appended {
                    event_id: event.id.clone(),
                    seq,
                });
            }
            RoomChange::Heads { room_id, heads } => self.heads(room_id, heads)?,
            RoomChange::Redact { redacted, because } => {
                let body = next_body(bodies)?;
                self.redact(redacted, because, &body)?;
            }
            RoomChange::Forget { room_id, user_id } => {
                let user = self.ledger.find_user(self.sql, user_id)?;
                let room = self.find_room(room_id)?.map(|entry| entry.number);
                if let (Some(user), Some(room)) = (user, room) {
                    self.sql.execute(
                        "UPDATE memberships SET is_forgotten = 1 WHERE who = ?1 AND room = ?2",
                        params![user, room],
                    )?;
                }
            }
            RoomChange::SetAlias(alias) => {
                let room = self.room_number(&alias.room_id)?;
                let creator = self.ledger.user(self.sql, &alias.creator)?;
                self.sql.execute(
                    "INSERT INTO aliases (alias, room, creator) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (alias) DO UPDATE SET room = excluded.room, \
                     creator = excluded.creator",
                    params![&alias.alias, room, creator],
                )?;
            }
            RoomChange::RemoveAlias(alias) => {
                self.sql
                    .execute("DELETE FROM aliases WHERE alias = ?1", params![alias])?;
            }
            RoomChange::Publish {
                room_id,
                is_published,
            } => {
                let room = self
                    .find_room(room_id)?
                    .and_then(|entry| entry.row.as_mut());
                if let Some(room) = room {
                    room.is_published = *is_published;
                    self.room_changed(room_id);
                }
            }
            RoomChange::Typing { room_id, users } => self.typing(room_id, users)?,
            RoomChange::Transaction { id, outcome, at } => self.transaction(id, outcome, *at)?,
            RoomChange::EraseEvents { room_id, event_ids } => {
                self.erase_events(room_id, event_ids)?
            }
            RoomChange::Purge { room_id } => self.purge(room_id)?,
        }
        Ok(())
    }

    /// The entry of a room id that has a number.
    pub(super) fn find_room(
        &mut self,
        room_id: &RoomId,
    ) -> Result<Option<&mut RoomEntry>, StorageError> {
        if !self.ledger.rooms.contains_key(room_id) {
            let row = self.sql.first(
                concat!(
                    "SELECT r.number, h.room, ",
                    room_columns!(),
                    " FROM rooms r LEFT JOIN room_heads h ON h.room = r.number \
                     WHERE r.room_id = ?1"
                ),
                params![room_id],
            )?;
            let Some(mut row) = row else { return Ok(None) };
            let known: Option<i64> = row.take(1)?;
            let entry = RoomEntry {
                number: row.take(0)?,
                row: match known {
                    Some(_) => Some(RoomRow::read(&mut row, 2)?),
                    None => None,
                },
            };
            self.ledger.rooms.insert(room_id.to_owned(), entry);
        }
        Ok(self.ledger.rooms.get_mut(room_id))
    }

    /// The number of a room id, which gets one if it has none.
    pub(super) fn room_number(&mut self, room_id: &RoomId) -> Result<i64, StorageError> {
        if let Some(entry) = self.find_room(room_id)? {
            return Ok(entry.number);
        }
        self.ledger.counters.rooms += 1;
        let number = self.ledger.counters.rooms;
        self.ledger.pending.rooms.push((number, room_id.to_owned()));
        self.ledger
            .rooms
            .insert(room_id.to_owned(), RoomEntry { number, row: None });
        Ok(number)
    }

    /// The number and the row of a room that must be known.
    pub(super) fn known_room(
        &mut self,
        room_id: &RoomId,
    ) -> Result<(i64, &mut RoomRow), StorageError> {
        let entry = self.find_room(room_id)?;
        entry
            .and_then(|entry| Some((entry.number, entry.row.as_mut()?)))
            .ok_or_else(|| StorageError::Broken(format!("no such room: {room_id}")))
    }

    pub(super) fn room_changed(&mut self, room_id: &RoomId) {
        if !self.ledger.pending.changed_rooms.contains(room_id) {
            self.ledger.pending.changed_rooms.insert(room_id.to_owned());
        }
    }

    /// Where a known event stands.
    pub(super) fn place(&mut self, event_id: &EventId) -> Result<Option<Place>, StorageError> {
        if let Some(place) = self.ledger.places.get(event_id) {
            return Ok(*place);
        }
        self.find_places(&[event_id])?;
        Ok(self.ledger.places.get(event_id).copied().flatten())
    }

    /// Reads where these events stand, all at once.
    pub(super) fn find_places(&mut self, event_ids: &[&EventId]) -> Result<(), StorageError> {
        let unknown: Vec<&EventId> = event_ids
            .iter()
            .filter(|event_id| !self.ledger.places.contains_key(**event_id))
            .copied()
            .collect();
        let rows = rows_by_id(self.sql, &self.shared.codec, unknown.iter().copied())?;
        for event_id in unknown {
            let place = rows.get(event_id).map(|row| Place {
                number: row.number,
                placement: row.placement,
                is_redacted: row.is_redacted,
                state_before: row.state_before,
                state_after: row.state_after,
                link: row.link,
            });
            self.ledger.note_place(event_id.to_owned(), place);
        }
        Ok(())
    }

    fn append(
        &mut self,
        event: &Arc<Event>,
        placement: Placement,
        state_before: &StateBefore,
        (body, sent_as): (Arc<[u8]>, Option<Vec<u8>>),
    ) -> Result<Option<Seq>, StorageError> {
        let known = self.place(&event.id)?;
        if let Some(known) = &known {
            let is_promoted = matches!(known.placement, Placement::Outlier | Placement::Rejected)
                && !matches!(placement, Placement::Outlier | Placement::Rejected);
            if !is_promoted {
                return Ok(known.seq());
            }
        }
        let state_before = self.state(state_before)?;
        let position = self.position;
        let (room, row) = self.known_room(&event.room_id)?;
        let seq = match placement {
            Placement::Timeline => {
                row.last_seq += 1;
                row.last_position = position;
                Some(Seq(row.last_seq))
            }
            Placement::History => {
                row.first_seq -= 1;
                Some(Seq(row.first_seq))
            }
            Placement::Outlier | Placement::SoftFailed | Placement::Rejected => None,
        };
        let number = match (&known, seq) {
            (Some(known), _) => known.number,
            (None, Some(seq)) => in_timeline(room, seq),
            (None, None) => {
                row.aside += 1;
                aside(room, row.aside)
            }
        };
        self.room_changed(&event.room_id);
        let state_after = match (state_before, event.state_name()) {
            (Some(root), Some(name)) if placement != Placement::Rejected => {
                Some(self.with_event(root, &name, number)?)
            }
            _ => state_before,
        };
        let place = match known {
            Some(known) => {
                let place = Place {
                    placement,
                    state_before,
                    state_after,
                    ..known
                };
                self.promote(place, seq.map(|seq| in_timeline(room, seq)))?
            }
            None => {
                self.ledger.pending.events.push(NewEvent {
                    number,
                    hash: Some(hash_of(&event.id)),
                    position: position.0.cast_signed(),
                    placement: placement_code(placement, false),
                    state_before,
                    state_after,
                    link: None,
                    body,
                    sent_as,
                });
                self.ledger.fresh.insert(number, Arc::clone(event));
                Place {
                    number,
                    placement,
                    is_redacted: false,
                    state_before,
                    state_after,
                    link: None,
                }
            }
        };
        self.ledger.note_place(event.id.clone(), Some(place));
        // A promoted event may have been redacted meanwhile; its relation counts as it is stored.
        let stored = match known {
            Some(known) => self.events(&[known.number])?.remove(&known.number),
            None => Some(Arc::clone(event)),
        };
        if let Some(seq) = seq
            && let Some(relation) = stored.as_ref().and_then(|event| event.relates_to.as_ref())
        {
            self.ledger.pending.relations.push(NewRelation {
                parent: hash_of(&relation.parent),
                seq: seq.0,
                number,
                kind: relation.kind.clone(),
            });
        }
        Ok(seq)
    }

    /// An event that stood outside the timeline gets a new standing, and a stub at its place.
    fn promote(&mut self, place: Place, slot: Option<i64>) -> Result<Place, StorageError> {
        self.flush()?;
        let place = Place {
            link: slot,
            ..place
        };
        let placement = placement_code(place.placement, place.is_redacted);
        self.sql.execute(
            "UPDATE events SET position = ?2, placement = ?3, state_before = ?4, \
             state_after = ?5, link = ?6 WHERE number = ?1",
            params![
                place.number,
                self.position,
                placement,
                place.state_before,
                place.state_after,
                slot
            ],
        )?;
        if let Some(slot) = slot {
            self.ledger.pending.events.push(NewEvent {
                number: slot,
                hash: None,
                position: self.position.0.cast_signed(),
                placement,
                state_before: None,
                state_after: None,
                link: Some(place.number),
                body: Arc::default(),
                sent_as: None,
            });
        }
        Ok(place)
    }

    fn redact(
        &mut self,
        redacted: &Arc<Event>,
        because: &EventId,
        body: &[u8],
    ) -> Result<(), StorageError> {
        let Some(mut place) = self.place(&redacted.id)? else {
            return Ok(());
        };
        let before = self.events(&[place.number])?.remove(&place.number);
        self.flush()?;
        if let Some(relation) = before.as_ref().and_then(|event| event.relates_to.as_ref())
            && let Some(seq) = place.seq()
            && redacted.relates_to != before.as_ref().and_then(|event| event.relates_to.clone())
        {
            self.sql.execute(
                "DELETE FROM relations WHERE parent = ?1 AND seq = ?2 AND number = ?3",
                params![hash_of(&relation.parent), seq.0, place.number],
            )?;
        }
        place.is_redacted = true;
        self.sql.execute(
            "UPDATE events SET body = ?2, placement = ?3 WHERE number = ?1",
            params![place.number, body, placement_code(place.placement, true)],
        )?;
        self.sql.execute(
            "INSERT INTO redactions (number, because) VALUES (?1, ?2) \
             ON CONFLICT (number) DO NOTHING",
            params![place.number, because],
        )?;
        self.ledger.fresh.insert(place.number, Arc::clone(redacted));
        self.ledger.note_place(redacted.id.clone(), Some(place));
        Ok(())
    }

    fn typing(
        &mut self,
        room_id: &RoomId,
        users: &[(OwnedUserId, Timestamp)],
    ) -> Result<(), StorageError> {
        let Some(RoomEntry {
            number,
            row: Some(_),
        }) = self.find_room(room_id)?
        else {
            return Ok(());
        };
        let number = *number;
        let json = serde_json::to_string(users)
            .map_err(|error| StorageError::Broken(error.to_string()))?;
        self.sql.execute(
            "INSERT INTO typing (room, position, users) VALUES (?1, ?2, ?3) \
             ON CONFLICT (room) DO UPDATE SET position = excluded.position, \
             users = excluded.users",
            params![number, self.position, &json],
        )?;
        Ok(())
    }

    fn transaction(
        &mut self,
        id: &TransactionId,
        outcome: &TransactionOutcome,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let key = key_of(id);
        if self.has_happened(&key)? {
            self.flush()?;
            self.sql.execute(
                concat!(
                    "DELETE FROM transactions WHERE key = ?1 AND bucket IN (",
                    buckets!(),
                    "SELECT bucket FROM buckets WHERE bucket IS NOT NULL)"
                ),
                params![&key],
            )?;
        }
        let outcome = match outcome {
            TransactionOutcome::Done => None,
            TransactionOutcome::Event(event_id) => {
                let mut bytes = Vec::with_capacity(33);
                put_id(&mut bytes, event_id);
                Some(bytes)
            }
        };
        self.ledger.transactions.insert(key, true);
        self.ledger.pending.transactions.push(NewTransaction {
            bucket: bucket_of(at),
            key,
            at: i64::try_from(at.0).unwrap_or(i64::MAX),
            outcome,
        });
        Ok(())
    }

    fn erase_events(
        &mut self,
        room_id: &RoomId,
        event_ids: &[OwnedEventId],
    ) -> Result<(), StorageError> {
        let Some(RoomEntry {
            number: room,
            row: Some(row),
        }) = self.find_room(room_id)?
        else {
            return Ok(());
        };
        let (room, last_seq) = (*room, row.last_seq);
        let heads: Vec<OwnedEventId> = row.heads.iter().map(|head| head.event_id.clone()).collect();
        self.flush()?;
        self.find_places(&event_ids.iter().map(|id| &**id).collect::<Vec<_>>())?;
        let mut places: Vec<(&OwnedEventId, Place, Seq)> = Vec::with_capacity(event_ids.len());
        for event_id in event_ids {
            let Some(place) = self.place(event_id)? else {
                continue;
            };
            let seq = place.seq().filter(|seq| (1..last_seq).contains(&seq.0));
            if let Some(seq) = seq
                && room_of(place.number) == room
                && !heads.contains(event_id)
            {
                places.push((event_id, place, seq));
            }
        }
        let numbers: Vec<i64> = places.iter().map(|(_, place, _)| place.number).collect();
        let events = self.events(&numbers)?;
        let mut rows = EventRows::default();
        for (event_id, place, seq) in places {
            let Some(event) = events.get(&place.number) else {
                continue;
            };
            if event.state_key.is_some() {
                continue;
            }
            rows.numbers.push(place.number);
            rows.numbers.extend(place.link);
            if let Some(relation) = &event.relates_to {
                rows.relates(&relation.parent, seq);
            }
            self.ledger.fresh.remove(&place.number);
            self.ledger.note_place(event_id.clone(), None);
        }
        if !rows.numbers.is_empty() {
            self.ledger.counters.removals += 1;
        }
        self.drop_event_rows(&rows)
    }

    /// The room is not found any more; its rows go when there is time.
    fn purge(&mut self, room_id: &RoomId) -> Result<(), StorageError> {
        let Some(room) = self.find_room(room_id)?.map(|entry| entry.number) else {
            return Ok(());
        };
        self.flush()?;
        self.sql.execute(
            "INSERT INTO purged_rooms (room, room_id) VALUES (?1, ?2)",
            params![room, room_id],
        )?;
        for sql in [
            "DELETE FROM rooms WHERE number = ?1",
            "DELETE FROM room_heads WHERE room = ?1",
            "DELETE FROM aliases WHERE room = ?1",
            "DELETE FROM typing WHERE room = ?1",
        ] {
            self.sql.execute(sql, params![room])?;
        }
        self.ledger.counters.removals += 1;
        self.ledger.places.clear();
        self.ledger.fresh.clear();
        self.ledger.rooms.remove(room_id);
        Ok(())
    }
}

fn next_body(bodies: &mut slice::Iter<'_, Arc<[u8]>>) -> Result<Arc<[u8]>, StorageError> {
    bodies
        .next()
        .cloned()
        .ok_or_else(|| StorageError::Broken("an event without its body".to_owned()))
}
