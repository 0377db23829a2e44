//! `/v1/event_reports` and `/v1/user_reports`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, Query, Refusal, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::reports::{EventReport, UserReport};
use lyceum_storage::StorageError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    done,
    paging::{Direction, Paging},
    refused,
    rooms::reading::raw,
    v1,
};

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/event_reports", get(events));
    let router = v1(
        router,
        "/event_reports/{id}",
        get(event).delete(delete_event),
    );
    let router = v1(router, "/user_reports", get(users));
    v1(router, "/user_reports/{id}", get(user).delete(delete_user))
}

#[derive(Deserialize)]
struct Filter {
    user_id: Option<String>,
    room_id: Option<String>,
    event_sender_user_id: Option<String>,
    target_user_id: Option<String>,
}

/// A page of a list that has its oldest entry first.
fn page<T>(paging: &Paging, mut all: Vec<T>) -> Result<(Vec<T>, usize, Option<usize>), Refusal> {
    if paging.direction().unwrap_or(Direction::Backward) == Direction::Backward {
        all.reverse();
    }
    let total = all.len();
    let (entries, next) = paging.page()?.of(all);
    Ok((entries, total, next))
}

fn list(key: &str, entries: &[Value], total: usize, next: Option<usize>) -> Value {
    let mut body = json!({ key: entries, "total": total });
    if let Some(next) = next {
        body["next_token"] = json!(next);
    }
    body
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| {
        let why = "The report_id parameter must be a string representing a positive integer.";
        MatrixError::invalid_param(why).into()
    })
}

async fn events(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Answer {
    let is =
        |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
    let mut reports = app.server.event_reports().await?;
    reports.retain(|(_, report)| {
        is(&filter.user_id, report.user_id.as_str())
            && is(&filter.room_id, report.room_id.as_str())
            && is(&filter.event_sender_user_id, report.sender.as_str())
    });
    let (reports, total, next) = page(&paging, reports)?;
    let mut entries = Vec::new();
    for (number, report) in reports {
        entries.push(shown_event(&app, number, &report).await?);
    }
    Ok(json(&list("event_reports", &entries, total, next)))
}

async fn shown_event(app: &App, number: u64, report: &EventReport) -> Result<Value, StorageError> {
    let room = app.server.rooms.room(&report.room_id).await?;
    let alias = room.as_ref().and_then(|room| room.canonical_alias());
    Ok(json!({
        "id": number,
        "received_ts": report.received_ts,
        "room_id": report.room_id,
        "event_id": report.event_id,
        "user_id": report.user_id,
        "reason": report.reason,
        "score": report.score,
        "sender": report.sender,
        "canonical_alias": alias,
        "name": room.and_then(|room| room.name()),
    }))
}

async fn event(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    let number = number(&id)?;
    let Some(report) = app.server.event_report(number).await? else {
        return Err(MatrixError::not_found("Event report not found").into());
    };
    let mut shown = shown_event(&app, number, &report).await?;
    let found = app
        .server
        .store
        .events(std::slice::from_ref(&report.event_id))
        .await?;
    shown["event_json"] = match found.first() {
        Some(stored) => raw(stored)?,
        None => Value::Null,
    };
    Ok(json(&shown))
}

async fn delete_event(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    if app
        .server
        .remove_event_report(number(&id)?)
        .await
        .map_err(refused)?
    {
        return Ok(done());
    }
    Err(MatrixError::not_found("Event report not found").into())
}

async fn users(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Answer {
    let contains = |wanted: &Option<String>, has: &str| {
        wanted.as_deref().is_none_or(|wanted| has.contains(wanted))
    };
    let mut reports = app.server.user_reports().await?;
    reports.retain(|(_, report)| {
        contains(&filter.user_id, report.user_id.as_str())
            && contains(&filter.target_user_id, report.target_user_id.as_str())
    });
    let (reports, total, next) = page(&paging, reports)?;
    let entries: Vec<Value> = reports
        .iter()
        .map(|(number, report)| shown_user(*number, report))
        .collect();
    Ok(json(&list("user_reports", &entries, total, next)))
}

fn shown_user(number: u64, report: &UserReport) -> Value {
    json!({
        "id": number,
        "received_ts": report.received_ts,
        "target_user_id": report.target_user_id,
        "user_id": report.user_id,
        "reason": report.reason,
    })
}

async fn user(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    let number = number(&id)?;
    match app.server.user_report(number).await? {
        Some(report) => Ok(json(&shown_user(number, &report))),
        None => Err(MatrixError::not_found("User report not found").into()),
    }
}

async fn delete_user(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(id): Segments<String>,
) -> Answer {
    if app
        .server
        .remove_user_report(number(&id)?)
        .await
        .map_err(refused)?
    {
        return Ok(done());
    }
    Err(MatrixError::not_found("User report not found").into())
}
