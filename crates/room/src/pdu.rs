//! From what an event shall say to the event: canonical JSON, hash, signature, id.
//!
//! Each of the three texts that this needs (to hash, to sign, to keep) is written once, directly
//! in canonical form; the content is canonicalised once.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use lyceum_model::{Event, RelatesTo, Timestamp};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedRoomId, OwnedUserId,
    canonical_json::redact_content_in_place,
    serde::{
        Base64,
        base64::{Standard, UrlSafe},
    },
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{denied::Denied, rules::RoomRules, signer::Signer};

/// Server-Server API, "Size limits": bytes of a PDU as canonical JSON.
pub const EVENT_BYTES_MAX: usize = 65_535;
/// The same: bytes of a sender, room id, type or state key.
pub const ID_BYTES_MAX: usize = 255;
/// How many bytes of its hash make the id of an event in versions whose events carry their id.
const CARRIED_ID_HASH_BYTES: usize = 18;

/// What an event shall say.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// `None` for a create event whose hash becomes the room's id.
    pub(crate) room_id: Option<OwnedRoomId>,
    pub(crate) sender: OwnedUserId,
    pub(crate) kind: Arc<str>,
    pub(crate) state_key: Option<Arc<str>>,
    pub(crate) content: CanonicalJsonObject,
    pub(crate) redacts: Option<OwnedEventId>,
    pub(crate) prev_events: Vec<OwnedEventId>,
    pub(crate) auth_events: Vec<OwnedEventId>,
    pub(crate) depth: u64,
    pub(crate) now: Timestamp,
    /// Beside the PDU: JSON.
    pub(crate) unsigned: Option<String>,
}

/// Hashes and signs a proposal.
pub(crate) fn seal(
    proposal: Proposal,
    rules: &RoomRules,
    signer: &Signer,
) -> Result<Event, Denied> {
    check_ids(&proposal)?;
    let content = canonical_text(&proposal.content);
    if content.len() > EVENT_BYTES_MAX {
        return Err(Denied::TooLarge(content.len()));
    }
    let mut text = Text::of(&proposal, rules);
    let mut event_id = None;
    if rules.events_carry_their_id() {
        let hash = Sha256::digest(text.write(&content).as_bytes());
        let local = Base64::<UrlSafe, _>::new(&hash[..CARRIED_ID_HASH_BYTES]).encode();
        let id = format!("${local}:{}", signer.server_name());
        text.event_id = Some(id.clone());
        event_id = Some(id);
    }
    let content_hash = Sha256::digest(text.write(&content).as_bytes());
    text.hash = Some(Base64::<Standard, _>::new(&content_hash[..]).encode());

    let redacted_content = if keeps_content(&proposal.kind) {
        let mut redacted = proposal.content.clone();
        redact_content_in_place(&mut redacted, &rules.ruma.redaction, &*proposal.kind);
        canonical_text(&redacted)
    } else {
        "{}".to_owned()
    };
    let redacts = text.redacts.take();
    let to_sign = text.write(&redacted_content);
    text.redacts = redacts;
    let signature = signer.sign(to_sign.as_bytes());
    text.signature = Some(format!(
        "{{{}:{{{}:\"{signature}\"}}}}",
        quoted(signer.server_name().as_str()),
        quoted(signer.key_id()),
    ));
    let event_id = event_id.unwrap_or_else(|| {
        let hash = Sha256::digest(to_sign.as_bytes());
        if rules.event_ids_use_standard_base64() {
            format!("${}", Base64::<Standard, _>::new(&hash[..]).encode())
        } else {
            format!("${}", Base64::<UrlSafe, _>::new(&hash[..]).encode())
        }
    });
    let mut json = text.write(&content);
    if json.len() > EVENT_BYTES_MAX {
        return Err(Denied::TooLarge(json.len()));
    }
    if let Some(unsigned) = &proposal.unsigned {
        // `unsigned` is the last key of a PDU in canonical order.
        json.pop();
        json.push_str(",\"unsigned\":");
        json.push_str(unsigned);
        json.push('}');
    }
    let id = EventId::parse(&event_id).expect("a hash after a sigil is an event id");
    let room_id = match proposal.room_id {
        Some(room_id) => room_id,
        None => OwnedRoomId::try_from(format!("!{}", &event_id[1..]))
            .expect("a hash after a sigil is a room id"),
    };
    let raw = |text: String| RawValue::from_string(text).expect("we wrote valid JSON");
    Ok(Event {
        id,
        room_id,
        sender: proposal.sender,
        relates_to: relates_to(&proposal.content),
        redacts: proposal.redacts,
        kind: proposal.kind,
        state_key: proposal.state_key,
        origin_server_ts: proposal.now.0,
        depth: proposal.depth,
        prev_events: proposal.prev_events,
        auth_events: proposal.auth_events,
        content: raw(content),
        unsigned: proposal.unsigned.map(raw),
        json: json.into(),
    })
}

