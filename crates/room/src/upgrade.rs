//! Moving a room to another version (Client-Server API, "Room Upgrades").

use lyceum_model::{Alias, Batch, Membership, RoomChange, Timestamp};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, RoomVersionId, UserId};

use crate::{
    authorise::judge_ordinary,
    content::{JoinRule, member_content},
    create::{
        Preset, RoomEntropy, default_power_levels, level, raise_tombstone_level, random_room_id,
        set_additional_creators, set_creator,
    },
    decision::{Composer, Decision, Piece, object, text},
    denied::Denied,
    membership::{Profile, content_of},
    power::{Power, PowerLevels},
    room::Room,
    rules::RoomRules,
    signer::Signer,
};

/// State that goes over to the new room as it is (power levels and join rules are adapted).
const COPIED: [&str; 8] = [
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.pinned_events",
];
/// How many bans go over; each is an event.
const BANS_COPIED_MAX: usize = 1_000;
/// How many children of a space go over.
const CHILDREN_COPIED_MAX: usize = 1_000;

/// The room that shall replace another one.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// Its version.
    pub version: RoomVersionId,
    /// Further creators, where the version knows them.
    pub additional_creators: Vec<OwnedUserId>,
    /// How the user who upgrades shows in it.
    pub profile: Profile,
    /// The aliases that this server holds for the old room; they move.
    pub aliases: Vec<Alias>,
    /// Whether the old room is in the public directory; that moves too.
    pub is_published: bool,
}

/// What becomes of an upgrade.
#[derive(Debug, Clone)]
pub struct Upgraded {
    /// The new room.
    pub replacement: Decision,
    /// The old room, closed.
    pub old: Decision,
    /// All of it, to be committed as one.
    pub batch: Batch,
}

/// Makes a new room like `old` in another version and closes the old one.
pub fn upgrade(
    old: &Room,
    sender: &UserId,
    upgrade: Upgrade,
    signer: &Signer,
    now: Timestamp,
    entropy: RoomEntropy,
) -> Result<Upgraded, Denied> {
    let rules = RoomRules::for_version(&upgrade.version)
        .ok_or_else(|| Denied::UnsupportedVersion(upgrade.version.clone()))?;
    judge_ordinary(sender, "m.room.tombstone", Some(""), &old.state, &old.rules).transpose()?;

    let mut closing = Composer::new(old, signer, now);
    let room_id =
        (!rules.room_id_is_create_hash()).then(|| random_room_id(&entropy, signer.server_name()));
    let last_event = match &room_id {
        Some(room_id) => Some(
            closing
                .append(sender, tombstone(room_id.as_str()), None)?
                .id
                .clone(),
        ),
        None => {
            let newest = old.heads.iter().max_by_key(|head| head.depth);
            newest.map(|head| head.event_id.clone())
        }
    };
    let predecessor = object([
        ("room_id", Some(text(old.room_id.as_str()))),
        (
            "event_id",
            last_event.map(|event_id| text(event_id.as_str())),
        ),
    ]);
    let mut content = object([
        ("predecessor", Some(CanonicalJsonValue::Object(predecessor))),
        ("type", old.kind().map(text)),
        (
            "m.federate",
            (!old.is_federated()).then_some(CanonicalJsonValue::Bool(false)),
        ),
    ]);
    set_creator(&mut content, sender, &rules);
    if rules.ruma.authorization.additional_room_creators {
        set_additional_creators(&mut content, upgrade.additional_creators, sender);
    }
    let is_named_later = room_id.is_none();
    let mut opening = Composer::found(rules, room_id, sender, content, (signer, now))?;
    let new_id = opening.room.room_id.clone();
    if is_named_later {
        closing.append(sender, tombstone(new_id.as_str()), None)?;
    }
    let join = content_of(Membership::Join, upgrade.profile, None);
    opening.append(
        sender,
        Piece::state("m.room.member", sender.as_str(), join),
        None,
    )?;
    copy_state(old, &mut opening, sender, &upgrade.aliases)?;
    close(old, &mut closing, sender, &upgrade.aliases);

    for alias in upgrade.aliases {
        opening.also(RoomChange::SetAlias(Alias {
            room_id: new_id.clone(),
            ..alias
        }));
    }
    if upgrade.is_published {
        opening.also(RoomChange::Publish {
            room_id: new_id,
            is_published: true,
        });
        let room_id = old.room_id.clone();
        closing.also(RoomChange::Publish {
            room_id,
            is_published: false,
        });
    }
    let replacement = opening.finish();
    let old = closing.finish();
    let mut batch = replacement.batch.clone();
    batch.expects.extend(old.batch.expects.iter().cloned());
    batch.changes.extend(old.batch.changes.iter().cloned());
    Ok(Upgraded {
        replacement,
        old,
        batch,
    })
}

