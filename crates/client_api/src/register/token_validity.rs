//! `GET /v1/register/m.login.registration_token/validity`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_edge::{Answer, App, ClientAddress, Limit, Query, client_v1, json};
use lyceum_model::MatrixError;
use lyceum_server::{accounts::registration_tokens, config::RegistrationMode};
use serde::Deserialize;
use serde_json::json;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client_v1(
        router,
        "/register/m.login.registration_token/validity",
        get(validity),
    )
}

#[derive(Deserialize)]
struct Parameters {
    token: Option<String>,
}

async fn validity(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Query(parameters): Query<Parameters>,
) -> Answer {
    app.limiter
        .check_address(Limit::Registration, address, app.server.clock.now())?;
    if app.server.config.registration.mode != RegistrationMode::Token {
        let why = "Registration by token is not enabled on this homeserver.";
        return Err(MatrixError::forbidden(why).into());
    }
    let token = parameters
        .token
        .ok_or_else(|| MatrixError::missing_param("Missing token"))?;
    let valid = registration_tokens::is_valid(&app.server, &token).await?;
    Ok(json(&json!({ "valid": valid })))
}
