//! Shutting rooms down: everybody of this server leaves, is told so in another room if that is
//! wanted, and all that is known of the room goes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lyceum_model::{Batch, Change, MatrixError, Membership, RoomChange};
use lyceum_room::{Draft, Preset, Room};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{AdministrationError, documents};
use crate::{
    Server,
    rooms::{NewRoom, TransactionName},
    sessions::Session,
};

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

/// What is known of a deletion until it is done: after a crash nothing else tells who was in the
/// room and has left it, nor which room they are moved to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Plan {
    notice: Option<NoticeRoom>,
    /// What people of this server were to the room.
    people: BTreeMap<OwnedUserId, Membership>,
}

/// The room in which people are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NoticeRoom {
    maker: OwnedUserId,
    room_id: OwnedRoomId,
}

impl Server {
    /// Deletes a room, and tells what came of it in Synapse's shape; `note` gets the same before
    /// the room is purged. Begun again after a crash, it goes on where it was.
    pub async fn delete_room<F: Future<Output = ()> + Send>(
        self: &Arc<Self>,
        room_id: &RoomId,
        wish: DeletionWish,
        note: impl Fn(Value) -> F + Send,
    ) -> Result<Value, AdministrationError> {
        if wish.block {
            self.block_room(room_id, Some(&wish.by)).await?;
        }
        // A room that is not there is as it should be, so that a deletion can be asked for twice.
        let Some(room) = self.rooms.room(room_id).await? else {
            return Ok(json!(Shutdown::default()));
        };
        let plan = self.plan_deletion(&room, &wish).await?;
        let mut shutdown = Shutdown {
            new_room_id: plan.notice.as_ref().map(|notice| notice.room_id.clone()),
            ..Shutdown::default()
        };
        for (user_id, membership) in plan.people {
            if let Err(error) = self.leave_room(&user_id, room_id, None).await {
                tracing::warn!(%error, room = %room_id, "a user stays in a room that is shut down");
                shutdown.failed_to_kick_users.push(user_id);
                continue;
            }
            if let Some(notice) = &plan.notice
                && membership == Membership::Join
            {
                self.bring_to_notice(notice, &user_id).await;
            }
            shutdown.kicked_users.push(user_id);
        }
        if let Some(notice) = &plan.notice {
            self.send_notice_of_deletion(notice, &wish.message).await?;
        }
        self.move_aliases(room_id, &mut shutdown).await?;
        if !wish.purge {
            for user_id in &shutdown.kicked_users {
                if let Err(error) = self.forget(user_id, room_id).await {
                    tracing::warn!(%error, room = %room_id, "a room that was shut down is still listed");
                }
            }
            self.commit(plan_is_done(room_id)).await?;
            return Ok(json!(shutdown));
        }
        note(json!(shutdown)).await;
        if !shutdown.failed_to_kick_users.is_empty() && !wish.force_purge {
            self.commit(plan_is_done(room_id)).await?;
            let why = "Users are still joined to this room";
            return Err(MatrixError::unknown(why).into());
        }
        if !shutdown.kicked_users.is_empty() {
            tokio::time::sleep(FAREWELL).await;
        }
        let mut batch = Batch::new();
        batch.push(RoomChange::Purge {
            room_id: room_id.to_owned(),
        });
        batch.push(plan_is_done(room_id));
        self.commit(batch).await?;
        Ok(json!(shutdown))
    }

    /// What is to be done, stored before it begins; what was planned before a crash goes on.
    async fn plan_deletion(
        &self,
        room: &Room,
        wish: &DeletionWish,
    ) -> Result<Plan, AdministrationError> {
        let key = plan_key(&room.room_id);
        let mut plan: Plan = documents::read(&*self.store, &key).await?;
        let goes_on = match (&plan.notice, &wish.new_room_user_id) {
            (Some(notice), Some(maker)) => {
                let room = self.rooms.room(&notice.room_id).await?;
                notice.maker == *maker && room.is_some_and(|room| room.is_joined(maker))
            }
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => true,
        };
        if !goes_on {
            plan.notice = match &wish.new_room_user_id {
                Some(maker) => Some(self.make_notice_room(maker, wish).await?),
                None => None,
            };
        }
        for (user_id, member) in room.state.members() {
            let is_there = matches!(
                member.membership,
                Membership::Join | Membership::Invite | Membership::Knock
            );
            if is_there && self.is_local(user_id) {
                plan.people.insert(user_id.to_owned(), member.membership);
            }
        }
        documents::update(self, &key, |stored: &mut Plan| stored.clone_from(&plan)).await?;
        Ok(plan)
    }

    async fn bring_to_notice(&self, notice: &NoticeRoom, user_id: &UserId) {
        let room = (&*notice.room_id).into();
        if let Err(error) = self.bring_in(&notice.maker, room, user_id).await {
            tracing::warn!(%error, "a user could not be brought into the room of the notice");
        }
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
    ) -> Result<NoticeRoom, AdministrationError> {
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
        Ok(NoticeRoom {
            maker: maker.to_owned(),
            room_id,
        })
    }

    /// Tells people why they are in another room, once they are there: who comes after a message
    /// is not notified of it. After a crash it is not told again.
    async fn send_notice_of_deletion(
        &self,
        notice: &NoticeRoom,
        message: &str,
    ) -> Result<(), AdministrationError> {
        let content = json!({ "msgtype": "m.text", "body": message }).to_string();
        let content = RawValue::from_string(content)
            .map_err(|_| MatrixError::internal("The message could not be written"))?;
        let draft = Draft::message("m.room.message", content);
        let session = Session::without_token(notice.maker.clone());
        let once = TransactionName {
            scope: "room_deletion".to_owned(),
            transaction_id: notice.room_id.to_string(),
        };
        self.send_message(&session, &notice.room_id, draft, Some(once), None)
            .await?;
        Ok(())
    }
}

/// Under which name the [`Plan`] for a room is kept.
fn plan_key(room_id: &RoomId) -> String {
    format!("admin.room_deletion.{room_id}")
}

/// The end of a plan.
fn plan_is_done(room_id: &RoomId) -> Change {
    Change::Setting {
        key: plan_key(room_id),
        value: None,
    }
}
