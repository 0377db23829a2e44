//! Redacting what a user wrote, in the user's own name or in the admin's.

use std::collections::BTreeMap;

use lyceum_model::{Event, MatrixError, Membership, Position, Seq};
use lyceum_storage::{Direction, TimelinePage};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::AdministrationError;
use crate::Server;

/// How many of a user's events are redacted in each room, if the admin does not say.
const LIMIT_DEFAULT: usize = 1_000;
/// How many events are read at a time.
const CHUNK: usize = 256;
/// How many events of a room are looked at.
const LOOKED_AT_MAX: usize = 1_000_000;

/// How a user's events are to be redacted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RedactionWish {
    /// The admin who wants it.
    pub by: OwnedUserId,
    /// In these rooms; none: in all where the user is, or is banned.
    pub rooms: Vec<OwnedRoomId>,
    /// Why.
    pub reason: Option<String>,
    /// At most so many in each room, newest first.
    pub limit: Option<usize>,
    /// In the admin's name.
    pub use_admin: bool,
    /// Only events sent at this time or before.
    pub before_ts: Option<u64>,
    /// Only events sent at this time or after.
    pub after_ts: Option<u64>,
}

impl Server {
    /// Redacts a user's events; which ones it could not, and why.
    pub async fn redact_user(
        &self,
        user_id: &UserId,
        wish: RedactionWish,
    ) -> Result<BTreeMap<OwnedEventId, String>, AdministrationError> {
        let mut rooms = wish.rooms.clone();
        if rooms.is_empty() {
            let standings = self.store.memberships(user_id).await?;
            let is_meant = |membership| matches!(membership, Membership::Join | Membership::Ban);
            rooms.extend(
                standings
                    .into_iter()
                    .filter(|standing| is_meant(standing.membership))
                    .map(|standing| standing.room_id),
            );
        }
        let mut failed = BTreeMap::new();
        let by = if wish.use_admin || !self.is_local(user_id) {
            &wish.by
        } else {
            user_id
        };
        let content = json!({ "reason": wish.reason });
        let content = wish
            .reason
            .as_ref()
            .and_then(|_| RawValue::from_string(content.to_string()).ok());
        let session = self.session_of(by).await.map_err(MatrixError::from);
        for room_id in rooms {
            let room = self.rooms.room(&room_id).await?;
            // Who is banned or has left says it where they still could.
            let has_left = by == user_id && !room.is_some_and(|room| room.is_joined(user_id));
            for event_id in self.redactable_events(&room_id, user_id, &wish).await? {
                let content = content.clone();
                let done = match &session {
                    _ if has_left => self.redact_in_the_past(&room_id, &event_id, content).await,
                    Ok(session) => {
                        self.redact(session, &room_id, &event_id, content, None)
                            .await
                    }
                    Err(error) => Err(error.clone().into()),
                };
                if let Err(error) = done {
                    failed.insert(event_id, MatrixError::from(error).to_string());
                }
            }
        }
        Ok(failed)
    }

    /// The user's events of a room that have something to redact, newest first.
    async fn redactable_events(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        wish: &RedactionWish,
    ) -> Result<Vec<OwnedEventId>, AdministrationError> {
        let limit = wish.limit.unwrap_or(LIMIT_DEFAULT);
        let mut found = Vec::new();
        let mut from = Seq(i64::MAX);
        let mut looked_at = 0;
        loop {
            let page = TimelinePage {
                room_id: room_id.to_owned(),
                from,
                until: None,
                up_to: Position(u64::MAX >> 1),
                direction: Direction::Backward,
                limit: CHUNK,
            };
            let chunk = self.store.timeline(page).await?;
            for stored in &chunk {
                from = stored.seq.unwrap_or(from);
                let event = &stored.event;
                let is_in_time = wish.before_ts.is_none_or(|ts| event.origin_server_ts <= ts)
                    && wish.after_ts.is_none_or(|ts| event.origin_server_ts >= ts);
                let is_redactable = event.sender == user_id
                    && stored.redacted_because.is_none()
                    && is_in_time
                    && is_somebodys_own(event);
                if is_redactable {
                    found.push(event.id.clone());
                    if found.len() >= limit {
                        return Ok(found);
                    }
                }
            }
            looked_at += chunk.len();
            if chunk.len() < CHUNK || looked_at >= LOOKED_AT_MAX {
                return Ok(found);
            }
        }
    }
}

/// Whether an event is what somebody said or what they are called. Other state is the room's: its
/// name, its topic, what a space contains. Redactions are spared too.
fn is_somebodys_own(event: &Event) -> bool {
    match &*event.kind {
        "m.room.member" => true,
        "m.room.redaction" => false,
        _ => event.state_key.is_none(),
    }
}
