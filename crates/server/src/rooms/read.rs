//! Reading rooms: who sees which events and which state (Client-Server API, "History
//! visibility"), and events with what is bundled into them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lyceum_model::{Event, MatrixError, Membership, Position, Seq, StateKey, StoredEvent};
use lyceum_room::{HistoryVisibility, Room, Viewpoint, membership_of, visible_to};
use lyceum_storage::{Direction, StateOf, StateSide, StateWanted, StorageError, TimelinePage};
use lyceum_sync::{
    client_event::{BundledRelations, ClientEvent, ShownEvent, ThreadSummary},
    filter::RoomEventFilter,
};
use ruma_common::{DeviceId, EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    Server,
    accounts::erased,
    rooms::{Recent, RoomError, TimelineEntry},
};

/// How many relations of one event are looked at for what is bundled into it.
const BUNDLED_RELATIONS_MAX: usize = 1_000;
/// How many steps back from a user's last member event are taken to find when they were a member.
const DEPARTURES_MAX: usize = 8;
/// How many relations of one event are looked at for what a filter asks of them.
const FILTERED_RELATIONS_MAX: usize = 256;
/// How many events are read at a time while looking for visible ones.
const CHUNK: usize = 64;
/// How many events are looked at in all for one answer.
const EVENTS_LOOKED_AT_MAX: usize = 2_000;

/// A user who reads a room, and what they may read in it.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Who.
    pub user_id: OwnedUserId,
    /// The room as it is now.
    pub room: Room,
    /// What the user is to the room at the end of what is read.
    pub membership: Option<Membership>,
    /// Where the user's time in the room ended, if it did: the member event by which they left.
    pub left: Option<Departure>,
    /// Users whose messages the reader does not want to see.
    pub ignored: Arc<BTreeSet<OwnedUserId>>,
    /// Whether the reader is an admin who sees everything, a member or not.
    pub sees_all: bool,
}

/// How somebody's time in a room ended.
#[derive(Debug, Clone)]
pub struct Departure {
    /// The event.
    pub event_id: OwnedEventId,
    /// Its place in the timeline.
    pub seq: Seq,
    /// Whether the user had been a member before it.
    pub was_member: bool,
    /// The user's member event before it.
    before: Option<OwnedEventId>,
}

/// Events of a stretch of timeline, as a reader sees them.
#[derive(Debug, Default)]
pub struct Shown {
    /// In the order of reading.
    pub events: Vec<(StoredEvent, Option<Membership>)>,
    /// Where reading would go on; `None`: there is nothing more.
    pub next: Option<Seq>,
}

impl Shown {
    /// Where a client goes on, also after the last event: nheko throws away a page without an end.
    /// The next one is empty, and has none.
    pub fn end(&self, direction: Direction) -> Option<Seq> {
        let past_last = || {
            let (last, _) = self.events.last()?;
            Some(direction.past(last.seq?))
        };
        self.next.or_else(past_last)
    }

    /// Each event with what its reader was to the room then.
    pub fn each(&self) -> impl Iterator<Item = (&StoredEvent, Option<Membership>)> + Clone {
        self.events
            .iter()
            .map(|(stored, membership)| (stored, *membership))
    }
}

impl Server {
    /// Somebody who may read a room: members, those who were members, and anybody where the world
    /// may read. Others are refused.
    pub async fn reader(&self, user_id: &UserId, room_id: &RoomId) -> Result<Reader, RoomError> {
        let reader = self.event_reader(user_id, room_id).await?;
        let may_read = reader.membership == Some(Membership::Join)
            || reader.room.history_visibility() == HistoryVisibility::WorldReadable
            || reader.left.as_ref().is_some_and(|left| left.was_member);
        if !may_read {
            return Err(refused());
        }
        Ok(reader)
    }

