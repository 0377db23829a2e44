//! Answers about rooms.

use std::{ops::Bound, sync::Arc};

use imbl::ordmap::DiffItem;
use lyceum_model::{Event, Membership, Position, Receipt, Seq, StoredEvent};
use ruma_common::{EventId, OwnedRoomId, RoomId, UserId};

use super::data::{Data, Room, State};
use crate::{
    Direction, RoomMembership, RoomPage, RoomRecord, RoomSummary, StateOf, StateSide, StateWanted,
    TimelinePage, UserChanges,
};

impl Data {
    pub(super) fn room(&self, room_id: &RoomId) -> Option<RoomRecord> {
        let room = self.rooms.get(room_id)?;
        let newest = room.timeline.get_max().filter(|(seq, _)| *seq > Seq(0));
        Some(RoomRecord {
            room_id: room_id.to_owned(),
            version: room.version.clone(),
            revision: room.revision,
            heads: room.heads.clone(),
            last_seq: newest.map_or(Seq(0), |(seq, _)| *seq),
            last_position: newest.map_or(Position(0), |(_, (position, _))| *position),
            is_published: room.is_published,
            state: self.state_events(&room.state),
        })
    }

    pub(super) fn rooms(&self, page: &RoomPage) -> Vec<RoomSummary> {
        let joined = |room: &Room| {
            room.members
                .values()
                .filter(|member| member.membership == Membership::Join)
                .count()
        };
        self.rooms
            .iter()
            .filter(|(room_id, room)| {
                page.after.as_ref().is_none_or(|after| *room_id > after)
                    && (room.is_published || !page.only_published)
            })
            .take(page.limit)
            .map(|(room_id, room)| RoomSummary {
                room_id: room_id.clone(),
                version: room.version.clone(),
                is_published: room.is_published,
                joined: joined(room) as u64,
            })
            .collect()
    }

    pub(super) fn event(&self, event_id: &EventId) -> Option<StoredEvent> {
        let known = self.events.get(event_id)?;
        let redaction = known
            .redacted_because
            .as_ref()
            .and_then(|id| self.events.get(id));
        Some(StoredEvent {
            event: known.event.clone(),
            seq: known.seq,
            position: known.position,
            placement: known.placement,
            redacted_because: redaction.map(|redaction| redaction.event.clone()),
            sent_as: known.sent_as.clone(),
        })
    }

    pub(super) fn timeline(&self, page: &TimelinePage) -> Vec<StoredEvent> {
        let Some(room) = self.rooms.get(&page.room_id) else {
            return Vec::new();
        };
        let until = page.until;
        let range = match page.direction {
            Direction::Forward => (
                Bound::Included(page.from),
                until.map_or(Bound::Unbounded, Bound::Excluded),
            ),
            Direction::Backward => (
                until.map_or(Bound::Unbounded, Bound::Included),
                Bound::Excluded(page.from),
            ),
        };
        let mut places: Vec<_> = room
            .timeline
            .iter()
            .filter(|(seq, (position, _))| {
                std::ops::RangeBounds::contains(&range, *seq) && *position <= page.up_to
            })
            .collect();
        if page.direction == Direction::Backward {
            places.reverse();
        }
        places
            .into_iter()
            .take(page.limit)
            .filter_map(|(_, (_, id))| self.event(id))
            .collect()
    }

    pub(super) fn seq_at(&self, room_id: &RoomId, at: Position) -> Seq {
        let Some(room) = self.rooms.get(room_id) else {
            return Seq(0);
        };
        let seqs = room
            .timeline
            .iter()
            .filter(|(_, (position, _))| *position <= at);
        seqs.map(|(seq, _)| *seq)
            .max()
            .unwrap_or_default()
            .max(Seq(0))
    }

    pub(super) fn state_at(&self, of: &StateOf, wanted: &StateWanted) -> Option<Vec<Arc<Event>>> {
        let mut events = self.state_events(&self.state_of(of)?);
        if let StateWanted::Keys(names) = wanted {
            events.retain(|event| event.state_name().is_some_and(|name| names.contains(&name)));
        }
        Some(events)
    }

