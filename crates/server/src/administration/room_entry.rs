//! Bringing users into rooms, giving them power there, and keeping rooms shut.

use lyceum_model::{Batch, MatrixError, Membership, User};
use lyceum_room::{Decision, Denied, Draft, Room};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, RoomOrAliasId, UserId};
use serde_json::{Map, Value, value::RawValue};

use super::{AdministrationError, people};
use crate::{Server, rooms::RoomError, sessions::Session};

/// The level that somebody gets in the name of a creator, whose own is beyond all levels; as
/// Synapse gives.
const LEVEL_FROM_CREATOR: i64 = 100;

/// Why nobody gets into a room that an admin blocked.
const BLOCKED: &str = "This room has been blocked on this server";

impl Server {
    /// Brings a user of this server into a room for an admin, who is told in Synapse's words why
    /// that cannot be.
    pub async fn bring_in_for_admin(
        &self,
        admin: &UserId,
        room: &RoomOrAliasId,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        let user = self.user_to_bring_in(user_id).await?;
        let room_id = self.room_of(room).await?;
        let facts = self.administration.facts(&*self.store).await?;
        if facts.blocker(&room_id).is_some() {
            return Err(MatrixError::new(403, "M_UNKNOWN", BLOCKED).into());
        }
        let Some(known) = self.rooms.room(&room_id).await? else {
            let why = "Can't join remote room because no servers that are in the room have been \
                       provided.";
            return Err(MatrixError::new(404, "M_UNKNOWN", why).into());
        };
        if known.state.membership(user_id) == Some(Membership::Ban) {
            let is_open = known.join_rule() == lyceum_room::JoinRule::Public;
            return Err(banned(if is_open { "join" } else { "invite" }).into());
        }
        self.bring_user_in(admin, room_id, &user).await
    }

    /// Brings a user of this server into a room, as who asks could by inviting them.
    pub(super) async fn bring_in(
        &self,
        by: &UserId,
        room: &RoomOrAliasId,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        let user = self.user_to_bring_in(user_id).await?;
        let room_id = self.room_of(room).await?;
        self.bring_user_in(by, room_id, &user).await
    }

    async fn user_to_bring_in(&self, user_id: &UserId) -> Result<User, AdministrationError> {
        let other_server = "This endpoint can only be used with local users";
        people::local_user(self, user_id, other_server).await
    }

    async fn bring_user_in(
        &self,
        by: &UserId,
        room_id: OwnedRoomId,
        user: &User,
    ) -> Result<OwnedRoomId, AdministrationError> {
        let user_id = &user.user_id;
        self.refuse_blocked(&room_id).await?;
        if user.is_deactivated {
            return Err(MatrixError::forbidden("This account has been deactivated").into());
        }
        let profile = self.profile(user_id).await?;
        let decide = |room: &Room| {
            Ok(lyceum_room::bring_in(
                room,
                by,
                user_id,
                profile.clone(),
                &self.signer,
                self.clock.now(),
            )?)
        };
        self.rooms
            .decide(&room_id, decide, |_: &Decision, _: &mut Batch| {})
            .await?;
        Ok(room_id)
    }

    /// Brings a user in for a learning platform; `None`: it is nobody whom it may touch, or who
    /// can be there.
    pub async fn bring_in_for_platform(
        &self,
        by: &UserId,
        room: &RoomOrAliasId,
        user_id: Option<OwnedUserId>,
    ) -> Result<Option<OwnedRoomId>, AdministrationError> {
        let Some(user_id) = user_id else {
            return Ok(None);
        };
        let user = self.store.user(&user_id).await?;
        let Some(user) = user.filter(|user| !super::provisioning::is_protected(user)) else {
            return Ok(None);
        };
        let room_id = self.room_of(room).await?;
        let known = self.rooms.room(&room_id).await?;
        let is_alive = |room: &Room| room.state.joined_count() > 0;
        let known = known.filter(is_alive).ok_or(RoomError::UnknownRoom)?;
        if !known.is_joined(by) {
            let why = format!("User {by} not in room {room_id}");
            return Err(MatrixError::forbidden(why).into());
        }
        if known.state.membership(&user_id) == Some(Membership::Ban) {
            return Ok(None);
        }
        self.bring_user_in(by, room_id, &user).await.map(Some)
    }