    /// Somebody who asks for one event, whatever they are to the room: its own visibility says
    /// whether they see it, as somebody invited may see what was sent since (Client-Server API,
    /// "Room History Visibility"). Only who asked to forget the room is refused.
    pub async fn event_reader(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<Reader, RoomError> {
        let room = self.rooms.room(room_id).await?.ok_or_else(refused)?;
        let membership = room.state.membership(user_id);
        let left = match membership {
            Some(Membership::Leave | Membership::Ban) => {
                if self.is_forgotten(user_id, room_id).await? {
                    return Err(refused());
                }
                self.end_of_stay(&room, user_id).await?
            }
            _ => None,
        };
        let ignored = self.ignored_users(user_id).await?;
        Ok(Reader {
            user_id: user_id.to_owned(),
            room,
            membership,
            left,
            ignored,
            sees_all: false,
        })
    }

    /// An admin who reads a room, whether or not they are a member; `None` if it is not known.
    pub async fn admin_reader(
        &self,
        admin: &UserId,
        room_id: &RoomId,
    ) -> Result<Option<Reader>, StorageError> {
        let Some(room) = self.rooms.room(room_id).await? else {
            return Ok(None);
        };
        Ok(Some(Reader {
            user_id: admin.to_owned(),
            membership: room.state.membership(admin),
            room,
            left: None,
            ignored: Arc::default(),
            sees_all: true,
        }))
    }

    /// Whether a user asked not to see a room any more.
    async fn is_forgotten(&self, user_id: &UserId, room_id: &RoomId) -> Result<bool, StorageError> {
        if let Some(cell) = self.feed.active_user(user_id) {
            let membership = cell.membership(room_id);
            return Ok(membership.is_some_and(|membership| membership.is_forgotten));
        }
        let memberships = self.store.memberships(user_id).await?;
        Ok(memberships
            .iter()
            .any(|membership| membership.room_id == *room_id && membership.is_forgotten))
    }

    /// By which event a user who is gone ceased to be a member: not always the last one about
    /// them, since who left can be banned, and the ban be lifted.
    pub(crate) async fn end_of_stay(
        &self,
        room: &Room,
        user_id: &UserId,
    ) -> Result<Option<Departure>, StorageError> {
        let Some(last) = self.departure(room, user_id).await? else {
            return Ok(None);
        };
        let mut earlier = last.clone();
        for _ in 0..DEPARTURES_MAX {
            if earlier.was_member {
                return Ok(Some(earlier));
            }
            let Some(before) = earlier.before.take() else {
                break;
            };
            let Some(found) = self.departure_at(before, user_id).await? else {
                break;
            };
            earlier = found;
        }
        Ok(Some(last))
    }

    pub(crate) async fn departure(
        &self,
        room: &Room,
        user_id: &UserId,
    ) -> Result<Option<Departure>, StorageError> {
        let Some(member) = room.state.member(user_id) else {
            return Ok(None);
        };
        self.departure_at(member.event.id.clone(), user_id).await
    }

    async fn departure_at(
        &self,
        event_id: OwnedEventId,
        user_id: &UserId,
    ) -> Result<Option<Departure>, StorageError> {
        let stored = self.store.events(std::slice::from_ref(&event_id)).await?;
        let Some(seq) = stored.first().and_then(|stored| stored.seq) else {
            return Ok(None);
        };
        let of = StateOf {
            event_id: event_id.clone(),
            side: StateSide::Before,
        };
        let wanted = StateWanted::Keys(vec![StateKey::new("m.room.member", user_id.as_str())]);
        let before = self.store.state_at(of, wanted).await?.unwrap_or_default();
        let was_member = before
            .iter()
            .any(|event| membership_of(event) == Some(Membership::Join));
        Ok(Some(Departure {
            event_id,
            seq,
            was_member,
            before: before.first().map(|event| event.id.clone()),
        }))
    }

    /// The state of a room for a reader: as it is now, or as it was when they left.
    pub async fn state_for(&self, reader: &Reader) -> Result<Vec<Arc<Event>>, StorageError> {
        match &reader.left {
            Some(left) if left.was_member => {
                let of = StateOf {
                    event_id: left.event_id.clone(),
                    side: StateSide::After,
                };
                Ok(self
                    .store
                    .state_at(of, StateWanted::All)
                    .await?
                    .unwrap_or_default())
            }
            _ => Ok(reader.room.state.iter().cloned().collect()),
        }
    }

    /// One piece of that state.
    pub async fn state_entry_for(
        &self,
        reader: &Reader,
        kind: &str,
        key: &str,
    ) -> Result<Option<Arc<Event>>, StorageError> {
        match &reader.left {
            Some(left) if left.was_member => {
                let of = StateOf {
                    event_id: left.event_id.clone(),
                    side: StateSide::After,
                };
                let wanted = StateWanted::Keys(vec![StateKey::new(kind, key)]);
                let found = self.store.state_at(of, wanted).await?;
                Ok(found.unwrap_or_default().into_iter().next())
            }
            _ => Ok(reader.room.state.get(kind, key).cloned()),
        }
    }

    /// Whether a reader sees an event, and what they were to the room then.
    pub async fn visibility(
        &self,
        reader: &Reader,
        stored: &StoredEvent,
    ) -> Result<(bool, Option<Membership>), StorageError> {
        self.visibility_at(reader, &stored.event, stored.seq).await
    }

    /// The same of an event at this place.
    async fn visibility_at(
        &self,
        reader: &Reader,
        event: &Event,
        seq: Option<Seq>,
    ) -> Result<(bool, Option<Membership>), StorageError> {
        if reader.sees_all {
            return Ok((true, reader.membership));
        }
        if event.state_key.is_none() && reader.ignored.contains(&event.sender) {
            return Ok((false, None));
        }
        if let (Some(left), Some(seq)) = (&reader.left, seq)
            && seq > left.seq
            && reader.room.history_visibility() != HistoryVisibility::WorldReadable
        {
            return Ok((false, None));
        }
        if let Some(answer) = reader.sees_at_once(event) {
            return Ok(answer);
        }
        let own = StateKey::new("m.room.member", reader.user_id.as_str());
        let wanted = StateWanted::Keys(vec![own, StateKey::new("m.room.history_visibility", "")]);
        let of = StateOf {
            event_id: event.id.clone(),
            side: StateSide::Before,
        };
        let before = self.store.state_at(of, wanted).await?.unwrap_or_default();
        let mut visibility = HistoryVisibility::Shared;
        let mut before_it = None;
        for state in &before {
            match &*state.kind {
                "m.room.member" => before_it = membership_of(state),
                _ => visibility = visibility_of(state),
            }
        }
        let membership = match event.state_key.as_deref() {
            Some(key) if &*event.kind == "m.room.member" && key == reader.user_id => {
                membership_of(event)
            }
            _ => before_it,
        };
        let joined_later = reader.membership == Some(Membership::Join)
            || reader
                .left
                .as_ref()
                .is_some_and(|left| left.was_member && seq.is_none_or(|seq| seq < left.seq));
        let viewpoint = Viewpoint {
            visibility,
            membership: before_it,
            joined_later,
        };
        // Who never was anything to the room counts as gone (Client-Server API, "UnsignedData").
        let membership = Some(membership.unwrap_or(Membership::Leave));
        Ok((visible_to(event, &reader.user_id, viewpoint), membership))
    }

    /// A stretch of a timeline as a reader sees it. `wants` says which of the visible events are
    /// wanted at all.
    #[expect(
        clippy::too_many_arguments,
        reason = "a stretch is three of them, and all are needed"
    )]
    pub async fn read_timeline(
        &self,
        reader: &Reader,
        from: Seq,
        until: Option<Seq>,
        up_to: Position,
        direction: Direction,
        limit: usize,
        wants: &(dyn Fn(&Event) -> bool + Sync),
    ) -> Result<Shown, StorageError> {
        let related = RoomEventFilter::default();
        let stretch = (from, until, up_to);
        self.read_related(reader, stretch, direction, limit, wants, &related)
            .await
    }

    /// A stretch of a timeline `(from, until, up_to)` with the events that a filter lets through.
    pub async fn read_filtered(
        &self,
        reader: &Reader,
        stretch: (Seq, Option<Seq>, Position),
        direction: Direction,
        limit: usize,
        filter: &RoomEventFilter,
    ) -> Result<Shown, StorageError> {
        let wants = |event: &Event| filter.matches(event);
        self.read_related(reader, stretch, direction, limit, &wants, filter)
            .await
    }

    /// Whether the events that relate to this one are as a filter asks.
    pub(crate) async fn matches_relations(
        &self,
        filter: &RoomEventFilter,
        event_id: &EventId,
    ) -> Result<bool, StorageError> {
        if !filter.asks_for_relations() {
            return Ok(true);
        }
        let related = self
            .store
            .relations(event_id, None, None, FILTERED_RELATIONS_MAX)
            .await?;
        let children = related.iter().filter_map(|child| {
            let relation = child.event.relates_to.as_ref()?;
            Some((&*relation.kind, &*child.event.sender))
        });
        Ok(filter.matches_relations(children))
    }

    async fn read_related(
        &self,
        reader: &Reader,
        (from, until, up_to): (Seq, Option<Seq>, Position),
        direction: Direction,
        limit: usize,
        wants: &(dyn Fn(&Event) -> bool + Sync),
        related: &RoomEventFilter,
    ) -> Result<Shown, StorageError> {
        let mut shown = Shown::default();
        let mut from = from;
        let mut looked_at = 0;
        loop {
            let page = TimelinePage {
                room_id: reader.room.room_id.clone(),
                from,
                until,
                up_to,
                direction,
                limit: CHUNK.max(limit.min(512)),
            };
            let asked = page.limit;
            let chunk = self.store.timeline(page).await?;
            let is_last = chunk.len() < asked;
            for stored in chunk {
                let Some(seq) = stored.seq else { continue };
                if shown.events.len() == limit {
                    // There is more, beginning with this one.
                    shown.next = Some(match direction {
                        Direction::Backward => Seq(seq.0 + 1),
                        Direction::Forward => seq,
                    });
                    return Ok(shown);
                }
                looked_at += 1;
                from = direction.past(seq);
                if !wants(&stored.event) {
                    continue;
                }
                let (is_visible, membership) = self.visibility(reader, &stored).await?;
                if is_visible && self.matches_relations(related, &stored.event.id).await? {
                    shown.events.push((stored, membership));
                }
            }
            if is_last {
                return Ok(shown);
            }
            if looked_at >= EVENTS_LOOKED_AT_MAX {
                shown.next = Some(from);
                return Ok(shown);
            }
        }
    }

    /// An event by its id, if the reader sees it.
    pub async fn event_for(
        &self,
        reader: &Reader,
        event_id: &EventId,
    ) -> Result<(StoredEvent, Option<Membership>), RoomError> {
        let not_found = || RoomError::from(MatrixError::not_found("There is no such event"));
        let found = self.store.events(&[event_id.to_owned()]).await?;
        let stored = found.into_iter().next().ok_or_else(not_found)?;
        if stored.event.room_id != reader.room.room_id || stored.seq.is_none() {
            return Err(not_found());
        }
        let (is_visible, membership) = self.visibility(reader, &stored).await?;
        if !is_visible {
            return Err(not_found());
        }
        Ok((stored, membership))
    }

    /// An event in the form in which its reader gets it, with what is bundled into it.
    pub async fn show(
        &self,
        reader: &Reader,
        device_id: Option<&DeviceId>,
        stored: &StoredEvent,
        membership: Option<Membership>,
    ) -> Result<ShownEvent, StorageError> {
        let one = std::slice::from_ref(stored)
            .iter()
            .map(|stored| (stored, membership));
        let shown = self.show_all(reader, device_id, one).await?;
        let missing = || StorageError::Broken("an event was not shown".to_owned());
        shown.into_iter().next().ok_or_else(missing)
    }

    /// Events in the form in which their reader gets them. Storage is asked once which of them
    /// have relations, so that the others cost nothing.
    pub async fn show_all<'a>(
        &self,
        reader: &Reader,
        device_id: Option<&DeviceId>,
        events: impl Iterator<Item = (&'a StoredEvent, Option<Membership>)> + Clone,
    ) -> Result<Vec<ShownEvent>, StorageError> {
        let recent = self.rooms.recent(&reader.room.room_id).await?;
        self.show_all_among(reader, device_id, events, &recent)
            .await
    }

    /// The same, with the room's newest events at hand.
    pub(crate) async fn show_all_among<'a>(
        &self,
        reader: &Reader,
        device_id: Option<&DeviceId>,
        events: impl Iterator<Item = (&'a StoredEvent, Option<Membership>)> + Clone,
        recent: &Recent,
    ) -> Result<Vec<ShownEvent>, StorageError> {
        let older: Vec<OwnedEventId> = events
            .clone()
            .filter(|(stored, _)| {
                stored.event.state_key.is_none()
                    && stored.seq.is_none_or(|seq| recent.entry(seq).is_none())
            })
            .map(|(stored, _)| stored.event.id.clone())
            .collect();
        let related = if older.is_empty() {
            BTreeSet::new()
        } else {
            self.store.related(&older).await?.into_iter().collect()
        };
        let has_relations = recent.has_relations();
        let mut shown = Vec::new();
        for (stored, membership) in events {
            let known = (recent, has_relations, &related);
            shown.push(
                self.show_among(reader, device_id, stored, membership, known)
                    .await?,
            );
        }
        Ok(shown)
    }

    /// One event, with the room's newest events at hand, whether any of them refers to another,
    /// and those of the others that have relations.
    async fn show_among(
        &self,
        reader: &Reader,
        device_id: Option<&DeviceId>,
        stored: &StoredEvent,
        membership: Option<Membership>,
        (recent, has_relations, related): (&Recent, bool, &BTreeSet<OwnedEventId>),
    ) -> Result<ShownEvent, StorageError> {
        if self
            .is_erased_for(reader, (&stored.event, stored.seq), membership)
            .await?
        {
            let redacted = lyceum_room::redacted(&stored.event, &reader.room.rules)
                .map_err(|_| StorageError::Broken("an event cannot be redacted".to_owned()))?;
            let mut shown = ShownEvent::from(Arc::new(ClientEvent::new(&redacted)));
            shown.membership = membership;
            return Ok(shown);
        }
        let known = stored.seq.and_then(|seq| recent.entry(seq));
        let entry = known.cloned();
        let entry = entry.or_else(|| TimelineEntry::from_stored(stored).map(Arc::new));
        let mut shown = match entry {
            Some(entry) => entry.shown(&reader.user_id, device_id),
            None => {
                let mut shown = ShownEvent::from(Arc::new(ClientEvent::new(&stored.event)));
                let because = stored.redacted_because.as_deref();
                shown.redacted_because = because.map(|because| Arc::new(ClientEvent::new(because)));
                shown
            }
        };
        shown.membership = membership;
        if let Some(replaced) = shown.event.replaces_state() {
            shown.shows_prev_content = self.may_show(reader, replaced, recent).await?;
        }
        if stored.event.state_key.is_none() {
            let id = &stored.event.id;
            let related = match known {
                // Whatever relates to one of the newest events is newer still, so it is here too.
                Some(_) if has_relations => recent.related_to(id),
                Some(_) => Vec::new(),
                None if related.contains(id) => self.stored_relations_of(id, recent).await?,
                None => Vec::new(),
            };
            if !related.is_empty() {
                let viewer = (reader, device_id);
                let bundled = self.bundled(viewer, &stored.event, related, recent).await?;
                shown.relations = Some(Arc::new(BundledRelations {
                    // It would show what was redacted.
                    replacement: bundled
                        .replacement
                        .filter(|_| shown.redacted_because.is_none()),
                    ..bundled
                }));
            }
        }
        Ok(shown)
    }

    /// What is bundled into an event to which these relate, newest first.
    async fn bundled(
        &self,
        viewer: (&Reader, Option<&DeviceId>),
        parent: &Event,
        related: Vec<Arc<TimelineEntry>>,
        recent: &Recent,
    ) -> Result<BundledRelations, StorageError> {
        let related = self.seen_of(viewer.0, related).await?;
        let (mut bundled, newest) = bundle(viewer, parent, related);
        if let (Some(thread), Some(newest)) = (&mut bundled.thread, newest) {
            let related = match recent.entry(newest.seq) {
                Some(_) => recent.related_to(&newest.event.id),
                None => self.stored_relations_of(&newest.event.id, recent).await?,
            };
            let related = self.seen_of(viewer.0, related).await?;
            let (of_newest, _) = bundle(viewer, &newest.event, related);
            thread.latest_event.relations = Some(Arc::new(of_newest));
        }
        Ok(bundled)
    }

    async fn stored_relations_of(
        &self,
        event_id: &EventId,
        recent: &Recent,
    ) -> Result<Vec<Arc<TimelineEntry>>, StorageError> {
        let related = self
            .store
            .relations(event_id, None, None, BUNDLED_RELATIONS_MAX)
            .await?;
        let entry = |stored: &StoredEvent| {
            let known = stored.seq.and_then(|seq| recent.entry(seq)).cloned();
            known.or_else(|| TimelineEntry::from_stored(stored).map(Arc::new))
        };
        Ok(related.iter().filter_map(entry).collect())
    }

    /// Pieces of state in the form in which clients get them.
    pub async fn show_state<'a>(
        &self,
        state: impl IntoIterator<Item = &'a Arc<Event>>,
    ) -> Result<Vec<ShownEvent>, StorageError> {
        let mut shown = Vec::new();
        // Of most kinds nothing is left by a redaction; not each piece need be looked up.
        let mut emptied = Vec::new();
        for event in state {
            if event.content.get() == "{}" {
                emptied.push(event.id.clone());
            }
            shown.push(ShownEvent::from(Arc::new(ClientEvent::new(event))));
        }
        if emptied.is_empty() {
            return Ok(shown);
        }
        for stored in self.store.events(&emptied).await? {
            let is_it = |shown: &&mut ShownEvent| *shown.event.event_id() == stored.event.id;
            if let Some(because) = &stored.redacted_because
                && let Some(shown) = shown.iter_mut().find(is_it)
            {
                shown.redacted_because = Some(Arc::new(ClientEvent::new(because)));
            }
        }
        Ok(shown)
    }

    /// Whether a reader gets an event without its content, since its sender was erased and the
    /// reader was not there when it was sent (Client-Server API, "Account deactivation").
    async fn is_erased_for(
        &self,
        reader: &Reader,
        (event, seq): (&Event, Option<Seq>),
        membership: Option<Membership>,
    ) -> Result<bool, StorageError> {
        let may_be = membership != Some(Membership::Join) && !reader.sees_all;
        if !may_be || !erased::is_erased(self, &event.sender).await? {
            return Ok(false);
        }
        let (_, membership) = self.visibility_at(reader, event, seq).await?;
        Ok(membership != Some(Membership::Join))
    }

    /// Of events that relate to one, those that a reader sees, and not without their contents.
    async fn seen_of(
        &self,
        reader: &Reader,
        related: Vec<Arc<TimelineEntry>>,
    ) -> Result<Vec<Arc<TimelineEntry>>, StorageError> {
        let shared_since = reader.shared_since();
        let mut seen = Vec::with_capacity(related.len());
        for entry in related {
            let event = &*entry.event;
            let is_shared = shared_since.is_some_and(|depth| event.depth > depth);
            if is_shared && !erased::is_erased(self, &event.sender).await? {
                seen.push(entry);
                continue;
            }
            let place = Some(entry.seq);
            let (is_visible, membership) = self.visibility_at(reader, event, place).await?;
            if is_visible
                && !self
                    .is_erased_for(reader, (event, place), membership)
                    .await?
            {
                seen.push(entry);
            }
        }
        Ok(seen)
    }

    /// Whether the content of an event may be shown beside the one that replaced it: it was not
    /// redacted, and is not that of somebody erased.
    async fn may_show(
        &self,
        reader: &Reader,
        event_id: &EventId,
        recent: &Recent,
    ) -> Result<bool, StorageError> {
        let is_erased = async |event, seq| self.is_erased_for(reader, (event, seq), None).await;
        if let Some(entry) = recent.event(event_id) {
            return Ok(entry.redacted_because.is_none()
                && !is_erased(&entry.event, Some(entry.seq)).await?);
        }
        let found = self.store.events(&[event_id.to_owned()]).await?;
        let Some(stored) = found.first() else {
            return Ok(true);
        };
        Ok(stored.redacted_because.is_none() && !is_erased(&stored.event, stored.seq).await?)
    }

    /// Users whose messages somebody does not want to see (`m.ignored_user_list`).
    pub async fn ignored_users(
        &self,
        user_id: &UserId,
    ) -> Result<Arc<BTreeSet<OwnedUserId>>, StorageError> {
        Ok(self
            .unread
            .reader(&*self.store, user_id)
            .await?
            .ignored
            .clone())
    }
}

