//! `POST /users/{userId}/report`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, Segments, client, json};
use lyceum_model::MatrixError;
use ruma_common::OwnedUserId;
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/users/{user_id}/report", post(report))
}

#[derive(Deserialize)]
struct Body {
    reason: String,
}

async fn report(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(user_id): Segments<OwnedUserId>,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let reported = app
        .server
        .report_user(&requester.user_id, &user_id, body.reason)
        .await;
    reported.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
