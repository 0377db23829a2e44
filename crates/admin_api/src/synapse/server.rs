//! What concerns the whole server: version, federation, background work, statistics, notices,
//! redaction of a user's events.

use std::{cmp::Ordering, sync::Arc};

use axum::{
    Router,
    extract::State,
    routing::{get, post, put},
};
use lyceum_edge::{AdminRequester, Answer, App, JsonBody, Query, Segments, json};
use lyceum_model::{MatrixError, Timestamp};
use lyceum_server::administration::{
    jobs::{JobStatus, Work},
    notices::Notice,
    people::text_of,
    redaction::RedactionWish,
};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    local_user,
    paging::{Direction, Paging},
    refused, user_id, v1,
};

/// How many rooms the list of the largest ones has.
const LARGEST_ROOMS: usize = 10;
/// Whether background updates may run, as an admin set it.
const UPDATES_SETTING: &str = "admin.background_updates";
/// The updates that admins can start. What they would put right is computed anew at each request
/// here, so there is nothing to be done.
const UPDATES: [&str; 2] = ["populate_stats_process_rooms", "regenerate_directory"];

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/server_version", get(version));
    let router = v1(router, "/federation/destinations", get(destinations));
    let router = v1(
        router,
        "/federation/destinations/{destination}",
        get(no_destination),
    );
    let router = v1(
        router,
        "/federation/destinations/{destination}/rooms",
        get(no_destination),
    );
    let router = v1(
        router,
        "/federation/destinations/{destination}/reset_connection",
        post(no_destination),
    );
    let router = v1(router, "/scheduled_tasks", get(tasks));
    let router = v1(router, "/statistics/users/media", get(media_statistics));
    let router = v1(router, "/statistics/database/rooms", get(largest_rooms));
    let router = v1(router, "/background_updates/status", get(updates));
    let router = v1(
        router,
        "/background_updates/enabled",
        get(updates_enabled).post(enable_updates),
    );
    let router = v1(router, "/background_updates/start_job", post(start_update));
    let router = v1(router, "/send_server_notice", post(notice));
    let router = v1(router, "/send_server_notice/{txn_id}", put(notice_once));
    let router = v1(router, "/user/{user_id}/redact", post(redact));
    v1(
        router,
        "/user/redact_status/{redact_id}",
        get(redact_status),
    )
}

async fn version() -> Answer {
    Ok(json(
        &json!({ "server_version": env!("CARGO_PKG_VERSION") }),
    ))
}

/// This server speaks with no other servers yet, so it has no destinations.
async fn destinations(_admin: AdminRequester, Query(paging): Query<Paging>) -> Answer {
    paging.page()?;
    Ok(json(&json!({ "destinations": [], "total": 0 })))
}

async fn no_destination(_admin: AdminRequester) -> Answer {
    Err(MatrixError::not_found("Unknown destination").into())
}

#[derive(Deserialize)]
struct TaskFilter {
    action_name: Option<String>,
    resource_id: Option<String>,
    #[serde(alias = "job_status")]
    status: Option<String>,
    max_timestamp: Option<u64>,
}

async fn tasks(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(filter): Query<TaskFilter>,
) -> Answer {
    let is =
        |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
    let tasks: Vec<Value> = app
        .server
        .jobs()
        .await?
        .iter()
        .filter(|job| {
            is(&filter.action_name, job.work.action())
                && is(&filter.resource_id, job.work.resource_id())
                && is(&filter.status, job.status.as_str())
                && filter
                    .max_timestamp
                    .is_none_or(|max| job.timestamp_ms < max)
        })
        .map(|job| {
            json!({
                "id": job.id,
                "action": job.work.action(),
                "status": job.status.as_str(),
                "timestamp_ms": job.timestamp_ms,
                "resource_id": job.work.resource_id(),
                "result": job.result,
                "error": job.error,
            })
        })
        .collect();
    Ok(json(&json!({ "scheduled_tasks": tasks })))
}

