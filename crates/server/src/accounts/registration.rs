//! Making accounts (Client-Server API, "Account registration").

use lyceum_account::{
    interactive_auth::Stage,
    names::{self, NameError, Registrant},
    password::PasswordError,
};
use lyceum_model::{AccountChange, Batch, Expect, MatrixError, Ticket, TicketKind, User};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedUserId, UserId};

use super::{
    interactive_auth::Passed,
    passwords, registration_tokens,
    tokens::{self, IssueError, Issued, WantedSession},
};
use crate::{Server, application_services::ApplicationService, chance, config::RegistrationMode};

/// How long who registered may ask again and hear the same.
const REGISTERED_LIFETIME_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a nonce of registration by shared secret is valid.
const NONCE_LIFETIME_MS: u64 = 60 * 1000;
/// How often another name is drawn when a generated one is taken.
const GENERATED_NAMES_MAX: usize = 8;

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// Its id, which [`free_user_id`] gave.
    pub user_id: OwnedUserId,
    /// Its password; `None`: no password login.
    pub password: Option<String>,
    /// Its display name; the localpart if absent.
    pub display_name: Option<String>,
    /// Whether it may use the admin API.
    pub is_admin: bool,
    /// `user_type` of Synapse's admin API.
    pub kind: Option<String>,
    /// The application service that makes it.
    pub application_service: Option<String>,
    /// What makes it; see [`User::origin`].
    pub origin: &'static str,
    /// The session of interactive authentication in which it is made: who asks again in it hears
    /// of the same account ([`registered_before`]).
    pub session_id: Option<String>,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAccount")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl NewAccount {
    /// An ordinary account.
    pub fn new(user_id: OwnedUserId, origin: &'static str) -> Self {
        Self {
            user_id,
            password: None,
            display_name: None,
            is_admin: false,
            kind: None,
            application_service: None,
            origin,
            session_id: None,
        }
    }
}

/// Why an account was not made.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Nobody may register.
    #[error("registration is closed")]
    Closed,
    /// The name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is taken.
    #[error("the name is taken")]
    InUse,
    /// The name belongs to an application service, or is not of the one that asks; why.
    #[error("{0}")]
    Exclusive(&'static str),
    /// The registration token has been used up meanwhile.
    #[error("the registration token is used up")]
    TokenUsedUp,
    /// The password is not allowed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No session could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The nonce of registration by shared secret is not valid.
    #[error("unrecognised nonce")]
    UnknownNonce,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<RegistrationError> for MatrixError {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Closed => Self::forbidden("Registration has been disabled"),
            RegistrationError::Name(error) => error.into(),
            RegistrationError::InUse => Self::user_in_use("User ID already taken."),
            RegistrationError::Exclusive(why) => Self::new(400, "M_EXCLUSIVE", why),
            RegistrationError::TokenUsedUp => Self::forbidden("Invalid registration token"),
            RegistrationError::Password(error) => error.into(),
            RegistrationError::Issue(error) => error.into(),
            RegistrationError::UnknownNonce => Self::unknown("unrecognised nonce"),
            RegistrationError::Commit(error) => error.into(),
            RegistrationError::Storage(error) => error.into(),
        }
    }
}

/// How somebody proves that they may register.
pub fn flows(server: &Server) -> Result<Vec<Vec<Stage>>, RegistrationError> {
    match server.config.registration.mode {
        RegistrationMode::Open => Ok(vec![vec![Stage::Dummy]]),
        RegistrationMode::Token => Ok(vec![vec![Stage::RegistrationToken]]),
        RegistrationMode::Closed => Err(RegistrationError::Closed),
    }
}

/// The user id for a wanted name (a generated one if there is none), if it is allowed and free.
pub async fn free_user_id(
    server: &Server,
    username: Option<&str>,
    service: Option<&ApplicationService>,
) -> Result<OwnedUserId, RegistrationError> {
    let server_name = &server.config.server_name;
    let registrant = if service.is_some() {
        Registrant::ApplicationService
    } else {
        Registrant::Person
    };
    let Some(username) = username else {
        for _ in 0..GENERATED_NAMES_MAX {
            let localpart = names::generated_localpart(&chance::bytes());
            let user_id = names::new_user_id(&localpart, server_name, registrant)?;
            if server.store.user(&user_id).await?.is_none() {
                return Ok(user_id);
            }
        }
        return Err(RegistrationError::InUse);
    };
    let localpart = names::localpart_for_registration(username);
    let user_id = names::new_user_id(&localpart, server_name, registrant)?;
    let reservation = match service {
        Some(service) if service.owns_user(&user_id) => None,
        Some(_) => Some("Invalid user localpart for this application service."),
        None => server.reservation(&user_id),
    };
    if let Some(why) = reservation {
        return Err(RegistrationError::Exclusive(why));
    }
    if server.store.user(&user_id).await?.is_some() {
        return Err(RegistrationError::InUse);
    }
    Ok(user_id)
}