    pub(super) fn state_difference(
        &self,
        from: Option<&StateOf>,
        to: &StateOf,
    ) -> Option<Vec<Arc<Event>>> {
        let from = match from {
            Some(from) => self.state_of(from)?,
            None => State::new(),
        };
        let to = self.state_of(to)?;
        let changed = from.diff(&to).filter_map(|difference| match difference {
            DiffItem::Add(_, id) | DiffItem::Update { new: (_, id), .. } => Some(id),
            DiffItem::Remove(..) => None,
        });
        Some(
            changed
                .filter_map(|id| Some(self.events.get(id)?.event.clone()))
                .collect(),
        )
    }

    fn state_of(&self, of: &StateOf) -> Option<State> {
        let known = self.events.get(&of.event_id)?;
        match of.side {
            StateSide::Before => known.state_before.clone(),
            StateSide::After => known.state_after(),
        }
    }

    fn state_events(&self, state: &State) -> Vec<Arc<Event>> {
        state
            .values()
            .filter_map(|id| Some(self.events.get(id)?.event.clone()))
            .collect()
    }

    pub(super) fn memberships(&self, user_id: &UserId) -> Vec<RoomMembership> {
        self.rooms
            .values()
            .filter_map(|room| room.members.get(user_id).cloned())
            .collect()
    }

    pub(super) fn relations(
        &self,
        parent: &EventId,
        kind: Option<&str>,
        before: Option<Seq>,
        limit: usize,
    ) -> Vec<StoredEvent> {
        let Some(known) = self.events.get(parent) else {
            return Vec::new();
        };
        let Some(room) = self.rooms.get(&known.event.room_id) else {
            return Vec::new();
        };
        let mut found: Vec<StoredEvent> = room
            .timeline
            .iter()
            .filter(|(seq, _)| before.is_none_or(|before| **seq < before))
            .filter_map(|(_, (_, id))| self.event(id))
            .filter(|stored| {
                stored.event.relates_to.as_ref().is_some_and(|relation| {
                    relation.parent == parent && kind.is_none_or(|kind| &*relation.kind == kind)
                })
            })
            .collect();
        found.reverse();
        found.truncate(limit);
        found
    }

    pub(super) fn receipts(
        &self,
        room_ids: &[OwnedRoomId],
        from: Position,
        to: Position,
    ) -> Vec<Receipt> {
        let rooms = self
            .rooms
            .iter()
            .filter(|(room_id, _)| room_ids.contains(room_id));
        rooms
            .flat_map(|(_, room)| room.receipts.values())
            .filter(|receipt| from < receipt.position && receipt.position <= to)
            .cloned()
            .collect()
    }

    pub(super) fn receipts_of(&self, room_id: &RoomId, user_id: &UserId) -> Vec<Receipt> {
        let room = self.rooms.get(room_id);
        let receipts = room.into_iter().flat_map(|room| room.receipts.values());
        receipts
            .filter(|receipt| receipt.user_id == user_id)
            .cloned()
            .collect()
    }

    pub(super) fn changes_for(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> UserChanges {
        let is_between = |position: Position| from < position && position <= to;
        let mut changes = UserChanges::default();
        for (room_id, room) in &self.rooms {
            let Some(member) = room.members.get(user_id) else {
                continue;
            };
            if is_between(member.position) {
                changes.memberships.push(member.clone());
            }
            // Who came or went after `to` may have been in the room then.
            if member.membership != Membership::Join && member.position <= to {
                continue;
            }
            let mut timeline = room.timeline.iter().filter(|(seq, _)| **seq > Seq(0));
            if timeline.any(|(_, (position, _))| is_between(*position)) {
                changes.timelines.push(room_id.clone());
            }
            if room
                .receipts
                .values()
                .any(|receipt| is_between(receipt.position))
            {
                changes.receipts.push(room_id.clone());
            }
            if is_between(room.typing_position) {
                changes.typing.push(room_id.clone());
            }
        }
        changes
    }
}