impl Reader {
    /// What can be said of an event without looking at the past: the reader has been a member
    /// since before it, or all was shared with members since before it.
    fn sees_at_once(&self, event: &Event) -> Option<(bool, Option<Membership>)> {
        let is_linear = self.room.heads.len() <= 1;
        if self.membership != Some(Membership::Join) || !is_linear {
            return None;
        }
        let member = self.room.state.member(&self.user_id)?;
        if member.event.depth < event.depth {
            return Some((true, Some(Membership::Join)));
        }
        None
    }

    /// Whatever is deeper than this was shared with whoever is a member now.
    fn shared_since(&self) -> Option<u64> {
        let is_linear = self.room.heads.len() <= 1;
        let is_shared = matches!(
            self.room.history_visibility(),
            HistoryVisibility::Shared | HistoryVisibility::WorldReadable
        );
        if self.membership != Some(Membership::Join) || !is_linear || !is_shared {
            return None;
        }
        let visibility = self.room.state.get("m.room.history_visibility", "");
        Some(visibility.map_or(0, |event| event.depth))
    }
}

impl Recent {
    /// The event at this place.
    pub fn entry(&self, seq: Seq) -> Option<&Arc<TimelineEntry>> {
        let index = self
            .entries
            .binary_search_by_key(&seq, |entry| entry.seq)
            .ok()?;
        self.entries.get(index)
    }

