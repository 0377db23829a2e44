//! User-interactive authentication (Client-Server API, "User-Interactive Authentication API").
//!
//! A [`Session`] is plain data that storage keeps between requests. Whether a password or a token
//! is right is a fact that the caller brings: [`Session::advance`] says which one it needs.
//! Invariants: a session authorises only the operation for which it began; a completed stage
//! stays completed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lyceum_model::MatrixError;
use ruma_common::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::names::Identifier;

/// How long a session lasts, in milliseconds.
pub const SESSION_MS_MAX: u64 = 15 * 60 * 1000;

/// A stage of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// The account's password.
    #[serde(rename = "m.login.password")]
    Password,
    /// Nothing.
    #[serde(rename = "m.login.dummy")]
    Dummy,
    /// A token that allows to register.
    #[serde(rename = "m.login.registration_token")]
    RegistrationToken,
    /// Agreeing to the terms of service.
    #[serde(rename = "m.login.terms")]
    Terms,
    /// Single sign-on, in a browser.
    #[serde(rename = "m.login.sso")]
    Sso,
    /// OAuth 2.0, in a browser.
    #[serde(rename = "m.oauth")]
    OAuth,
    /// An e-mail address, by a link sent to it.
    #[serde(rename = "m.login.email.identity")]
    EmailIdentity,
    /// A phone number, by a code sent to it.
    #[serde(rename = "m.login.msisdn")]
    Msisdn,
    /// A puzzle for humans.
    #[serde(rename = "m.login.recaptcha")]
    Recaptcha,
}

impl Stage {
    const ALL: [Self; 9] = [
        Self::Password,
        Self::Dummy,
        Self::RegistrationToken,
        Self::Terms,
        Self::Sso,
        Self::OAuth,
        Self::EmailIdentity,
        Self::Msisdn,
        Self::Recaptcha,
    ];

    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Terms => "m.login.terms",
            Self::Sso => "m.login.sso",
            Self::OAuth => "m.oauth",
            Self::EmailIdentity => "m.login.email.identity",
            Self::Msisdn => "m.login.msisdn",
            Self::Recaptcha => "m.login.recaptcha",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// One client's way through authentication for one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its name; nobody can guess it.
    pub id: String,
    /// What it is for; see [`operation`].
    pub operation: String,
    /// The ways to complete it.
    pub flows: Vec<Vec<Stage>>,
    /// What clients must know for a stage, by its name.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// The stages that are done.
    #[serde(default)]
    pub completed: Vec<Stage>,
    /// The registration token that completed its stage, to be counted when the account is made.
    #[serde(default)]
    pub registration_token: Option<String>,
    /// The body of the first request, for clients that later send `auth` only.
    #[serde(default)]
    pub request: Option<Value>,
}

/// The fingerprint of an operation: who does what. `path` without its query.
pub fn operation(
    user_id: Option<&UserId>,
    device_id: Option<&DeviceId>,
    method: &str,
    path: &str,
) -> String {
    let parts = json!([user_id, device_id, method, path]);
    URL_SAFE_NO_PAD.encode(Sha256::digest(parts.to_string()))
}

/// The session that `auth` names.
pub fn session_named(auth: Option<&Value>) -> Option<&str> {
    auth?.get("session")?.as_str()
}

/// What the caller found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The identifier names the user of the operation (or none was given), and the password is
    /// theirs.
    pub password_correct: Option<bool>,
    /// The token allows to register.
    pub registration_token_valid: Option<bool>,
}

/// What the caller must find out.
#[derive(Clone, PartialEq, Eq)]
pub enum Needs {
    /// Fill in [`Facts::password_correct`].
    Password {
        /// Whose; `None`: the user who asks.
        identifier: Option<Identifier>,
        /// The password.
        password: String,
    },
    /// Fill in [`Facts::registration_token_valid`].
    RegistrationToken {
        /// The token.
        token: String,
    },
}

impl std::fmt::Debug for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Needs::Password",
            Self::RegistrationToken { .. } => "Needs::RegistrationToken",
        })
    }
}

/// Where a session stands after a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Call again with this fact.
    Needs(Needs),
    /// All stages of a flow are done: carry the operation out, and forget the session with it.
    Complete,
    /// Answer 401 with this body, and keep the session.
    Incomplete(Value),
    /// Answer this; the session stays as it was.
    Failed(MatrixError),
}

