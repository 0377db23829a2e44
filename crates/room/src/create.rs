//! Making a room (Client-Server API, "Creation"): its first events in the order that the
//! specification gives them.

use std::collections::BTreeSet;

use lyceum_model::{Alias, Expect, Membership, RoomChange, Timestamp};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedUserId,
    RoomVersionId, ServerName, UserId,
};
use serde_json::value::RawValue;

use crate::{
    check,
    content::{HistoryVisibility, JoinRule},
    decision::{Composer, Decision, Draft, Piece, object, text},
    denied::Denied,
    membership::{Invite, Profile, content_of},
    rules::RoomRules,
    signer::Signer,
};

/// Chance for the id of a room, where the version does not derive it from the create event.
pub type RoomEntropy = [u8; 32];

/// The level that tombstones need at least where creators stand above all levels.
const TOMBSTONE_LEVEL: i64 = 150;
/// The greatest integer of canonical JSON.
pub(crate) const INTEGER_MAX: i64 = (1 << 53) - 1;
/// How many letters make the local part of a room id.
const ROOM_ID_LETTERS: usize = 18;

/// A set of defaults for a new room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Invited users only.
    PrivateChat,
    /// Invited users only, all as powerful as the creator.
    TrustedPrivateChat,
    /// Everybody.
    PublicChat,
}

impl Preset {
    /// The preset of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "private_chat" => Self::PrivateChat,
            "trusted_private_chat" => Self::TrustedPrivateChat,
            "public_chat" => Self::PublicChat,
            _ => return None,
        })
    }

    fn join_rule(self) -> JoinRule {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => JoinRule::Invite,
            Self::PublicChat => JoinRule::Public,
        }
    }

    fn guest_access(self) -> &'static str {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => "can_join",
            Self::PublicChat => "forbidden",
        }
    }

    fn invite_level(self) -> i64 {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => 0,
            Self::PublicChat => 50,
        }
    }
}

/// The room that a user wants.
#[derive(Debug, Clone)]
pub struct CreateRoom {
    /// Who makes it.
    pub creator: OwnedUserId,
    /// How the creator shows in it.
    pub creator_profile: Profile,
    /// Its version.
    pub version: RoomVersionId,
    /// `None`: what the visibility implies.
    pub preset: Option<Preset>,
    /// Whether it is shown in the public directory (`visibility`).
    pub is_public: bool,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Its first alias, which becomes the canonical one.
    pub room_alias: Option<OwnedRoomAliasId>,
    /// Who is invited, and how they show.
    pub invites: Vec<(OwnedUserId, Profile)>,
    /// Further state, in this order; takes precedence over the preset.
    pub initial_state: Vec<Draft>,
    /// Further fields of the create event.
    pub creation_content: Option<Box<RawValue>>,
    /// Fields that replace those of the power levels event.
    pub power_level_content_override: Option<Box<RawValue>>,
    /// Whether the invites are to a direct chat.
    pub is_direct: bool,
}

impl CreateRoom {
    /// A private room without a name.
    pub fn new(creator: OwnedUserId, version: RoomVersionId) -> Self {
        Self {
            creator,
            creator_profile: Profile::default(),
            version,
            preset: None,
            is_public: false,
            name: None,
            topic: None,
            room_alias: None,
            invites: Vec::new(),
            initial_state: Vec::new(),
            creation_content: None,
            power_level_content_override: None,
            is_direct: false,
        }
    }
}

