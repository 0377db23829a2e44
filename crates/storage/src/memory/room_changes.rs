//! What changes about rooms do.

use std::{collections::BTreeMap, sync::Arc};

use imbl::{OrdMap, ordmap::DiffItem};
use lyceum_model::{
    Appended, Event, Membership, Placement, Position, RoomChange, RoomHeads, SentAs, Seq,
    StateBefore,
};
use ruma_common::{EventId, OwnedEventId, RoomId, UserId};
use serde::Deserialize;

use super::data::{Data, KnownEvent, Room, State, retain};
use crate::{RoomMembership, StorageError};

impl Data {
    pub(super) fn change_room(
        &mut self,
        change: &RoomChange,
        sent: &BTreeMap<&EventId, SentAs>,
        appended: &mut Vec<Appended>,
    ) -> Result<(), StorageError> {
        match change {
            RoomChange::Create { room_id, version } => {
                self.rooms.entry(room_id.clone()).or_insert_with(|| Room {
                    version: version.clone(),
                    revision: 0,
                    heads: Vec::new(),
                    state: State::new(),
                    is_published: false,
                    timeline: OrdMap::new(),
                    members: OrdMap::new(),
                    typing: Vec::new(),
                    typing_position: Position(0),
                    receipts: OrdMap::new(),
                });
            }
            RoomChange::Append {
                event,
                placement,
                state_before,
            } => {
                let is_new = !self.events.contains_key(&event.id);
                let seq = self.append(event, *placement, state_before)?;
                if is_new && let Some(known) = self.events.get_mut(&event.id) {
                    known.sent_as = sent.get(&*event.id).cloned();
                }
                appended.push(Appended {
                    event_id: event.id.clone(),
                    seq,
                });
            }
            RoomChange::Heads { room_id, heads } => self.set_heads(room_id, heads)?,
            RoomChange::Redact { redacted, because } => {
                if let Some(known) = self.events.get_mut(&redacted.id) {
                    known.event = redacted.clone();
                    let first = known.redacted_because.take();
                    known.redacted_because = Some(first.unwrap_or_else(|| because.clone()));
                }
            }
            RoomChange::Forget { room_id, user_id } => {
                let room = self.rooms.get_mut(room_id);
                if let Some(member) = room.and_then(|room| room.members.get_mut(user_id)) {
                    member.is_forgotten = true;
                }
            }
            RoomChange::SetAlias(alias) => {
                self.aliases.insert(alias.alias.clone(), alias.clone());
            }
            RoomChange::RemoveAlias(alias) => {
                self.aliases.remove(alias);
            }
            RoomChange::Publish {
                room_id,
                is_published,
            } => {
                if let Some(room) = self.rooms.get_mut(room_id) {
                    room.is_published = *is_published;
                }
            }
            RoomChange::Typing { room_id, users } => {
                if let Some(room) = self.rooms.get_mut(room_id) {
                    room.typing.clone_from(users);
                    room.typing_position = self.position;
                }
            }
            RoomChange::Transaction { id, outcome, at } => {
                self.transactions.insert(id.clone(), (outcome.clone(), *at));
            }
            RoomChange::EraseEvents { room_id, event_ids } => self.erase_events(room_id, event_ids),
            RoomChange::Purge { room_id } => {
                self.rooms.remove(room_id);
                retain(&mut self.events, |_, known| known.event.room_id != *room_id);
                retain(&mut self.aliases, |_, alias| alias.room_id != *room_id);
                retain(&mut self.unread, |(_, of), _| of != room_id);
                retain(&mut self.account_data, |(_, of, _), _| {
                    of.as_ref() != Some(room_id)
                });
            }
        }
        Ok(())
    }

