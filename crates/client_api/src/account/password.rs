//! `POST /account/password`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Requester, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::passwords::{self, EndSessions};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::interactive_auth::authenticate;

#[derive(Deserialize)]
pub(crate) struct Body {
    auth: Option<Value>,
    new_password: Option<String>,
    logout_devices: Option<bool>,
}

pub(crate) async fn change(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    if let Some(password) = &body.new_password {
        passwords::check_policy(&app.server, password).map_err(MatrixError::from)?;
    }
    let auth = body.auth.as_ref();
    let passed = authenticate(&app, &requester, "POST", "/account/password", auth).await?;
    let password = body.new_password;
    let password =
        password.ok_or_else(|| MatrixError::missing_param("Missing parameter: new_password"))?;
    let end = if body.logout_devices.unwrap_or(true) {
        EndSessions::AllBut(requester.device_id.as_deref())
    } else {
        EndSessions::None
    };
    let changed = passwords::change(&app.server, &requester.user_id, password, end, &passed).await;
    changed.map_err(MatrixError::from)?;
    Ok(json(&json!({})))
}
