//! `GET /keys/changes`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Query, Requester, json};
use lyceum_model::{MatrixError, Position};
use lyceum_server::encryption::device_list_changes;
use lyceum_sync::token::SyncToken;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
pub(crate) struct Parameters {
    from: Option<String>,
    to: Option<String>,
}

pub(crate) async fn changes(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let now = app.server.feed.position();
    let from = parameters.from.as_deref();
    let from = from.ok_or_else(|| MatrixError::missing_param("Missing parameter: from"))?;
    let from = position(from)?;
    let to = match parameters.to.as_deref() {
        Some(to) => position(to)?.min(now),
        None => now,
    };
    let changes = device_list_changes(&app.server, &requester.user_id, from, to).await?;
    Ok(json(
        &json!({ "changed": changes.changed, "left": changes.left }),
    ))
}

fn position(token: &str) -> Result<Position, MatrixError> {
    let token: Result<SyncToken, _> = token.parse();
    Ok(token
        .map_err(|_| MatrixError::invalid_param("This is not a token of /sync"))?
        .0)
}
