//! Pages and orders of lists, in Synapse's words.

use std::cmp::Ordering;

use lyceum_edge::Refusal;
use lyceum_model::MatrixError;
use serde::Deserialize;

/// How many entries a page has if nobody says.
const LIMIT_DEFAULT: i64 = 100;

/// `from`, `limit` and `dir` of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Paging {
    from: Option<i64>,
    limit: Option<i64>,
    dir: Option<Direction>,
}

/// In which direction a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Direction {
    /// As the order says.
    #[serde(rename = "f")]
    Forward,
    /// The other way round.
    #[serde(rename = "b")]
    Backward,
}

impl Direction {
    /// An order in this direction.
    pub(super) fn of(self, order: Ordering) -> Ordering {
        match self {
            Self::Forward => order,
            Self::Backward => order.reverse(),
        }
    }
}

/// A page that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) from: usize,
    pub(super) limit: usize,
}

impl Paging {
    pub(super) fn direction(&self) -> Option<Direction> {
        self.dir
    }

    pub(super) fn page(&self) -> Result<Page, Refusal> {
        Ok(Page {
            from: not_negative("from", self.from.unwrap_or(0))?,
            limit: not_negative("limit", self.limit.unwrap_or(LIMIT_DEFAULT))?,
        })
    }
}

fn not_negative(name: &str, value: i64) -> Result<usize, Refusal> {
    usize::try_from(value).map_err(|_| {
        MatrixError::invalid_param(format!(
            "Query parameter {name} must be a string representing a positive integer."
        ))
        .into()
    })
}

impl Page {
    /// The entries of this page, and where the next one begins if there is one.
    pub(super) fn of<T>(self, all: Vec<T>) -> (Vec<T>, Option<usize>) {
        let total = all.len();
        let entries: Vec<T> = all.into_iter().skip(self.from).take(self.limit).collect();
        let end = self.from.saturating_add(self.limit);
        let next = (end < total).then(|| self.from + entries.len());
        (entries, next)
    }
}
