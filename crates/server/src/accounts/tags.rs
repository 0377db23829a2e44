//! Tags that users give to rooms (Client-Server API, "Room Tagging").

use lyceum_model::{MatrixError, Position};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{RoomId, UserId};
use serde_json::{Map, Value, json};

use crate::{
    Server,
    accounts::account_data,
    decide::{MayBeStale, decide},
};

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

impl MayBeStale for TagError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_stale())
    }
}

/// A room's tags, by name.
pub async fn tags(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<Map<String, Value>, StorageError> {
    Ok(stored(server, user_id, room_id).await?.0)
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
    change(server, user_id, room_id, &|tags| {
        tags.insert(tag.to_owned(), content.clone());
        true
    })
    .await
}

/// Takes a tag from a room, if it is there.
pub async fn remove(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    tag: &str,
) -> Result<(), TagError> {
    change(server, user_id, room_id, &|tags| tags.remove(tag).is_some()).await
}

/// Says whether it changed anything.
type Change<'a> = dyn Fn(&mut Map<String, Value>) -> bool + Send + Sync + 'a;

async fn change(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    change: &Change<'_>,
) -> Result<(), TagError> {
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_change(server, user_id, room_id, change)).await
}

async fn try_change(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
    change: &Change<'_>,
) -> Result<(), TagError> {
    let (mut tags, position) = stored(server, user_id, room_id).await?;
    if !change(&mut tags) {
        return Ok(());
    }
    if tags.len() > TAGS_MAX {
        return Err(TagError::TooLarge);
    }
    let content = json!({ "tags": tags }).to_string();
    account_data::replace(server, user_id, Some(room_id), KIND, position, content).await?;
    Ok(())
}

/// A room's tags, and the commit that set them.
async fn stored(
    server: &Server,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<(Map<String, Value>, Option<Position>), StorageError> {
    let entry = server
        .store
        .account_data_entry(user_id, Some(room_id), KIND)
        .await?;
    let Some(entry) = entry else {
        return Ok((Map::new(), None));
    };
    let tags = match serde_json::from_str(&entry.content.unwrap_or_default()) {
        Ok(Value::Object(mut content)) => match content.remove("tags") {
            Some(Value::Object(tags)) => tags,
            _ => Map::new(),
        },
        _ => Map::new(),
    };
    Ok((tags, Some(entry.position)))
}