fn check_ids(proposal: &Proposal) -> Result<(), Denied> {
    let lengths = [
        proposal.kind.len(),
        proposal.sender.as_str().len(),
        proposal.state_key.as_ref().map_or(0, |key| key.len()),
        proposal
            .room_id
            .as_ref()
            .map_or(0, |room_id| room_id.as_str().len()),
    ];
    match lengths.into_iter().find(|length| *length > ID_BYTES_MAX) {
        Some(length) => Err(Denied::FieldTooLarge(length)),
        None => Ok(()),
    }
}

/// Whether redaction leaves something of the content of this type in any version.
fn keeps_content(kind: &str) -> bool {
    matches!(
        kind,
        "m.room.member"
            | "m.room.create"
            | "m.room.join_rules"
            | "m.room.power_levels"
            | "m.room.history_visibility"
            | "m.room.redaction"
            | "m.room.aliases"
    )
}

/// How the content refers to another event, read as [`Event::from_pdu`] reads it.
fn relates_to(content: &CanonicalJsonObject) -> Option<RelatesTo> {
    let relation = content.get("m.relates_to")?.as_object()?;
    let text = |key: &str| match relation.get(key) {
        None | Some(CanonicalJsonValue::Null) => Some(None),
        Some(CanonicalJsonValue::String(text)) => Some(Some(text.as_str())),
        Some(_) => None,
    };
    let (kind, parent, key) = (text("rel_type")?, text("event_id")?, text("key")?);
    Some(RelatesTo {
        kind: kind?.into(),
        parent: OwnedEventId::try_from(parent?).ok()?,
        key: key.map(Into::into),
    })
}

/// The parts of a PDU's text, with the keys in canonical order.
struct Text {
    auth_events: String,
    depth: u64,
    event_id: Option<String>,
    hash: Option<String>,
    now: u64,
    prev_events: String,
    redacts: Option<String>,
    room_id: Option<String>,
    sender: String,
    signature: Option<String>,
    state_key: Option<String>,
    kind: String,
}

impl Text {
    fn of(proposal: &Proposal, rules: &RoomRules) -> Self {
        let redacts = proposal
            .redacts
            .as_ref()
            .filter(|_| !rules.redacts_in_content());
        Self {
            auth_events: references(&proposal.auth_events, rules),
            depth: proposal.depth,
            event_id: None,
            hash: None,
            now: proposal.now.0,
            prev_events: references(&proposal.prev_events, rules),
            redacts: redacts.map(|id| quoted(id.as_str())),
            room_id: proposal
                .room_id
                .as_ref()
                .map(|room_id| quoted(room_id.as_str())),
            sender: quoted(proposal.sender.as_str()),
            signature: None,
            state_key: proposal.state_key.as_ref().map(|key| quoted(key)),
            kind: quoted(&proposal.kind),
        }
    }

