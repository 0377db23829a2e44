//! Who is asking: the access token of a request and what it says.

use std::{ops::Deref, sync::Arc};

use axum::extract::FromRequestParts;
use http::{header, request::Parts};
use lyceum_model::{MatrixError, TokenKind};
use lyceum_server::{
    administration::RateOverride, application_services::ApplicationService, sessions::Session,
};
use ruma_common::{OwnedDeviceId, UserId};

use crate::{App, ClientAddress, Provisioning, Refusal, provisioning, rate_limit::Limit};

/// A user with a valid access token. A provisioning token counts where provisioning needs it,
/// and is refused everywhere else.
#[derive(Debug, Clone)]
pub struct Requester {
    session: Arc<Session>,
    application_service: Option<Arc<ApplicationService>>,
    provisioning: Provisioning,
    rate: Option<RateOverride>,
}

impl Deref for Requester {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Requester {
    /// The application service that acts as this user, if one does.
    pub fn application_service(&self) -> Option<&ApplicationService> {
        self.application_service.as_deref()
    }

    /// The session itself.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The device; an error for tokens without one where the endpoint needs it.
    pub fn device(&self) -> Result<OwnedDeviceId, Refusal> {
        self.device_id.clone().ok_or_else(|| {
            MatrixError::invalid_param("This needs an access token that belongs to a device").into()
        })
    }

    /// Refuses what a suspended user may not do (Client-Server API, "Account suspension").
    pub fn refuse_suspended(&self) -> Result<(), Refusal> {
        if self.is_suspended {
            return Err(MatrixError::user_suspended("This account is suspended").into());
        }
        Ok(())
    }

    /// Refuses when `user_id` is somebody else.
    pub fn must_be(&self, user_id: &UserId) -> Result<(), Refusal> {
        if self.user_id != *user_id {
            return Err(MatrixError::forbidden("You can only do this for yourself").into());
        }
        Ok(())
    }

    /// Whether this is a request of a learning platform's own provider.
    pub fn is_provisioning(&self) -> bool {
        self.provisioning != Provisioning::No
    }

    /// Whether this is an admin, with a token for all that admins may.
    pub fn acts_as_admin(&self) -> bool {
        self.is_admin && self.provisioning != Provisioning::OwnToken
    }

    /// What kind of provisioning this is.
    pub fn provisioning(&self) -> Provisioning {
        self.provisioning
    }

    /// Takes one from the user's bucket. Application services without limits and provisioning are
    /// exempt: Moodle does not come again after a 429.
    pub fn limit(&self, app: &App, limit: Limit) -> Result<(), Refusal> {
        if self
            .application_service()
            .is_some_and(|service| !service.rate_limited)
        {
            return Ok(());
        }
        if self.is_provisioning() {
            return Ok(());
        }
        let now = app.server.clock.now();
        match self.rate {
            Some(rate) => app.limiter.check_override(limit, rate, &self.user_id, now),
            None => app.limiter.check_user(limit, &self.user_id, now),
        }
    }
}

impl FromRequestParts<Arc<App>> for Requester {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let Some(token) = token_of(parts) else {
            return Err(MatrixError::missing_token("Missing access token").into());
        };
        if let Some(service) = app.server.application_service_by_token(&token) {
            return act_for(service, parts, app).await;
        }
        let now = app.server.clock.now();
        let session = app
            .server
            .sessions
            .identify(&*app.server.store, &token, now)
            .await?;
        let provisioning = match session.kind {
            TokenKind::Provisioning if provisioning::opens(&parts.method, parts.uri.path()) => {
                Provisioning::OwnToken
            }
            TokenKind::Provisioning => {
                return Err(MatrixError::forbidden("A provisioning token cannot do this").into());
            }
            _ if session.is_admin && provisioning::is_moodle(&parts.headers) => {
                Provisioning::AdminToken
            }
            _ => Provisioning::No,
        };
        let facts = app.server.administration.facts(&*app.server.store).await?;
        if facts.has_expired(&session.user_id, now) {
            let why = "This account has expired";
            return Err(MatrixError::new(403, "ORG_MATRIX_EXPIRED_ACCOUNT", why).into());
        }
        note_use(parts, app, &session).await;
        Ok(Self {
            rate: facts.rate_override(&session.user_id),
            session,
            application_service: None,
            provisioning,
        })
    }
}

