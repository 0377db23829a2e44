//! `GET /login`, `POST /login`.

mod get_token;

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use lyceum_account::names::Identifier;
use lyceum_edge::{
    Answer, App, BriefBody, ClientAddress, Limit, Refusal, ShownToken, client, json,
};
use lyceum_model::MatrixError;
use lyceum_server::{
    accounts::login::{self, Credentials},
    application_services::ApplicationService,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    object::Object,
    session_answer::{SessionWishes, session_answer},
};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/login", get(flows).post(log_in));
    get_token::routes(router)
}

async fn flows(State(app): State<Arc<App>>, ClientAddress(address): ClientAddress) -> Answer {
    app.limiter
        .check_address(Limit::Request, address, app.server.clock.now())?;
    let mut flows = vec![
        json!({ "type": "m.login.token", "get_login_token": true }),
        json!({ "type": "m.login.application_service" }),
    ];
    if app.server.config.passwords.enabled {
        flows.insert(0, json!({ "type": "m.login.password" }));
    }
    Ok(json(&json!({ "flows": flows })))
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    password: Option<String>,
    token: Option<String>,
    #[serde(flatten)]
    wishes: SessionWishes,
}

async fn log_in(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    ShownToken(shown): ShownToken,
    BriefBody(Object(value)): BriefBody<Object>,
) -> Answer {
    let body = Body::deserialize(&value)
        .map_err(|error| MatrixError::bad_json(format!("The body has a wrong shape: {error}")))?;
    let kind = body.kind.as_deref().ok_or_else(|| missing("type"))?;
    let identifier = Identifier::from_login(&value).map_err(MatrixError::from);
    let service;
    let credentials = match kind {
        "m.login.password" => Credentials::Password {
            identifier: identifier?.ok_or_else(|| missing("identifier"))?,
            password: body.password.ok_or_else(|| missing("password"))?,
        },
        "m.login.token" => Credentials::Token(body.token.ok_or_else(|| missing("token"))?),
        "m.login.application_service" | "uk.half-shot.msc2778.login.application_service" => {
            service = application_service(&app, shown.as_deref())?;
            Credentials::ApplicationService {
                service: &service,
                identifier: identifier?,
            }
        }
        other => {
            return Err(MatrixError::unknown(format!("Unknown login type {other}")).into());
        }
    };
    if !matches!(credentials, Credentials::ApplicationService { .. }) {
        let now = app.server.clock.now();
        app.limiter.check_address(Limit::Login, address, now)?;
        if let Some(user_id) = login::user_of(&app.server, &credentials).await? {
            app.limiter.check_account(&user_id, address, now)?;
        }
    }
    let wanted = body.wishes.into();
    let logged_in = login::log_in(&app.server, credentials, &wanted).await;
    let (user_id, issued) = logged_in.map_err(MatrixError::from)?;
    let mut answer = session_answer(&app, &user_id, Some(&issued));
    if let Some(base_url) = &app.server.config.well_known.client {
        let well_known = json!({ "m.homeserver": { "base_url": base_url } });
        answer.insert("well_known".to_owned(), well_known);
    }
    Ok(json(&answer))
}

/// The application service that shows this token.
pub(crate) fn application_service(
    app: &App,
    shown: Option<&str>,
) -> Result<Arc<ApplicationService>, Refusal> {
    let token = shown.ok_or_else(|| MatrixError::missing_token("Missing access token"))?;
    let service = app.server.application_service_by_token(token);
    Ok(service.ok_or_else(|| {
        MatrixError::unknown_token("This is not the token of an application service")
    })?)
}

fn missing(key: &str) -> MatrixError {
    MatrixError::missing_param(format!("Missing parameter: {key}"))
}