/// Makes a room. The batch also sets the alias and puts the room into the directory.
pub fn create(
    request: CreateRoom,
    signer: &Signer,
    now: Timestamp,
    entropy: RoomEntropy,
) -> Result<Decision, Denied> {
    let rules = RoomRules::for_version(&request.version)
        .ok_or_else(|| Denied::UnsupportedVersion(request.version.clone()))?;
    let default_preset = if request.is_public {
        Preset::PublicChat
    } else {
        Preset::PrivateChat
    };
    let preset = request.preset.unwrap_or(default_preset);
    let creator = request.creator.clone();

    let mut invites: Vec<&(OwnedUserId, Profile)> = Vec::with_capacity(request.invites.len());
    let mut seen = BTreeSet::new();
    for invite in &request.invites {
        if seen.insert(&invite.0) {
            invites.push(invite);
        }
    }
    let trusted: Vec<&UserId> = match preset {
        Preset::TrustedPrivateChat => invites.iter().map(|(user_id, _)| &**user_id).collect(),
        Preset::PrivateChat | Preset::PublicChat => Vec::new(),
    };

    let content = creation_content(&request, &rules, &trusted)?;
    let power_levels = power_levels(&request, preset, &rules, &trusted)?;
    let mut initial_state = Vec::with_capacity(request.initial_state.len());
    for draft in request.initial_state {
        let key = draft.state_key.unwrap_or_default();
        if key.is_empty()
            && (draft.kind == "m.room.power_levels"
                || draft.kind == "m.room.name" && request.name.is_some()
                || draft.kind == "m.room.topic" && request.topic.is_some())
        {
            continue;
        }
        initial_state.push(Piece::state(
            &draft.kind,
            &key,
            check::object(&draft.content)?,
        ));
    }

    let room_id =
        (!rules.room_id_is_create_hash()).then(|| random_room_id(&entropy, signer.server_name()));
    let mut composer = Composer::found(rules, room_id, &creator, content, (signer, now))?;
    let room_id = composer.room.room_id.clone();
    let join = content_of(Membership::Join, request.creator_profile, None);
    let mut first = vec![
        Piece::state("m.room.member", creator.as_str(), join),
        Piece::state("m.room.power_levels", "", power_levels),
    ];
    if let Some(alias) = &request.room_alias {
        let content = object([("alias", Some(text(alias.as_str())))]);
        first.push(Piece::state("m.room.canonical_alias", "", content));
    }
    for (kind, field, value) in [
        (
            "m.room.join_rules",
            "join_rule",
            preset.join_rule().as_str(),
        ),
        (
            "m.room.history_visibility",
            "history_visibility",
            HistoryVisibility::Shared.as_str(),
        ),
        ("m.room.guest_access", "guest_access", preset.guest_access()),
    ] {
        let is_given = |piece: &Piece| piece.kind == kind && piece.state_key.as_deref() == Some("");
        if !initial_state.iter().any(is_given) {
            first.push(Piece::state(kind, "", object([(field, Some(text(value)))])));
        }
    }
    first.append(&mut initial_state);
    if let Some(name) = request.name {
        first.push(Piece::state(
            "m.room.name",
            "",
            object([("name", Some(text(name)))]),
        ));
    }
    if let Some(topic) = request.topic {
        first.push(Piece::state("m.room.topic", "", topic_content(&topic)));
    }
    for piece in first {
        composer
            .append(&creator, piece, None)
            .map_err(|denied| match denied {
                Denied::Forbidden(reason) => Denied::InvalidRoomState(reason),
                other => other,
            })?;
    }
    for (user_id, profile) in invites {
        let invite = Invite {
            user_id: user_id.clone(),
            profile: profile.clone(),
            reason: None,
            is_direct: request.is_direct,
        };
        composer.invite(&creator, invite)?;
    }
    if let Some(alias) = request.room_alias {
        composer.expect(Expect::AliasAbsent(alias.clone()));
        composer.also(RoomChange::SetAlias(Alias {
            alias,
            room_id: room_id.clone(),
            creator,
        }));
    }
    if request.is_public {
        composer.also(RoomChange::Publish {
            room_id,
            is_published: true,
        });
    }
    Ok(composer.finish())
}

fn creation_content(
    request: &CreateRoom,
    rules: &RoomRules,
    trusted: &[&UserId],
) -> Result<CanonicalJsonObject, Denied> {
    let mut content = match &request.creation_content {
        Some(content) => check::object(content)?,
        None => CanonicalJsonObject::new(),
    };
    match content.get("m.federate") {
        None | Some(CanonicalJsonValue::Bool(_)) => {}
        Some(_) => return Err(Denied::BadJson("m.federate must be a boolean".to_owned())),
    }
    set_creator(&mut content, &request.creator, rules);
    if rules.ruma.authorization.additional_room_creators {
        let given = match content.remove("additional_creators") {
            None => Vec::new(),
            Some(CanonicalJsonValue::Array(users)) => users,
            Some(_) => {
                return Err(Denied::BadJson(
                    "additional_creators must be an array".to_owned(),
                ));
            }
        };
        let mut creators = Vec::with_capacity(given.len() + trusted.len());
        for user_id in &given {
            let user_id = user_id
                .as_str()
                .and_then(|user_id| OwnedUserId::try_from(user_id).ok());
            creators.push(user_id.ok_or_else(|| {
                Denied::InvalidParam("additional_creators must hold user ids".to_owned())
            })?);
        }
        creators.extend(trusted.iter().map(|user_id| (*user_id).to_owned()));
        set_additional_creators(&mut content, creators, &request.creator);
    }
    Ok(content)
}

/// Sets the fields that every create event has.
pub(crate) fn set_creator(content: &mut CanonicalJsonObject, creator: &UserId, rules: &RoomRules) {
    content.insert("room_version".to_owned(), text(rules.version.as_str()));
    if rules.ruma.authorization.use_room_create_sender {
        content.remove("creator");
    } else {
        content.insert("creator".to_owned(), text(creator.as_str()));
    }
}

/// Names further creators, each once, in the order given; none: no field.
pub(crate) fn set_additional_creators(
    content: &mut CanonicalJsonObject,
    creators: Vec<OwnedUserId>,
    creator: &UserId,
) {
    let mut seen = BTreeSet::from([creator.to_owned()]);
    let creators: Vec<CanonicalJsonValue> = creators
        .into_iter()
        .filter(|user_id| seen.insert(user_id.clone()))
        .map(|user_id| text(user_id.as_str()))
        .collect();
    if !creators.is_empty() {
        content.insert(
            "additional_creators".to_owned(),
            CanonicalJsonValue::Array(creators),
        );
    }
}

