//! `/v1/registration_tokens`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use lyceum_account::names;
use lyceum_edge::{AdminRequester, Answer, App, Refusal, Segments, json};
use lyceum_model::{AccountChange, Batch, Expect, MatrixError, RegistrationToken, Timestamp};
use lyceum_server::{Server, chance};
use serde_json::{Map, Value, json};

use super::{done, object::Object, parameters::Parameters, v1};

/// The longest token, in characters.
const LENGTH_MAX: usize = 64;
/// How often a random token is made anew because it is taken.
const ATTEMPTS_MAX: usize = 1_000;
/// How long a token is that nobody chose.
const LENGTH_DEFAULT: i64 = 16;

pub(super) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let router = v1(router, "/registration_tokens", get(list));
    let router = v1(router, "/registration_tokens/new", post(create));
    v1(
        router,
        "/registration_tokens/{token}",
        get(one).put(change).delete(delete),
    )
}

async fn list(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    parameters: Parameters,
) -> Answer {
    let wanted = parameters.switch("valid")?;
    let now = app.server.clock.now();
    let tokens = app.server.store.registration_tokens().await?;
    let tokens: Vec<Value> = tokens
        .iter()
        .filter(|token| wanted.is_none_or(|valid| is_valid(token, now) == valid))
        .map(shown)
        .collect();
    Ok(json(&json!({ "registration_tokens": tokens })))
}

fn is_valid(token: &RegistrationToken, now: Timestamp) -> bool {
    let used = token.pending + token.completed;
    token.expires.is_none_or(|expires| expires > now)
        && token.uses_allowed.is_none_or(|allowed| used < allowed)
}

fn shown(token: &RegistrationToken) -> Value {
    json!({
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": token.pending,
        "completed": token.completed,
        "expiry_time": token.expires,
    })
}

fn no_such(token: &str) -> MatrixError {
    MatrixError::not_found(format!("No such registration token: {token}"))
}

async fn one(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(token): Segments<String>,
) -> Answer {
    match app.server.store.registration_token(&token).await? {
        Some(token) => Ok(json(&shown(&token))),
        None => Err(no_such(&token).into()),
    }
}

async fn create(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Object(body): Object,
) -> Answer {
    let server = &app.server;
    let token = match body.get("token") {
        None => unused(server, length(body.get("length"))?).await?,
        Some(Value::String(token)) => checked(token)?,
        Some(_) => return Err(MatrixError::invalid_param("token must be a string").into()),
    };
    let mut new = RegistrationToken {
        token,
        uses_allowed: None,
        pending: 0,
        completed: 0,
        expires: None,
    };
    change_of(&body, server.clock.now())?.apply(&mut new);
    // A random one was looked up already.
    let is_chosen = body.contains_key("token");
    if is_chosen && server.store.registration_token(&new.token).await?.is_some() {
        let why = format!("Token already exists: {}", new.token);
        return Err(MatrixError::invalid_param(why).into());
    }
    server
        .commit(AccountChange::PutRegistrationToken(new.clone()))
        .await?;
    Ok(json(&shown(&new)))
}

async fn change(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(token): Segments<String>,
    Object(body): Object,
) -> Answer {
    let server = &app.server;
    let change = change_of(&body, server.clock.now())?;
    let known = server.store.registration_token(&token).await?;
    let mut known = known.ok_or_else(|| no_such(&token))?;
    change.apply(&mut known);
    let mut batch = Batch::new();
    batch.expect(Expect::RegistrationTokenUsed(token, known.completed));
    batch.push(AccountChange::PutRegistrationToken(known.clone()));
    server.commit(batch).await?;
    Ok(json(&shown(&known)))
}

async fn delete(
    State(app): State<Arc<App>>,
    _admin: AdminRequester,
    Segments(token): Segments<String>,
) -> Answer {
    let server = &app.server;
    if server.store.registration_token(&token).await?.is_none() {
        return Err(no_such(&token).into());
    }
    server
        .commit(AccountChange::RemoveRegistrationToken(token))
        .await?;
    Ok(done())
}

/// What is to be changed; `None` stays.
struct TokenChange {
    uses_allowed: Option<Option<u64>>,
    expires: Option<Option<Timestamp>>,
}

impl TokenChange {
    fn apply(self, token: &mut RegistrationToken) {
        token.uses_allowed = self.uses_allowed.unwrap_or(token.uses_allowed);
        token.expires = self.expires.unwrap_or(token.expires);
    }
}

fn change_of(body: &Map<String, Value>, now: Timestamp) -> Result<TokenChange, Refusal> {
    let number = |key: &str, why: &'static str| match body.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(Some(number))),
            None => Err(MatrixError::invalid_param(why)),
        },
    };
    let why = "uses_allowed must be a non-negative integer or null";
    let uses_allowed = number("uses_allowed", why)?;
    let expires = number("expiry_time", "expiry_time must be an integer or null")?;
    if expires.flatten().is_some_and(|expires| expires < now.0) {
        return Err(MatrixError::invalid_param("expiry_time must not be in the past").into());
    }
    Ok(TokenChange {
        uses_allowed,
        expires: expires.map(|expires| expires.map(Timestamp)),
    })
}

fn checked(token: &str) -> Result<String, Refusal> {
    if token.is_empty() || token.len() > LENGTH_MAX {
        let why = "token must not be empty and must not be longer than 64 characters";
        return Err(MatrixError::invalid_param(why).into());
    }
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    if !token.bytes().all(is_allowed) {
        let why = "token must consist only of characters matched by the regex [A-Za-z0-9-_]";
        return Err(MatrixError::invalid_param(why).into());
    }
    Ok(token.to_owned())
}

fn length(length: Option<&Value>) -> Result<usize, Refusal> {
    let length = match length {
        None => LENGTH_DEFAULT,
        Some(value) => value
            .as_i64()
            .ok_or_else(|| MatrixError::invalid_param("length must be an integer"))?,
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| (1..=LENGTH_MAX).contains(length))
        .ok_or_else(|| {
            MatrixError::invalid_param("length must be greater than zero and not greater than 64")
        })?;
    Ok(length)
}

/// A new token of this length; short ones may all be taken.
async fn unused(server: &Server, length: usize) -> Result<String, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        let mut token = String::new();
        while token.len() < length {
            token += &names::session_id(&chance::bytes());
        }
        token.truncate(length);
        if server.store.registration_token(&token).await?.is_none() {
            return Ok(token);
        }
    }
    let why = "Unable to generate a unique registration token. Try again with a greater length";
    Err(MatrixError::internal(why).into())
}