/// A requester where none is needed.
#[derive(Debug, Clone)]
pub struct OptionalRequester(pub Option<Requester>);

impl FromRequestParts<Arc<App>> for OptionalRequester {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        if token_of(parts).is_none() {
            return Ok(Self(None));
        }
        Requester::from_request_parts(parts, app)
            .await
            .map(|requester| Self(Some(requester)))
    }
}

/// The access token as it was shown, unchecked: for endpoints that treat tokens in their own way.
pub struct ShownToken(pub Option<String>);

impl std::fmt::Debug for ShownToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ShownToken")
            .field(&self.0.is_some())
            .finish()
    }
}

impl<S: Sync> FromRequestParts<S> for ShownToken {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(token_of(parts)))
    }
}

/// An admin.
#[derive(Debug, Clone)]
pub struct AdminRequester(pub Requester);

impl Deref for AdminRequester {
    type Target = Requester;

    fn deref(&self) -> &Requester {
        &self.0
    }
}

impl FromRequestParts<Arc<App>> for AdminRequester {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let requester = Requester::from_request_parts(parts, app).await?;
        if !requester.acts_as_admin() {
            return Err(MatrixError::forbidden("You are not a server admin").into());
        }
        Ok(Self(requester))
    }
}

/// An admin, or who has a token for provisioning.
#[derive(Debug, Clone)]
pub struct ProvisioningRequester(pub Requester);

impl Deref for ProvisioningRequester {
    type Target = Requester;

    fn deref(&self) -> &Requester {
        &self.0
    }
}

impl FromRequestParts<Arc<App>> for ProvisioningRequester {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let requester = Requester::from_request_parts(parts, app).await?;
        if !requester.is_admin && requester.provisioning != Provisioning::OwnToken {
            return Err(MatrixError::forbidden("You are not a server admin").into());
        }
        Ok(Self(requester))
    }
}

/// The token: `Authorization: Bearer …`, or the deprecated query parameter.
fn token_of(parts: &Parts) -> Option<String> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let value = value.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        return scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned());
    }
    parameter(parts, "access_token")
}

fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| {
            let value = value.replace('+', " ");
            percent_encoding::percent_decode_str(&value)
                .decode_utf8_lossy()
                .into_owned()
        })
    })
}

/// An application service asks, as itself or as one of its users (Application Service API,
/// "Identity assertion").
async fn act_for(
    service: Arc<ApplicationService>,
    parts: &Parts,
    app: &Arc<App>,
) -> Result<Requester, Refusal> {
    let user_id = match parameter(parts, "user_id") {
        None => service.sender.clone(),
        Some(user_id) => UserId::parse(&user_id)
            .map_err(|_| MatrixError::invalid_param("user_id is not a user id"))?,
    };
    if user_id.server_name() != app.server.config.server_name || !service.owns_user(&user_id) {
        return Err(MatrixError::forbidden("That user is not the application service's").into());
    }
    let device_id: Option<OwnedDeviceId> = parameter(parts, "device_id")
        .or_else(|| parameter(parts, "org.matrix.msc3202.device_id"))
        .map(Into::into);
    let session = app
        .server
        .application_service_session(&service, user_id, device_id)
        .await?;
    let facts = app.server.administration.facts(&*app.server.store).await?;
    Ok(Requester {
        rate: facts.rate_override(&session.user_id),
        session,
        application_service: Some(service),
        provisioning: Provisioning::No,
    })
}

/// Remembers now and then that a device was used.
async fn note_use(parts: &mut Parts, app: &Arc<App>, session: &Session) {
    let Some(device_id) = &session.device_id else {
        return;
    };
    let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, app).await;
    let agent = parts
        .headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    app.server
        .device_seen(&session.user_id, device_id, address, agent);
}
