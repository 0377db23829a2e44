//! `POST /user_directory/search`.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use lyceum_edge::{Answer, App, JsonBody, Limit, Requester, json};
use lyceum_server::accounts::user_directory;
use ruma_common::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

/// How many results if the client does not say.
const LIMIT_DEFAULT: usize = 10;

#[derive(Deserialize)]
pub(crate) struct Body {
    search_term: String,
    limit: Option<usize>,
}

pub(crate) async fn search(
    State(app): State<Arc<App>>,
    requester: Requester,
    JsonBody(body): JsonBody<Body>,
) -> Answer {
    requester.limit(&app, Limit::Request)?;
    let limit = body.limit.unwrap_or(LIMIT_DEFAULT);
    let term = &body.search_term;
    let found = user_directory::search(&app.server, &requester.user_id, term, limit).await?;
    let results: Vec<Value> = found
        .users
        .iter()
        .map(|(user_id, profile)| user_json(user_id, profile))
        .collect();
    Ok(json(
        &json!({ "results": results, "limited": found.is_limited }),
    ))
}

fn user_json(user_id: &UserId, profile: &BTreeMap<String, String>) -> Value {
    let mut user = json!({ "user_id": user_id });
    for (field, key) in [
        ("displayname", "display_name"),
        ("avatar_url", "avatar_url"),
    ] {
        let value = profile
            .get(field)
            .and_then(|value| serde_json::from_str(value).ok());
        if let Some(Value::String(value)) = value {
            user[key] = Value::String(value);
        }
    }
    user
}
