//! `POST /register`.

mod available;
mod token_validity;

use std::{net::IpAddr, sync::Arc};

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, BriefBody, ClientAddress, Limit, Query, ShownToken, client, json};
use lyceum_model::MatrixError;
use lyceum_server::{
    accounts::{
        interactive_auth::{self, Operation, Passed},
        passwords,
        registration::{self, NewAccount},
        tokens::WantedSession,
    },
    application_services::ApplicationService,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    login::application_service,
    session_answer::{SessionWishes, session_answer},
};

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = client(router, "/register", post(register));
    let router = available::routes(router);
    token_validity::routes(router)
}

#[derive(Deserialize)]
struct Parameters {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    auth: Option<Value>,
    username: Option<String>,
    /// The name of old clients for `username`.
    user: Option<String>,
    password: Option<String>,
    inhibit_login: Option<bool>,
    #[serde(flatten)]
    wishes: SessionWishes,
}

async fn register(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    ShownToken(shown): ShownToken,
    Query(parameters): Query<Parameters>,
    BriefBody(body): BriefBody<Body>,
) -> Answer {
    match parameters.kind.as_deref() {
        None | Some("user") => {}
        Some("guest") => {
            return Err(MatrixError::guest_access_forbidden("Guest access is disabled").into());
        }
        Some(_) => return Err(MatrixError::invalid_param("There is no such kind").into()),
    }
    let is_for_service = body.kind.as_deref() == Some("m.login.application_service");
    let known_service = shown
        .as_deref()
        .and_then(|token| app.server.application_service_by_token(token));
    if is_for_service || known_service.is_some() {
        let service = application_service(&app, shown.as_deref())?;
        return register_for_service(&app, &service, body).await;
    }
    register_person(&app, address, body).await
}

async fn register_for_service(app: &App, service: &ApplicationService, body: Body) -> Answer {
    let server = &app.server;
    let username = body.username.or(body.user);
    let username = username.ok_or_else(|| MatrixError::missing_param("Missing username"))?;
    let user_id = registration::free_user_id(server, Some(&username), Some(service)).await;
    let user_id = user_id.map_err(MatrixError::from)?;
    let account = NewAccount {
        application_service: Some(service.id.clone()),
        ..NewAccount::new(user_id, "application_service")
    };
    make(
        app,
        account,
        body.inhibit_login,
        body.wishes,
        &Passed::not_needed(),
    )
    .await
}

async fn register_person(app: &App, address: IpAddr, body: Body) -> Answer {
    let server = &app.server;
    let limit = if body.auth.is_some() {
        Limit::Registration
    } else {
        Limit::Request
    };
    app.limiter
        .check_address(limit, address, server.clock.now())?;
    let flows = registration::flows(server).map_err(MatrixError::from)?;
    let username = body.username.or(body.user);
    let session_id = body
        .auth
        .as_ref()
        .and_then(|auth| auth.get("session")?.as_str());
    let session_id = session_id.map(ToOwned::to_owned);
    if let (Some(session_id), Some(password)) = (&session_id, &body.password)
        && let Some(user_id) = registration::registered_before(server, session_id, password).await?
        && username
            .as_ref()
            .is_none_or(|name| name.eq_ignore_ascii_case(user_id.localpart()))
    {
        let wanted: WantedSession = body.wishes.into();
        let issued = match body.inhibit_login {
            Some(true) => None,
            _ => Some(
                registration::log_in_again(server, &user_id, &wanted)
                    .await
                    .map_err(MatrixError::from)?,
            ),
        };
        return Ok(json(&session_answer(app, &user_id, issued.as_ref())));
    }
    let free = async |username: Option<&str>| {
        registration::free_user_id(server, username, None)
            .await
            .map_err(MatrixError::from)
    };
    let wanted_id = match &username {
        Some(username) => Some(free(Some(username)).await?),
        None => None,
    };
    if let Some(password) = &body.password {
        passwords::check_policy(server, password).map_err(MatrixError::from)?;
    }
    let operation = Operation {
        user_id: None,
        device_id: None,
        method: "POST",
        path: "/register",
    };
    let passed =
        interactive_auth::authenticate(server, &operation, flows, body.auth.as_ref()).await;
    let passed = passed.map_err(MatrixError::from)?;
    let password = body
        .password
        .ok_or_else(|| MatrixError::missing_param("Missing parameter: password"))?;
    let user_id = match wanted_id {
        Some(user_id) => user_id,
        None => free(None).await?,
    };
    let account = NewAccount {
        password: Some(password),
        session_id,
        ..NewAccount::new(user_id, "registration")
    };
    make(app, account, body.inhibit_login, body.wishes, &passed).await
}

async fn make(
    app: &App,
    account: NewAccount,
    inhibit_login: Option<bool>,
    wishes: SessionWishes,
    passed: &Passed,
) -> Answer {
    let user_id = account.user_id.clone();
    let wanted: WantedSession = wishes.into();
    let session = (inhibit_login != Some(true)).then_some(&wanted);
    let issued = registration::register(&app.server, account, session, passed).await;
    let issued = issued.map_err(MatrixError::from)?;
    Ok(json(&session_answer(app, &user_id, issued.as_ref())))
}
