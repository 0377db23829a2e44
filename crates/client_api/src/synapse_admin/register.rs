//! `/_synapse/admin/v1/register`: registration by shared secret, as Synapse has it.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use hmac::{Hmac, KeyInit, Mac};
use lyceum_edge::{Answer, App, BriefBody, ClientAddress, Limit, json};
use lyceum_model::MatrixError;
use lyceum_server::accounts::{
    interactive_auth::Passed,
    registration::{self, NewAccount},
    tokens::WantedSession,
};
use serde::Deserialize;
use serde_json::json;
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

#[derive(Deserialize)]
struct Body {
    nonce: Option<String>,
    username: Option<String>,
    displayname: Option<String>,
    password: Option<String>,
    admin: Option<bool>,
    user_type: Option<String>,
    mac: Option<String>,
    inhibit_login: Option<bool>,
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
    BriefBody(body): BriefBody<Body>,
) -> Answer {
    let secret = secret(&app)?;
    let server = &app.server;
    let now = server.clock.now();
    app.limiter.check_address(Limit::Request, address, now)?;
    let nonce = specified(body.nonce, "nonce")?;
    registration::use_nonce(server, &nonce)
        .await
        .map_err(MatrixError::from)?;
    let username = specified(body.username, "username")?;
    signable(&username, "Invalid username")?;
    let password = specified(body.password, "password")?;
    signable(&password, "Invalid password")?;
    if body
        .user_type
        .as_ref()
        .is_some_and(|kind| !USER_TYPES.contains(&kind.as_str()))
    {
        return Err(MatrixError::unknown("Invalid user type").into());
    }
    let mac = specified(body.mac, "mac")?;
    let signed = Signed {
        nonce: &nonce,
        username: &username,
        password: &password,
        is_admin: body.admin.unwrap_or(false),
        kind: body.user_type.as_deref(),
    };
    if !is_right(secret, &signed, &mac) {
        return Err(MatrixError::new(403, "M_UNKNOWN", "HMAC incorrect").into());
    }
    let is_admin = signed.is_admin;
    let user_id = registration::free_user_id(server, Some(&username), None).await;
    let user_id = user_id.map_err(MatrixError::from)?;
    let account = NewAccount {
        password: Some(password),
        display_name: body.displayname.filter(|name| !name.is_empty()),
        is_admin,
        kind: body.user_type,
        ..NewAccount::new(user_id.clone(), "admin")
    };
    let wanted = WantedSession::default();
    let session = (body.inhibit_login != Some(true)).then_some(&wanted);
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

fn specified(value: Option<String>, key: &str) -> Result<String, MatrixError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| MatrixError::bad_json(format!("{key} must be specified")))
}

/// Refuses what is too long, or has the zero that stands between the parts that are signed.
fn signable(text: &str, why: &'static str) -> Result<(), MatrixError> {
    if text.chars().count() > SIGNED_LENGTH_MAX || text.contains('\0') {
        return Err(MatrixError::unknown(why));
    }
    Ok(())
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