    fn erase_events(&mut self, room_id: &RoomId, event_ids: &[OwnedEventId]) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        let newest = room.timeline.get_max().map_or(0, |(seq, _)| seq.0);
        for event_id in event_ids {
            let Some(known) = self.events.get(event_id) else {
                continue;
            };
            let seq = known.seq.filter(|seq| (1..newest).contains(&seq.0));
            let is_head = room.heads.iter().any(|head| head.event_id == *event_id);
            let is_ours = known.event.room_id == *room_id && known.event.state_key.is_none();
            if let Some(seq) = seq
                && is_ours
                && !is_head
            {
                room.timeline.remove(&seq);
                self.events.remove(event_id);
            }
        }
    }

    /// An event that was outside the timeline or refused may come again and is then placed anew;
    /// any other event that comes again stays as it is.
    fn append(
        &mut self,
        event: &Arc<Event>,
        placement: Placement,
        state_before: &StateBefore,
    ) -> Result<Option<Seq>, StorageError> {
        let known = self.events.get(&event.id).cloned();
        if let Some(known) = &known {
            let is_promoted = matches!(known.placement, Placement::Outlier | Placement::Rejected)
                && !matches!(placement, Placement::Outlier | Placement::Rejected);
            if !is_promoted {
                return Ok(known.seq);
            }
        }
        let state_before = match state_before {
            StateBefore::Unknown => None,
            known => Some(self.state(known)?),
        };
        let position = self.position;
        let room = self.known_room(&event.room_id)?;
        let newest = room.timeline.get_max().map_or(0, |(seq, _)| seq.0.max(0));
        let oldest = room.timeline.get_min().map_or(1, |(seq, _)| seq.0.min(1));
        let seq = match placement {
            Placement::Timeline => Some(Seq(newest + 1)),
            Placement::History => Some(Seq(oldest - 1)),
            Placement::Outlier | Placement::SoftFailed | Placement::Rejected => None,
        };
        if let Some(seq) = seq {
            room.timeline.insert(seq, (position, event.id.clone()));
        }
        let (event, redacted_because, sent_as) = match known {
            Some(known) => (known.event, known.redacted_because, known.sent_as),
            None => (event.clone(), None, None),
        };
        let known = KnownEvent {
            seq,
            position,
            placement,
            redacted_because,
            sent_as,
            state_before,
            event,
        };
        self.events.insert(known.event.id.clone(), known);
        Ok(seq)
    }

    fn set_heads(&mut self, room_id: &RoomId, heads: &RoomHeads) -> Result<(), StorageError> {
        let state = self.state(&heads.state)?;
        let position = self.position;
        let before = self.known_room(room_id)?.clone();
        let mut members = before.members;
        for difference in before.state.diff(&state) {
            let (name, event_id) = match difference {
                DiffItem::Add(name, id)
                | DiffItem::Update {
                    new: (name, id), ..
                } => (name, Some(id)),
                DiffItem::Remove(name, _) => (name, None),
            };
            if &*name.kind != "m.room.member" {
                continue;
            }
            let Ok(user_id) = UserId::parse(&*name.key) else {
                continue;
            };
            let member = event_id.and_then(|id| {
                let membership = membership(&self.events.get(id)?.event)?;
                let is_wanted = matches!(
                    membership,
                    Membership::Join | Membership::Invite | Membership::Knock
                );
                let was_forgotten = members.get(&user_id).is_some_and(|of| of.is_forgotten);
                Some(RoomMembership {
                    room_id: room_id.to_owned(),
                    user_id: user_id.clone(),
                    membership,
                    event_id: id.clone(),
                    position,
                    is_forgotten: was_forgotten && !is_wanted,
                })
            });
            super::data::set(&mut members, user_id, member);
        }
        let room = self.known_room(room_id)?;
        room.revision += 1;
        room.heads.clone_from(&heads.heads);
        room.heads
            .sort_unstable_by(|a, b| a.event_id.cmp(&b.event_id));
        room.state = state;
        room.members = members;
        Ok(())
    }

    /// The state that is meant.
    fn state(&self, state: &StateBefore) -> Result<State, StorageError> {
        match state {
            StateBefore::Empty => Ok(State::new()),
            StateBefore::After(event_id) => self.known_state_after(event_id),
            StateBefore::Resolved { base, set, removed } => {
                let mut state = match base {
                    Some(base) => self.known_state_after(base)?,
                    None => State::new(),
                };
                for id in set {
                    let name = self
                        .events
                        .get(id)
                        .and_then(|known| known.event.state_name());
                    let name = name.ok_or_else(|| broken("a state names no state event", id))?;
                    state.insert(name, id.clone());
                }
                for name in removed {
                    state.remove(name);
                }
                Ok(state)
            }
            StateBefore::Unknown => Err(StorageError::Broken(
                "a room's present state must be known".to_owned(),
            )),
        }
    }

    fn known_state_after(&self, event_id: &EventId) -> Result<State, StorageError> {
        let state = self.events.get(event_id).and_then(KnownEvent::state_after);
        state.ok_or_else(|| broken("the state is not known after", event_id))
    }

    fn known_room(&mut self, room_id: &RoomId) -> Result<&mut Room, StorageError> {
        self.rooms
            .get_mut(room_id)
            .ok_or_else(|| broken("no such room", room_id))
    }
}

impl KnownEvent {
    /// The state after it, if it is known.
    pub(super) fn state_after(&self) -> Option<State> {
        let mut state = self.state_before.clone()?;
        if self.placement != Placement::Rejected
            && let Some(name) = self.event.state_name()
        {
            state.insert(name, self.event.id.clone());
        }
        Some(state)
    }
}

/// A batch that only a bug can make.
fn broken(what: &str, name: &(impl AsRef<str> + ?Sized)) -> StorageError {
    StorageError::Broken(format!("{what}: {}", name.as_ref()))
}

#[derive(Deserialize)]
struct MemberContent {
    membership: Membership,
}

/// What a member event makes of its user; `None` if it says nothing that is known.
fn membership(event: &Event) -> Option<Membership> {
    serde_json::from_str::<MemberContent>(event.content.get())
        .ok()
        .map(|of| of.membership)
}
