//! What is bent for a learning platform's provider, and what it may not touch.
//!
//! Moodle stops at the first error and leaves everybody behind it waiting, so what it cannot have
//! is passed over. It may not touch accounts that were not made for it: admins, and whoever has
//! another origin, since Moodle lets people choose their names.

use lyceum_account::token;
use lyceum_model::{AccessToken, AccountChange, Batch, Expect, MatrixError, TokenKind, User};
use lyceum_room::{Denied, Room, Target};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedUserId, RoomId, UserId};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    Server,
    accounts::{
        interactive_auth::Passed,
        registration::{self, NewAccount, RegistrationError},
    },
    chance,
    rooms::RoomError,
    sessions::Session,
};

/// The origin of accounts that a learning platform made.
pub const ORIGIN: &str = "moodle";
/// The origin of the account behind a provisioning token.
const TOKEN_ORIGIN: &str = "provisioning";

/// Why a learning platform must leave this account alone, if it must. It is not told who is an
/// admin.
pub(super) fn protection(user: &User) -> Option<&'static str> {
    if user.is_admin || user.origin != ORIGIN {
        Some("This account was not made for provisioning")
    } else if user.is_deactivated {
        Some("This account is deactivated")
    } else {
        None
    }
}

/// Whether a learning platform must leave this account alone.
pub fn is_protected(user: &User) -> bool {
    protection(user).is_some()
}

/// The user whom a learning platform means: it knows names with a space, whose accounts have `+`,
/// because that is how it writes a space into a path. `None`: nobody can have that name.
pub fn user_meant(text: &str) -> Option<OwnedUserId> {
    UserId::parse(text.replace(' ', "+")).ok()
}

/// How a learning platform goes on to write a user id where it differs: the other way round.
pub fn platform_spelling(user_id: &str) -> Option<String> {
    user_id.contains('+').then(|| user_id.replace('+', " "))
}

/// Why no provisioning token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The account to act as cannot be made.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The name belongs to somebody who was not made for this.
    #[error("{0} is not an account for provisioning; choose another name")]
    OtherAccount(OwnedUserId),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Makes a token for provisioning, and the account that acts with it if there is none yet.
pub async fn make_token(server: &Server, name: &str) -> Result<(OwnedUserId, String), TokenError> {
    let user_id = match registration::free_user_id(server, Some(name), None).await {
        Ok(user_id) => {
            let account = NewAccount {
                kind: Some("bot".to_owned()),
                ..NewAccount::new(user_id.clone(), TOKEN_ORIGIN)
            };
            registration::register(server, account, None, &Passed::not_needed()).await?;
            user_id
        }
        Err(RegistrationError::InUse) => {
            let id = format!(
                "@{}:{}",
                name.to_ascii_lowercase(),
                server.config.server_name
            );
            let user_id = UserId::parse(id).map_err(|_| RegistrationError::InUse)?;
            let user = server.store.user(&user_id).await?;
            if user.is_none_or(|user| user.origin != TOKEN_ORIGIN || user.is_deactivated) {
                return Err(TokenError::OtherAccount(user_id));
            }
            user_id
        }
        Err(error) => return Err(error.into()),
    };
    let new = token::provisioning(&chance::bytes());
    let mut batch = Batch::new();
    batch.expect(Expect::UserExists(user_id.clone()));
    batch.push(AccountChange::PutToken(AccessToken {
        hash: new.hash,
        kind: TokenKind::Provisioning,
        user_id: user_id.clone(),
        device_id: None,
        expires: None,
        puppeted_by: None,
    }));
    server.commit(batch).await?;
    Ok((user_id, new.text))
}

/// Ends all provisioning tokens of an account; how many there were.
pub async fn revoke_tokens(server: &Server, user_id: &UserId) -> Result<usize, CommitError> {
    let tokens = server.store.tokens_of(user_id).await?;
    let mut batch = Batch::new();
    for token in &tokens {
        if token.kind == TokenKind::Provisioning {
            batch.push(AccountChange::RemoveToken(token.hash));
        }
    }
    let count = batch.changes.len();
    if count > 0 {
        server.commit(batch).await?;
    }
    Ok(count)
}

impl Server {
    /// Whether a learning platform must leave a user alone; unknown users and those of other
    /// servers are no accounts of anybody here.
    pub async fn is_protected(&self, user_id: &UserId) -> Result<bool, StorageError> {
        let user = self.store.user(user_id).await?;
        Ok(user.as_ref().is_some_and(is_protected))
    }

