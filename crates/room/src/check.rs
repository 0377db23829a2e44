//! What the server demands of contents that its own users send, beyond the authorisation rules:
//! shapes that would otherwise break a room or its clients.

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, UserId};
use serde_json::value::RawValue;

use crate::{decision::Piece, denied::Denied, room::Room, signer::Signer};

/// Reads a content as canonical JSON: an object without floats and without integers beyond
/// ±(2^53 - 1), nested at most [`DEPTH_MAX`] deep.
pub(crate) fn object(content: &RawValue) -> Result<CanonicalJsonObject, Denied> {
    let text = content.get();
    if text.len() > CONTENT_TEXT_BYTES_MAX {
        return Err(Denied::TooLarge(text.len()));
    }
    if !text.starts_with('{') {
        return Err(Denied::BadJson("content must be an object".to_owned()));
    }
    let content: CanonicalJsonObject = serde_json::from_str(text)
        .map_err(|error| Denied::BadJson(format!("content is not canonical JSON: {error}")))?;
    if !content.values().all(|value| is_flat(value, DEPTH_MAX)) {
        return Err(Denied::BadJson(format!(
            "content is nested more than {DEPTH_MAX} deep"
        )));
    }
    Ok(content)
}

/// How deep a content may be nested. Parsers stop at 128, and an event holds its content, and the
/// one that it replaces, some levels deeper.
const DEPTH_MAX: usize = 100;

/// Whether a value in an object is nested less than so deep.
fn is_flat(value: &CanonicalJsonValue, depth: usize) -> bool {
    match value {
        CanonicalJsonValue::Object(object) => {
            depth > 1 && object.values().all(|value| is_flat(value, depth - 1))
        }
        CanonicalJsonValue::Array(list) => {
            depth > 1 && list.iter().all(|value| is_flat(value, depth - 1))
        }
        _ => true,
    }
}

/// A content may shrink when it is canonicalised (white space, escapes); beyond this it is not
/// even read.
const CONTENT_TEXT_BYTES_MAX: usize = 8 * crate::pdu::EVENT_BYTES_MAX;

/// Checks the content of types that the server knows.
pub(crate) fn content(piece: &Piece, room: &Room, signer: &Signer) -> Result<(), Denied> {
    let content = &piece.content;
    match (piece.kind.as_str(), &piece.state_key) {
        ("m.room.message", _) => texts(content, &["body", "msgtype"]),
        ("m.room.name", Some(_)) => texts(content, &["name"]),
        ("m.room.topic", Some(_)) => texts(content, &["topic"]),
        // Null is how clients take a picture away.
        ("m.room.avatar", Some(_)) => texts_or_null(content, &["url"]),
        ("m.room.history_visibility", Some(_)) => texts(content, &["history_visibility"]),
        ("m.room.guest_access", Some(_)) => texts(content, &["guest_access"]),
        ("m.room.encryption", Some(_)) => texts(content, &["algorithm"]),
        ("m.room.join_rules", Some(_)) => match content.get("join_rule") {
            Some(CanonicalJsonValue::String(_)) => Ok(()),
            _ => bad("join_rule must be a string"),
        },
        ("m.room.member", Some(key)) => member(content, key),
        ("m.room.member" | "m.room.create" | "m.room.power_levels", None) => {
            bad(&format!("{} is state", piece.kind))
        }
        ("m.room.power_levels", Some(_)) => power_levels(content, room),
        ("m.room.canonical_alias", Some(_)) => canonical_alias(content),
        ("m.room.tombstone", Some(_)) => match content.get("replacement_room") {
            Some(CanonicalJsonValue::String(room_id)) if *room_id != room.room_id.as_str() => {
                Ok(())
            }
            Some(CanonicalJsonValue::String(_)) => Err(Denied::InvalidParam(
                "a room cannot replace itself".to_owned(),
            )),
            Some(_) => bad("replacement_room must be a string"),
            None => Ok(()),
        },
        ("m.room.server_acl", Some(_)) => server_acl(content, signer),
        _ => Ok(()),
    }
}

fn bad(reason: &str) -> Result<(), Denied> {
    Err(Denied::BadJson(reason.to_owned()))
}

/// These fields, where present, are texts.
fn texts(content: &CanonicalJsonObject, keys: &[&str]) -> Result<(), Denied> {
    fields(content, keys, CanonicalJsonValue::is_string)
}

