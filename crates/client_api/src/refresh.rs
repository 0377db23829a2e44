//! `POST /refresh`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use lyceum_edge::{Answer, App, BriefBody, ClientAddress, Limit, client, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::refresh;
use serde::Deserialize;
use serde_json::Map;

use crate::session_answer::tokens_answer;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    client(router, "/refresh", post(refresh))
}

#[derive(Deserialize)]
struct Body {
    refresh_token: String,
}

async fn refresh(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    BriefBody(body): BriefBody<Body>,
) -> Answer {
    app.limiter
        .check_address(Limit::Request, address, app.server.clock.now())?;
    let issued = refresh::refresh(&app.server, &body.refresh_token).await;
    let issued = issued.map_err(MatrixError::from)?;
    let mut answer = Map::new();
    tokens_answer(&issued, &mut answer);
    Ok(json(&answer))
}
