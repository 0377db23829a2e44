//! Finding rooms: aliases and the public directory.

use std::{collections::HashMap, sync::Arc};

use lyceum_model::{Alias, Batch, Expect, MatrixError, Membership, RoomChange};
use lyceum_room::{Draft, HistoryVisibility, JoinRule, Room};
use lyceum_storage::{CommitError, RoomPage, StorageError};
use parking_lot::Mutex;
use ruma_common::{OwnedRoomId, RoomAliasId, RoomId, UserId};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Server,
    rooms::{RoomError, Rooms},
    sessions::Session,
};

/// How many published rooms are looked at for one page of the directory, and are remembered for it.
const DIRECTORY_ROOMS_MAX: usize = 20_000;
/// The longest alias in bytes (Appendices, "Room Aliases").
const ALIAS_BYTES_MAX: usize = 255;

/// A room as the directory shows it (`PublicRoomsChunk`).
#[derive(Debug, Clone, Serialize)]
pub struct PublicRoom {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Its main alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// How many members it has.
    pub num_joined_members: u64,
    /// Whether anybody may read it.
    pub world_readable: bool,
    /// Whether guests may join.
    pub guest_can_join: bool,
    /// How one gets in.
    pub join_rule: &'static str,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
}

impl PublicRoom {
    /// A room as the directory shows it.
    pub fn of(room: &Room) -> Self {
        Self {
            room_id: room.room_id.clone(),
            name: room.name(),
            topic: room.topic(),
            avatar_url: room.avatar_url(),
            canonical_alias: room.canonical_alias().map(|alias| alias.to_string()),
            num_joined_members: room.state.joined_count(),
            world_readable: room.history_visibility() == HistoryVisibility::WorldReadable,
            guest_can_join: room.guest_can_join(),
            join_rule: room.join_rule().as_str(),
            room_type: room.kind(),
        }
    }
}

/// What the directory shows of rooms, remembered so that a page of it does not need the states of
/// all of them. An entry goes when something happens in its room.
#[derive(Debug, Default)]
pub(super) struct Listed {
    rooms: Mutex<HashMap<OwnedRoomId, Arc<PublicRoom>>>,
}

impl Listed {
    pub(super) fn forget(&self, room_id: &RoomId) {
        self.rooms.lock().remove(room_id);
    }
}

impl Rooms {
    /// A room as the directory shows it.
    async fn listed(&self, room_id: &RoomId) -> Result<Option<Arc<PublicRoom>>, StorageError> {
        if let Some(listed) = self.listed.rooms.lock().get(room_id) {
            return Ok(Some(listed.clone()));
        }
        let cell = self.cell(room_id);
        let touched = cell.touched();
        let Some(room) = self.committed(&cell).await? else {
            return Ok(None);
        };
        let room = Arc::new(PublicRoom::of(&room));
        let mut rooms = self.listed.rooms.lock();
        if rooms.len() >= DIRECTORY_ROOMS_MAX {
            rooms.clear();
        }
        // A cell is touched before its entry is forgotten, so none is kept that is behind.
        if cell.touched() == touched {
            rooms.insert(room_id.to_owned(), room.clone());
        }
        Ok(Some(room))
    }
}