impl Session {
    /// A session at its beginning. Each flow has at least one stage.
    pub fn begin(
        id: String,
        operation: String,
        flows: Vec<Vec<Stage>>,
        params: Map<String, Value>,
    ) -> Self {
        Self {
            id,
            operation,
            flows,
            params,
            completed: Vec::new(),
            registration_token: None,
            request: None,
        }
    }

    /// The body of a 401 that asks for (more) authentication.
    pub fn challenge_body(&self) -> Value {
        let flows: Vec<Value> = self
            .flows
            .iter()
            .map(|stages| json!({ "stages": stages }))
            .collect();
        let mut body = json!({ "session": self.id, "flows": flows, "params": self.params });
        if !self.completed.is_empty() {
            body["completed"] = json!(self.completed);
        }
        body
    }

    /// Whether all stages of a flow are done.
    pub fn is_complete(&self) -> bool {
        self.flows
            .iter()
            .any(|stages| stages.iter().all(|stage| self.completed.contains(stage)))
    }

    /// A stage was done elsewhere, as single sign-on is.
    pub fn fulfil(&mut self, stage: Stage) {
        if !self.completed.contains(&stage) {
            self.completed.push(stage);
        }
    }

    /// Takes in the `auth` of a request for `operation`.
    pub fn advance(&mut self, operation: &str, auth: &Value, facts: &Facts) -> Outcome {
        if operation != self.operation {
            return Outcome::Failed(MatrixError::forbidden(
                "This authentication session belongs to another operation",
            ));
        }
        let stage = match auth.get("type") {
            None | Some(Value::Null) => return self.outcome(),
            Some(Value::String(name)) => Stage::from_name(name),
            Some(_) => return Outcome::Failed(MatrixError::bad_json("'type' must be a string")),
        };
        let Some(stage) = stage.filter(|stage| self.offers(*stage)) else {
            return self.refused(
                "M_UNRECOGNIZED",
                "This kind of authentication is not offered",
            );
        };
        if self.completed.contains(&stage) {
            return self.outcome();
        }
        match stage {
            Stage::Dummy | Stage::Terms => self.fulfil(stage),
            Stage::Password => match facts.password_correct {
                None => return password_needed(auth),
                Some(false) => return self.refused("M_FORBIDDEN", "Invalid username or password"),
                Some(true) => self.fulfil(stage),
            },
            Stage::RegistrationToken => {
                let Some(token) = auth.get("token").and_then(Value::as_str) else {
                    return Outcome::Failed(MatrixError::missing_param(
                        "Registration token missing",
                    ));
                };
                match facts.registration_token_valid {
                    None => {
                        let token = token.to_owned();
                        return Outcome::Needs(Needs::RegistrationToken { token });
                    }
                    Some(false) => {
                        return self.refused("M_FORBIDDEN", "Invalid registration token");
                    }
                    Some(true) => {
                        self.registration_token = Some(token.to_owned());
                        self.fulfil(stage);
                    }
                }
            }
            Stage::Sso | Stage::OAuth | Stage::EmailIdentity | Stage::Msisdn | Stage::Recaptcha => {
                return self.refused("M_FORBIDDEN", "This stage is completed elsewhere");
            }
        }
        self.outcome()
    }

    fn offers(&self, stage: Stage) -> bool {
        self.flows.iter().any(|stages| stages.contains(&stage))
    }

    fn outcome(&self) -> Outcome {
        if self.is_complete() {
            Outcome::Complete
        } else {
            Outcome::Incomplete(self.challenge_body())
        }
    }

    fn refused(&self, code: &str, message: &str) -> Outcome {
        let mut body = self.challenge_body();
        body["errcode"] = Value::from(code);
        body["error"] = Value::from(message);
        Outcome::Incomplete(body)
    }
}

fn password_needed(auth: &Value) -> Outcome {
    let Some(password) = auth.get("password").and_then(Value::as_str) else {
        return Outcome::Failed(MatrixError::missing_param("Missing parameters: password"));
    };
    match Identifier::from_login(auth) {
        Ok(identifier) => Outcome::Needs(Needs::Password {
            identifier,
            password: password.to_owned(),
        }),
        Err(error) => Outcome::Failed(error.into()),
    }
}
