//! The rooms of a space (Client-Server API, "Spaces"), as far as this server knows them.

use std::collections::BTreeSet;

use lyceum_model::{Event, MatrixError, Membership};
use lyceum_room::{HistoryVisibility, JoinRule, Room};
use lyceum_storage::StorageError;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::{
    Server,
    rooms::{PublicRoom, RoomError},
};

/// The type of rooms that are spaces.
const SPACE: &str = "m.space";
/// How deep spaces within spaces are followed.
pub const DEPTH_MAX: u64 = 32;
/// How many rooms are looked at for one answer.
const ROOMS_LOOKED_AT_MAX: usize = 5_000;
/// How many children of one space are considered.
const CHILDREN_MAX: usize = 1_000;
/// How many rooms whose members may join a restricted room are looked at.
const ALLOWED_ROOMS_MAX: usize = 50;
/// The longest valid `order` of a child, in characters.
const ORDER_CHARACTERS_MAX: usize = 50;

/// Which part of a space is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HierarchyQuery {
    /// How deep to go; 0: the space itself only.
    pub max_depth: u64,
    /// Only children that are suggested.
    pub suggested_only: bool,
    /// How many rooms to leave out at the start.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// A part of a space.
#[derive(Debug, Default)]
pub struct HierarchyPage {
    /// The rooms, depth first.
    pub rooms: Vec<SpaceRoom>,
    /// Whether there are more.
    pub has_more: bool,
}

/// A room in a space.
#[derive(Debug, Serialize)]
pub struct SpaceRoom {
    #[serde(flatten)]
    room: PublicRoom,
    room_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<OwnedRoomId>,
    children_state: Vec<ChildState>,
}

/// An `m.space.child` event, stripped.
#[derive(Debug, Clone, Serialize)]
struct ChildState {
    #[serde(rename = "type")]
    kind: &'static str,
    state_key: OwnedRoomId,
    sender: OwnedUserId,
    origin_server_ts: u64,
    content: Box<RawValue>,
}

