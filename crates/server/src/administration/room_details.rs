//! Rooms as admins see them.

use lyceum_model::Membership;
use lyceum_room::Room;
use lyceum_storage::{RoomPage, StorageError};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde::Serialize;

use crate::Server;

/// How many rooms are asked for at a time.
const ROOMS_PAGE: usize = 1_000;
/// How many users' devices are asked for at a time.
const USERS_PAGE: usize = 500;

/// A room in the list of rooms.
#[derive(Debug, Clone, Serialize)]
pub struct RoomLine {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its name.
    pub name: Option<String>,
    /// Its main alias.
    pub canonical_alias: Option<String>,
    /// How many members it has.
    pub joined_members: u64,
    /// How many of this server.
    pub joined_local_members: u64,
    /// Its version.
    pub version: String,
    /// Who made it.
    pub creator: Option<OwnedUserId>,
    /// By what its messages are encrypted.
    pub encryption: Option<String>,
    /// Whether users of other servers can be in it.
    pub federatable: bool,
    /// Whether it is in the directory.
    pub public: bool,
    /// Who may join.
    pub join_rules: Option<String>,
    /// Whether guests may.
    pub guest_access: Option<String>,
    /// Who sees what was written before.
    pub history_visibility: Option<String>,
    /// How many pieces of state it has.
    pub state_events: usize,
    /// Its type.
    pub room_type: Option<String>,
}

/// All that is told of one room.
#[derive(Debug, Clone, Serialize)]
pub struct RoomDetails {
    /// What the list tells.
    #[serde(flatten)]
    pub line: RoomLine,
    /// Its topic.
    pub topic: Option<String>,
    /// Its picture.
    pub avatar: Option<String>,
    /// How many devices its members of this server have.
    pub joined_local_devices: u64,
    /// Whether all users of this server have forgotten it.
    pub forgotten: bool,
    /// Whether it was closed.
    pub tombstoned: bool,
    /// Where it goes on.
    pub replacement_room: Option<OwnedRoomId>,
}

impl Server {
    /// A room as the list shows it.
    pub fn room_line(&self, room: &Room, is_published: bool) -> RoomLine {
        let text = |kind: &str, key: &str| {
            let event = room.state.get(kind, "")?;
            let content: serde_json::Value = serde_json::from_str(event.content.get()).ok()?;
            Some(content.get(key)?.as_str()?.to_owned())
        };
        let local = room
            .state
            .joined_members()
            .filter(|(user_id, _)| self.is_local(user_id));
        RoomLine {
            room_id: room.room_id.clone(),
            name: room.name(),
            canonical_alias: room.canonical_alias().map(|alias| alias.to_string()),
            joined_members: room.state.joined_count(),
            joined_local_members: local.count() as u64,
            version: room.version().to_string(),
            creator: room.creators().into_iter().next(),
            encryption: room.encryption(),
            federatable: room.is_federated(),
            public: is_published,
            join_rules: text("m.room.join_rules", "join_rule"),
            guest_access: text("m.room.guest_access", "guest_access"),
            history_visibility: text("m.room.history_visibility", "history_visibility"),
            state_events: room.state.len(),
            room_type: room.kind(),
        }
    }

    /// All rooms as the list shows them, in the order of their ids.
    pub async fn room_lines(&self) -> Result<Vec<RoomLine>, StorageError> {
        let mut lines = Vec::new();
        let mut after = None;
        loop {
            let page = RoomPage {
                after: after.take(),
                only_published: false,
                limit: ROOMS_PAGE,
            };
            let summaries = self.store.rooms(page).await?;
            for summary in &summaries {
                if let Some(room) = self.rooms.room(&summary.room_id).await? {
                    lines.push(self.room_line(&room, summary.is_published));
                }
            }
            match summaries.last() {
                Some(last) if summaries.len() == ROOMS_PAGE => after = Some(last.room_id.clone()),
                _ => return Ok(lines),
            }
        }
    }

    /// All that is told of one room; `None` if this server does not know it.
    pub async fn room_details(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<RoomDetails>, StorageError> {
        let Some(room) = self.rooms.room(room_id).await? else {
            return Ok(None);
        };
        let is_published = self.is_listed(room_id).await?;
        let local: Vec<OwnedUserId> = room
            .state
            .joined_members()
            .filter(|(user_id, _)| self.is_local(user_id))
            .map(|(user_id, _)| user_id.to_owned())
            .collect();
        let mut joined_local_devices = 0;
        for users in local.chunks(USERS_PAGE) {
            joined_local_devices += self.store.devices(users).await?.len() as u64;
        }
        let tombstone = room.tombstone();
        Ok(Some(RoomDetails {
            line: self.room_line(&room, is_published),
            topic: room.topic(),
            avatar: room.avatar_url(),
            joined_local_devices,
            forgotten: self.is_forgotten_by_all(&room).await?,
            tombstoned: tombstone.is_some(),
            replacement_room: tombstone.and_then(|tombstone| tombstone.replacement_room),
        }))
    }

    async fn is_listed(&self, room_id: &RoomId) -> Result<bool, StorageError> {
        // Only rooms that can be seen from outside are ever listed, so most need no question.
        let record = self.store.room(room_id).await?;
        Ok(record.is_some_and(|record| record.is_published))
    }

    async fn is_forgotten_by_all(&self, room: &Room) -> Result<bool, StorageError> {
        let mut is_any = false;
        let mut left = Vec::new();
        for (user_id, member) in room.state.members() {
            if !self.is_local(user_id) {
                continue;
            }
            is_any = true;
            match member.membership {
                Membership::Leave | Membership::Ban => left.push(user_id.to_owned()),
                Membership::Join | Membership::Invite | Membership::Knock => return Ok(false),
            }
        }
        for user_id in left {
            let standings = self.store.memberships(&user_id).await?;
            let is_remembered = standings
                .iter()
                .any(|standing| standing.room_id == room.room_id && !standing.is_forgotten);
            if is_remembered {
                return Ok(false);
            }
        }
        Ok(is_any)
    }
}
