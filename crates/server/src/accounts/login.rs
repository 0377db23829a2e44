//! Logging in (Client-Server API, "Login").

use lyceum_account::{interactive_auth::Stage, names::Identifier, password, token};
use lyceum_model::{
    AccountChange, Batch, Expect, MatrixError, Ticket, TicketKind, Timestamp, User,
};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedUserId, UserId};

use super::{
    interactive_auth::Passed,
    passwords,
    tokens::{self, IssueError, Issued, WantedSession},
};
use crate::{Server, application_services::ApplicationService, chance};

/// By what somebody logs in.
#[derive(Clone)]
pub enum Credentials<'a> {
    /// `m.login.password`.
    Password {
        /// Who.
        identifier: Identifier,
        /// Their password.
        password: String,
    },
    /// `m.login.token`.
    Token(String),
    /// `m.login.application_service`.
    ApplicationService {
        /// The application service.
        service: &'a ApplicationService,
        /// As whom; as its own user if absent.
        identifier: Option<Identifier>,
    },
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Credentials::Password",
            Self::Token(_) => "Credentials::Token",
            Self::ApplicationService { .. } => "Credentials::ApplicationService",
        })
    }
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Password login is switched off.
    #[error("password login is off")]
    PasswordsOff,
    /// No such user, or not their password.
    #[error("wrong credentials")]
    WrongCredentials,
    /// The login token is not valid.
    #[error("invalid login token")]
    InvalidToken,
    /// The user is not the application service's.
    #[error("not a user of the application service")]
    NotItsUser,
    /// The account was closed.
    #[error("the account was closed")]
    Deactivated,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// No session could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<LoginError> for MatrixError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::PasswordsOff => Self::unknown("Password login has been disabled"),
            LoginError::WrongCredentials => Self::forbidden("Invalid username or password"),
            LoginError::InvalidToken => Self::forbidden("Invalid login token"),
            LoginError::NotItsUser => Self::new(
                403,
                "M_EXCLUSIVE",
                "The user is not in the application service's namespace",
            ),
            LoginError::Deactivated => Self::user_deactivated("This account has been deactivated"),
            LoginError::Locked => Self::new(401, "M_USER_LOCKED", "This account has been locked")
                .with("soft_logout", true),
            LoginError::Issue(error) => error.into(),
            LoginError::Commit(error) => error.into(),
            LoginError::Storage(error) => error.into(),
        }
    }
}

/// The user whom credentials are for, as far as that can be said before they are checked: for
/// limits on attempts.
pub async fn user_of(
    server: &Server,
    credentials: &Credentials<'_>,
) -> Result<Option<OwnedUserId>, StorageError> {
    match credentials {
        Credentials::Password { identifier, .. } => passwords::user_named(server, identifier).await,
        Credentials::Token(_) | Credentials::ApplicationService { .. } => Ok(None),
    }
}

/// Logs somebody in.
pub async fn log_in(
    server: &Server,
    credentials: Credentials<'_>,
    wanted: &WantedSession,
) -> Result<(OwnedUserId, Issued), LoginError> {
    let mut batch = Batch::new();
    let user = match credentials {
        Credentials::Password {
            identifier,
            password,
        } => check_password(server, &identifier, password).await?,
        Credentials::Token(token) => use_token(server, &token, &mut batch).await?,
        Credentials::ApplicationService {
            service,
            identifier,
        } => user_of_service(server, service, identifier.as_ref()).await?,
    };
    if user.is_locked {
        return Err(LoginError::Locked);
    }
    batch.expect(Expect::UserExists(user.user_id.clone()));
    let issued = tokens::issue(server, &user.user_id, wanted, &mut batch).await?;
    match server.commit(batch).await {
        Ok(_) => Ok((user.user_id, issued)),
        Err(CommitError::Stale(Expect::TicketExists(..))) => Err(LoginError::InvalidToken),
        Err(error) => Err(error.into()),
    }
}

async fn check_password(
    server: &Server,
    identifier: &Identifier,
    password: String,
) -> Result<User, LoginError> {
    if !server.config.passwords.enabled {
        return Err(LoginError::PasswordsOff);
    }
    let user = match passwords::user_named(server, identifier).await? {
        Some(user_id) => server.store.user(&user_id).await?,
        None => None,
    };
    if user.as_ref().is_some_and(|user| user.is_deactivated) {
        return Err(LoginError::Deactivated);
    }
    let is_right = passwords::is_password_of(server, user.as_ref(), password.clone()).await;
    let Some(user) = user.filter(|_| is_right) else {
        return Err(LoginError::WrongCredentials);
    };
    let stored = user.password_hash.as_deref().unwrap_or_default();
    if password::is_outdated(stored, &server.config.passwords.parameters())
        && let Ok(hash) = passwords::hash_unchecked(server, password).await
    {
        let mut batch = Batch::new();
        batch.expect(Expect::UserIs(Box::new(user.clone())));
        batch.push(AccountChange::PutUser(User {
            password_hash: Some(hash),
            ..user.clone()
        }));
        match server.commit(batch).await {
            // Who changed the account meanwhile may have changed the password too: theirs stays.
            Ok(_) | Err(CommitError::Stale(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(user)
}

async fn use_token(server: &Server, text: &str, batch: &mut Batch) -> Result<User, LoginError> {
    let key = token::ticket_key(text);
    let ticket = server.valid_ticket(TicketKind::Login, &key).await?;
    let ticket = ticket.ok_or(LoginError::InvalidToken)?;
    let user_id = UserId::parse(&ticket.data).map_err(|_| LoginError::InvalidToken)?;
    let user = server
        .store
        .user(&user_id)
        .await?
        .ok_or(LoginError::InvalidToken)?;
    if user.is_deactivated {
        return Err(LoginError::Deactivated);
    }
    batch.expect(Expect::TicketExists(TicketKind::Login, key.clone()));
    batch.push(AccountChange::RemoveTicket(TicketKind::Login, key));
    Ok(user)
}

async fn user_of_service(
    server: &Server,
    service: &ApplicationService,
    identifier: Option<&Identifier>,
) -> Result<User, LoginError> {
    let user_id = match identifier {
        Some(identifier) => passwords::user_named(server, identifier).await?,
        None => Some(service.sender.clone()),
    };
    let user_id = user_id.ok_or(LoginError::NotItsUser)?;
    if !service.owns_user(&user_id) {
        return Err(LoginError::NotItsUser);
    }
    let user = server
        .store
        .user(&user_id)
        .await?
        .ok_or(LoginError::WrongCredentials)?;
    if user.is_deactivated {
        return Err(LoginError::Deactivated);
    }
    Ok(user)
}

/// How somebody proves again who they are.
pub fn reauthentication_flows() -> Vec<Vec<Stage>> {
    vec![vec![Stage::Password]]
}

/// A token with which another client of the same user can log in once, and how long it is valid.
pub async fn login_token(
    server: &Server,
    user_id: &UserId,
    passed: &Passed,
) -> Result<(String, u64), CommitError> {
    let now: Timestamp = server.clock.now();
    let lifetime_ms = server.config.sessions.login_token_lifetime_ms;
    let token = token::login(&chance::bytes());
    let mut batch = Batch::new();
    passed.close(&mut batch);
    batch.push(AccountChange::PutTicket(Ticket {
        kind: TicketKind::Login,
        key: token::ticket_key(&token.text),
        data: user_id.as_str().to_owned(),
        expires: now.plus_ms(lifetime_ms),
    }));
    server.commit(batch).await?;
    Ok((token.text, lifetime_ms))
}
