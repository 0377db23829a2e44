//! `GET /v2/users` and `GET /v3/users`: all accounts, filtered, sorted, in pages.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, json};
use lyceum_model::{MatrixError, User};
use lyceum_server::{Server, administration::people::text_of};
use lyceum_storage::{StorageError, UserPage, UserSelection};
use ruma_common::OwnedUserId;
use serde_json::{Value, json};

use super::super::{paging::Direction, parameters::Parameters, v2, v3};

/// How many accounts are asked for at a time.
const CHUNK: usize = 1_000;

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v2(router, "/users", get(list_v2));
    v3(router, "/users", get(list_v3))
}

#[derive(Debug, Clone, Copy)]
enum OrderBy {
    Name,
    IsGuest,
    Admin,
    UserType,
    Deactivated,
    ShadowBanned,
    Displayname,
    AvatarUrl,
    CreationTs,
    LastSeenTs,
    Locked,
}

const ORDERS: [(&str, OrderBy); 11] = [
    ("name", OrderBy::Name),
    ("displayname", OrderBy::Displayname),
    ("is_guest", OrderBy::IsGuest),
    ("admin", OrderBy::Admin),
    ("deactivated", OrderBy::Deactivated),
    ("user_type", OrderBy::UserType),
    ("avatar_url", OrderBy::AvatarUrl),
    ("shadow_banned", OrderBy::ShadowBanned),
    ("creation_ts", OrderBy::CreationTs),
    ("last_seen_ts", OrderBy::LastSeenTs),
    ("locked", OrderBy::Locked),
];

/// An account on its way into the list.
struct Line {
    user: User,
    display_name: Option<String>,
    avatar_url: Option<String>,
    last_seen: Option<u64>,
}

async fn list_v2(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let deactivated = match parameters.switch("deactivated")? {
        Some(true) => None,
        Some(false) | None => Some(false),
    };
    list(&app, &parameters, deactivated).await
}

async fn list_v3(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    list(&app, &parameters, parameters.switch("deactivated")?).await
}

async fn list(app: &App, parameters: &Parameters, deactivated: Option<bool>) -> Answer {
    let page = parameters.page()?;
    // There are no guests here to be left out.
    parameters.switch("guests")?;
    let with_locked = parameters.switch("locked")?.unwrap_or(false);
    let admins = parameters.switch("admins")?;
    let order_by = parameters.choice("order_by", &ORDERS)?;
    let order_by = order_by.unwrap_or(OrderBy::Name);
    let direction = parameters.direction()?.unwrap_or(Direction::Forward);
    let server = &app.server;
    let users = all_users(server, admins).await?;
    let wanted = users.into_iter().filter(|user| {
        let kind = user.kind.as_deref().unwrap_or_default();
        let mut unwanted_kinds = parameters.texts("not_user_type");
        deactivated.is_none_or(|wanted| user.is_deactivated == wanted)
            && (with_locked || !user.is_locked)
            && !unwanted_kinds.any(|unwanted| unwanted == kind)
    });
    let lines = lines(server, wanted.collect()).await?;
    let mut lines: Vec<Line> = lines
        .into_iter()
        .filter(|line| matches_name(line, parameters))
        .collect();
    lines.sort_by(|a, b| {
        direction
            .of(compare(a, b, order_by))
            .then_with(|| a.user.user_id.cmp(&b.user.user_id))
    });
    let total = lines.len();
    let (lines, next) = page.of(lines);
    let users: Vec<Value> = lines.iter().map(shown).collect();
    let mut body = json!({ "users": users, "total": total });
    if let Some(next) = next {
        body["next_token"] = json!(next.to_string());
    }
    Ok(json(&body))
}

/// All accounts, or all admins, or all others.
pub(crate) async fn all_users(
    server: &Server,
    is_admin: Option<bool>,
) -> Result<Vec<User>, StorageError> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let page = UserPage {
            selection: UserSelection {
                with_deactivated: true,
                is_admin,
                ..UserSelection::default()
            },
            after: users.last().map(|user| user.user_id.clone()),
            limit: CHUNK,
        };
        let chunk = server.store.users(page).await?;
        let is_last = chunk.len() < CHUNK;
        users.extend(chunk);
        if is_last {
            return Ok(users);
        }
    }
}