/// These fields, where present, are texts or null.
fn texts_or_null(content: &CanonicalJsonObject, keys: &[&str]) -> Result<(), Denied> {
    fields(content, keys, |value| {
        value.is_string() || matches!(value, CanonicalJsonValue::Null)
    })
}

fn fields(
    content: &CanonicalJsonObject,
    keys: &[&str],
    is_right: fn(&CanonicalJsonValue) -> bool,
) -> Result<(), Denied> {
    for key in keys {
        if content.get(*key).is_some_and(|value| !is_right(value)) {
            return bad(&format!("{key} must be a string"));
        }
    }
    Ok(())
}

fn member(content: &CanonicalJsonObject, key: &str) -> Result<(), Denied> {
    if UserId::parse(key).is_err() {
        return bad("the state key of m.room.member must be a user id");
    }
    let Some(CanonicalJsonValue::String(membership)) = content.get("membership") else {
        return bad("membership must be a string");
    };
    if lyceum_model::Membership::from_name(membership).is_none() {
        return bad("unknown membership");
    }
    texts_or_null(content, &["displayname", "avatar_url"])?;
    texts(content, &["reason"])
}

/// Integers everywhere, also in versions that would tolerate texts; and no level for creators who
/// stand above all levels, which is a mistake in the content, whoever sends it.
fn power_levels(content: &CanonicalJsonObject, room: &Room) -> Result<(), Denied> {
    const LEVELS: [&str; 7] = [
        "ban",
        "events_default",
        "invite",
        "kick",
        "redact",
        "state_default",
        "users_default",
    ];
    for key in LEVELS {
        if content.get(key).is_some_and(|level| !level.is_integer()) {
            return bad(&format!("{key} must be an integer"));
        }
    }
    for key in ["events", "notifications", "users"] {
        let Some(levels) = content.get(key) else {
            continue;
        };
        let Some(levels) = levels.as_object() else {
            return bad(&format!("{key} must be an object"));
        };
        if !levels.values().all(CanonicalJsonValue::is_integer) {
            return bad(&format!("{key} must hold integers"));
        }
        if key == "users" && levels.keys().any(|user_id| UserId::parse(user_id).is_err()) {
            return bad("users must be named by user ids");
        }
        let present = room.power_levels();
        let mut above = present.privileged().iter();
        if key == "users" && above.any(|creator| levels.contains_key(creator.as_str())) {
            return Err(Denied::InvalidRoomState(
                "users must not name creators of the room, who stand above all levels".to_owned(),
            ));
        }
    }
    Ok(())
}

fn canonical_alias(content: &CanonicalJsonObject) -> Result<(), Denied> {
    match content.get("alias") {
        None | Some(CanonicalJsonValue::Null | CanonicalJsonValue::String(_)) => {}
        Some(_) => return bad("alias must be a string"),
    }
    match content.get("alt_aliases") {
        None | Some(CanonicalJsonValue::Null) => Ok(()),
        Some(CanonicalJsonValue::Array(aliases))
            if aliases.iter().all(CanonicalJsonValue::is_string) =>
        {
            Ok(())
        }
        Some(_) => bad("alt_aliases must be an array of strings"),
    }
}

/// A server that shuts itself out could never undo it.
fn server_acl(content: &CanonicalJsonObject, signer: &Signer) -> Result<(), Denied> {
    let list = |key: &str| -> Result<Vec<&str>, Denied> {
        match content.get(key) {
            None => Ok(Vec::new()),
            Some(CanonicalJsonValue::Array(patterns)) => patterns
                .iter()
                .map(|pattern| pattern.as_str())
                .collect::<Option<_>>()
                .ok_or_else(|| Denied::BadJson(format!("{key} must hold strings"))),
            Some(_) => Err(Denied::BadJson(format!("{key} must be an array"))),
        }
    };
    let (allow, deny) = (list("allow")?, list("deny")?);
    let host = signer.server_name().host();
    let matches = |patterns: &[&str]| patterns.iter().any(|pattern| glob(pattern, host));
    if matches(&deny) || !matches(&allow) {
        return Err(Denied::InvalidParam(
            "this would shut out the server itself".to_owned(),
        ));
    }
    Ok(())
}

/// Whether `*` (any text) and `?` (any one character) in a pattern match a server's name.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else {
                    return false;
                };
                star = Some((star_at, star_from + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}
