//! `GET /thirdparty/protocols`, `/thirdparty/{protocol,location,user}/{protocol}` and
//! `/thirdparty/{location,user}`: no application service is asked for protocols, so there are
//! none, and nothing that is known by one.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, Limit, Query, Requester, json};
use lyceum_model::MatrixError;
use serde::Deserialize;
use serde_json::json;

pub(crate) async fn protocols(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    Ok(json(&json!({})))
}

pub(crate) async fn of_protocol(State(app): State<Arc<App>>, requester: Requester) -> Answer {
    requester.limit(&app, Limit::Request)?;
    Err(MatrixError::not_found("There is no such third-party protocol").into())
}

#[derive(Deserialize)]
pub(crate) struct Alias {
    alias: Option<String>,
}

pub(crate) async fn locations(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(Alias { alias }): Query<Alias>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    not_portal("alias", alias.as_deref())
}

#[derive(Deserialize)]
pub(crate) struct UserId {
    userid: Option<String>,
}

pub(crate) async fn users(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(UserId { userid }): Query<UserId>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    not_portal("userid", userid.as_deref())
}

fn not_portal(parameter: &str, value: Option<&str>) -> Answer {
    Err(match value {
        Some(value) => MatrixError::not_found(format!("{value} leads to no third-party network")),
        None => MatrixError::missing_param(format!("Missing parameter: {parameter}")),
    }
    .into())
}
