//! `/v1/event_reports` and `/v1/user_reports`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{AdminRequester, Answer, App, Refusal, Segments, json};
use lyceum_model::MatrixError;
use lyceum_server::administration::reports::{EventReport, UserReport};
use lyceum_storage::StorageError;
use serde_json::{Value, json};

use super::{
    done,
    paging::{Direction, Page, list},
    parameters::Parameters,
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

/// The page that is wanted of reports that come oldest first; the newest are wanted first unless
/// somebody says otherwise.
fn page<T>(parameters: &Parameters, mut reports: Vec<T>) -> Result<(Page, Vec<T>), Refusal> {
    let page = parameters.page()?;
    if parameters.direction()? != Some(Direction::Forward) {
        reports.reverse();
    }
    Ok((page, reports))
}

/// Whether a text has the part that a parameter wants.
fn contains(parameters: &Parameters, name: &str, text: &str) -> bool {
    parameters.text(name).is_none_or(|part| text.contains(part))
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
    parameters: Parameters,
) -> Answer {
    let sender = parameters.text("event_sender_user_id");
    let mut reports = app.server.event_reports().await?;
    reports.retain(|(_, report)| {
        contains(&parameters, "user_id", report.user_id.as_str())
            && contains(&parameters, "room_id", report.room_id.as_str())
            && sender.is_none_or(|sender| sender == report.sender)
    });
    let (page, reports) = page(&parameters, reports)?;
    let total = reports.len();
    let (reports, next) = page.of(reports);
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
    parameters: Parameters,
) -> Answer {
    let mut reports = app.server.user_reports().await?;
    reports.retain(|(_, report)| {
        contains(&parameters, "user_id", report.user_id.as_str())
            && contains(
                &parameters,
                "target_user_id",
                report.target_user_id.as_str(),
            )
    });
    let (page, reports) = page(&parameters, reports)?;
    let shown = |(number, report): &_| shown_user(*number, report);
    Ok(json(&page.body("user_reports", reports, shown)))
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
