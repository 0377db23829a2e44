//! Application services: their registrations and what is theirs (Application Service API,
//! "Registration").

use std::{fs, io, path::PathBuf};

use regex::Regex;
use ruma_common::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;

/// A registered application service.
#[derive(Debug, Clone)]
pub struct ApplicationService {
    /// Its id.
    pub id: String,
    /// Where it listens; `None`: it wants no traffic.
    pub url: Option<String>,
    /// The token that it shows us.
    pub as_token: String,
    /// The token that we show it.
    pub hs_token: String,
    /// Its own user.
    pub sender: OwnedUserId,
    /// Whether its users have rate limits.
    pub rate_limited: bool,
    /// The users that are its business.
    pub users: Vec<Namespace>,
    /// The aliases that are its business.
    pub aliases: Vec<Namespace>,
    /// The rooms that are its business.
    pub rooms: Vec<Namespace>,
}

/// A part of the ids.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Whether nobody else may have ids in it.
    pub exclusive: bool,
    /// Which ids.
    pub regex: Regex,
}

/// Why a registration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRegistration {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// It is not a registration.
    #[error("{0} is not a registration: {1}")]
    Yaml(PathBuf, serde_norway::Error),
    /// A namespace is not a regular expression.
    #[error("{0} has a namespace that is no regular expression: {1}")]
    Regex(PathBuf, regex::Error),
    /// Its sender is not a valid user name.
    #[error("{0} has an invalid sender_localpart")]
    Sender(PathBuf),
}

impl ApplicationService {
    /// Reads registration files.
    pub fn read(
        files: &[PathBuf],
        server_name: &ServerName,
    ) -> Result<Vec<Self>, InvalidRegistration> {
        files
            .iter()
            .map(|file| Self::read_one(file, server_name))
            .collect()
    }

    fn read_one(file: &PathBuf, server_name: &ServerName) -> Result<Self, InvalidRegistration> {
        let text = fs::read_to_string(file)
            .map_err(|error| InvalidRegistration::Read(file.clone(), error))?;
        let registration: Registration = serde_norway::from_str(&text)
            .map_err(|error| InvalidRegistration::Yaml(file.clone(), error))?;
        let sender = UserId::parse(format!("@{}:{server_name}", registration.sender_localpart))
            .map_err(|_| InvalidRegistration::Sender(file.clone()))?;
        let compile = |namespaces: Vec<WireNamespace>| {
            namespaces
                .into_iter()
                .map(|namespace| {
                    Ok(Namespace {
                        exclusive: namespace.exclusive,
                        regex: Regex::new(&format!("^(?:{})$", namespace.regex))
                            .map_err(|error| InvalidRegistration::Regex(file.clone(), error))?,
                    })
                })
                .collect::<Result<Vec<_>, InvalidRegistration>>()
        };
        Ok(Self {
            id: registration.id,
            url: registration.url.filter(|url| !url.is_empty()),
            as_token: registration.as_token,
            hs_token: registration.hs_token,
            sender,
            rate_limited: registration.rate_limited.unwrap_or(true),
            users: compile(registration.namespaces.users)?,
            aliases: compile(registration.namespaces.aliases)?,
            rooms: compile(registration.namespaces.rooms)?,
        })
    }

    /// Whether it may act as this user.
    pub fn owns_user(&self, user_id: &UserId) -> bool {
        self.sender == user_id
            || self
                .users
                .iter()
                .any(|namespace| namespace.regex.is_match(user_id.as_str()))
    }

    /// Whether nobody else may have this user id.
    pub fn reserves_user(&self, user_id: &UserId) -> bool {
        self.sender == user_id
            || self
                .users
                .iter()
                .any(|users| users.exclusive && users.regex.is_match(user_id.as_str()))
    }

    /// Whether nobody else may have this alias.
    pub fn reserves_alias(&self, alias: &str) -> bool {
        self.aliases
            .iter()
            .any(|aliases| aliases.exclusive && aliases.regex.is_match(alias))
    }
}

#[derive(Deserialize)]
struct Registration {
    id: String,
    url: Option<String>,
    as_token: String,
    hs_token: String,
    sender_localpart: String,
    rate_limited: Option<bool>,
    #[serde(default)]
    namespaces: WireNamespaces,
}

#[derive(Deserialize, Default)]
struct WireNamespaces {
    #[serde(default)]
    users: Vec<WireNamespace>,
    #[serde(default)]
    aliases: Vec<WireNamespace>,
    #[serde(default)]
    rooms: Vec<WireNamespace>,
}

#[derive(Deserialize)]
struct WireNamespace {
    #[serde(default)]
    exclusive: bool,
    regex: String,
}