async fn lines(server: &Server, users: Vec<User>) -> Result<Vec<Line>, StorageError> {
    let mut lines = Vec::with_capacity(users.len());
    for chunk in users.chunks(CHUNK) {
        let ids: Vec<OwnedUserId> = chunk.iter().map(|user| user.user_id.clone()).collect();
        let profiles = server.store.profiles(&ids).await?;
        let mut last_seen: BTreeMap<OwnedUserId, u64> = BTreeMap::new();
        for device in server.devices_of(&ids).await? {
            if let Some(seen) = device.last_seen {
                let last = last_seen.entry(device.user_id).or_default();
                *last = seen.0.max(*last);
            }
        }
        for user in chunk {
            let text = |key| {
                profiles
                    .get(&user.user_id)
                    .and_then(|fields| text_of(fields, key))
            };
            lines.push(Line {
                display_name: text("displayname"),
                avatar_url: text("avatar_url"),
                last_seen: last_seen.get(&user.user_id).copied(),
                user: user.clone(),
            });
        }
    }
    Ok(lines)
}

fn matches_name(line: &Line, parameters: &Parameters) -> bool {
    let id = &line.user.user_id;
    let given = |name| parameters.text(name).filter(|text| !text.is_empty());
    if let Some(name) = given("name") {
        let name = name.to_lowercase();
        let display_name = line.display_name.as_deref().unwrap_or_default();
        return id.localpart().to_lowercase().contains(&name)
            || display_name.to_lowercase().contains(&name);
    }
    given("user_id").is_none_or(|part| id.as_str().to_lowercase().contains(&part.to_lowercase()))
}

fn compare(a: &Line, b: &Line, order_by: OrderBy) -> Ordering {
    match order_by {
        OrderBy::Name => a.user.user_id.cmp(&b.user.user_id),
        OrderBy::IsGuest => Ordering::Equal,
        OrderBy::Admin => a.user.is_admin.cmp(&b.user.is_admin),
        OrderBy::UserType => a.user.kind.cmp(&b.user.kind),
        OrderBy::Deactivated => a.user.is_deactivated.cmp(&b.user.is_deactivated),
        OrderBy::ShadowBanned => a.user.is_shadow_banned.cmp(&b.user.is_shadow_banned),
        OrderBy::Displayname => a.display_name.cmp(&b.display_name),
        OrderBy::AvatarUrl => a.avatar_url.cmp(&b.avatar_url),
        OrderBy::CreationTs => a.user.created.cmp(&b.user.created),
        OrderBy::LastSeenTs => a.last_seen.cmp(&b.last_seen),
        OrderBy::Locked => a.user.is_locked.cmp(&b.user.is_locked),
    }
}

fn shown(line: &Line) -> Value {
    let user = &line.user;
    json!({
        "name": user.user_id,
        "is_guest": false,
        "admin": user.is_admin,
        "user_type": user.kind,
        "deactivated": user.is_deactivated,
        "erased": user.is_erased,
        "shadow_banned": user.is_shadow_banned,
        "displayname": line.display_name,
        "avatar_url": line.avatar_url,
        "creation_ts": user.created,
        "last_seen_ts": line.last_seen,
        "locked": user.is_locked,
        "suspended": user.is_suspended,
    })
}

/// `GET /v1/search_users/{userId}?term=`: accounts whose id contains a term, without the hashes of
/// their passwords that Synapse would tell.
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    lyceum_edge::Segments(named): lyceum_edge::Segments<String>,
    parameters: Parameters,
) -> Answer {
    let asked = super::super::user_id(&named)?;
    if !app.server.is_local(&asked) {
        return Err(MatrixError::unknown("Can only users a local user").into());
    }
    let term = parameters.required_text("term")?;
    let found: Vec<Value> = all_users(&app.server, None)
        .await?
        .iter()
        .filter(|user| user.user_id.as_str().contains(term))
        .map(|user| {
            json!({
                "name": user.user_id,
                "is_guest": false,
                "admin": user.is_admin,
                "user_type": user.kind,
            })
        })
        .collect();
    Ok(json(&found))
}
