//! Who is typing, as clients are told (Client-Server API, "Typing Notifications").

use std::sync::Arc;

use lyceum_model::Timestamp;
use ruma_common::OwnedUserId;

use crate::json_text::{into_string, texts};

/// The `m.typing` event: all who are typing at `now`. Users come with the time at which each
/// stops by itself.
pub fn event_json(users: &[(OwnedUserId, Timestamp)], now: Timestamp) -> Arc<str> {
    let mut out = Vec::with_capacity(64 + users.len() * 40);
    out.extend_from_slice(b"{\"type\":\"m.typing\",\"content\":{\"user_ids\":");
    texts(
        &mut out,
        users
            .iter()
            .filter(|(_, until)| *until > now)
            .map(|(user_id, _)| user_id),
    );
    out.extend_from_slice(b"}}");
    into_string(out).into()
}
