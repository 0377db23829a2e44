//! What a room version asks for, as behaviour: nobody compares version numbers.

use ruma_common::{
    RoomVersionId,
    room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules},
};

/// The rules of one room version.
#[derive(Debug, Clone)]
pub struct RoomRules {
    /// The version's name.
    pub version: RoomVersionId,
    /// Its rules as ruma tells them.
    pub ruma: RoomVersionRules,
}

impl RoomRules {
    /// The rules of a version; `None` if this server does not know it (it knows 1 to 12).
    pub fn for_version(version: &RoomVersionId) -> Option<Self> {
        if !Self::supported().contains(version) {
            return None;
        }
        Some(Self {
            version: version.clone(),
            ruma: version.rules()?,
        })
    }

    /// All versions that this server knows, oldest first.
    pub fn supported() -> [RoomVersionId; 12] {
        [
            RoomVersionId::V1,
            RoomVersionId::V2,
            RoomVersionId::V3,
            RoomVersionId::V4,
            RoomVersionId::V5,
            RoomVersionId::V6,
            RoomVersionId::V7,
            RoomVersionId::V8,
            RoomVersionId::V9,
            RoomVersionId::V10,
            RoomVersionId::V11,
            RoomVersionId::V12,
        ]
    }

    /// Whether events carry their own id, made of chance and the server's name.
    pub fn events_carry_their_id(&self) -> bool {
        self.ruma.event_id_format == EventIdFormatVersion::V1
    }

    /// Whether event ids are hashes in standard base64, which contains `/` and `+`.
    pub(crate) fn event_ids_use_standard_base64(&self) -> bool {
        self.ruma.event_id_format == EventIdFormatVersion::V2
    }

    /// Whether events refer to others by pairs of id and hash.
    pub(crate) fn references_carry_hashes(&self) -> bool {
        self.ruma.events_reference_format == EventsReferenceFormatVersion::V1
    }

    /// Whether the create event's hash is the room's id.
    pub fn room_id_is_create_hash(&self) -> bool {
        self.ruma.authorization.room_create_event_id_as_room_id
    }

    /// Whether creators stand above all power levels.
    pub fn creators_are_privileged(&self) -> bool {
        self.ruma.authorization.explicitly_privilege_room_creators
    }

    /// Whether a redaction names its target in its content.
    pub fn redacts_in_content(&self) -> bool {
        self.ruma.redaction.content_field_redacts
    }
}
