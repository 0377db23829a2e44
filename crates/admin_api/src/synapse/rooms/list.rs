//! `GET /v1/rooms`: all rooms, filtered, sorted, in pages.

use std::{cmp::Ordering, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, Query, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::room_details::RoomLine;
use serde::Deserialize;
use serde_json::json;

use super::super::{
    paging::{Direction, Paging},
    v1,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    v1(router, "/rooms", get(list))
}

#[derive(Debug, Deserialize)]
struct Parameters {
    order_by: Option<OrderBy>,
    search_term: Option<String>,
    public_rooms: Option<bool>,
    empty_rooms: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderBy {
    #[serde(alias = "alphabetical")]
    Name,
    CanonicalAlias,
    #[serde(alias = "size")]
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

async fn list(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(paging): Query<Paging>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let page = paging.page()?;
    if parameters.search_term.as_deref() == Some("") {
        let why = "search_term cannot be an empty string";
        return Err(MatrixError::invalid_param(why).into());
    }
    let term = parameters.search_term.as_deref();
    let mut lines: Vec<RoomLine> = app
        .server
        .room_lines()
        .await?
        .into_iter()
        .filter(|line| {
            parameters
                .public_rooms
                .is_none_or(|wanted| line.public == wanted)
                && parameters
                    .empty_rooms
                    .is_none_or(|wanted| (line.joined_members == 0) == wanted)
                && term.is_none_or(|term| matches_term(line, term))
        })
        .collect();
    let order_by = parameters.order_by.unwrap_or(OrderBy::Name);
    let direction = paging.direction().unwrap_or(Direction::Forward);
    lines.sort_by(|a, b| {
        direction
            .of(compare(a, b, order_by))
            .then_with(|| a.room_id.cmp(&b.room_id))
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

/// The name or the alias's localpart contains it in any case, or the id as it is.
fn matches_term(line: &RoomLine, term: &str) -> bool {
    let lower = term.to_lowercase();
    let name = line.name.as_deref().unwrap_or_default().to_lowercase();
    let alias = line.canonical_alias.as_deref().unwrap_or_default();
    let localpart = alias.split(':').next().unwrap_or_default().to_lowercase();
    name.contains(&lower) || localpart.contains(&lower) || line.room_id.as_str().contains(term)
}

/// Numbers and versions come largest first, everything else in its alphabetical order.
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
        OrderBy::JoinedMembers => b.joined_members.cmp(&a.joined_members),
        OrderBy::JoinedLocalMembers => b.joined_local_members.cmp(&a.joined_local_members),
        OrderBy::Version => version(b).cmp(&version(a)),
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
        OrderBy::StateEvents => b.state_events.cmp(&a.state_events),
    }
}

/// What is missing comes last.
fn by_text(a: Option<&str>, b: Option<&str>) -> Ordering {
    (a.is_none(), a).cmp(&(b.is_none(), b))
}