#[derive(Deserialize)]
struct MediaStatistics {
    order_by: Option<OrderBy>,
    from_ts: Option<u64>,
    until_ts: Option<u64>,
    search_term: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderBy {
    UserId,
    Displayname,
    MediaLength,
    MediaCount,
}

struct Usage {
    user_id: OwnedUserId,
    display_name: Option<String>,
    count: u64,
    bytes: u64,
}

async fn media_statistics(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(paging): Query<Paging>,
    Query(wanted): Query<MediaStatistics>,
) -> Answer {
    let page = paging.page()?;
    if let (Some(from), Some(until)) = (wanted.from_ts, wanted.until_ts)
        && until <= from
    {
        let why = "Query parameter until_ts must be greater than from_ts.";
        return Err(MatrixError::invalid_param(why).into());
    }
    if wanted.search_term.as_deref() == Some("") {
        let why = "Query parameter search_term cannot be an empty string.";
        return Err(MatrixError::invalid_param(why).into());
    }
    let server = &app.server;
    let (from, until) = (
        wanted.from_ts.map(Timestamp),
        wanted.until_ts.map(Timestamp),
    );
    let usage = server.media_usage(from, until).await?;
    let ids: Vec<OwnedUserId> = usage.keys().cloned().collect();
    let profiles = server.store.profiles(&ids).await?;
    let term = wanted.search_term.map(|term| term.to_lowercase());
    let mut lines: Vec<Usage> = usage
        .into_iter()
        .map(|(user_id, (count, bytes))| Usage {
            display_name: profiles
                .get(&user_id)
                .and_then(|fields| text_of(fields, "displayname")),
            user_id,
            count,
            bytes,
        })
        .filter(|line| {
            term.as_ref().is_none_or(|term| {
                let name = line.display_name.as_deref().unwrap_or_default();
                line.user_id.localpart().to_lowercase().contains(term)
                    || name.to_lowercase().contains(term)
            })
        })
        .collect();
    let order_by = wanted.order_by.unwrap_or(OrderBy::UserId);
    let direction = paging.direction().unwrap_or(Direction::Forward);
    lines.sort_by(|a, b| {
        direction
            .of(compare(a, b, order_by))
            .then_with(|| a.user_id.cmp(&b.user_id))
    });
    let total = lines.len();
    let (lines, next) = page.of(lines);
    let users: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "displayname": line.display_name,
                "media_count": line.count,
                "media_length": line.bytes,
                "user_id": line.user_id,
            })
        })
        .collect();
    let mut body = json!({ "users": users, "total": total });
    if let Some(next) = next {
        body["next_token"] = json!(next);
    }
    Ok(json(&body))
}

fn compare(a: &Usage, b: &Usage, order_by: OrderBy) -> Ordering {
    match order_by {
        OrderBy::UserId => a.user_id.cmp(&b.user_id),
        OrderBy::Displayname => a.display_name.cmp(&b.display_name),
        OrderBy::MediaLength => a.bytes.cmp(&b.bytes),
        OrderBy::MediaCount => a.count.cmp(&b.count),
    }
}

async fn largest_rooms(State(app): State<Arc<App>>, _admin: AdminRequester) -> Answer {
    let rooms = app.server.largest_rooms(LARGEST_ROOMS).await?;
    let rooms: Vec<Value> = rooms
        .into_iter()
        .map(|(room_id, size)| json!({ "room_id": room_id, "estimated_size": size }))
        .collect();
    Ok(json(&json!({ "rooms": rooms })))
}

async fn are_updates_enabled(app: &App) -> Result<bool, lyceum_storage::StorageError> {
    let setting = app.server.store.setting(UPDATES_SETTING).await?;
    Ok(setting.as_deref() != Some("false"))
}

async fn updates(State(app): State<Arc<App>>, _admin: AdminRequester) -> Answer {
    let enabled = are_updates_enabled(&app).await?;
    Ok(json(&json!({ "enabled": enabled, "current_updates": {} })))
}

async fn updates_enabled(State(app): State<Arc<App>>, _admin: AdminRequester) -> Answer {
    let enabled = are_updates_enabled(&app).await?;
    Ok(json(&json!({ "enabled": enabled })))
}

