//! What concerns the whole server: version, federation, background work, statistics, notices,
//! redaction of a user's events.

use std::{cmp::Ordering, sync::Arc};

use axum::{
    Router,
    extract::State,
    routing::{get, post, put},
};
use lyceum_edge::{AdminRequester, Answer, App, ProvisioningRequester, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::{
    jobs::Work, notices::Notice, people::text_of, redaction::RedactionWish,
};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    local_user,
    object::{Object, required},
    paging::Direction,
    parameters::Parameters,
    refused, user_id, v1,
};

/// How many rooms the list of the largest ones has.
const LARGEST_ROOMS: usize = 10;
/// What a notice is if nobody says.
const MESSAGE: &str = "m.room.message";
/// Whether background updates may run, as an admin set it.
const UPDATES_SETTING: &str = "admin.background_updates";
/// The updates that admins can start. What they would put right is computed anew at each request
/// here, so there is nothing to be done.
const UPDATES: [&str; 2] = ["populate_stats_process_rooms", "regenerate_directory"];
/// By what the list of destinations can be ordered.
const DESTINATION_ORDERS: [&str; 5] = [
    "destination",
    "retry_last_ts",
    "retry_interval",
    "failure_ts",
    "last_successful_stream_ordering",
];
/// The states of a task. None is ever cancelled here.
const TASK_STATUSES: [&str; 5] = ["scheduled", "active", "complete", "failed", "cancelled"];

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

async fn version(_admin: ProvisioningRequester) -> Answer {
    Ok(json(
        &json!({ "server_version": env!("CARGO_PKG_VERSION") }),
    ))
}

/// This server speaks with no other servers yet, so it has no destinations.
async fn destinations(_admin: AdminRequester, parameters: Parameters) -> Answer {
    parameters.page()?;
    parameters.choice("order_by", &DESTINATION_ORDERS.map(|order| (order, ())))?;
    parameters.direction()?;
    Ok(json(&json!({ "destinations": [], "total": 0 })))
}

async fn no_destination(_admin: AdminRequester) -> Answer {
    Err(MatrixError::not_found("Unknown destination").into())
}