fn power_levels(
    request: &CreateRoom,
    preset: Preset,
    rules: &RoomRules,
    trusted: &[&UserId],
) -> Result<CanonicalJsonObject, Denied> {
    // Given as initial state, power levels replace the default ones whole.
    let given = request.initial_state.iter().rfind(|draft| {
        draft.kind == "m.room.power_levels"
            && draft.state_key.as_deref().unwrap_or_default().is_empty()
    });
    let mut content = match given {
        Some(draft) => check::object(&draft.content)?,
        None => default_power_levels(&request.creator, preset, rules, trusted),
    };
    if let Some(fields) = &request.power_level_content_override {
        let fields = check::object(fields)?;
        if !rules.creators_are_privileged()
            && fields
                .get("users")
                .and_then(CanonicalJsonValue::as_object)
                .is_some_and(|users| !users.contains_key(request.creator.as_str()))
        {
            return Err(Denied::InvalidParam(
                "power_level_content_override gives the creator no power".to_owned(),
            ));
        }
        content.extend(fields);
    }
    if rules.creators_are_privileged() && given.is_none() {
        raise_tombstone_level(&mut content);
    }
    Ok(content)
}

/// The power levels event of a new room.
pub(crate) fn default_power_levels(
    creator: &UserId,
    preset: Preset,
    rules: &RoomRules,
    trusted: &[&UserId],
) -> CanonicalJsonObject {
    let mut users = CanonicalJsonObject::new();
    if !rules.creators_are_privileged() {
        for user_id in trusted.iter().copied().chain([creator]) {
            users.insert(user_id.to_string(), level(100));
        }
    }
    let tombstone = if rules.creators_are_privileged() {
        TOMBSTONE_LEVEL
    } else {
        100
    };
    let events = object([
        ("m.room.avatar", Some(level(50))),
        ("m.room.canonical_alias", Some(level(50))),
        ("m.room.encryption", Some(level(100))),
        ("m.room.history_visibility", Some(level(100))),
        ("m.room.name", Some(level(50))),
        ("m.room.power_levels", Some(level(100))),
        ("m.room.server_acl", Some(level(100))),
        ("m.room.tombstone", Some(level(tombstone))),
    ]);
    object([
        ("ban", Some(level(50))),
        ("events", Some(CanonicalJsonValue::Object(events))),
        ("events_default", Some(level(0))),
        ("historical", Some(level(100))),
        ("invite", Some(level(preset.invite_level()))),
        ("kick", Some(level(50))),
        ("redact", Some(level(50))),
        ("state_default", Some(level(50))),
        ("users", Some(CanonicalJsonValue::Object(users))),
        ("users_default", Some(level(0))),
    ])
}

/// Where creators stand above all levels, tombstones need more than other state.
pub(crate) fn raise_tombstone_level(content: &mut CanonicalJsonObject) {
    let as_level = |value: &CanonicalJsonValue| value.as_integer().map(i64::from);
    let state_default = content
        .get("state_default")
        .and_then(as_level)
        .unwrap_or(50);
    let events = content
        .entry("events".to_owned())
        .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
    // An unreadable `events` is refused later.
    let Some(events) = events.as_object_mut() else {
        return;
    };
    let present = events.get("m.room.tombstone").and_then(as_level);
    if present.is_none() {
        let needed = level(TOMBSTONE_LEVEL.max(state_default.saturating_add(1)));
        events.insert("m.room.tombstone".to_owned(), needed);
    }
}

pub(crate) fn level(level: i64) -> CanonicalJsonValue {
    let level = level.clamp(-INTEGER_MAX, INTEGER_MAX);
    CanonicalJsonValue::Integer(
        level
            .try_into()
            .expect("clamped to what canonical JSON holds"),
    )
}

/// A topic in both forms of the specification: plain, and as `m.topic`.
fn topic_content(topic: &str) -> CanonicalJsonObject {
    let plain = object([
        ("body", Some(text(topic))),
        ("mimetype", Some(text("text/plain"))),
    ]);
    let forms = CanonicalJsonValue::Array(vec![CanonicalJsonValue::Object(plain)]);
    let block = object([("m.text", Some(forms))]);
    object([
        ("topic", Some(text(topic))),
        ("m.topic", Some(CanonicalJsonValue::Object(block))),
    ])
}

/// A room id of chance.
pub(crate) fn random_room_id(entropy: &RoomEntropy, server_name: &ServerName) -> OwnedRoomId {
    const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let local: String = entropy
        .iter()
        .take(ROOM_ID_LETTERS)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect();
    OwnedRoomId::try_from(format!("!{local}:{server_name}"))
        .expect("letters and a server name make a room id")
}
