//! Presence, as clients are told (Client-Server API, "Presence").

use lyceum_model::{Presence, PresenceState, Timestamp};
use ruma_common::OwnedUserId;

use crate::json_text::{into_string, key, number_member, raw_member, text_member};

/// Who was active less than this ago, in milliseconds, counts as active now.
pub const CURRENTLY_ACTIVE_MS: u64 = 60_000;

/// An `m.presence` event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceEvent {
    /// Whose presence.
    pub sender: OwnedUserId,
    /// The event as JSON.
    pub json: String,
}

/// The `m.presence` event of a presence.
pub fn event(presence: &Presence, now: Timestamp) -> PresenceEvent {
    let mut out = Vec::with_capacity(192);
    out.push(b'{');
    key(&mut out, "content");
    write_content(&mut out, presence, now);
    text_member(&mut out, "sender", presence.user_id.as_str());
    text_member(&mut out, "type", "m.presence");
    out.push(b'}');
    PresenceEvent {
        sender: presence.user_id.clone(),
        json: into_string(out),
    }
}

/// The answer of `/presence/{userId}/status`: the content of the event.
pub fn status_json(presence: &Presence, now: Timestamp) -> String {
    let mut out = Vec::with_capacity(128);
    write_content(&mut out, presence, now);
    into_string(out)
}

fn write_content(out: &mut Vec<u8>, presence: &Presence, now: Timestamp) {
    out.push(b'{');
    let was_ever_active = presence.last_active != Timestamp::default();
    let ago_ms = now.ms_since(presence.last_active);
    if presence.state == PresenceState::Online {
        let is_active = was_ever_active && ago_ms < CURRENTLY_ACTIVE_MS;
        raw_member(
            out,
            "currently_active",
            if is_active { "true" } else { "false" },
        );
    }
    if was_ever_active {
        number_member(out, "last_active_ago", ago_ms);
    }
    text_member(out, "presence", presence.state.as_str());
    if let Some(status) = &presence.status {
        text_member(out, "status_msg", status);
    }
    out.push(b'}');
}
