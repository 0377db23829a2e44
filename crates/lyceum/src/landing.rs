//! `/` for people who look, `/health` for load balancers.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use lyceum_edge::App;

/// `/` and `/_matrix/static/`: that there is a server here.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/", get(landing))
}

/// `/health`: whether the server can read its data.
pub(crate) fn health() -> Router<Arc<App>> {
    Router::new().route("/health", get(healthy))
}

async fn healthy(State(app): State<Arc<App>>) -> Response {
    match app.server.store.setting("server_name").await {
        Ok(_) if !app.server.supervisor.is_stopping() => "OK".into_response(),
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the data cannot be read").into_response(),
    }
}

async fn landing(State(app): State<Arc<App>>) -> Html<String> {
    let server_name = &app.server.config.server_name;
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{server_name}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;\
         padding:0 1rem;color:#222;background:#fff}}@media(prefers-color-scheme:dark)\
         {{body{{color:#ddd;background:#181818}}}}code{{font-size:.95em}}</style>\
         <h1>{server_name}</h1><p>This is a Matrix homeserver, run by Lyceum. To use it, log in \
         with a Matrix client and give <code>{server_name}</code> as the server.</p></html>"
    ))
}