fn tombstone(room_id: &str) -> Piece {
    let content = object([
        ("body", Some(text("This room has been replaced"))),
        ("replacement_room", Some(text(room_id))),
    ]);
    Piece::state("m.room.tombstone", "", content)
}

fn content_of_state(room: &Room, kind: &str) -> Option<CanonicalJsonObject> {
    serde_json::from_str(room.state.get(kind, "")?.content.get()).ok()
}

/// Gives the new room the state of the old one. What the new version refuses stays behind; only
/// the power levels must go over.
fn copy_state(
    old: &Room,
    new: &mut Composer<'_>,
    sender: &UserId,
    aliases: &[Alias],
) -> Result<(), Denied> {
    let final_levels = power_levels(old, &new.room, sender);
    let first_levels = with_power_to_set_up(&final_levels, &new.room, sender);
    let is_raised = first_levels != final_levels;
    new.append(
        sender,
        Piece::state("m.room.power_levels", "", first_levels),
        None,
    )?;
    let mut pieces = Vec::new();
    if let Some(alias) = old.canonical_alias()
        && aliases.iter().any(|moved| moved.alias == alias)
        && let Some(content) = content_of_state(old, "m.room.canonical_alias")
    {
        pieces.push(Piece::state("m.room.canonical_alias", "", content));
    }
    pieces.push(Piece::state(
        "m.room.join_rules",
        "",
        join_rules(old, &new.room.rules),
    ));
    for kind in COPIED {
        if let Some(content) = content_of_state(old, kind) {
            pieces.push(Piece::state(kind, "", content));
        }
    }
    if old.kind().as_deref() == Some("m.space") {
        for event in old.state.of_kind("m.space.child").take(CHILDREN_COPIED_MAX) {
            if let Some(key) = &event.state_key
                && let Ok(content) =
                    serde_json::from_str::<CanonicalJsonObject>(event.content.get())
                && !content.is_empty()
            {
                pieces.push(Piece::state("m.space.child", key, content));
            }
        }
    }
    let banned = old
        .state
        .members()
        .filter(|(_, member)| member.membership == Membership::Ban);
    for (user_id, member) in banned.take(BANS_COPIED_MAX) {
        let reason = member_content(&member.event).reason;
        let content = content_of(Membership::Ban, Profile::default(), reason);
        pieces.push(Piece::state("m.room.member", user_id.as_str(), content));
    }
    for piece in pieces {
        // An old room may hold state that nobody could set today; it stays behind.
        let _ = new.append(sender, piece, None);
    }
    if is_raised {
        new.append(
            sender,
            Piece::state("m.room.power_levels", "", final_levels),
            None,
        )?;
    }
    Ok(())
}

/// The old join rules, as far as the new version knows them.
fn join_rules(old: &Room, rules: &RoomRules) -> CanonicalJsonObject {
    let authorization = &rules.ruma.authorization;
    let rule = old.join_rule();
    let is_known = match rule {
        JoinRule::Public | JoinRule::Invite | JoinRule::Private => true,
        JoinRule::Knock => authorization.knocking,
        JoinRule::Restricted => authorization.restricted_join_rule,
        JoinRule::KnockRestricted => authorization.knock_restricted_join_rule,
    };
    match content_of_state(old, "m.room.join_rules") {
        Some(content) if is_known && content.contains_key("join_rule") => content,
        _ => object([("join_rule", Some(text(JoinRule::Invite.as_str())))]),
    }
}

/// The old power levels in the form of the new version.
fn power_levels(old: &Room, new: &Room, sender: &UserId) -> CanonicalJsonObject {
    let levels = old.power_levels();
    let mut content = match content_of_state(old, "m.room.power_levels") {
        Some(mut content) => {
            set_integers(&mut content, &levels);
            content
        }
        None => default_power_levels(sender, Preset::PrivateChat, &new.rules, &[]),
    };
    let Some(users) = content
        .get_mut("users")
        .and_then(CanonicalJsonValue::as_object_mut)
    else {
        return content;
    };
    if new.rules.creators_are_privileged() {
        for creator in new.creators() {
            users.remove(creator.as_str());
        }
        raise_tombstone_level(&mut content);
    } else {
        let highest = highest_level(&levels);
        for creator in levels.privileged() {
            users.insert(creator.to_string(), level(highest));
        }
    }
    content
}

