//! A room as decisions see it: its rules, the ends of its graph and its present state.

use std::sync::Arc;

use lyceum_model::{Event, RoomHead, StateBefore};
use ruma_common::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId};

use crate::{
    content::{self, HistoryVisibility, JoinRule, Tombstone},
    power::PowerLevels,
    rules::RoomRules,
    state::State,
};

/// A room at one revision. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// The rules of its version.
    pub rules: Arc<RoomRules>,
    /// Counts the commits that moved its heads; 0: not stored yet.
    pub revision: u64,
    /// The ends of its graph, ordered by event id.
    pub heads: Vec<RoomHead>,
    /// Its present state.
    pub state: State,
    /// The present state in storage's words, where the heads do not tell it.
    pub(crate) stored_state: Option<StateBefore>,
}

impl Room {
    /// A room as storage knows it; `None` if this server does not know its version.
    pub fn new(
        room_id: OwnedRoomId,
        version: &RoomVersionId,
        revision: u64,
        heads: Vec<RoomHead>,
        state: impl IntoIterator<Item = Arc<Event>>,
    ) -> Option<Self> {
        Some(Self {
            room_id,
            rules: Arc::new(RoomRules::for_version(version)?),
            revision,
            heads,
            state: state.into_iter().collect(),
            stored_state: None,
        })
    }

    /// The present state in storage's words.
    pub fn present_state(&self) -> StateBefore {
        if let Some(stored) = &self.stored_state {
            return stored.clone();
        }
        match self.heads.as_slice() {
            [] => StateBefore::Empty,
            [head] => StateBefore::After(head.event_id.clone()),
            _ => StateBefore::Resolved {
                base: None,
                set: self.state.iter().map(|event| event.id.clone()).collect(),
                removed: Vec::new(),
            },
        }
    }

    /// Its version.
    pub fn version(&self) -> &RoomVersionId {
        &self.rules.version
    }

    /// Its name; an empty one counts as none.
    pub fn name(&self) -> Option<String> {
        self.text("m.room.name", "name")
    }

    /// Its topic; an empty one counts as none.
    pub fn topic(&self) -> Option<String> {
        self.text("m.room.topic", "topic")
    }

    /// Its picture.
    pub fn avatar_url(&self) -> Option<String> {
        self.text("m.room.avatar", "url")
    }

    /// The alias by which it wants to be called.
    pub fn canonical_alias(&self) -> Option<OwnedRoomAliasId> {
        content::aliases(self.state.get("m.room.canonical_alias", "")?).0
    }

    /// Other aliases it announces.
    pub fn alternative_aliases(&self) -> Vec<OwnedRoomAliasId> {
        let event = self.state.get("m.room.canonical_alias", "");
        event
            .map(|event| content::aliases(event).1)
            .unwrap_or_default()
    }

    /// Who may join.
    pub fn join_rule(&self) -> JoinRule {
        self.state.join_rules().rule
    }

    /// Rooms whose members may join, if the join rule is a restricted one.
    pub fn allowed_rooms(&self) -> Vec<OwnedRoomId> {
        let join_rules = self.state.join_rules();
        if join_rules.rule.is_restricted() {
            join_rules.allowed_rooms.clone()
        } else {
            Vec::new()
        }
    }

    /// Who may see what is sent now.
    pub fn history_visibility(&self) -> HistoryVisibility {
        let event = self.state.get("m.room.history_visibility", "");
        HistoryVisibility::of(event.map(AsRef::as_ref))
    }

    /// Whether guests may join.
    pub fn guest_can_join(&self) -> bool {
        self.text("m.room.guest_access", "guest_access").as_deref() == Some("can_join")
    }

    /// The encryption algorithm, if messages are to be encrypted.
    pub fn encryption(&self) -> Option<String> {
        self.text("m.room.encryption", "algorithm")
    }

    /// Its type, such as `m.space`.
    pub fn kind(&self) -> Option<String> {
        self.state.create_facts(&self.rules)?.kind.clone()
    }

    /// Its creators, the sender of the create event first.
    pub fn creators(&self) -> Vec<OwnedUserId> {
        let create = self.state.create_facts(&self.rules);
        create
            .map(|create| create.creators.clone())
            .unwrap_or_default()
    }

    /// Whether users of other servers may take part.
    pub fn is_federated(&self) -> bool {
        self.state
            .create_facts(&self.rules)
            .is_none_or(|create| create.is_federated)
    }

    /// The room that this one continues.
    pub fn predecessor(&self) -> Option<OwnedRoomId> {
        self.state.create_facts(&self.rules)?.predecessor.clone()
    }

    /// Where the room goes on, if it was closed for another one.
    pub fn tombstone(&self) -> Option<Tombstone> {
        let event = self.state.get("m.room.tombstone", "")?;
        Some(Tombstone {
            replacement_room: content::text(event, "replacement_room")
                .and_then(|room_id| OwnedRoomId::try_from(room_id).ok()),
            body: content::text(event, "body").unwrap_or_default(),
        })
    }

    /// The power levels that hold.
    pub fn power_levels(&self) -> Arc<PowerLevels> {
        self.state.power_levels(&self.rules)
    }

    /// Whether a user is a member.
    pub fn is_joined(&self, user_id: &UserId) -> bool {
        self.state.is_joined(user_id)
    }

    fn text(&self, kind: &str, key: &str) -> Option<String> {
        content::text(self.state.get(kind, "")?, key).filter(|text| !text.is_empty())
    }
}