    /// The event with this id, if it is among them. It mostly is one of the newest.
    pub(crate) fn event(&self, event_id: &EventId) -> Option<&Arc<TimelineEntry>> {
        let mut newest_first = self.entries.iter().rev();
        newest_first.find(|entry| entry.event.id == *event_id)
    }

    /// Whether any of the events refers to another.
    fn has_relations(&self) -> bool {
        let refers = |entry: &Arc<TimelineEntry>| entry.event.relates_to.is_some();
        self.entries.iter().any(refers)
    }

    /// The events that refer to this one, newest first.
    fn related_to(&self, event_id: &EventId) -> Vec<Arc<TimelineEntry>> {
        let refers = |entry: &&Arc<TimelineEntry>| {
            entry
                .event
                .relates_to
                .as_ref()
                .is_some_and(|relation| relation.parent == *event_id)
        };
        self.entries.iter().rev().filter(refers).cloned().collect()
    }
}

impl TimelineEntry {
    /// The event for a reader, without its relations.
    pub fn shown(&self, reader: &UserId, device_id: Option<&DeviceId>) -> ShownEvent {
        let mut shown = ShownEvent::from(self.client.clone());
        shown.redacted_because = self.redacted_because.clone();
        if let (Some(sent_as), Some(device_id)) = (&self.sent_as, device_id)
            && sent_as.device_id == device_id
            && self.event.sender == reader
        {
            shown.transaction_id = Some(sent_as.transaction_id.clone());
        }
        shown
    }
}

