//! `GET /.well-known/matrix/support`.

use std::sync::Arc;

use axum::extract::State;
use lyceum_edge::{Answer, App, json};
use lyceum_model::MatrixError;
use serde_json::{Map, json};

pub(crate) async fn get(State(app): State<Arc<App>>) -> Answer {
    let configured = &app.server.config.well_known;
    let mut answer = Map::new();
    if let Some(email) = &configured.support_email {
        let contact = json!({ "role": "m.role.admin", "email_address": email });
        answer.insert("contacts".to_owned(), json!([contact]));
    }
    if let Some(page) = &configured.support_page {
        answer.insert("support_page".to_owned(), json!(page));
    }
    if answer.is_empty() {
        return Err(MatrixError::not_found("No support is configured").into());
    }
    Ok(json(&answer))
}