/// What is looked for in the directory.
#[derive(Debug, Clone, Default)]
pub struct DirectoryQuery {
    /// Only rooms whose name, topic or alias contains this, in any case.
    pub term: Option<String>,
    /// Only rooms of these types; `None` in the list: rooms without a type.
    pub room_types: Option<Vec<Option<String>>>,
    /// How many to leave out at the start.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// A page of the directory.
#[derive(Debug)]
pub struct DirectoryPage {
    /// The rooms, biggest first.
    pub rooms: Vec<PublicRoom>,
    /// How many there are in all.
    pub total: usize,
}

impl Server {
    /// A page of the public directory.
    pub async fn public_rooms(&self, query: DirectoryQuery) -> Result<DirectoryPage, RoomError> {
        let page = RoomPage {
            after: None,
            only_published: true,
            limit: DIRECTORY_ROOMS_MAX,
        };
        let term = query.term.map(|term| term.to_lowercase());
        let mut found = Vec::new();
        for summary in self.store.rooms(page).await? {
            let Some(room) = self.rooms.listed(&summary.room_id).await? else {
                continue;
            };
            let texts = [&room.name, &room.topic, &room.canonical_alias];
            let matches_term = term.as_ref().is_none_or(|term| {
                texts
                    .into_iter()
                    .flatten()
                    .any(|text| text.to_lowercase().contains(term))
            });
            let matches_type = query
                .room_types
                .as_ref()
                .is_none_or(|types| types.contains(&room.room_type));
            // Nobody comes into a room that nobody is in.
            if matches_term && matches_type && room.num_joined_members > 0 {
                found.push(room);
            }
        }
        found.sort_by(|a, b| {
            (b.num_joined_members, &a.room_id).cmp(&(a.num_joined_members, &b.room_id))
        });
        let total = found.len();
        let rooms = found
            .into_iter()
            .skip(query.offset)
            .take(query.limit)
            .map(Arc::unwrap_or_clone)
            .collect();
        Ok(DirectoryPage { rooms, total })
    }

    /// Whether a room is in the directory.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, RoomError> {
        let record = self
            .store
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        Ok(record.is_published)
    }

    /// Puts a room into the directory or takes it out; for those who may change its main alias.
    pub async fn publish(
        &self,
        session: &Session,
        room_id: &RoomId,
        is_published: bool,
    ) -> Result<(), RoomError> {
        let room = self
            .rooms
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        if !session.is_admin && !may_name(&room, session) {
            let why = "You have no right to change this room's place in the directory";
            return Err(MatrixError::forbidden(why).into());
        }
        self.commit(RoomChange::Publish {
            room_id: room_id.to_owned(),
            is_published,
        })
        .await?;
        Ok(())
    }

