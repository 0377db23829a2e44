//! `GET /v1/rooms`: all rooms, filtered, sorted, in pages.

use std::{cmp::Ordering, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::room_details::RoomLine;
use serde_json::json;

use super::super::{paging::Direction, parameters::Parameters, v1};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v1(router, "/rooms", get(list))
}

#[derive(Debug, Clone, Copy)]
enum OrderBy {
    Name,
    CanonicalAlias,
    JoinedMembers,
    JoinedLocalMembers,
    Version,
    Creator,
    Encryption,
    Federatable,
    Public,
    JoinRules,
    GuestAccess,
    HistoryVisibility,
    StateEvents,
}

impl OrderBy {
    /// Numbers and versions come largest first, everything else in its alphabetical order.
    fn is_largest_first(self) -> bool {
        matches!(
            self,
            Self::JoinedMembers | Self::JoinedLocalMembers | Self::Version | Self::StateEvents
        )
    }
}

/// The first two are old names of others.
const ORDERS: [(&str, OrderBy); 15] = [
    ("alphabetical", OrderBy::Name),
    ("size", OrderBy::JoinedMembers),
    ("name", OrderBy::Name),
    ("canonical_alias", OrderBy::CanonicalAlias),
    ("joined_members", OrderBy::JoinedMembers),
    ("joined_local_members", OrderBy::JoinedLocalMembers),
    ("version", OrderBy::Version),
    ("creator", OrderBy::Creator),
    ("encryption", OrderBy::Encryption),
    ("federatable", OrderBy::Federatable),
    ("public", OrderBy::Public),
    ("join_rules", OrderBy::JoinRules),
    ("guest_access", OrderBy::GuestAccess),
    ("history_visibility", OrderBy::HistoryVisibility),
    ("state_events", OrderBy::StateEvents),
];

async fn list(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let page = parameters.page()?;
    let order_by = parameters.choice("order_by", &ORDERS)?;
    let order_by = order_by.unwrap_or(OrderBy::Name);
    let term = parameters.text("search_term");
    if term == Some("") {
        let why = "search_term cannot be an empty string";
        return Err(MatrixError::invalid_param(why).into());
    }
    let public_rooms = parameters.switch("public_rooms")?;
    let empty_rooms = parameters.switch("empty_rooms")?;
    let direction = parameters.direction()?.unwrap_or(Direction::Forward);
    let mut lines: Vec<RoomLine> = app
        .server
        .room_lines()
        .await?
        .into_iter()
        .filter(|line| {
            public_rooms.is_none_or(|wanted| line.public == wanted)
                && empty_rooms.is_none_or(|wanted| (line.joined_members == 0) == wanted)
                && term.is_none_or(|term| matches_term(line, term))
        })
        .collect();
    lines.sort_by(|a, b| {
        let order = compare(a, b, order_by).then_with(|| a.room_id.cmp(&b.room_id));
        direction.of(if order_by.is_largest_first() {
            order.reverse()
        } else {
            order
        })
    });
    let total = lines.len();
    let (rooms, next) = page.of(lines);
    let mut body = json!({ "rooms": rooms, "offset": page.from, "total_rooms": total });
    if let Some(next) = next {
        body["next_batch"] = json!(next);
    }
    if page.from > 0 {
        body["prev_batch"] = json!(page.from.saturating_sub(page.limit));
    }
    Ok(json(&body))
}

/// The name or the alias's localpart contains it in any case, or it is the id.
fn matches_term(line: &RoomLine, term: &str) -> bool {
    let lower = term.to_lowercase();
    let name = line.name.as_deref().unwrap_or_default().to_lowercase();
    let alias = line.canonical_alias.as_deref().unwrap_or_default();
    let localpart = alias.trim_start_matches('#').split(':').next();
    let localpart = localpart.unwrap_or_default().to_lowercase();
    name.contains(&lower) || localpart.contains(&lower) || line.room_id.as_str() == term
}

fn compare(a: &RoomLine, b: &RoomLine, order_by: OrderBy) -> Ordering {
    let version = |line: &RoomLine| {
        (
            line.version.parse::<u32>().unwrap_or(0),
            line.version.clone(),
        )
    };
    match order_by {
        OrderBy::Name => by_text(a.name.as_deref(), b.name.as_deref()),
        OrderBy::CanonicalAlias => {
            by_text(a.canonical_alias.as_deref(), b.canonical_alias.as_deref())
        }
        OrderBy::JoinedMembers => a.joined_members.cmp(&b.joined_members),
        OrderBy::JoinedLocalMembers => a.joined_local_members.cmp(&b.joined_local_members),
        OrderBy::Version => version(a).cmp(&version(b)),
        OrderBy::Creator => a.creator.cmp(&b.creator),
        OrderBy::Encryption => by_text(a.encryption.as_deref(), b.encryption.as_deref()),
        OrderBy::Federatable => a.federatable.cmp(&b.federatable),
        OrderBy::Public => a.public.cmp(&b.public),
        OrderBy::JoinRules => by_text(a.join_rules.as_deref(), b.join_rules.as_deref()),
        OrderBy::GuestAccess => by_text(a.guest_access.as_deref(), b.guest_access.as_deref()),
        OrderBy::HistoryVisibility => by_text(
            a.history_visibility.as_deref(),
            b.history_visibility.as_deref(),
        ),
        OrderBy::StateEvents => a.state_events.cmp(&b.state_events),
    }
}

/// What is missing comes last.
fn by_text(a: Option<&str>, b: Option<&str>) -> Ordering {
    (a.is_none(), a).cmp(&(b.is_none(), b))
}
