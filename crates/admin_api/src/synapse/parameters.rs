//! Query strings, and what is wrong with one in Synapse's words.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use lyceum_edge::Refusal;
use lyceum_model::{MatrixError, Timestamp};

use super::paging::{Direction, Page};

/// How many entries a page has if nobody says.
const LIMIT_DEFAULT: u64 = 100;

/// The parameters of a query; of those that come several times, the first counts.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let pairs = Query::try_from_uri(&parts.uri).map(|Query(pairs)| pairs);
        Ok(Self(pairs.unwrap_or_default()))
    }
}

impl Parameters {
    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| {
            MatrixError::missing_param(format!("Missing string query parameter '{name}'")).into()
        })
    }

    /// All texts of a name.
    pub(super) fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |pair: &&(String, String)| pair.0 == name;
        self.0.iter().filter(is_it).map(|(_, value)| value.as_str())
    }

    /// An integer that is not negative.
    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let integer: i64 = text.trim().parse().map_err(|_| {
            MatrixError::invalid_param(format!("Query parameter {name} must be an integer"))
        })?;
        let why = || format!("Query parameter {name} must be a positive integer.");
        let integer = u64::try_from(integer).map_err(|_| MatrixError::invalid_param(why()))?;
        Ok(Some(integer))
    }

    /// An integer that is not negative and must be there.
    pub(super) fn required_integer(&self, name: &str) -> Result<u64, Refusal> {
        self.integer(name)?.ok_or_else(|| {
            let why = format!("Missing required integer query parameter {name}");
            MatrixError::missing_param(why).into()
        })
    }

    /// A time.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        Ok(self.integer(name)?.map(Timestamp))
    }

    /// Yes or no.
    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => {
                let why =
                    format!("Boolean query parameter '{name}' must be one of ['true', 'false']");
                Err(MatrixError::invalid_param(why).into())
            }
        }
    }

    /// One of these.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Refusal> {
        let all = self.choices(name, choices)?;
        Ok(all.first().copied())
    }

    /// Any number of these.
    pub(super) fn choices<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Vec<T>, Refusal> {
        let mut chosen = Vec::new();
        for text in self.texts(name) {
            let Some((_, choice)) = choices.iter().find(|(known, _)| *known == text) else {
                let known: Vec<String> = choices
                    .iter()
                    .map(|(known, _)| format!("'{known}'"))
                    .collect();
                let known = known.join(", ");
                let why = format!("Query parameter '{name}' must be one of [{known}]");
                return Err(MatrixError::invalid_param(why).into());
            };
            chosen.push(*choice);
        }
        Ok(chosen)
    }

    /// `dir`.
    pub(super) fn direction(&self) -> Result<Option<Direction>, Refusal> {
        let choices = [("b", Direction::Backward), ("f", Direction::Forward)];
        self.choice("dir", &choices)
    }

    /// `from` and `limit`.
    pub(super) fn page(&self) -> Result<Page, Refusal> {
        let from = self.integer("from")?.unwrap_or(0);
        let limit = self.integer("limit")?.unwrap_or(LIMIT_DEFAULT);
        Ok(Page {
            from: usize::try_from(from).unwrap_or(usize::MAX),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}