/// Replaces what old versions may hold (texts for numbers) by what it means.
fn set_integers(content: &mut CanonicalJsonObject, levels: &PowerLevels) {
    for (key, value) in [
        ("ban", levels.ban),
        ("events_default", levels.events_default),
        ("invite", levels.invite),
        ("kick", levels.kick),
        ("redact", levels.redact),
        ("state_default", levels.state_default),
        ("users_default", levels.users_default),
    ] {
        if content.contains_key(key) {
            content.insert(key.to_owned(), level(value));
        }
    }
    let map = |levels: Vec<(String, i64)>| {
        let levels = levels
            .into_iter()
            .map(|(key, value)| (key, level(value)))
            .collect();
        CanonicalJsonValue::Object(levels)
    };
    let users = levels
        .users
        .iter()
        .map(|(user_id, level)| (user_id.to_string(), *level));
    let events = levels
        .events
        .iter()
        .map(|(kind, level)| (kind.clone(), *level));
    content.insert("users".to_owned(), map(users.collect()));
    content.insert("events".to_owned(), map(events.collect()));
    if content.contains_key("notifications") {
        let notifications = levels
            .notifications
            .iter()
            .map(|(key, level)| (key.clone(), *level));
        content.insert("notifications".to_owned(), map(notifications.collect()));
    }
}

/// What suffices for everything that levels ask for.
fn highest_level(levels: &PowerLevels) -> i64 {
    let named = levels.events.values().chain(levels.users.values()).copied();
    let general = [
        100,
        levels.state_default,
        levels.ban,
        levels.kick,
        levels.redact,
        levels.invite,
    ];
    named.chain(general).max().unwrap_or(100)
}

/// The same levels, with the power that `sender` needs while the room is set up.
fn with_power_to_set_up(
    content: &CanonicalJsonObject,
    new: &Room,
    sender: &UserId,
) -> CanonicalJsonObject {
    let mut raised = content.clone();
    if new.power_levels().user(sender) == Power::Infinite {
        return raised;
    }
    let as_level = |value: &CanonicalJsonValue| value.as_integer().map(i64::from);
    let maps = ["events", "users"]
        .into_iter()
        .filter_map(|key| content.get(key)?.as_object());
    let highest = maps
        .flat_map(|levels| levels.values().filter_map(as_level))
        .chain(
            ["ban", "kick", "state_default"]
                .map(|key| content.get(key).and_then(as_level).unwrap_or(50)),
        )
        .max()
        .unwrap_or(100);
    if let Some(users) = raised
        .get_mut("users")
        .and_then(CanonicalJsonValue::as_object_mut)
    {
        let present = users.get(sender.as_str()).and_then(as_level);
        if present.is_none_or(|present| present < highest) {
            users.insert(sender.to_string(), level(highest));
        }
    }
    raised
}

/// Leaves the old room readable but silent, as far as `sender` may.
fn close(old: &Room, closing: &mut Composer<'_>, sender: &UserId, aliases: &[Alias]) {
    if let Some(alias) = old.canonical_alias()
        && aliases.iter().any(|moved| moved.alias == alias)
    {
        let piece = Piece::state("m.room.canonical_alias", "", CanonicalJsonObject::new());
        // Without the power for it the alias simply stays announced.
        let _ = closing.append(sender, piece, None);
    }
    let Some(mut content) = content_of_state(old, "m.room.power_levels") else {
        return;
    };
    let levels = old.power_levels();
    let silent = levels.users_default.saturating_add(1).max(50);
    if levels.events_default >= silent && levels.invite >= silent {
        return;
    }
    content.insert(
        "events_default".to_owned(),
        level(levels.events_default.max(silent)),
    );
    content.insert("invite".to_owned(), level(levels.invite.max(silent)));
    // The same: the tombstone alone tells everybody to move on.
    let _ = closing.append(
        sender,
        Piece::state("m.room.power_levels", "", content),
        None,
    );
}
