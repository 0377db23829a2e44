//! Interactive authentication: one way through it for all operations that ask for it
//! (Client-Server API, "User-Interactive Authentication API").

use lyceum_account::{
    interactive_auth::{self, Facts, Needs, Outcome, Session, Stage},
    names::Identifier,
};
use lyceum_model::{AccountChange, Batch, Expect, MatrixError, Ticket, TicketKind, Timestamp};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{DeviceId, UserId};
use serde_json::{Map, Value};

use super::{passwords, registration_tokens};
use crate::{Server, chance};

/// How many facts one request can need.
const STEPS_MAX: usize = 4;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Who; nobody before registration.
    pub user_id: Option<&'a UserId>,
    /// With which device.
    pub device_id: Option<&'a DeviceId>,
    /// The method of the endpoint.
    pub method: &'static str,
    /// Its path with what distinguishes it, such as `/devices/ABC`.
    pub path: &'a str,
}

/// Proof that somebody went through authentication, to be used up by the operation's batch.
#[derive(Debug, Default)]
#[must_use]
pub struct Passed {
    session_id: Option<String>,
    /// The registration token that was shown.
    pub registration_token: Option<String>,
}

impl Passed {
    /// For who needs none, such as application services.
    pub fn not_needed() -> Self {
        Self::default()
    }

    /// Uses the session up with `batch`.
    pub fn close(&self, batch: &mut Batch) {
        if let Some(session_id) = &self.session_id {
            batch.expect(Expect::TicketExists(
                TicketKind::InteractiveAuth,
                session_id.clone(),
            ));
            let kind = TicketKind::InteractiveAuth;
            batch.push(AccountChange::RemoveTicket(kind, session_id.clone()));
        }
    }
}

/// Why somebody has not (yet) proved who they are.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// More is to be shown: the body of the 401.
    #[error("further authentication is needed")]
    Challenge(Map<String, Value>),
    /// What was shown is refused.
    #[error(transparent)]
    Refused(MatrixError),
    /// The session could not be kept.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AuthError> for MatrixError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Challenge(mut body) => {
                let mut text = |key| match body.remove(key) {
                    Some(Value::String(text)) => text,
                    _ => String::new(),
                };
                let (code, message) = (text("errcode"), text("error"));
                Self {
                    extra: Some(Box::new(body)),
                    ..Self::new(401, code, message)
                }
            }
            AuthError::Refused(error) => error,
            AuthError::Commit(error) => error.into(),
            AuthError::Storage(error) => error.into(),
        }
    }
}

/// Leads somebody through authentication: `auth` is that of their request. The flows matter
/// only where a session begins.
pub async fn authenticate(
    server: &Server,
    operation: &Operation<'_>,
    flows: Vec<Vec<Stage>>,
    auth: Option<&Value>,
) -> Result<Passed, AuthError> {
    let now = server.clock.now();
    let fingerprint = interactive_auth::operation(
        operation.user_id,
        operation.device_id,
        operation.method,
        operation.path,
    );
    let auth = auth.filter(|auth| !auth.is_null());
    if auth.is_some_and(|auth| !auth.is_object()) {
        let why = "`auth` must be an object";
        return Err(AuthError::Refused(MatrixError::bad_json(why)));
    }
    let kept = match interactive_auth::session_named(auth) {
        Some(id) => kept_session(server, id).await?,
        None => None,
    };
    let was_kept = kept.is_some();
    let mut session = kept.unwrap_or_else(|| {
        let id = lyceum_account::names::session_id(&chance::bytes());
        Session::begin(id, fingerprint.clone(), flows, Map::new())
    });
    let Some(auth) = auth else {
        return challenge(server, &session, session.challenge_body(), now).await;
    };
    let mut facts = Facts::default();
    for _ in 0..STEPS_MAX {
        match session.advance(&fingerprint, auth, &facts) {
            Outcome::Needs(Needs::Password {
                identifier,
                password,
            }) => {
                if let (Some(user_id), Some(identifier)) = (operation.user_id, &identifier) {
                    refuse_somebody_else(server, user_id, identifier).await?;
                }
                facts.password_correct = Some(is_right(server, operation, password).await?);
            }
            Outcome::Needs(Needs::RegistrationToken { token }) => {
                let is_valid = registration_tokens::is_valid(server, &token).await?;
                facts.registration_token_valid = Some(is_valid);
            }
            Outcome::Complete => {
                return Ok(Passed {
                    session_id: was_kept.then(|| session.id.clone()),
                    registration_token: session.registration_token,
                });
            }
            Outcome::Incomplete(body) => return challenge(server, &session, body, now).await,
            Outcome::Failed(error) => return Err(AuthError::Refused(error)),
        }
    }
    Err(AuthError::Refused(MatrixError::unknown(
        "The authentication asks for too much",
    )))
}

/// Keeps the session and answers with `body`.
async fn challenge(
    server: &Server,
    session: &Session,
    body: Value,
    now: Timestamp,
) -> Result<Passed, AuthError> {
    let lifetime_ms = server.config.sessions.interactive_auth_lifetime_ms;
    let ticket = Ticket {
        kind: TicketKind::InteractiveAuth,
        key: session.id.clone(),
        data: serde_json::to_string(session).expect("a session is plain data"),
        expires: now.plus_ms(lifetime_ms),
    };
    server.commit(AccountChange::PutTicket(ticket)).await?;
    let Value::Object(body) = body else {
        return Err(AuthError::Challenge(Map::new()));
    };
    Err(AuthError::Challenge(body))
}

async fn kept_session(server: &Server, id: &str) -> Result<Option<Session>, StorageError> {
    let ticket = server.valid_ticket(TicketKind::InteractiveAuth, id).await?;
    Ok(ticket.and_then(|ticket| serde_json::from_str(&ticket.data).ok()))
}

/// Trying again does not help who authenticates as somebody else than the token's user: this is
/// no failed stage (401), but a request that nobody may make.
async fn refuse_somebody_else(
    server: &Server,
    user_id: &UserId,
    identifier: &Identifier,
) -> Result<(), AuthError> {
    let named = passwords::user_named(server, identifier).await?;
    if named.as_deref() == Some(user_id) {
        return Ok(());
    }
    Err(AuthError::Refused(MatrixError::forbidden(
        "The user who authenticates is not the one who asks",
    )))
}

/// Whether the password is that of the user of the operation.
async fn is_right(
    server: &Server,
    operation: &Operation<'_>,
    password: String,
) -> Result<bool, StorageError> {
    let Some(user_id) = operation.user_id else {
        return Ok(false);
    };
    let user = server.store.user(user_id).await?;
    Ok(passwords::is_password_of(server, user.as_ref(), password).await)
}
