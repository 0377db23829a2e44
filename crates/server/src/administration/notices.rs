//! Notices from the server to its users: a room for each, in which the server writes.

use lyceum_model::{AccountChange, Batch, MatrixError, Membership};
use lyceum_room::{Draft, Preset};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{AdministrationError, documents};
use crate::{
    Server,
    accounts::{
        interactive_auth::Passed,
        registration::{self, NewAccount},
    },
    rooms::{NewRoom, TransactionName},
};

/// The name of the account that writes.
const NOTICES_LOCALPART: &str = "notices";
/// What made that account.
const NOTICES_ORIGIN: &str = "server_notices";
/// The name of its rooms.
const ROOM_NAME: &str = "Server Notices";
/// The tag by which clients know such rooms.
const TAG: &str = "m.server_notice";

/// A notice.
#[derive(Debug)]
pub struct Notice {
    /// Its type.
    pub kind: String,
    /// Its state key, if it is state.
    pub state_key: Option<String>,
    /// Its content.
    pub content: Box<RawValue>,
    /// The admin's name for it, so that asking twice sends it once.
    pub transaction_id: Option<String>,
}

/// The room in which a user is told.
#[derive(Debug, Default, Serialize, Deserialize)]
struct NoticeRoom(Option<OwnedRoomId>);

impl Server {
    /// Tells a user something in the server's name.
    pub async fn send_notice(
        &self,
        user_id: &UserId,
        notice: Notice,
    ) -> Result<OwnedEventId, AdministrationError> {
        let _turn = self.accounts.turn(user_id).await;
        let writer = self.notices_user().await?;
        let room_id = self.notice_room(&writer, user_id).await?;
        let mut session = self.session_of(&writer).await?;
        session.device_id = Some("SERVER_NOTICES".into());
        let draft = match notice.state_key {
            Some(key) => Draft::state(notice.kind, key, notice.content),
            None => Draft::message(notice.kind, notice.content),
        };
        let transaction = notice.transaction_id.map(|transaction_id| TransactionName {
            scope: format!("send_server_notice/{user_id}"),
            transaction_id,
        });
        Ok(self
            .send_message(&session, &room_id, draft, transaction, None)
            .await?)
    }

    async fn notices_user(&self) -> Result<OwnedUserId, AdministrationError> {
        let id = format!("@{NOTICES_LOCALPART}:{}", self.config.server_name);
        let user_id = UserId::parse(id)
            .map_err(|_| MatrixError::internal("The account for notices has no valid name"))?;
        match self.store.user(&user_id).await? {
            Some(user) if user.origin == NOTICES_ORIGIN => return Ok(user_id),
            Some(_) => {
                let why =
                    format!("{user_id} is somebody's account, so there are no server notices");
                return Err(MatrixError::unknown(why).into());
            }
            None => {}
        }
        let account = NewAccount {
            display_name: Some(ROOM_NAME.to_owned()),
            kind: Some("support".to_owned()),
            ..NewAccount::new(user_id.clone(), NOTICES_ORIGIN)
        };
        registration::register(self, account, None, &Passed::not_needed())
            .await
            .map_err(MatrixError::from)?;
        Ok(user_id)
    }

    /// The room in which a user is told, made if there is none; the user is there or invited.
    async fn notice_room(
        &self,
        writer: &UserId,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        let key = format!("admin.notice_room.{user_id}");
        let known: NoticeRoom = documents::read(&*self.store, &key).await?;
        if let NoticeRoom(Some(room_id)) = known
            && self.is_usable(&room_id, writer).await?
        {
            let room = self.rooms.room(&room_id).await?;
            let membership = room.and_then(|room| room.state.membership(user_id));
            if !matches!(membership, Some(Membership::Join | Membership::Invite)) {
                self.invite(writer, &room_id, user_id, None).await?;
            }
            return Ok(room_id);
        }
        let levels = json!({ "users_default": -10 }).to_string();
        let session = self.session_of(writer).await?;
        let room = NewRoom {
            preset: Some(Preset::PrivateChat),
            name: Some(ROOM_NAME.to_owned()),
            invites: vec![user_id.to_owned()],
            power_level_content_override: RawValue::from_string(levels).ok(),
            ..NewRoom::default()
        };
        let room_id = self.create_room(&session, room).await?;
        let tags = json!({ "tags": { TAG: {} } }).to_string();
        let mut batch = Batch::new();
        batch.push(AccountChange::AccountData {
            user_id: user_id.to_owned(),
            room_id: Some(room_id.clone()),
            kind: "m.tag".to_owned(),
            content: Some(tags),
        });
        self.commit(batch).await?;
        documents::update(self, &key, |known: &mut NoticeRoom| {
            known.0 = Some(room_id.clone());
        })
        .await?;
        Ok(room_id)
    }

    async fn is_usable(
        &self,
        room_id: &RoomId,
        writer: &UserId,
    ) -> Result<bool, AdministrationError> {
        let room = self.rooms.room(room_id).await?;
        Ok(room.is_some_and(|room| room.is_joined(writer)))
    }
}
