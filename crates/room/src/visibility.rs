//! Who may see an event (Client-Server API, "Room History Visibility").

use lyceum_model::{Event, Membership};
use ruma_common::UserId;

use crate::content::{HistoryVisibility, membership_of};

/// What a room was to a user just before an event, and what came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewpoint {
    /// The history visibility before the event.
    pub visibility: HistoryVisibility,
    /// The user's membership before the event; `None`: never seen in the room.
    pub membership: Option<Membership>,
    /// Whether the user was a member at any time after the event.
    pub joined_later: bool,
}

/// Whether `user_id` may see `event`. The event itself tells what it changes: of history
/// visibility events and of the user's own member events, before or after counts.
pub fn visible_to(event: &Event, user_id: &UserId, viewpoint: Viewpoint) -> bool {
    let mut visibilities = vec![viewpoint.visibility];
    let mut memberships = vec![viewpoint.membership];
    if event.is_state("m.room.history_visibility") {
        visibilities.push(HistoryVisibility::of(Some(event)));
    }
    if &*event.kind == "m.room.member" && event.state_key.as_deref() == Some(user_id.as_str()) {
        memberships.push(membership_of(event));
    }
    visibilities.iter().any(|visibility| {
        memberships
            .iter()
            .any(|membership| allows(*visibility, *membership, viewpoint.joined_later))
    })
}

fn allows(
    visibility: HistoryVisibility,
    membership: Option<Membership>,
    joined_later: bool,
) -> bool {
    if membership == Some(Membership::Join) {
        return true;
    }
    match visibility {
        HistoryVisibility::WorldReadable => true,
        HistoryVisibility::Shared => joined_later,
        HistoryVisibility::Invited => membership == Some(Membership::Invite),
        HistoryVisibility::Joined => false,
    }
}
