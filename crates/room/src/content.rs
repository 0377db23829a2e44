//! What the server reads of state events, leniently: a field of the wrong type counts as absent,
//! because other servers may have sent anything that the authorisation rules let pass.

use lyceum_model::{Event, Membership};
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::Value;

use crate::rules::RoomRules;

/// Who may join (`m.room.join_rules`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JoinRule {
    /// Everybody.
    Public,
    /// Who was invited. Also stands for rules that nobody knows.
    #[default]
    Invite,
    /// Who was invited; others may ask for it.
    Knock,
    /// Who is a member of certain rooms, or was invited.
    Restricted,
    /// As restricted; others may ask for an invite.
    KnockRestricted,
    /// Reserved by the specification; nobody.
    Private,
}

impl JoinRule {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Invite => "invite",
            Self::Knock => "knock",
            Self::Restricted => "restricted",
            Self::KnockRestricted => "knock_restricted",
            Self::Private => "private",
        }
    }

    /// The rule of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "public" => Self::Public,
            "invite" => Self::Invite,
            "knock" => Self::Knock,
            "restricted" => Self::Restricted,
            "knock_restricted" => Self::KnockRestricted,
            "private" => Self::Private,
            _ => return None,
        })
    }

    /// Whether membership of other rooms lets users in.
    pub fn is_restricted(self) -> bool {
        matches!(self, Self::Restricted | Self::KnockRestricted)
    }
}

/// Who may see events (`m.room.history_visibility`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum HistoryVisibility {
    /// Members, from when they joined.
    Joined,
    /// Members, from when they were invited.
    Invited,
    /// Members, everything.
    #[default]
    Shared,
    /// Everybody.
    WorldReadable,
}

impl HistoryVisibility {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Invited => "invited",
            Self::Shared => "shared",
            Self::WorldReadable => "world_readable",
        }
    }

    /// The visibility of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "joined" => Self::Joined,
            "invited" => Self::Invited,
            "shared" => Self::Shared,
            "world_readable" => Self::WorldReadable,
            _ => return None,
        })
    }

    /// What a history visibility event sets; unreadable ones and none at all mean `shared`.
    pub fn of(event: Option<&Event>) -> Self {
        event
            .and_then(|event| text(event, "history_visibility"))
            .and_then(|name| Self::from_name(&name))
            .unwrap_or_default()
    }
}

/// What a member event says beside the membership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberContent {
    /// The member's name in this room.
    pub displayname: Option<String>,
    /// The member's picture in this room.
    pub avatar_url: Option<String>,
    /// Whether an invite is to a direct chat.
    pub is_direct: bool,
    /// Why.
    pub reason: Option<String>,
}

/// Reads a member event.
pub fn member_content(event: &Event) -> MemberContent {
    let Some(Value::Object(mut content)) = value(event) else {
        return MemberContent::default();
    };
    let mut text = |key: &str| match content.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    MemberContent {
        displayname: text("displayname"),
        avatar_url: text("avatar_url"),
        reason: text("reason"),
        is_direct: content.get("is_direct") == Some(&Value::Bool(true)),
    }
}

/// What a member event makes its user; `None` if it is no readable member event.
pub fn membership_of(event: &Event) -> Option<Membership> {
    #[derive(Deserialize)]
    struct Content {
        membership: Membership,
    }
    if &*event.kind != "m.room.member" {
        return None;
    }
    let content: Content = serde_json::from_str(event.content.get()).ok()?;
    Some(content.membership)
}

/// Says that a room goes on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Where.
    pub replacement_room: Option<OwnedRoomId>,
    /// What to show.
    pub body: String,
}

/// What the create event says.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateFacts {
    pub(crate) creators: Vec<OwnedUserId>,
    pub(crate) is_federated: bool,
    pub(crate) kind: Option<String>,
    pub(crate) predecessor: Option<OwnedRoomId>,
    /// Whether the rules can read all of it; otherwise every event of the room is refused.
    pub(crate) is_sound: bool,
}

impl CreateFacts {
    pub(crate) fn parse(event: &Event, rules: &RoomRules) -> Self {
        let Some(Value::Object(content)) = value(event) else {
            return Self::default();
        };
        let text = |key: &str| content.get(key).and_then(Value::as_str);
        let mut is_sound = true;
        let mut creators = Vec::new();
        if rules.ruma.authorization.use_room_create_sender {
            creators.push(event.sender.clone());
        } else {
            match text("creator").and_then(|text| OwnedUserId::try_from(text).ok()) {
                Some(creator) => creators.push(creator),
                None => is_sound = false,
            }
        }
        if rules.ruma.authorization.additional_room_creators
            && let Some(more) = content.get("additional_creators")
        {
            let more = more.as_array();
            is_sound &= more.is_some();
            for user_id in more.into_iter().flatten() {
                match user_id
                    .as_str()
                    .and_then(|text| OwnedUserId::try_from(text).ok())
                {
                    Some(user_id) if !creators.contains(&user_id) => creators.push(user_id),
                    Some(_) => {}
                    None => is_sound = false,
                }
            }
        }
        let is_federated = match content.get("m.federate") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(is_federated)) => *is_federated,
            Some(_) => {
                is_sound = false;
                true
            }
        };
        Self {
            creators,
            is_federated,
            kind: text("type").map(str::to_owned),
            predecessor: content
                .get("predecessor")
                .and_then(|predecessor| predecessor.get("room_id")?.as_str())
                .and_then(|room_id| OwnedRoomId::try_from(room_id).ok()),
            is_sound,
        }
    }
}

/// What the join rules event says.
#[derive(Debug, Clone, Default)]
pub(crate) struct JoinRules {
    pub(crate) rule: JoinRule,
    /// Rooms whose members may join.
    pub(crate) allowed_rooms: Vec<OwnedRoomId>,
}

impl JoinRules {
    pub(crate) fn parse(event: &Event) -> Self {
        let Some(Value::Object(content)) = value(event) else {
            return Self::default();
        };
        let rule = content
            .get("join_rule")
            .and_then(Value::as_str)
            .and_then(JoinRule::from_name)
            .unwrap_or_default();
        let mut allowed_rooms = Vec::new();
        for condition in content
            .get("allow")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if condition.get("type").and_then(Value::as_str) == Some("m.room_membership")
                && let Some(room_id) = condition.get("room_id").and_then(Value::as_str)
                && let Ok(room_id) = OwnedRoomId::try_from(room_id)
                && !allowed_rooms.contains(&room_id)
            {
                allowed_rooms.push(room_id);
            }
        }
        Self {
            rule,
            allowed_rooms,
        }
    }
}

/// An event's content.
pub(crate) fn value(event: &Event) -> Option<Value> {
    serde_json::from_str(event.content.get()).ok()
}

/// A text in an event's content.
pub(crate) fn text(event: &Event, key: &str) -> Option<String> {
    match value(event)?.get_mut(key)?.take() {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// The canonical alias event: the alias proper and the alternatives.
pub(crate) fn aliases(event: &Event) -> (Option<OwnedRoomAliasId>, Vec<OwnedRoomAliasId>) {
    let Some(content) = value(event) else {
        return (None, Vec::new());
    };
    let parse = |value: &Value| OwnedRoomAliasId::try_from(value.as_str()?).ok();
    (
        content.get("alias").and_then(parse),
        content
            .get("alt_aliases")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(parse)
            .collect(),
    )
}
