//! `POST /v1/login/get_token`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, JsonBody, Requester, client_v1, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::login;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::interactive_auth::authenticate;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client_v1(router, "/login/get_token", post(get_token))
}

#[derive(Deserialize)]
struct Body {
    auth: Option<Value>,
}

async fn get_token(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    if requester.application_service().is_some() {
        return Err(MatrixError::forbidden("An application service cannot do this").into());
    }
    let auth = body.auth.as_ref();
    let passed = authenticate(&app, &requester, "POST", "/login/get_token", auth).await?;
    let (token, expires_in_ms) =
        login::login_token(&app.server, &requester.user_id, &passed).await?;
    Ok(json(
        &json!({ "login_token": token, "expires_in_ms": expires_in_ms }),
    ))
}