async fn tasks(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let actions: Vec<&str> = parameters.texts("action_name").collect();
    let resource_id = parameters.text("resource_id");
    let known = TASK_STATUSES.map(|status| (status, status));
    let mut statuses = parameters.choices("status", &known)?;
    if statuses.is_empty() {
        statuses = parameters.choices("job_status", &known)?;
    }
    let max_timestamp = parameters.integer("max_timestamp")?;
    let is_wanted = |wanted: &[&str], has| wanted.is_empty() || wanted.contains(&has);
    let tasks: Vec<Value> = app
        .server
        .jobs()
        .await?
        .iter()
        .filter(|job| {
            is_wanted(&actions, job.work.action())
                && resource_id.is_none_or(|wanted| wanted == job.work.resource_id())
                && is_wanted(&statuses, job.status.as_str())
                && max_timestamp.is_none_or(|max| job.timestamp_ms < max)
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

#[derive(Debug, Clone, Copy)]
enum OrderBy {
    UserId,
    Displayname,
    MediaLength,
    MediaCount,
}

const ORDERS: [(&str, OrderBy); 4] = [
    ("media_length", OrderBy::MediaLength),
    ("media_count", OrderBy::MediaCount),
    ("user_id", OrderBy::UserId),
    ("displayname", OrderBy::Displayname),
];

struct Usage {
    user_id: OwnedUserId,
    display_name: Option<String>,
    count: u64,
    bytes: u64,
}

async fn media_statistics(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let order_by = parameters.choice("order_by", &ORDERS)?;
    let order_by = order_by.unwrap_or(OrderBy::UserId);
    let page = parameters.page()?;
    let from = parameters.time("from_ts")?;
    let until = parameters.time("until_ts")?;
    if until.is_some_and(|until| until <= from.unwrap_or_default()) {
        let why = "Query parameter until_ts must be greater than from_ts.";
        return Err(MatrixError::invalid_param(why).into());
    }
    let term = parameters.text("search_term").map(str::to_lowercase);
    if term.as_deref() == Some("") {
        let why = "Query parameter search_term cannot be an empty string.";
        return Err(MatrixError::invalid_param(why).into());
    }
    let direction = parameters.direction()?.unwrap_or(Direction::Forward);
    let server = &app.server;
    let usage = server.media_usage(from, until).await?;
    let ids: Vec<OwnedUserId> = usage.keys().cloned().collect();
    let profiles = server.store.profiles(&ids).await?;
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
    lines.sort_by(|a, b| {
        direction
            .of(compare(a, b, order_by))
            .then_with(|| a.user_id.cmp(&b.user_id))
    });
    Ok(json(&page.body("users", lines, |line| {
        json!({
            "displayname": line.display_name,
            "media_count": line.count,
            "media_length": line.bytes,
            "user_id": line.user_id,
        })
    })))
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
    Object(body): Object,
) -> Answer {
    let enabled = match body.get("enabled") {
        None => true,
        Some(Value::Bool(enabled)) => *enabled,
        Some(_) => {
            return Err(MatrixError::unknown("'enabled' parameter must be a boolean").into());
        }
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

async fn start_update(_admin: AdminRequester, Object(body): Object) -> Answer {
    let name = required(&body, "job_name")?;
    if !name.as_str().is_some_and(|name| UPDATES.contains(&name)) {
        return Err(MatrixError::unknown("Invalid job_name").into());
    }
    Ok(super::done())
}

async fn notice(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Object(body): Object,
) -> Answer {
    send_notice(&app, body, None).await
}

async fn notice_once(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(transaction_id): Segments<String>,
    Object(body): Object,
) -> Answer {
    send_notice(&app, body, Some(transaction_id)).await
}

async fn send_notice(
    app: &App,
    body: Map<String, Value>,
    transaction_id: Option<String>,
) -> Answer {
    if !body.contains_key("user_id") && !body.contains_key("content") {
        let why = "Missing params: ['user_id', 'content']";
        return Err(MatrixError::missing_param(why).into());
    }
    let named = required(&body, "user_id")?;
    let content = required(&body, "content")?;
    let other = "Server notices can only be sent to local users";
    let user = local_user(app, named.as_str().unwrap_or_default(), other).await?;
    let text = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(MatrixError::unknown(format!("Not '{key}' a string type"))),
    };
    let kind = text("type")?.unwrap_or_else(|| MESSAGE.to_owned());
    let state_key = text("state_key")?;
    let missing = |key| kind == MESSAGE && content.get(key).is_none();
    if let Some(key) = ["body", "msgtype"].into_iter().find(|key| missing(*key)) {
        return Err(MatrixError::unknown(format!("'{key}' not in content")).into());
    }
    if !content.is_object() {
        return Err(MatrixError::bad_json("content must be an object").into());
    }
    let content = RawValue::from_string(content.to_string());
    let notice = Notice {
        kind,
        state_key,
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
    before_ts: Option<i64>,
    after_ts: Option<i64>,
}

async fn redact(
    State(app): State<Arc<App>>,
    admin: AdminRequester,
    Segments(named): Segments<String>,
    Object(body): Object,
) -> Answer {
    let user_id = user_id(&named)?;
    required(&body, "rooms")?;
    let body: Redaction = serde_json::from_value(Value::Object(body))
        .map_err(|error| MatrixError::bad_json(error.to_string()))?;
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
        before_ts: body.before_ts.map(not_negative),
        after_ts: body.after_ts.map(not_negative),
    };
    for job in app.server.jobs().await? {
        let is_same =
            matches!(&job.work, Work::RedactUser { user_id: other, .. } if *other == user_id);
        if is_same && !job.status.is_final() {
            let why = format!("Redact already in progress for user {user_id}");
            return Err(MatrixError::unknown(why).into());
        }
    }
    let id = app
        .server
        .begin_job(Work::RedactUser { user_id, wish })
        .await?;
    Ok(json(&json!({ "redact_id": id })))
}

/// No event is from before 1970.
fn not_negative(ts: i64) -> u64 {
    u64::try_from(ts).unwrap_or(0)
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
    // Synapse's book says "completed"; Synapse and its tools say "complete".
    let failed = job
        .result
        .map(|mut result| result["failed_redactions"].take());
    let mut body = json!({
        "status": job.status.as_str(),
        "failed_redactions": failed.unwrap_or_else(|| json!({})),
    });
    if let Some(error) = job.error {
        body["error"] = json!(error);
    }
    Ok(json(&body))
}