async fn enable_updates(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Answer {
    let Some(Value::Bool(enabled)) = body.get("enabled") else {
        return Err(MatrixError::unknown("'enabled' parameter must be a boolean").into());
    };
    let change = lyceum_model::Change::Setting {
        key: UPDATES_SETTING.to_owned(),
        value: (!enabled).then(|| "false".to_owned()),
    };
    app.server
        .commit(lyceum_model::Batch {
            expects: Vec::new(),
            changes: vec![change],
        })
        .await?;
    Ok(json(&json!({ "enabled": enabled })))
}

async fn start_update(
    _admin: AdminRequester,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Answer {
    let Some(name) = body.get("job_name") else {
        return Err(MatrixError::missing_param("Missing params: ['job_name']").into());
    };
    if !name.as_str().is_some_and(|name| UPDATES.contains(&name)) {
        return Err(MatrixError::unknown("Invalid job_name").into());
    }
    Ok(super::done())
}

async fn notice(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Answer {
    send_notice(&app, body, None).await
}

async fn notice_once(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(transaction_id): Segments<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Answer {
    send_notice(&app, body, Some(transaction_id)).await
}

async fn send_notice(
    app: &App,
    body: Map<String, Value>,
    transaction_id: Option<String>,
) -> Answer {
    let (Some(named), Some(content)) = (body.get("user_id"), body.get("content")) else {
        let why = "Missing params: ['user_id', 'content']";
        return Err(MatrixError::missing_param(why).into());
    };
    if !content.is_object() {
        return Err(MatrixError::bad_json("content must be an object").into());
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let other = "Server notices can only be sent to local users";
    let user = local_user(app, named.as_str().unwrap_or_default(), other).await?;
    if user.is_deactivated {
        return Err(MatrixError::user_deactivated("This account has been deactivated").into());
    }
    let content = RawValue::from_string(content.to_string());
    let notice = Notice {
        kind: text("type").unwrap_or_else(|| "m.room.message".to_owned()),
        state_key: text("state_key"),
        content: content.map_err(|_| MatrixError::bad_json("content must be an object"))?,
        transaction_id,
    };
    let sent = app.server.send_notice(&user.user_id, notice).await;
    Ok(json(&json!({ "event_id": sent.map_err(refused)? })))
}

#[derive(Deserialize)]
struct Redaction {
    rooms: Vec<String>,
    reason: Option<String>,
    limit: Option<i64>,
    use_admin: Option<bool>,
    before_ts: Option<u64>,
    after_ts: Option<u64>,
}

async fn redact(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    JsonBody(body): JsonBody<Redaction>,
) -> Answer {
    let user_id = user_id(&named)?;
    let limit = match body.limit {
        None => None,
        Some(limit) => Some(
            usize::try_from(limit)
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| {
                    let why =
                        "If limit is provided it must be a non-negative integer greater than 0.";
                    MatrixError::unknown(why)
                })?,
        ),
    };
    let rooms = body.rooms.iter().map(|room| {
        RoomId::parse(room)
            .map_err(|_| MatrixError::unknown(format!("{room} is not a legal room ID")))
    });
    let rooms: Vec<OwnedRoomId> = rooms.collect::<Result<_, _>>()?;
    let wish = RedactionWish {
        by: admin.user_id.clone(),
        rooms,
        reason: body.reason,
        limit,
        use_admin: body.use_admin.unwrap_or(false),
        before_ts: body.before_ts,
        after_ts: body.after_ts,
    };
    let id = app
        .server
        .begin_job(Work::RedactUser { user_id, wish })
        .await?;
    Ok(json(&json!({ "redact_id": id })))
}

async fn redact_status(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    let job = app.server.job(&id).await?;
    let is_redaction = |work: &Work| matches!(work, Work::RedactUser { .. });
    let Some(job) = job.filter(|job| is_redaction(&job.work)) else {
        return Err(MatrixError::not_found(format!("redact id '{id}' not found")).into());
    };
    let status = match job.status {
        JobStatus::Complete => "completed",
        other => other.as_str(),
    };
    let failed = job
        .result
        .map(|mut result| result["failed_redactions"].take());
    let mut body = json!({
        "status": status,
        "failed_redactions": failed.unwrap_or_else(|| json!({})),
    });
    if let Some(error) = job.error {
        body["error"] = json!(error);
    }
    Ok(json(&body))
}
