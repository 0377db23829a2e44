//! What passes: typing notices, receipts, read markers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lyceum_model::{
    AccountChange, Batch, Event, MatrixError, Membership, Position, Receipt, ReceiptKind,
    RoomChange, StoredEvent,
};
use ruma_common::{EventId, OwnedEventId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::json;

use crate::{Server, rooms::RoomError, sessions::Session};

/// The longest typing notice in milliseconds.
const TYPING_MS_MAX: u64 = 120_000;

/// How far a user has read.
#[derive(Debug, Clone)]
pub struct ReadMark {
    /// Who sees it.
    pub kind: ReceiptKind,
    /// `None`: unthreaded.
    pub thread: Option<String>,
    /// Up to which event.
    pub event_id: OwnedEventId,
}

/// How many relations are followed to find the thread of an event.
pub(crate) const THREAD_HOPS_MAX: usize = 3;
/// The kind of account data that holds the read marker.
const FULLY_READ: &str = "m.fully_read";

/// How far a user has told to have read a room.
#[derive(Debug)]
struct ReadSoFar {
    receipts: Vec<Receipt>,
    fully_read: Option<OwnedEventId>,
}

impl ReadSoFar {
    /// The event of the receipt that this mark would replace.
    fn receipt(&self, mark: &ReadMark) -> Option<&OwnedEventId> {
        let same = |receipt: &&Receipt| receipt.kind == mark.kind && receipt.thread == mark.thread;
        self.receipts
            .iter()
            .find(same)
            .map(|receipt| &receipt.event_id)
    }

    fn event_ids(&self) -> BTreeSet<OwnedEventId> {
        let receipts = self.receipts.iter().map(|receipt| receipt.event_id.clone());
        receipts.chain(self.fully_read.clone()).collect()
    }
}

impl Server {
    /// A user begins or stops typing (`PUT /rooms/{roomId}/typing/{userId}`).
    pub async fn set_typing(
        &self,
        session: &Session,
        room_id: &RoomId,
        timeout_ms: Option<u64>,
    ) -> Result<(), RoomError> {
        self.must_be_member(session, room_id).await?;
        if session.is_shadow_banned {
            return Ok(());
        }
        self.rooms
            .in_typing_turn(room_id, self.note_typing(session, room_id, timeout_ms))
            .await
    }

    async fn note_typing(
        &self,
        session: &Session,
        room_id: &RoomId,
        timeout_ms: Option<u64>,
    ) -> Result<(), RoomError> {
        let now = self.clock.now();
        let before: BTreeMap<OwnedUserId, _> =
            self.store.typing(room_id).await?.into_iter().collect();
        let mut users = before.clone();
        users.retain(|_, until| *until > now);
        match timeout_ms {
            Some(timeout_ms) => {
                let until = now.plus_ms(timeout_ms.min(TYPING_MS_MAX));
                users.insert(session.user_id.clone(), until);
            }
            None => {
                users.remove(&session.user_id);
            }
        }
        self.typing_rooms.lock().insert(room_id.to_owned());
        if before.is_empty() && users.is_empty() {
            return Ok(());
        }
        let users = users.into_iter().collect();
        self.commit(RoomChange::Typing {
            room_id: room_id.to_owned(),
            users,
        })
        .await?;
        Ok(())
    }

    /// Whoever is no longer a member after these events types no longer.
    pub(super) async fn end_typing_of_gone(&self, events: &[Arc<Event>]) {
        for event in events {
            let gone = match lyceum_room::membership_of(event) {
                Some(Membership::Leave | Membership::Ban) if &*event.kind == "m.room.member" => {
                    event.state_key.as_deref()
                }
                _ => None,
            };
            let Some(gone) = gone else { continue };
            if !self.typing_rooms.lock().contains(&event.room_id) {
                continue;
            }
            let ended = self
                .rooms
                .in_typing_turn(&event.room_id, self.end_typing(&event.room_id, gone));
            if let Err(error) = ended.await {
                tracing::warn!(%error, "a typing notice could not be ended");
            }
        }
    }

    async fn end_typing(&self, room_id: &RoomId, user_id: &str) -> Result<(), RoomError> {
        let mut users = self.store.typing(room_id).await?;
        let count = users.len();
        users.retain(|(user, _)| *user != *user_id);
        if users.len() < count {
            let room_id = room_id.to_owned();
            self.commit(RoomChange::Typing { room_id, users }).await?;
        }
        Ok(())
    }

    /// Ends typing notices whose time has passed.
    pub(crate) async fn expire_typing(&self) {
        let rooms: Vec<_> = self.typing_rooms.lock().iter().cloned().collect();
        for room_id in rooms {
            let expired = self
                .rooms
                .in_typing_turn(&room_id, self.expire_typing_in(&room_id))
                .await;
            if let Err(error) = expired {
                tracing::warn!(%error, "typing notices could not be ended");
                return;
            }
        }
    }

    async fn expire_typing_in(&self, room_id: &RoomId) -> Result<(), RoomError> {
        let now = self.clock.now();
        let users = self.store.typing(room_id).await?;
        let count = users.len();
        let left: Vec<_> = users
            .into_iter()
            .filter(|(_, until)| *until > now)
            .collect();
        let is_over = left.is_empty();
        if left.len() < count {
            self.commit(RoomChange::Typing {
                room_id: room_id.to_owned(),
                users: left,
            })
            .await?;
        }
        if is_over {
            self.typing_rooms.lock().remove(room_id);
        }
        Ok(())
    }

    /// Sets receipts and the read marker (`m.fully_read`) in one. Neither moves backwards: what
    /// names an event at or before the one that it would replace changes nothing. A receipt for
    /// an event that is not in the room changes nothing either, lest it replace one that says
    /// how far its user has read; a read marker there is refused.
    pub async fn set_read_marks(
        &self,
        session: &Session,
        room_id: &RoomId,
        marks: Vec<ReadMark>,
        fully_read: Option<OwnedEventId>,
    ) -> Result<(), RoomError> {
        self.must_be_member(session, room_id).await?;
        for mark in &marks {
            check_thread(mark.thread.as_deref())?;
        }
        let _turn = self.accounts.turn(&session.user_id).await;
        let so_far = self.read_so_far(session, room_id).await?;
        let mut ids = so_far.event_ids();
        ids.extend(marks.iter().map(|mark| mark.event_id.clone()));
        ids.extend(fully_read.clone());
        let found = self.events_in(room_id, ids).await?;
        if fully_read
            .as_ref()
            .is_some_and(|id| !found.contains_key(id))
        {
            let why = "The event of m.fully_read is not in the room";
            return Err(MatrixError::not_found(why).into());
        }
        for mark in &marks {
            if let (Some(thread), Some(stored)) = (&mark.thread, found.get(&mark.event_id))
                && !self.is_in_thread(&stored.event, thread).await?
            {
                let why = format!("{} is not part of the thread {thread}", mark.event_id);
                return Err(MatrixError::invalid_param(why).into());
            }
        }
        let goes_on = |event_id: &OwnedEventId, before: Option<&OwnedEventId>| {
            let place = |id: &OwnedEventId| found.get(id).and_then(|stored| stored.seq);
            let places = (place(event_id), before.and_then(place));
            !matches!(places, (Some(place), Some(before)) if place <= before)
        };
        let mut batch = Batch::new();
        for mark in marks {
            let is_here = found.contains_key(&mark.event_id);
            if is_here && goes_on(&mark.event_id, so_far.receipt(&mark)) {
                batch.push(AccountChange::PutReceipt(Receipt {
                    room_id: room_id.to_owned(),
                    user_id: session.user_id.clone(),
                    kind: mark.kind,
                    thread: mark.thread,
                    event_id: mark.event_id,
                    at: self.clock.now(),
                    position: Position::default(),
                }));
            }
        }
        if let Some(event_id) = fully_read
            && goes_on(&event_id, so_far.fully_read.as_ref())
        {
            batch.push(AccountChange::AccountData {
                user_id: session.user_id.clone(),
                room_id: Some(room_id.to_owned()),
                kind: FULLY_READ.to_owned(),
                content: Some(json!({ "event_id": event_id }).to_string()),
            });
        }
        if !batch.changes.is_empty() {
            self.commit(batch).await?;
        }
        Ok(())
    }

    async fn read_so_far(
        &self,
        session: &Session,
        room_id: &RoomId,
    ) -> Result<ReadSoFar, RoomError> {
        #[derive(Deserialize)]
        struct Marker {
            event_id: OwnedEventId,
        }
        let receipts = self.store.receipts_of(room_id, &session.user_id).await?;
        let marker = self
            .store
            .account_data_entry(&session.user_id, Some(room_id), FULLY_READ)
            .await?;
        let marker: Option<Marker> = marker
            .and_then(|marker| marker.content)
            .and_then(|content| serde_json::from_str(&content).ok());
        Ok(ReadSoFar {
            receipts,
            fully_read: marker.map(|marker| marker.event_id),
        })
    }

    /// Those of the events that are known and in this room.
    async fn events_in(
        &self,
        room_id: &RoomId,
        ids: BTreeSet<OwnedEventId>,
    ) -> Result<BTreeMap<OwnedEventId, StoredEvent>, RoomError> {
        let ids: Vec<_> = ids.into_iter().collect();
        let found = self.store.events(&ids).await?;
        let here = found
            .into_iter()
            .filter(|stored| stored.event.room_id == *room_id);
        Ok(here
            .map(|stored| (stored.event.id.clone(), stored))
            .collect())
    }

    /// Whether a receipt for this event may name this thread: the one that it is part of itself or
    /// through what it relates to, and that of which it is the root (Client-Server API, "Threaded
    /// read receipts").
    async fn is_in_thread(&self, event: &Arc<Event>, thread: &str) -> Result<bool, RoomError> {
        let mut event = event.clone();
        for _ in 0..=THREAD_HOPS_MAX {
            if event.id.as_str() == thread {
                return Ok(true);
            }
            if let Some(root) = event.thread_root() {
                return Ok(root.as_str() == thread);
            }
            let Some(relation) = &event.relates_to else {
                break;
            };
            let found = self
                .store
                .events(std::slice::from_ref(&relation.parent))
                .await?;
            let Some(parent) = found.into_iter().next() else {
                break;
            };
            event = parent.event;
        }
        Ok(thread == "main")
    }

    async fn must_be_member(&self, session: &Session, room_id: &RoomId) -> Result<(), RoomError> {
        let room = self.rooms.room(room_id).await?;
        let is_member = room
            .is_some_and(|room| room.state.membership(&session.user_id) == Some(Membership::Join));
        if !is_member {
            return Err(MatrixError::forbidden("You are not in that room").into());
        }
        Ok(())
    }
}

fn check_thread(thread: Option<&str>) -> Result<(), MatrixError> {
    match thread {
        None | Some("main") => Ok(()),
        Some(root) if EventId::parse(root).is_ok() => Ok(()),
        Some(_) => Err(MatrixError::invalid_param(
            "thread_id must be \"main\" or an event id",
        )),
    }
}
