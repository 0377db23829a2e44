//! Shutting rooms down: everybody of this server leaves, is told so in another room if that is
//! wanted, and all that is known of the room goes.

use std::{sync::Arc, time::Duration};

use lyceum_model::{Batch, MatrixError, Membership, RoomChange};
use lyceum_room::{Draft, Preset};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::AdministrationError;
use crate::{Server, rooms::NewRoom, sessions::Session};

/// How long clients have to learn that they left before the room goes.
const FAREWELL: Duration = Duration::from_millis(300);

/// How a room is to be deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeletionWish {
    /// The admin who wants it.
    pub by: OwnedUserId,
    /// Who makes the room in which people are told about it.
    pub new_room_user_id: Option<OwnedUserId>,
    /// What that room is called.
    pub room_name: String,
    /// What is said there.
    pub message: String,
    /// Whether nobody may join the old room any more.
    pub block: bool,
    /// Whether all that is known of the room goes.
    pub purge: bool,
    /// Whether it goes although somebody could not leave.
    pub force_purge: bool,
}

/// What came of shutting a room down.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Shutdown {
    kicked_users: Vec<OwnedUserId>,
    failed_to_kick_users: Vec<OwnedUserId>,
    local_aliases: Vec<String>,
    new_room_id: Option<OwnedRoomId>,
}

impl Server {
    /// Deletes a room, and tells what came of it in Synapse's shape; `note` gets the same before
    /// the room is purged.
    pub async fn delete_room<F: Future<Output = ()> + Send>(
        self: &Arc<Self>,
        room_id: &RoomId,
        wish: DeletionWish,
        note: impl Fn(Value) -> F + Send,
    ) -> Result<Value, AdministrationError> {
        if wish.block {
            self.block_room(room_id, Some(&wish.by)).await?;
        }
        let mut shutdown = Shutdown::default();
        // A room that is not there is as it should be, so that a deletion can be asked for twice.
        let Some(room) = self.rooms.room(room_id).await? else {
            return Ok(json!(shutdown));
        };
        if let Some(maker) = &wish.new_room_user_id {
            shutdown.new_room_id = Some(self.make_notice_room(maker, &wish).await?);
        }
        let present: Vec<(OwnedUserId, Membership)> = room
            .state
            .members()
            .filter(|(user_id, member)| {
                let is_there = matches!(
                    member.membership,
                    Membership::Join | Membership::Invite | Membership::Knock
                );
                is_there && self.is_local(user_id)
            })
            .map(|(user_id, member)| (user_id.to_owned(), member.membership))
            .collect();
        for (user_id, membership) in present {
            if let Err(error) = self.leave_room(&user_id, room_id, None).await {
                tracing::warn!(%error, room = %room_id, "a user stays in a room that is shut down");
                shutdown.failed_to_kick_users.push(user_id);
                continue;
            }
            if let (Some(new_room), Some(maker)) = (&shutdown.new_room_id, &wish.new_room_user_id)
                && membership == Membership::Join
                && let Err(error) = self.bring_in(maker, (&**new_room).into(), &user_id).await
            {
                tracing::warn!(%error, "a user could not be brought into the room of the notice");
            }
            shutdown.kicked_users.push(user_id);
        }
        self.move_aliases(room_id, &mut shutdown).await?;
        if !wish.purge {
            for user_id in &shutdown.kicked_users {
                if let Err(error) = self.forget(user_id, room_id).await {
                    tracing::warn!(%error, room = %room_id, "a room that was shut down is still listed");
                }
            }
            return Ok(json!(shutdown));
        }
        note(json!(shutdown)).await;
        if !shutdown.failed_to_kick_users.is_empty() && !wish.force_purge {
            let why = "Users are still joined to this room";
            return Err(MatrixError::unknown(why).into());
        }
        if !shutdown.kicked_users.is_empty() {
            tokio::time::sleep(FAREWELL).await;
        }
        self.commit(RoomChange::Purge {
            room_id: room_id.to_owned(),
        })
        .await?;
        Ok(json!(shutdown))
    }

    /// Aliases of this server go over to the new room, if there is one.
    async fn move_aliases(
        &self,
        room_id: &RoomId,
        shutdown: &mut Shutdown,
    ) -> Result<(), AdministrationError> {
        let Some(new_room) = &shutdown.new_room_id else {
            return Ok(());
        };
        let mut batch = Batch::new();
        for mut alias in self.store.aliases(room_id).await? {
            shutdown.local_aliases.push(alias.alias.to_string());
            alias.room_id.clone_from(new_room);
            batch.push(RoomChange::RemoveAlias(alias.alias.clone()));
            batch.push(RoomChange::SetAlias(alias));
        }
        if !batch.changes.is_empty() {
            self.commit(batch).await?;
        }
        Ok(())
    }

    async fn make_notice_room(
        &self,
        maker: &UserId,
        wish: &DeletionWish,
    ) -> Result<OwnedRoomId, AdministrationError> {
        if !self.is_local(maker) {
            let why = format!("User must be our own: {maker}");
            return Err(MatrixError::unknown(why).into());
        }
        let levels = RawValue::from_string(json!({ "users_default": -10 }).to_string());
        let session = Session::without_token(maker.to_owned());
        let room = NewRoom {
            preset: Some(Preset::PublicChat),
            name: Some(wish.room_name.clone()),
            power_level_content_override: levels.ok(),
            ..NewRoom::default()
        };
        let room_id = self.create_room(&session, room).await?;
        let content = json!({ "msgtype": "m.text", "body": wish.message }).to_string();
        let content = RawValue::from_string(content)
            .map_err(|_| MatrixError::internal("The message could not be written"))?;
        let draft = Draft::message("m.room.message", content);
        self.send_message(&session, &room_id, draft, None, None)
            .await?;
        Ok(room_id)
    }
}
