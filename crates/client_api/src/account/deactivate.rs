//! `POST /account/deactivate`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::closing::{self, Remains};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::interactive_auth::authenticate;

#[derive(Deserialize)]
pub(crate) struct Body {
    auth: Option<Value>,
    erase: Option<bool>,
}

pub(crate) async fn deactivate(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    let auth = body.auth.as_ref();
    let passed = authenticate(&app, &requester, "POST", "/account/deactivate", auth).await?;
    let remains = if body.erase == Some(true) {
        Remains::Erased
    } else {
        Remains::Kept
    };
    let closed = closing::close(&app.server, &requester.user_id, remains, &passed).await;
    closed.map_err(MatrixError::from)?;
    Ok(json(&json!({ "id_server_unbind_result": "success" })))
}
