//! How endpoints ask somebody who is logged in to prove again who they are.

use lyceum_edge::{App, Limit, Refusal, Requester};
use lyceum_model::MatrixError;
use lyceum_server::accounts::{
    interactive_auth::{self, Operation, Passed},
    login,
};
use serde_json::Value;

/// Leads the requester through interactive authentication for `method path`; application
/// services need none.
pub(crate) async fn authenticate(
    app: &App,
    requester: &Requester,
    method: &'static str,
    path: &str,
    auth: Option<&Value>,
) -> Result<Passed, Refusal> {
    if requester.application_service().is_some() {
        return Ok(Passed::not_needed());
    }
    let limit = if auth.is_some() {
        Limit::Login
    } else {
        Limit::Request
    };
    requester.limit(app, limit)?;
    let operation = Operation {
        user_id: Some(&requester.user_id),
        device_id: requester.device_id.as_deref(),
        method,
        path,
    };
    let flows = login::reauthentication_flows();
    let passed = interactive_auth::authenticate(&app.server, &operation, flows, auth).await;
    Ok(passed.map_err(MatrixError::from)?)
}
