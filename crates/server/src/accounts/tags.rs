//! Tags that users give to rooms (Client-Server API, "Room Tagging").

use lyceum_model::{AccountChange, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{RoomId, UserId};
use serde_json::{Map, Value, json};

use crate::Server;

/// The account data that holds them.
const KIND: &str = "m.tag";
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 255;
/// How many tags a room can have.
const TAGS_MAX: usize = 100;
/// The largest content of one tag, in bytes of JSON.
const TAG_CONTENT_BYTES_MAX: usize = 4096;

/// Why a room was not tagged.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The tag's name is empty or too long.
    #[error("the tag's name is not valid")]
    Name,
    /// `order` is no number.
    #[error("order is no number")]
    Order,
    /// There are too many, or this one is too large.
    #[error("too many or too large tags")]
    TooLarge,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<TagError> for MatrixError {
    fn from(error: TagError) -> Self {
        match error {
            TagError::Name => Self::invalid_param("The tag is empty or too long"),
            TagError::Order => Self::invalid_param("`order` must be a number"),
            TagError::TooLarge => Self::too_large("There are too many tags, or this is too large"),
            TagError::Commit(error) => error.into(),
            TagError::Storage(error) => error.into(),
        }
    }
}

/// A room's tags, by name.
pub async fn tags(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<Map<String, Value>, StorageError> {
    let entry = server
        .store
        .account_data_entry(user_id, Some(room_id), KIND)
        .await?;
    let content = entry.and_then(|entry| entry.content).unwrap_or_default();
    match serde_json::from_str(&content) {
        Ok(Value::Object(mut content)) => match content.remove("tags") {
            Some(Value::Object(tags)) => Ok(tags),
            _ => Ok(Map::new()),
        },
        _ => Ok(Map::new()),
    }
}

/// Tags a room.
pub async fn put(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    tag: &str,
    content: Map<String, Value>,
) -> Result<(), TagError> {
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
        return Err(TagError::Name);
    }
    if content
        .get("order")
        .is_some_and(|order| !order.is_number() && !order.is_null())
    {
        return Err(TagError::Order);
    }
    let content = Value::Object(content);
    if content.to_string().len() > TAG_CONTENT_BYTES_MAX {
        return Err(TagError::TooLarge);
    }
    let _turn = server.accounts.turn(user_id).await;
    let mut tags = tags(server, user_id, room_id).await?;
    tags.insert(tag.to_owned(), content);
    if tags.len() > TAGS_MAX {
        return Err(TagError::TooLarge);
    }
    store(server, user_id, room_id, tags).await
}

/// Takes a tag from a room, if it is there.
pub async fn remove(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    tag: &str,
) -> Result<(), TagError> {
    let _turn = server.accounts.turn(user_id).await;
    let mut tags = tags(server, user_id, room_id).await?;
    if tags.remove(tag).is_none() {
        return Ok(());
    }
    store(server, user_id, room_id, tags).await
}

async fn store(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    tags: Map<String, Value>,
) -> Result<(), TagError> {
    let change = AccountChange::AccountData {
        user_id: user_id.to_owned(),
        room_id: Some(room_id.to_owned()),
        kind: KIND.to_owned(),
        content: Some(json!({ "tags": tags }).to_string()),
    };
    server.commit(change).await?;
    Ok(())
}
