//! Taking an event's content away (Client-Server API, "Redactions").

use std::sync::Arc;

use lyceum_model::{Event, RoomChange, Timestamp};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, UserId};
use serde_json::value::RawValue;

use crate::{
    check,
    decision::{Composer, Decision, Draft, Past, Piece},
    denied::Denied,
    pdu::redacted,
    room::Room,
    signer::Signer,
};

/// What to redact, and why.
#[derive(Debug)]
pub struct Redaction<'a> {
    /// The event to redact.
    pub target: &'a Event,
    /// The redaction's content, such as `reason`; `redacts` in it is set as the version wants it, and
    /// names no other event.
    pub content: Option<Box<RawValue>>,
    /// Where it is said, if not now: by who wrote the event and may say nothing any more.
    pub past: Option<&'a Past>,
}

/// The target that a client names when it sends `m.room.redaction` like any other event.
pub fn redaction_target(draft: &Draft) -> Option<OwnedEventId> {
    if draft.kind != "m.room.redaction" {
        return None;
    }
    if draft.redacts.is_some() {
        return draft.redacts.clone();
    }
    let content: CanonicalJsonObject = serde_json::from_str(draft.content.get()).ok()?;
    OwnedEventId::try_from(content.get("redacts")?.as_str()?).ok()
}

/// Redacts an event: one's own, or any with the power for it.
pub fn redact(
    room: &Room,
    sender: &UserId,
    redaction: Redaction<'_>,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let Redaction {
        target,
        content,
        past,
    } = redaction;
    if target.room_id != room.room_id {
        return Err(Denied::InvalidParam(
            "the event belongs to another room".to_owned(),
        ));
    }
    if target.is_state("m.room.create") || target.is_state("m.room.server_acl") {
        return Err(Denied::forbidden(format!(
            "{} cannot be redacted",
            target.kind
        )));
    }
    if target.sender != sender && (past.is_some() || !room.power_levels().may_redact(sender)) {
        return Err(Denied::forbidden(
            "only the redact level allows to redact others' events",
        ));
    }
    let mut content = match content {
        Some(content) => check::object(&content)?,
        None => CanonicalJsonObject::new(),
    };
    let named = content.remove("redacts");
    if named.is_some_and(|named| named.as_str() != Some(target.id.as_str())) {
        return Err(Denied::InvalidParam(
            "the content names another event".to_owned(),
        ));
    }
    if room.rules.redacts_in_content() {
        let id = CanonicalJsonValue::String(target.id.to_string());
        content.insert("redacts".to_owned(), id);
    }
    let piece = Piece {
        kind: "m.room.redaction".to_owned(),
        state_key: None,
        content,
    };
    let mut composer = Composer::new(room, signer, now);
    let redacts = Some(target.id.clone());
    let because = match past {
        Some(past) => composer.append_to_past(sender, piece, redacts, past)?,
        None => composer.append(sender, piece, redacts)?,
    };
    let redacted = Arc::new(redacted(target, &room.rules)?);
    if let Some(key) = &target.state_key
        && room
            .state
            .get(&target.kind, key)
            .is_some_and(|present| present.id == target.id)
    {
        composer.room.state.insert(redacted.clone());
    }
    composer.also(RoomChange::Redact {
        redacted,
        because: because.id.clone(),
    });
    Ok(composer.finish())
}
