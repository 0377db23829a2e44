//! `GET /.well-known/matrix/client`.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::header;
use lyceum_edge::{Answer, App, OverTls, json};
use lyceum_model::MatrixError;
use serde_json::json;

pub(crate) async fn get(State(app): State<Arc<App>>, request: Request) -> Answer {
    let base_url = match &app.server.config.well_known.client {
        Some(configured) => configured.clone(),
        None => asked_address(&request)
            .ok_or_else(|| MatrixError::not_found("This server does not know its own address"))?,
    };
    Ok(json(&json!({ "m.homeserver": { "base_url": base_url } })))
}

/// The address that was asked.
fn asked_address(request: &Request) -> Option<String> {
    let headers = request.headers();
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => request.uri().authority()?.as_str(),
    };
    let forwarded = headers
        .get("x-forwarded-proto")
        .and_then(|value| value.to_str().ok());
    let is_https = forwarded == Some("https") || request.extensions().get::<OverTls>().is_some();
    Some(format!(
        "{}://{host}",
        if is_https { "https" } else { "http" }
    ))
}