    /// Makes an alias for a room.
    pub async fn set_alias(
        &self,
        session: &Session,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), RoomError> {
        self.may_claim_alias(&session.user_id, alias)?;
        let room = self
            .rooms
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        let is_member = room.state.membership(&session.user_id) == Some(Membership::Join);
        if !session.is_admin && !is_member {
            return Err(MatrixError::forbidden("You are not in that room").into());
        }
        let mut batch = Batch::new();
        batch.expect(Expect::AliasAbsent(alias.to_owned()));
        batch.push(RoomChange::SetAlias(Alias {
            alias: alias.to_owned(),
            room_id: room_id.to_owned(),
            creator: session.user_id.clone(),
        }));
        match self.commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Stale(_)) => {
                let why = format!("The alias {alias} names a room already");
                Err(MatrixError::new(409, "M_UNKNOWN", why).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this user may make this alias here.
    pub(super) fn may_claim_alias(
        &self,
        user_id: &UserId,
        alias: &RoomAliasId,
    ) -> Result<(), RoomError> {
        if alias.server_name() != self.config.server_name {
            return Err(MatrixError::invalid_param("The alias belongs to another server").into());
        }
        let has_odd_characters = alias
            .as_str()
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control());
        if alias.as_str().len() > ALIAS_BYTES_MAX || has_odd_characters {
            return Err(MatrixError::invalid_param("The alias is not allowed").into());
        }
        if self
            .application_services()
            .iter()
            .any(|service| service.reserves_alias(alias.as_str()) && !service.owns_user(user_id))
        {
            let why = "The alias is reserved by an application service";
            return Err(MatrixError::new(400, "M_EXCLUSIVE", why).into());
        }
        Ok(())
    }

    /// Removes an alias; for who made it, who may change the room's main alias, and admins.
    pub async fn remove_alias(
        &self,
        session: &Session,
        alias: &RoomAliasId,
    ) -> Result<(), RoomError> {
        let Some(found) = self.store.alias(alias).await? else {
            return Err(MatrixError::not_found(format!("The alias {alias} names no room")).into());
        };
        let room = self.rooms.room(&found.room_id).await?;
        let may = session.is_admin
            || found.creator == session.user_id
            || room.as_ref().is_some_and(|room| may_name(room, session));
        if !may {
            return Err(MatrixError::forbidden("You have no right to remove this alias").into());
        }
        self.commit(RoomChange::RemoveAlias(alias.to_owned()))
            .await?;
        if let Some(room) = room {
            self.unname(session, &room, alias).await?;
        }
        Ok(())
    }

    /// Takes an alias that is gone out of what the room calls itself, if the user may do that.
    async fn unname(
        &self,
        session: &Session,
        room: &Room,
        alias: &RoomAliasId,
    ) -> Result<(), RoomError> {
        let Some(event) = room.state.get("m.room.canonical_alias", "") else {
            return Ok(());
        };
        let Ok(mut content) =
            serde_json::from_str::<serde_json::Map<String, Value>>(event.content.get())
        else {
            return Ok(());
        };
        let is_it = |value: &Value| value.as_str() == Some(alias.as_str());
        let mut is_named = content.get("alias").is_some_and(is_it);
        if is_named {
            content.remove("alias");
        }
        if let Some(Value::Array(others)) = content.get_mut("alt_aliases") {
            let count = others.len();
            others.retain(|other| !is_it(other));
            is_named |= others.len() < count;
        }
        if !is_named {
            return Ok(());
        }
        let content = serde_json::value::to_raw_value(&content)
            .map_err(|error| MatrixError::internal(error.to_string()))?;
        let draft = Draft::state("m.room.canonical_alias", "", content);
        match self.send_state(session, &room.room_id, draft, None).await {
            Ok(_) | Err(RoomError::Denied(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The aliases of a room, for its members, for admins and, if anybody may read it, for anybody.
    pub async fn aliases_of(
        &self,
        session: &Session,
        room_id: &RoomId,
    ) -> Result<Vec<Alias>, RoomError> {
        let room = self
            .rooms
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        let is_member = room.state.membership(&session.user_id) == Some(Membership::Join);
        let is_open = room.history_visibility() == HistoryVisibility::WorldReadable;
        if !is_member && !is_open && !session.is_admin {
            return Err(MatrixError::forbidden("You are not in that room").into());
        }
        Ok(self.store.aliases(room_id).await?)
    }

    /// Whether a user may see a room's summary: members, the invited, and everybody where anybody
    /// may join, knock or read.
    pub fn may_preview(&self, room: &Room, session: &Session) -> bool {
        let is_open = match room.join_rule() {
            JoinRule::Public | JoinRule::Knock | JoinRule::KnockRestricted => true,
            JoinRule::Invite | JoinRule::Restricted | JoinRule::Private => false,
        };
        is_open
            || room.history_visibility() == HistoryVisibility::WorldReadable
            || matches!(
                room.state.membership(&session.user_id),
                Some(Membership::Join | Membership::Invite)
            )
    }
}

impl Server {
    /// Whether a user may see a room's summary: those of [`Server::may_preview`], and whoever a
    /// restricted room would let in.
    pub async fn may_see_summary(&self, room: &Room, session: &Session) -> Result<bool, RoomError> {
        if self.may_preview(room, session) {
            return Ok(true);
        }
        let trusted = self.allowed_rooms_of(&session.user_id, room).await?;
        Ok(!trusted.is_empty())
    }
}

fn may_name(room: &Room, session: &Session) -> bool {
    room.state.membership(&session.user_id) == Some(Membership::Join)
        && room
            .power_levels()
            .may_send(&session.user_id, "m.room.canonical_alias", true)
}