    fn write(&self, content: &str) -> String {
        let mut json = String::with_capacity(content.len() + 640);
        let written = write!(
            json,
            r#"{{"auth_events":{},"content":{content},"depth":{}"#,
            self.auth_events, self.depth
        )
        .and_then(|()| match &self.event_id {
            Some(id) => write!(json, r#","event_id":{}"#, quoted(id)),
            None => Ok(()),
        })
        .and_then(|()| match &self.hash {
            Some(hash) => write!(json, r#","hashes":{{"sha256":"{hash}"}}"#),
            None => Ok(()),
        })
        .and_then(|()| {
            write!(
                json,
                r#","origin_server_ts":{},"prev_events":{}"#,
                self.now, self.prev_events
            )
        })
        .and_then(|()| optional(&mut json, "redacts", self.redacts.as_deref()))
        .and_then(|()| optional(&mut json, "room_id", self.room_id.as_deref()))
        .and_then(|()| write!(json, r#","sender":{}"#, self.sender))
        .and_then(|()| optional(&mut json, "signatures", self.signature.as_deref()))
        .and_then(|()| optional(&mut json, "state_key", self.state_key.as_deref()))
        .and_then(|()| write!(json, r#","type":{}}}"#, self.kind));
        written.expect("writing to a String cannot fail");
        json
    }
}

fn optional(json: &mut String, key: &str, value: Option<&str>) -> std::fmt::Result {
    match value {
        Some(value) => write!(json, ",\"{key}\":{value}"),
        None => Ok(()),
    }
}

fn references(ids: &[OwnedEventId], rules: &RoomRules) -> String {
    let mut json = String::with_capacity(2 + ids.len() * 52);
    json.push('[');
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        if rules.references_carry_hashes() {
            json.push('[');
            json.push_str(&quoted(id.as_str()));
            json.push_str(",{}]");
        } else {
            json.push_str(&quoted(id.as_str()));
        }
    }
    json.push(']');
    json
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is valid JSON")
}

/// An object as canonical JSON.
pub(crate) fn canonical_text(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).expect("canonical JSON is valid JSON")
}

fn pieces_of(json: &str) -> serde_json::Result<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(json)
}

/// An object without the values in it that are nested too deep to be read: earlier releases let
/// contents in that were.
fn shallow(object: &RawValue) -> CanonicalJsonObject {
    let pieces = pieces_of(object.get()).unwrap_or_default();
    let values = pieces.into_iter().filter_map(|(key, piece)| {
        let value = serde_json::from_str(piece.get()).ok()?;
        Some((key, value))
    });
    values.collect()
}

/// The redacted form of an event (Client-Server API, "Redactions"). Of `unsigned` only the link
/// to the replaced event stays.
pub fn redacted(event: &Event, rules: &RoomRules) -> Result<Event, Denied> {
    let broken = |error: &dyn std::fmt::Display| Denied::BadJson(error.to_string());
    let mut object = CanonicalJsonObject::new();
    for (key, piece) in pieces_of(&event.json).map_err(|error| broken(&error))? {
        let value = match &*key {
            "content" | "unsigned" => CanonicalJsonValue::Object(shallow(&piece)),
            _ => serde_json::from_str(piece.get()).map_err(|error| broken(&error))?,
        };
        object.insert(key, value);
    }
    let replaces = match object.remove("unsigned") {
        Some(CanonicalJsonValue::Object(mut unsigned)) => unsigned.remove("replaces_state"),
        _ => None,
    };
    ruma_common::canonical_json::redact_in_place(&mut object, &rules.ruma.redaction, None)
        .map_err(|error| broken(&error))?;
    if let Some(replaces) = replaces {
        let unsigned = CanonicalJsonObject::from([("replaces_state".to_owned(), replaces)]);
        object.insert("unsigned".to_owned(), CanonicalJsonValue::Object(unsigned));
    }
    let json: Arc<str> = canonical_text(&object).into();
    Event::from_pdu(event.id.clone(), Some(event.room_id.clone()), json)
        .map_err(|error| broken(&error))
}