impl Server {
    /// A part of a space, as a user sees it.
    pub async fn hierarchy(
        &self,
        user_id: &UserId,
        space: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, RoomError> {
        self.walk_space(Some(user_id), space, query).await
    }

    /// A part of a space with all its rooms that this server knows, for an admin.
    pub async fn whole_hierarchy(
        &self,
        space: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, RoomError> {
        if self.rooms.room(space).await?.is_none() {
            return Err(MatrixError::not_found("Room not found").into());
        }
        self.walk_space(None, space, query).await
    }

    async fn walk_space(
        &self,
        viewer: Option<&UserId>,
        space: &RoomId,
        query: HierarchyQuery,
    ) -> Result<HierarchyPage, RoomError> {
        let mut page = HierarchyPage::default();
        let mut seen = BTreeSet::from([space.to_owned()]);
        // The next room is at the end.
        let mut waiting: Vec<(OwnedRoomId, u64)> = vec![(space.to_owned(), 0)];
        let mut found = 0;
        let mut looked_at = 0;
        while let Some((room_id, depth)) = waiting.pop() {
            looked_at += 1;
            if looked_at > ROOMS_LOOKED_AT_MAX {
                break;
            }
            let room = self.rooms.room(&room_id).await?;
            let room = match (room, viewer) {
                (Some(room), None) => room,
                (Some(room), Some(user_id)) if self.may_find(&room, user_id).await? => room,
                _ if depth == 0 => {
                    return Err(MatrixError::forbidden("You may not see this space").into());
                }
                _ => continue,
            };
            let children = children_of(&room, query.suggested_only);
            if depth < query.max_depth.min(DEPTH_MAX) {
                for child in children.iter().rev() {
                    if seen.insert(child.state_key.clone()) {
                        waiting.push((child.state_key.clone(), depth + 1));
                    }
                }
            }
            if found >= query.offset {
                if page.rooms.len() >= query.limit {
                    page.has_more = true;
                    break;
                }
                page.rooms.push(SpaceRoom::of(&room, children));
            }
            found += 1;
        }
        Ok(page)
    }

    /// Whether a user finds a room in a space: members, those who may join or knock, and
    /// everybody where the world may read.
    async fn may_find(&self, room: &Room, user_id: &UserId) -> Result<bool, StorageError> {
        if room.history_visibility() == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        match room.state.membership(user_id) {
            Some(Membership::Join | Membership::Invite) => return Ok(true),
            Some(Membership::Ban) => return Ok(false),
            Some(Membership::Knock | Membership::Leave) | None => {}
        }
        match room.join_rule() {
            JoinRule::Public | JoinRule::Knock | JoinRule::KnockRestricted => Ok(true),
            JoinRule::Restricted => self.is_in_allowed_room(room, user_id).await,
            JoinRule::Invite | JoinRule::Private => Ok(false),
        }
    }

    async fn is_in_allowed_room(
        &self,
        room: &Room,
        user_id: &UserId,
    ) -> Result<bool, StorageError> {
        for room_id in room.allowed_rooms().iter().take(ALLOWED_ROOMS_MAX) {
            let allowed = self.rooms.room(room_id).await?;
            if allowed.is_some_and(|allowed| allowed.is_joined(user_id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl SpaceRoom {
    fn of(room: &Room, children_state: Vec<ChildState>) -> Self {
        Self {
            room: PublicRoom::of(room),
            room_version: room.version().to_string(),
            encryption: room.encryption(),
            allowed_room_ids: room.allowed_rooms(),
            children_state,
        }
    }
}

/// The children of a space in their order; none of a room that is no space.
fn children_of(room: &Room, suggested_only: bool) -> Vec<ChildState> {
    if room.kind().as_deref() != Some(SPACE) {
        return Vec::new();
    }
    let events = room.state.of_kind("m.space.child");
    let mut children: Vec<_> = events
        .filter_map(|event| child_of(event, suggested_only))
        .collect();
    children.sort_by(|(a, _), (b, _)| a.cmp(b));
    children.truncate(CHILDREN_MAX);
    children.into_iter().map(|(_, child)| child).collect()
}

/// Where a child stands among its siblings: those with an order come first, by it; then by age.
type Rank = (bool, String, u64, OwnedRoomId);

/// A valid child with its rank; one without `via` was removed.
fn child_of(event: &Event, suggested_only: bool) -> Option<(Rank, ChildState)> {
    let room_id = RoomId::parse(event.state_key.as_deref()?).ok()?;
    let content: Value = serde_json::from_str(event.content.get()).ok()?;
    content
        .get("via")?
        .as_array()
        .filter(|via| !via.is_empty())?;
    if suggested_only && content.get("suggested") != Some(&Value::Bool(true)) {
        return None;
    }
    let order = content
        .get("order")
        .and_then(Value::as_str)
        .filter(|order| is_valid_order(order));
    let rank = (
        order.is_none(),
        order.unwrap_or_default().to_owned(),
        event.origin_server_ts,
        room_id.clone(),
    );
    let child = ChildState {
        kind: "m.space.child",
        state_key: room_id,
        sender: event.sender.clone(),
        origin_server_ts: event.origin_server_ts,
        content: event.content.clone(),
    };
    Some((rank, child))
}

fn is_valid_order(order: &str) -> bool {
    order.len() <= ORDER_CHARACTERS_MAX && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lyceum_model::Event;
    use serde_json::{Value, json};

    use super::child_of;

    #[test]
    fn children_stand_in_the_order_of_the_specification() {
        let mut children: Vec<_> = [
            ("!b:example.org", 1_640_341_000_000_u64, Some(" ")),
            ("!a:example.org", 1_640_141_000_000, Some("aaaa")),
            ("!c:example.org", 1_640_841_000_000, Some("first")),
            ("!d:example.org", 1_640_741_000_000, None),
            ("!e:example.org", 1_640_641_000_000, None),
            (
                "!f:example.org",
                1_640_741_000_000,
                Some("ümlaut is no order"),
            ),
        ]
        .into_iter()
        .filter_map(|(room_id, at, order)| {
            let mut content = json!({ "via": ["example.org"] });
            if let Some(order) = order {
                content["order"] = Value::from(order);
            }
            child_of(&child(room_id, at, &content), false)
        })
        .collect();
        children.reverse();
        children.sort_by(|(a, _), (b, _)| a.cmp(b));
        let order: String = children
            .iter()
            .map(|(_, child)| &child.state_key.as_str()[1..2])
            .collect();
        assert_eq!(order, "bacedf");
    }

    #[test]
    fn only_valid_children_count() {
        let check = |room_id, content: Value, suggested_only, expect| {
            let found = child_of(&child(room_id, 1, &content), suggested_only).is_some();
            assert_eq!(found, expect, "{room_id} {content}");
        };
        check("!a:x", json!({ "via": ["x"] }), false, true);
        check("!a:x", json!({}), false, false);
        check("!a:x", json!({ "via": [] }), false, false);
        check("!a:x", json!({ "via": "x" }), false, false);
        check("a", json!({ "via": ["x"] }), false, false);
        check("!a:x", json!({ "via": ["x"] }), true, false);
        check(
            "!a:x",
            json!({ "via": ["x"], "suggested": "true" }),
            true,
            false,
        );
        check(
            "!a:x",
            json!({ "via": ["x"], "suggested": true }),
            true,
            true,
        );
    }

    fn child(room_id: &str, at: u64, content: &Value) -> Event {
        let json = json!({
            "type": "m.space.child", "room_id": "!space:x", "sender": "@alice:x",
            "state_key": room_id, "content": content, "origin_server_ts": at, "depth": 1,
            "prev_events": [], "auth_events": [],
        });
        let id = "$a".try_into().expect("an event id");
        Event::from_pdu(id, None, Arc::from(json.to_string())).expect("an event")
    }
}