    /// Refuses to let anybody into a room that an admin blocked.
    pub async fn refuse_blocked(&self, room_id: &RoomId) -> Result<(), RoomError> {
        let facts = self.administration.facts(&*self.store).await?;
        if facts.blocker(room_id).is_some() {
            return Err(MatrixError::forbidden(BLOCKED).into());
        }
        Ok(())
    }

    /// Gives a user the highest level that a member of this server has, in that member's name; who
    /// is not there is invited.
    pub async fn make_room_admin(
        &self,
        room: &RoomOrAliasId,
        user_id: &UserId,
    ) -> Result<(), AdministrationError> {
        let room_id = self.room_of(room).await?;
        let known = self.rooms.room(&room_id).await?;
        let known = known.ok_or_else(|| MatrixError::unknown("Server not in room"))?;
        let Some(giver) = self.strongest_local_member(&known) else {
            return Err(MatrixError::unknown("No local admin user in room").into());
        };
        let levels = known.power_levels();
        let giver_level = levels.user(&giver);
        if !levels.may_send(&giver, "m.room.power_levels", true) {
            let has_level =
                levels.users.contains_key(&giver) || levels.privileged().contains(&giver);
            let why = if has_level {
                "No local admin user in room with power to update power levels."
            } else {
                "No local admin user in room"
            };
            return Err(MatrixError::unknown(why).into());
        }
        let membership = known.state.membership(user_id);
        let is_open = known.join_rule() == lyceum_room::JoinRule::Public;
        // Asked before anything is done: Synapse gives the level first.
        if membership == Some(Membership::Ban) && !is_open {
            return Err(banned("invite").into());
        }
        if !levels.privileged().contains(&user_id.to_owned()) && levels.user(user_id) < giver_level
        {
            let level = match giver_level {
                lyceum_room::Power::Level(level) => level,
                lyceum_room::Power::Infinite => LEVEL_FROM_CREATOR,
            };
            let draft = with_level(&known, user_id, level)?;
            self.send_as(&giver, &room_id, draft).await?;
        }
        if !is_open && !matches!(membership, Some(Membership::Join | Membership::Invite)) {
            self.invite(&giver, &room_id, user_id, None).await?;
        }
        Ok(())
    }

    /// The member of this server with the most power.
    pub(super) fn strongest_local_member(&self, room: &Room) -> Option<OwnedUserId> {
        let levels = room.power_levels();
        let mut strongest: Option<&UserId> = None;
        for (user_id, _) in room.state.joined_members() {
            let is_stronger =
                strongest.is_none_or(|strongest| levels.user(user_id) > levels.user(strongest));
            if self.is_local(user_id) && is_stronger {
                strongest = Some(user_id);
            }
        }
        strongest.map(ToOwned::to_owned)
    }

    /// Sends an event in a member's name.
    pub(super) async fn send_as(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        draft: Draft,
    ) -> Result<ruma_common::OwnedEventId, RoomError> {
        let session = self.session_of(sender).await?;
        self.send_message(&session, room_id, draft, None, None)
            .await
    }

    /// A session without a token, for what the server does in a user's name.
    pub(super) async fn session_of(&self, user_id: &UserId) -> Result<Session, RoomError> {
        let user = self.store.user(user_id).await?;
        let user = user.ok_or_else(|| MatrixError::not_found("User not found"))?;
        Ok(Session::without_token(user.user_id))
    }
}

fn banned(action: &str) -> MatrixError {
    let why = format!("Cannot {action} user who was banned");
    MatrixError::new(403, "M_BAD_STATE", why)
}

fn with_level(room: &Room, user_id: &UserId, level: i64) -> Result<Draft, Denied> {
    let content = room
        .state
        .get("m.room.power_levels", "")
        .and_then(|event| serde_json::from_str::<Map<String, Value>>(event.content.get()).ok());
    let mut content = content.unwrap_or_default();
    let users = content
        .entry("users")
        .or_insert_with(|| Value::Object(Map::new()));
    if !users.is_object() {
        *users = Value::Object(Map::new());
    }
    users[user_id.as_str()] = Value::from(level);
    let content = RawValue::from_string(Value::Object(content).to_string())
        .map_err(|error| Denied::BadJson(error.to_string()))?;
    Ok(Draft::state("m.room.power_levels", "", content))
}
