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
        registration::{self, NewAccount, RegistrationError},
    },
    rooms::{NewRoom, RoomError, TransactionName},
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
    /// Why a name is no person's, if it is kept for the account that writes notices or for an
    /// application service.
    pub fn reservation(&self, user_id: &UserId) -> Option<&'static str> {
        if user_id.localpart() == NOTICES_LOCALPART {
            return Some("This user ID is reserved.");
        }
        self.application_services()
            .iter()
            .any(|service| service.reserves_user(user_id))
            .then_some("This user ID is reserved by an application service.")
    }

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

    /// Leaves a room because its user asks for it. The invite to their room of notices they cannot
    /// refuse (Client-Server API, "Server Notices"); once they are in, they may leave.
    pub async fn leave_room_on_request(
        &self,
        user_id: &UserId,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let room = self.rooms.room(room_id).await?;
        let membership = room.and_then(|room| room.state.membership(user_id));
        if membership == Some(Membership::Invite) {
            let known: NoticeRoom = documents::read(&*self.store, &document_key(user_id)).await?;
            if known.0.as_deref() == Some(room_id) {
                return Err(MatrixError::new(
                    403,
                    "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM",
                    "You cannot reject this invite",
                )
                .into());
            }
        }
        self.leave_room(user_id, room_id, reason).await
    }

    async fn notices_user(&self) -> Result<OwnedUserId, AdministrationError> {
        let id = format!("@{NOTICES_LOCALPART}:{}", self.config.server_name);
        let user_id = UserId::parse(id)
            .map_err(|_| MatrixError::internal("The account for notices has no valid name"))?;
        if self.is_notices_user(&user_id).await? {
            return Ok(user_id);
        }
        let account = NewAccount {
            display_name: Some(ROOM_NAME.to_owned()),
            kind: Some("support".to_owned()),
            ..NewAccount::new(user_id.clone(), NOTICES_ORIGIN)
        };
        match registration::register(self, account, None, &Passed::not_needed()).await {
            Ok(_) => Ok(user_id),
            // Somebody else was told for the first time, too.
            Err(RegistrationError::InUse) if self.is_notices_user(&user_id).await? => Ok(user_id),
            Err(error) => Err(MatrixError::from(error).into()),
        }
    }

    /// Whether the account that writes notices is there.
    async fn is_notices_user(&self, user_id: &UserId) -> Result<bool, AdministrationError> {
        match self.store.user(user_id).await? {
            Some(user) if user.origin == NOTICES_ORIGIN => Ok(true),
            Some(_) => {
                let why =
                    format!("{user_id} is somebody's account, so there are no server notices");
                Err(MatrixError::unknown(why).into())
            }
            None => Ok(false),
        }
    }

    /// The room in which a user is told, made if there is none; the user is there or invited.
    async fn notice_room(
        &self,
        writer: &UserId,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        let key = document_key(user_id);
        let known: NoticeRoom = documents::read(&*self.store, &key).await?;
        if let NoticeRoom(Some(room_id)) = known
            && let Some(room) = self.rooms.room(&room_id).await?
            && room.is_joined(writer)
            && let Some(Membership::Join | Membership::Invite) = room.state.membership(user_id)
        {
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
}

/// Under which name a user's [`NoticeRoom`] is kept.
fn document_key(user_id: &UserId) -> String {
    format!("admin.notice_room.{user_id}")
}
