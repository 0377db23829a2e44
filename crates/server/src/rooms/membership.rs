//! Coming and going: join, invite, leave, kick, ban, knock, forget.

use lyceum_model::{Batch, MatrixError, Membership, RoomChange, Timestamp};
use lyceum_room::{Decision, Denied, Invite, Join, Knock, Room, Signer, Target};
use lyceum_storage::StorageError;
use ruma_common::{OwnedRoomId, RoomAliasId, RoomId, RoomOrAliasId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Server, rooms::RoomError};

/// A rule about what one user does to another's standing.
type TargetRule = fn(&Room, &UserId, Target, &Signer, Timestamp) -> Result<Decision, Denied>;

impl Server {
    /// The room of an id or alias.
    pub async fn room_of(&self, room: &RoomOrAliasId) -> Result<OwnedRoomId, RoomError> {
        if let Ok(alias) = <&RoomAliasId>::try_from(room) {
            let Some(found) = self.store.alias(alias).await? else {
                let why = format!("The alias {alias} names no room");
                return Err(MatrixError::not_found(why).into());
            };
            return Ok(found.room_id);
        }
        RoomId::parse(room.as_str())
            .map_err(|_| MatrixError::invalid_param("This is not a room id").into())
    }

    /// Joins a user to a room.
    pub async fn join_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        reason: Option<String>,
        extra: Option<Box<RawValue>>,
    ) -> Result<(), RoomError> {
        self.refuse_blocked(room_id).await?;
        let Some(room) = self.rooms.room(room_id).await? else {
            return Err(MatrixError::not_found(
                "This server is not in that room, and no other server was named that it can reach",
            )
            .into());
        };
        let profile = self.profile(user_id).await?;
        let member_of = self.allowed_rooms_of(user_id, &room).await?;
        self.change(room_id, |room| {
            let join = Join {
                profile: profile.clone(),
                reason: reason.clone(),
                member_of: member_of.clone(),
                extra: extra.clone(),
            };
            Ok(lyceum_room::join(
                room,
                user_id,
                join,
                &self.signer,
                self.clock.now(),
            )?)
        })
        .await?;
        self.take_settings_over(user_id, room_id).await;
        Ok(())
    }

    /// Those of the rooms that a restricted room trusts in which the user is a member.
    pub(super) async fn allowed_rooms_of(
        &self,
        user_id: &UserId,
        room: &Room,
    ) -> Result<Vec<OwnedRoomId>, RoomError> {
        let mut member_of = Vec::new();
        for room_id in room.allowed_rooms() {
            if let Some(allowed) = self.rooms.room(&room_id).await?
                && allowed.state.membership(user_id) == Some(Membership::Join)
            {
                member_of.push(room_id);
            }
        }
        Ok(member_of)
    }

    /// Invites a user.
    pub async fn invite(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        user_id: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.may_be_invited(sender, user_id).await?;
        self.refuse_blocked(room_id).await?;
        let profile = self.profile(user_id).await?;
        self.change(room_id, |room| {
            let invite = Invite {
                user_id: user_id.to_owned(),
                profile: profile.clone(),
                reason: reason.clone(),
                is_direct: false,
            };
            Ok(lyceum_room::invite(
                room,
                sender,
                invite,
                &self.signer,
                self.clock.now(),
            )?)
        })
        .await
    }

    /// Whether an invite may reach a user: it must be a user of this server who does not refuse
    /// invites (Client-Server API, "Invite permission").
    pub(super) async fn may_be_invited(
        &self,
        sender: &UserId,
        user_id: &UserId,
    ) -> Result<(), RoomError> {
        if !self.is_local(user_id) {
            let why = format!("The server of {user_id} cannot be reached from here");
            return Err(MatrixError::new(400, "M_UNKNOWN", why).into());
        }
        if sender != user_id && self.blocks_invites(user_id).await? {
            let why = "This user does not accept invites";
            return Err(MatrixError::new(403, "M_INVITE_BLOCKED", why).into());
        }
        Ok(())
    }

    /// Whether a user wants to be invited by nobody (Client-Server API, "Invite permission").
    pub(crate) async fn blocks_invites(&self, user_id: &UserId) -> Result<bool, StorageError> {
        #[derive(Deserialize)]
        struct InvitePermission {
            default_action: Option<String>,
        }
        let entry = self
            .store
            .account_data_entry(user_id, None, "m.invite_permission_config")
            .await?;
        let content = entry.and_then(|entry| entry.content);
        Ok(content.is_some_and(|content| {
            serde_json::from_str::<InvitePermission>(&content)
                .is_ok_and(|permission| permission.default_action.as_deref() == Some("block"))
        }))
    }

    /// Leaves a room, refuses an invite, or takes back a knock.
    pub async fn leave_room(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.change(room_id, |room| {
            let now = self.clock.now();
            Ok(lyceum_room::leave(
                room,
                user_id,
                reason.clone(),
                &self.signer,
                now,
            )?)
        })
        .await
    }

    /// Asks to be let in.
    pub async fn knock(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.refuse_blocked(room_id).await?;
        let profile = self.profile(user_id).await?;
        self.change(room_id, |room| {
            let knock = Knock {
                profile: profile.clone(),
                reason: reason.clone(),
            };
            Ok(lyceum_room::knock(
                room,
                user_id,
                knock,
                &self.signer,
                self.clock.now(),
            )?)
        })
        .await
    }

    /// Removes a member.
    pub async fn kick(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: Target,
    ) -> Result<(), RoomError> {
        self.change_of(lyceum_room::kick, sender, room_id, target)
            .await
    }

    /// Keeps a user out.
    pub async fn ban(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: Target,
    ) -> Result<(), RoomError> {
        self.change_of(lyceum_room::ban, sender, room_id, target)
            .await
    }

    /// Lets a user come again.
    pub async fn unban(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: Target,
    ) -> Result<(), RoomError> {
        self.change_of(lyceum_room::unban, sender, room_id, target)
            .await
    }

    /// No longer shows a room to a user who left it.
    pub async fn forget(&self, user_id: &UserId, room_id: &RoomId) -> Result<(), RoomError> {
        let room = self
            .rooms
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        match room.state.membership(user_id) {
            Some(Membership::Leave | Membership::Ban) | None => {}
            Some(Membership::Join | Membership::Invite | Membership::Knock) => {
                let why = format!("User {user_id} is in room {room_id}");
                return Err(MatrixError::unknown(why).into());
            }
        }
        let forget = RoomChange::Forget {
            room_id: room_id.to_owned(),
            user_id: user_id.to_owned(),
        };
        self.commit(forget).await?;
        Ok(())
    }

    /// Leaves all rooms, for an account that is closed. What cannot be left is logged.
    pub async fn leave_all_rooms(&self, user_id: &UserId) {
        let memberships = match self.store.memberships(user_id).await {
            Ok(memberships) => memberships,
            Err(error) => {
                tracing::error!(%error, "a closed account's rooms could not be read");
                return;
            }
        };
        for membership in memberships {
            let is_there = matches!(
                membership.membership,
                Membership::Join | Membership::Invite | Membership::Knock
            );
            if is_there
                && let Err(error) = self.leave_room(user_id, &membership.room_id, None).await
            {
                tracing::warn!(%error, room = %membership.room_id, "a closed account stays in a room");
            }
        }
    }

    /// What one user does to another's standing.
    async fn change_of(
        &self,
        rule: TargetRule,
        sender: &UserId,
        room_id: &RoomId,
        target: Target,
    ) -> Result<(), RoomError> {
        self.change(room_id, |room| {
            let (target, now) = (target.clone(), self.clock.now());
            Ok(rule(room, sender, target, &self.signer, now)?)
        })
        .await
    }

    pub(crate) async fn change(
        &self,
        room_id: &RoomId,
        decide: impl FnMut(&Room) -> Result<Decision, RoomError> + Send,
    ) -> Result<(), RoomError> {
        let (decision, _) = self
            .rooms
            .decide(room_id, decide, |_: &Decision, _: &mut Batch| {})
            .await?;
        self.end_typing_of_gone(&decision.events).await;
        Ok(())
    }
}