/// Makes an account, and a session for it if one is wanted.
pub async fn register(
    server: &Server,
    account: NewAccount,
    session: Option<&WantedSession>,
    passed: &Passed,
) -> Result<Option<Issued>, RegistrationError> {
    let NewAccount {
        user_id,
        password,
        display_name,
        ..
    } = account;
    let password_hash = match password {
        Some(password) => Some(passwords::hash(server, password).await?),
        None => None,
    };
    let mut batch = Batch::new();
    passed.close(&mut batch);
    if let Some(token) = &passed.registration_token
        && !registration_tokens::count_use(server, token, &mut batch).await?
    {
        return Err(RegistrationError::TokenUsedUp);
    }
    batch.expect(Expect::UserAbsent(user_id.clone()));
    batch.push(AccountChange::PutUser(User {
        user_id: user_id.clone(),
        password_hash,
        created: server.clock.now(),
        is_admin: account.is_admin,
        is_deactivated: false,
        is_erased: false,
        is_locked: false,
        is_suspended: false,
        is_shadow_banned: false,
        kind: account.kind,
        application_service: account.application_service,
        origin: account.origin.to_owned(),
    }));
    if let Some(key) = account.session_id {
        batch.push(AccountChange::PutTicket(Ticket {
            kind: TicketKind::Registered,
            key,
            data: user_id.to_string(),
            expires: server.clock.now().plus_ms(REGISTERED_LIFETIME_MS),
        }));
    }
    let display_name = display_name.unwrap_or_else(|| user_id.localpart().to_owned());
    batch.push(AccountChange::ProfileField {
        user_id: user_id.clone(),
        key: "displayname".to_owned(),
        value: Some(serde_json::Value::from(display_name).to_string()),
    });
    let issued = match session {
        Some(wanted) => Some(tokens::issue(server, &user_id, wanted, &mut batch).await?),
        None => None,
    };
    match server.commit(batch).await {
        Ok(_) => Ok(issued),
        Err(CommitError::Stale(Expect::UserAbsent(_))) => Err(RegistrationError::InUse),
        Err(CommitError::Stale(Expect::RegistrationTokenUsed(..))) => {
            Err(RegistrationError::TokenUsedUp)
        }
        Err(error) => Err(error.into()),
    }
}

/// The account that was made in a session of interactive authentication, for who has not heard the
/// answer and asks again. They must know its password.
pub async fn registered_before(
    server: &Server,
    session_id: &str,
    password: &str,
) -> Result<Option<OwnedUserId>, StorageError> {
    let made = server
        .valid_ticket(TicketKind::Registered, session_id)
        .await?;
    let Some(user_id) = made.and_then(|made| UserId::parse(made.data).ok()) else {
        return Ok(None);
    };
    let user = server.store.user(&user_id).await?;
    let user = user.filter(|user| !user.is_deactivated && !user.is_locked);
    let is_theirs = passwords::is_password_of(server, user.as_ref(), password.to_owned()).await;
    Ok(is_theirs.then_some(user_id))
}

/// Begins a session of an account that was [`registered_before`].
pub async fn log_in_again(
    server: &Server,
    user_id: &UserId,
    wanted: &WantedSession,
) -> Result<Issued, RegistrationError> {
    let mut batch = Batch::new();
    let issued = tokens::issue(server, user_id, wanted, &mut batch).await?;
    server.commit(batch).await?;
    Ok(issued)
}

/// A nonce for registration by shared secret (Synapse's admin API).
pub async fn new_nonce(server: &Server) -> Result<String, CommitError> {
    let nonce = names::session_id(&chance::bytes());
    let ticket = Ticket {
        kind: TicketKind::RegistrationNonce,
        key: nonce.clone(),
        data: String::new(),
        expires: server.clock.now().plus_ms(NONCE_LIFETIME_MS),
    };
    server.commit(AccountChange::PutTicket(ticket)).await?;
    Ok(nonce)
}

/// Uses a nonce up.
pub async fn use_nonce(server: &Server, nonce: &str) -> Result<(), RegistrationError> {
    let kind = TicketKind::RegistrationNonce;
    if server.valid_ticket(kind, nonce).await?.is_none() {
        return Err(RegistrationError::UnknownNonce);
    }
    let mut batch = Batch::new();
    batch.expect(Expect::TicketExists(kind, nonce.to_owned()));
    batch.push(AccountChange::RemoveTicket(kind, nonce.to_owned()));
    match server.commit(batch).await {
        Ok(_) => Ok(()),
        Err(CommitError::Stale(_)) => Err(RegistrationError::UnknownNonce),
        Err(error) => Err(error.into()),
    }
}
