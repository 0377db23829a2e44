//! `GET /sync`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use lyceum_edge::{Answer, App, Provisioning, Query, Refusal, Requester, client, json_bytes};
use lyceum_model::{MatrixError, PresenceState};
use lyceum_server::sync::SyncRequest;
use lyceum_sync::{
    classic::StateAfter,
    filter::Filter,
    token::{PageToken, SyncToken},
};
use serde::Deserialize;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/sync", get(sync))
}

#[derive(Deserialize)]
struct Parameters {
    filter: Option<String>,
    since: Option<String>,
    #[serde(default)]
    full_state: bool,
    set_presence: Option<String>,
    #[serde(default)]
    timeout: u64,
    #[serde(default)]
    use_state_after: bool,
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    use_state_after_unstable: bool,
}

async fn sync(
    State(app): State<Arc<App>>,
    requester: Requester,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let server = &app.server;
    let filter = filter_of(&app, &requester, parameters.filter.as_deref()).await?;
    // Moodle 4.3 and 4.4 read power levels this way; nothing else is told to such a token.
    if requester.provisioning() == Provisioning::OwnToken
        && !filter.wants_only_state("m.room.power_levels")
    {
        let why = "A provisioning token cannot read anything but power levels";
        return Err(MatrixError::forbidden(why).into());
    }
    let state = match parameters.set_presence.as_deref() {
        None => PresenceState::Online,
        Some(name) => PresenceState::from_name(name).ok_or_else(|| {
            MatrixError::invalid_param("set_presence is online, unavailable or offline")
        })?,
    };
    server
        .present(&requester.user_id, requester.device_id.as_deref(), state)
        .await;
    let since = match parameters.since.as_deref() {
        None | Some("") => None,
        Some(since) => Some(since_of(since)?),
    };
    let use_state_after = if parameters.use_state_after {
        Some(StateAfter::Stable)
    } else {
        parameters
            .use_state_after_unstable
            .then_some(StateAfter::Unstable)
    };
    let request = SyncRequest {
        since: since.map(|token| token.0),
        filter,
        full_state: parameters.full_state,
        timeout_ms: parameters.timeout,
        use_state_after,
    };
    let body = server.sync(requester.session(), &request).await?;
    Ok(json_bytes(StatusCode::OK, body))
}

fn since_of(since: &str) -> Result<SyncToken, Refusal> {
    match since.parse() {
        Ok(PageToken::Sync(token)) => Ok(token),
        Ok(PageToken::Timeline(token)) => Ok(SyncToken(token.position)),
        Err(_) => Err(MatrixError::invalid_param("since is not a token").into()),
    }
}

/// A filter given in full, or by the id of a kept one.
async fn filter_of(
    app: &App,
    requester: &Requester,
    filter: Option<&str>,
) -> Result<Arc<Filter>, Refusal> {
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else {
        return Ok(Arc::default());
    };
    let kept;
    let json = if filter.trim_start().starts_with('{') {
        filter
    } else {
        kept = app
            .server
            .store
            .filter(&requester.user_id, filter)
            .await?
            .ok_or_else(|| MatrixError::invalid_param("There is no filter with that id"))?;
        &kept
    };
    match Filter::parse(json) {
        Ok(filter) => Ok(Arc::new(filter)),
        Err(error) => Err(MatrixError::bad_json(error.to_string()).into()),
    }
}
