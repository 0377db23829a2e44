//! What passes: typing notices, receipts, read markers.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{
    AccountChange, Batch, Event, MatrixError, Membership, Position, Receipt, ReceiptKind,
    RoomChange,
};
use ruma_common::{EventId, OwnedEventId, OwnedUserId, RoomId};
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

impl Server {
    /// A user begins or stops typing (`PUT /rooms/{roomId}/typing/{userId}`).
    pub async fn set_typing(
        &self,
        session: &Session,
        room_id: &RoomId,
        timeout_ms: Option<u64>,
    ) -> Result<(), RoomError> {
        self.must_be_member(session, room_id).await?;
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

    /// Sets receipts and the read marker (`m.fully_read`) in one.
    pub async fn set_read_marks(
        &self,
        session: &Session,
        room_id: &RoomId,
        marks: Vec<ReadMark>,
        fully_read: Option<OwnedEventId>,
    ) -> Result<(), RoomError> {
        self.must_be_member(session, room_id).await?;
        let mut batch = Batch::new();
        for mark in marks {
            check_thread(mark.thread.as_deref())?;
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
        if let Some(event_id) = fully_read {
            batch.push(AccountChange::AccountData {
                user_id: session.user_id.clone(),
                room_id: Some(room_id.to_owned()),
                kind: "m.fully_read".to_owned(),
                content: Some(json!({ "event_id": event_id }).to_string()),
            });
        }
        if !batch.changes.is_empty() {
            self.commit(batch).await?;
        }
        Ok(())
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
