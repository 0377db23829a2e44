//! `POST /user/{userId}/openid/request_token`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Requester, Segments, json};
use lyceum_server::accounts::open_id;
use ruma_common::OwnedUserId;
use serde_json::json;

pub(crate) async fn request_token(
    State(app): State<Arc<App>>,
    requester: Requester,
    Segments(user_id): Segments<OwnedUserId>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    requester.must_be(&user_id)?;
    let token = open_id::new_token(&app.server, &user_id).await?;
    Ok(json(&json!({
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": app.server.config.server_name,
        "expires_in": open_id::LIFETIME_MS / 1000,
    })))
}
