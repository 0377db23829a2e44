//! `/_synapse/admin/v1/register`: registration by shared secret, as Synapse has it.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use hmac::{Hmac, KeyInit, Mac};
use lyceum_edge::{Answer, App, BriefBytes, ClientAddress, Limit, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::{
    interactive_auth::Passed,
    registration::{self, NewAccount},
    tokens::WantedSession,
};
use serde_json::{Map, Value, json};
use sha1::Sha1;

use crate::session_answer::session_answer;

pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route("/_synapse/admin/v1/register", get(nonce).post(register))
}

/// The longest name and password that can be signed, in characters.
const SIGNED_LENGTH_MAX: usize = 512;
/// What a user can be besides an ordinary one.
const USER_TYPES: [&str; 2] = ["bot", "support"];

/// What the secret must have signed.
struct Signed<'a> {
    nonce: &'a str,
    username: &'a str,
    password: &'a str,
    is_admin: bool,
    kind: Option<&'a str>,
}

async fn nonce(State(app): State<Arc<App>>, ClientAddress(address): ClientAddress) -> Answer {
    secret(&app)?;
    let now = app.server.clock.now();
    app.limiter.check_address(Limit::Request, address, now)?;
    let nonce = registration::new_nonce(&app.server).await?;
    Ok(json(&json!({ "nonce": nonce })))
}

async fn register(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    BriefBytes(body): BriefBytes,
) -> Answer {
    let secret = secret(&app)?;
    let server = &app.server;
    let now = server.clock.now();
    app.limiter.check_address(Limit::Request, address, now)?;
    let body = object(&body)?;
    let nonce = text(&body, "nonce", "unrecognised nonce")?;
    registration::use_nonce(server, nonce)
        .await
        .map_err(MatrixError::from)?;
    let username = signable(&body, "username", "Invalid username")?;
    let password = signable(&body, "password", "Invalid password")?;
    let kind = match body.get("user_type") {
        None | Some(Value::Null) => None,
        Some(Value::String(kind)) if USER_TYPES.contains(&kind.as_str()) => Some(kind.as_str()),
        Some(_) => return Err(MatrixError::unknown("Invalid user type").into()),
    };
    let is_admin = switch(&body, "admin")?;
    let inhibits_login = switch(&body, "inhibit_login")?;
    let display_name = match body.get("displayname") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()).filter(|name| !name.is_empty()),
        Some(_) => return Err(MatrixError::invalid_param("'displayname' must be a string").into()),
    };
    let mac = text(&body, "mac", "Invalid mac")?;
    let signed = Signed {
        nonce,
        username,
        password,
        is_admin,
        kind,
    };
    if !is_right(secret, &signed, mac) {
        return Err(MatrixError::new(403, "M_UNKNOWN", "HMAC incorrect").into());
    }
    let user_id = registration::free_user_id(server, Some(username), None).await;
    let user_id = user_id.map_err(MatrixError::from)?;
    let account = NewAccount {
        password: Some(password.to_owned()),
        display_name,
        is_admin,
        kind: kind.map(str::to_owned),
        ..NewAccount::new(user_id.clone(), "admin")
    };
    let wanted = WantedSession::default();
    let session = (!inhibits_login).then_some(&wanted);
    let issued = registration::register(server, account, session, &Passed::not_needed()).await;
    let issued = issued.map_err(MatrixError::from)?;
    Ok(json(&session_answer(&app, &user_id, issued.as_ref())))
}

fn secret(app: &App) -> Result<&str, MatrixError> {
    let secret = app.server.config.registration.shared_secret.as_deref();
    secret
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| MatrixError::unknown("Shared secret registration is not enabled"))
}

/// The object that a body is, or what is wrong with it in Synapse's words.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, MatrixError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(MatrixError::bad_json("Content must be a JSON object.")),
        Err(_) => Err(MatrixError::not_json("Content not JSON.")),
    }
}

/// A text that must be there; `why` another value is refused.
fn text<'a>(
    body: &'a Map<String, Value>,
    key: &str,
    why: &'static str,
) -> Result<&'a str, MatrixError> {
    match body.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(MatrixError::unknown(why)),
        None => Err(MatrixError::bad_json(format!("{key} must be specified"))),
    }
}

/// A text that can be signed: not empty, not too long, and without the zero that stands between the parts.
fn signable<'a>(
    body: &'a Map<String, Value>,
    key: &str,
    why: &'static str,
) -> Result<&'a str, MatrixError> {
    let text = text(body, key, why)?;
    if text.is_empty() || text.chars().count() > SIGNED_LENGTH_MAX || text.contains('\0') {
        return Err(MatrixError::unknown(why));
    }
    Ok(text)
}

fn switch(body: &Map<String, Value>, key: &str) -> Result<bool, MatrixError> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(MatrixError::bad_json(format!("{key} must be a boolean"))),
    }
}

/// Whether `mac` is the hex HMAC-SHA1 of what was signed.
fn is_right(secret: &str, signed: &Signed<'_>, mac: &str) -> bool {
    let Some(shown) = unhex(mac) else {
        return false;
    };
    let mut hmac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    hmac.update(signed.nonce.as_bytes());
    let right = if signed.is_admin { "admin" } else { "notadmin" };
    let parts = [signed.username, signed.password, right];
    for part in parts.into_iter().chain(signed.kind) {
        hmac.update(b"\x00");
        hmac.update(part.as_bytes());
    }
    hmac.verify_slice(&shown).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok())
        .collect()
}
