//! Room summaries in `/sync`: how many members a room has, and who can give it a name.

use lyceum_model::{Event, Membership};
use ruma_common::{OwnedUserId, UserId};

use crate::room_view::StateScope;

/// So many members at most stand for a room without a name.
pub const HEROES_MAX: usize = 5;

/// What a client is told of a room's members (`summary` of a joined room).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryChange {
    /// Members who can give the room a name; `None` if it has one.
    pub heroes: Option<Vec<OwnedUserId>>,
    /// How many are joined, the reader too.
    pub joined: u64,
    /// How many are invited.
    pub invited: u64,
}

/// Whether a client needs heroes to name the room: neither a name nor a canonical alias is set.
pub fn needs_heroes(name: Option<&str>, canonical_alias: Option<&str>) -> bool {
    name.is_none_or(str::is_empty) && canonical_alias.is_none_or(str::is_empty)
}

/// The room's heroes as `user_id` sees it: the first five others who are joined or invited, in
/// the order in which they came to be so (depth of the member event, then its time); if there
/// are none, those who left or were banned. One pass over the members.
pub fn heroes<'a>(
    user_id: &UserId,
    members: impl Iterator<Item = (&'a UserId, Membership, &'a Event)>,
) -> Vec<OwnedUserId> {
    let mut present = First::default();
    let mut gone = First::default();
    for (member, membership, event) in members {
        if member == user_id {
            continue;
        }
        match membership {
            Membership::Join | Membership::Invite => present.offer(member, event),
            Membership::Leave | Membership::Ban => gone.offer(member, event),
            Membership::Knock => {}
        }
    }
    let chosen = if present.members.is_empty() {
        gone
    } else {
        present
    };
    chosen
        .members
        .into_iter()
        .map(|(_, member)| member.to_owned())
        .collect()
}

/// Whether a client must be told the summary of a room with this change: of everything, or of
/// one that touches members or the room's name. `state` are the changed entries before the
/// timeline.
pub fn is_due<'a>(scope: StateScope, changed: impl IntoIterator<Item = &'a Event>) -> bool {
    scope == StateScope::Full
        || changed.into_iter().any(|event| {
            event.state_key.is_some()
                && matches!(
                    &*event.kind,
                    "m.room.member" | "m.room.name" | "m.room.canonical_alias"
                )
        })
}

/// The first few members offered, by the order of their events.
#[derive(Default)]
struct First<'a> {
    members: Vec<((u64, u64, &'a str), &'a UserId)>,
}

impl<'a> First<'a> {
    fn offer(&mut self, member: &'a UserId, event: &'a Event) {
        let order = (event.depth, event.origin_server_ts, event.id.as_str());
        if self.members.len() == HEROES_MAX
            && self.members.last().is_some_and(|(last, _)| *last <= order)
        {
            return;
        }
        let place = self
            .members
            .partition_point(|(earlier, _)| *earlier <= order);
        self.members.insert(place, (order, member));
        self.members.truncate(HEROES_MAX);
    }
}
