//! What whoever logs in or registers asks for and gets: a device and tokens.

use lyceum_edge::App;
use lyceum_server::accounts::tokens::{Issued, WantedSession};
use ruma_common::UserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The part of the body that is about the new session.
#[derive(Deserialize)]
pub(crate) struct SessionWishes {
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    refresh_token: Option<bool>,
}

impl From<SessionWishes> for WantedSession {
    fn from(wishes: SessionWishes) -> Self {
        Self {
            device_id: wishes.device_id.filter(|device_id| !device_id.is_empty()),
            display_name: wishes.initial_device_display_name,
            with_refresh_token: wishes.refresh_token.unwrap_or(false),
        }
    }
}

/// Who somebody is now, and their session if they have one.
pub(crate) fn session_answer(
    app: &App,
    user_id: &UserId,
    issued: Option<&Issued>,
) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), json!(user_id));
    answer.insert(
        "home_server".to_owned(),
        json!(app.server.config.server_name),
    );
    if let Some(issued) = issued {
        answer.insert("device_id".to_owned(), json!(issued.device_id));
        tokens_answer(issued, &mut answer);
    }
    answer
}

/// The tokens.
pub(crate) fn tokens_answer(issued: &Issued, answer: &mut Map<String, Value>) {
    answer.insert("access_token".to_owned(), json!(issued.access_token));
    if let Some(refresh_token) = &issued.refresh_token {
        answer.insert("refresh_token".to_owned(), json!(refresh_token));
    }
    if let Some(expires_in_ms) = issued.expires_in_ms {
        answer.insert("expires_in_ms".to_owned(), json!(expires_in_ms));
    }
}