    /// Whether an admin has deleted a room, or shut it down: nobody is in it, and it does not come
    /// back. A learning platform keeps its id all the same.
    pub async fn is_over(&self, room_id: &RoomId) -> Result<bool, StorageError> {
        let room = self.rooms.room(room_id).await?;
        Ok(room.is_none_or(|room| room.state.joined_count() == 0))
    }

    /// A piece of state as a learning platform sends it, put right.
    pub async fn bent_state(
        &self,
        room_id: &RoomId,
        kind: &str,
        content: Box<RawValue>,
    ) -> Result<Box<RawValue>, RoomError> {
        let bent = match kind {
            "m.room.avatar" => bent_avatar(&content),
            "m.room.power_levels" => {
                let room = self.rooms.room(room_id).await?;
                let room = room.ok_or(RoomError::UnknownRoom)?;
                self.bent_power_levels(&room, &content).await?
            }
            _ => None,
        };
        let Some(bent) = bent else { return Ok(content) };
        RawValue::from_string(Value::Object(bent).to_string())
            .map_err(|_| MatrixError::internal("The content could not be written").into())
    }

    /// Empty maps that PHP wrote as lists become maps; what no user has as an id is left out;
    /// creators above all levels are left out; protected users keep the level they have.
    async fn bent_power_levels(
        &self,
        room: &Room,
        content: &RawValue,
    ) -> Result<Option<Map<String, Value>>, RoomError> {
        let Ok(mut levels) = serde_json::from_str::<Map<String, Value>>(content.get()) else {
            return Ok(None);
        };
        for key in ["users", "events", "notifications"] {
            if let Some(value) = levels.get_mut(key)
                && value.as_array().is_some_and(Vec::is_empty)
            {
                *value = Value::Object(Map::new());
            }
        }
        let Some(Value::Object(users)) = levels.get_mut("users") else {
            return Ok(Some(levels));
        };
        let present = room.power_levels();
        let mut bent = Map::new();
        for (name, level) in std::mem::take(users) {
            let Some(user_id) = user_meant(&name) else {
                continue;
            };
            if present.privileged().contains(&user_id) {
                continue;
            }
            let present = present.users.get(&user_id);
            let is_new = present.copied() != level.as_i64();
            if is_new && self.is_protected(&user_id).await? {
                if let Some(present) = present {
                    bent.insert(user_id.into(), Value::from(*present));
                }
                continue;
            }
            bent.insert(user_id.into(), level);
        }
        for (user_id, level) in &present.users {
            if !bent.contains_key(user_id.as_str()) && self.is_protected(user_id).await? {
                bent.insert(user_id.as_str().to_owned(), Value::from(*level));
            }
        }
        *users = bent;
        Ok(Some(levels))
    }

    /// Puts out whom a learning platform wants to kick, if it is anybody whom it may touch.
    pub async fn bent_kick(
        &self,
        session: &Session,
        room_id: &RoomId,
        target: &str,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        match self.really_kicked(session, room_id, target).await? {
            Some(user_id) => {
                let target = Target { user_id, reason };
                self.kick_if_there(&session.user_id, room_id, target).await
            }
            None => Ok(()),
        }
    }

    /// Puts somebody out; who is gone meanwhile is as the platform wants them.
    async fn kick_if_there(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        target: Target,
    ) -> Result<(), RoomError> {
        match self.kick(sender, room_id, target).await {
            Err(RoomError::Denied(Denied::NotThere) | RoomError::UnknownRoom) => Ok(()),
            kicked => kicked,
        }
    }

    /// Whom a learning platform's kick really removes; `None`: nobody.
    async fn really_kicked(
        &self,
        session: &Session,
        room_id: &RoomId,
        target: &str,
    ) -> Result<Option<OwnedUserId>, RoomError> {
        let Some(user_id) = user_meant(target) else {
            return Ok(None);
        };
        if user_id == session.user_id || self.is_protected(&user_id).await? {
            return Ok(None);
        }
        let Some(room) = self.rooms.room(room_id).await? else {
            return Ok(None);
        };
        let is_there = matches!(
            room.state.membership(&user_id),
            Some(
                lyceum_model::Membership::Join
                    | lyceum_model::Membership::Invite
                    | lyceum_model::Membership::Knock
            )
        );
        Ok(is_there.then_some(user_id))
    }
}

/// `{"url":null}` says that there is no picture.
fn bent_avatar(content: &RawValue) -> Option<Map<String, Value>> {
    let mut avatar: Map<String, Value> = serde_json::from_str(content.get()).ok()?;
    if !avatar.get("url")?.is_null() {
        return None;
    }
    avatar.remove("url");
    Some(avatar)
}

#[cfg(test)]
mod tests;