/// What is bundled into an event (Client-Server API, "Aggregations of child events"): its newest
/// replacement, the summary of its thread, and references; with the newest event of the thread.
/// `related` comes newest first.
fn bundle(
    (reader, device_id): (&Reader, Option<&DeviceId>),
    event: &Event,
    related: Vec<Arc<TimelineEntry>>,
) -> (BundledRelations, Option<Arc<TimelineEntry>>) {
    let mut bundled = BundledRelations::default();
    let mut newest = None;
    for entry in related {
        let Some(relation) = &entry.event.relates_to else {
            continue;
        };
        if entry.redacted_because.is_some() || reader.ignored.contains(&entry.event.sender) {
            continue;
        }
        match &*relation.kind {
            "m.replace" if bundled.replacement.is_none() && may_replace(&entry.event, event) => {
                bundled.replacement = Some(entry.shown(&reader.user_id, device_id));
            }
            "m.thread" => {
                let is_own = entry.event.sender == reader.user_id || event.sender == reader.user_id;
                match &mut bundled.thread {
                    Some(summary) => {
                        summary.count += 1;
                        summary.current_user_participated |= is_own;
                    }
                    None => {
                        bundled.thread = Some(ThreadSummary {
                            latest_event: entry.shown(&reader.user_id, device_id),
                            count: 1,
                            current_user_participated: is_own,
                        });
                        newest = Some(entry.clone());
                    }
                }
            }
            "m.reference" => bundled.references.push(entry.event.id.clone()),
            _ => {}
        }
    }
    bundled.references.reverse();
    (bundled, newest)
}

/// Whether an event is a valid replacement of another one (Client-Server API, "Validity of
/// replacement events").
fn may_replace(new: &Event, old: &Event) -> bool {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.new_content")]
        _new: IgnoredAny,
    }
    let is_edit = |event: &Event| {
        let relation = event.relates_to.as_ref();
        relation.is_some_and(|relation| &*relation.kind == "m.replace")
    };
    // Of an encrypted one the clients must look.
    let has_content = || {
        &*new.kind == "m.room.encrypted"
            || serde_json::from_str::<Content>(new.content.get()).is_ok()
    };
    new.sender == old.sender
        && new.kind == old.kind
        && new.state_key.is_none()
        && old.state_key.is_none()
        && !is_edit(old)
        && has_content()
}

fn refused() -> RoomError {
    MatrixError::forbidden("You are not in that room").into()
}

fn visibility_of(event: &Event) -> HistoryVisibility {
    let content: Option<BTreeMap<String, serde_json::Value>> =
        serde_json::from_str(event.content.get()).ok();
    content
        .as_ref()
        .and_then(|content| content.get("history_visibility")?.as_str())
        .and_then(HistoryVisibility::from_name)
        .unwrap_or(HistoryVisibility::Shared)
}
