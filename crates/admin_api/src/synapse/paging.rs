//! Pages and directions of lists.

use std::cmp::Ordering;

use serde_json::{Value, json};

/// In which direction a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// As the order says.
    Forward,
    /// The other way round.
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

impl Page {
    /// The entries of this page, and where the next one begins if there is one.
    pub(super) fn of<T>(self, all: Vec<T>) -> (Vec<T>, Option<usize>) {
        let total = all.len();
        let entries: Vec<T> = all.into_iter().skip(self.from).take(self.limit).collect();
        let end = self.from.saturating_add(self.limit);
        let next = (end < total).then(|| self.from + entries.len());
        (entries, next)
    }

    /// The body of a list: this page of it, how many entries there are, where to go on.
    pub(super) fn body<T>(self, key: &str, all: Vec<T>, shown: impl Fn(&T) -> Value) -> Value {
        let total = all.len();
        let (entries, next) = self.of(all);
        let entries: Vec<Value> = entries.iter().map(shown).collect();
        list(key, &entries, total, next)
    }
}

/// The body of a list of which one page is shown.
pub(super) fn list(key: &str, entries: &[Value], total: usize, next: Option<usize>) -> Value {
    let mut body = json!({ key: entries, "total": total });
    if let Some(next) = next {
        body["next_token"] = json!(next);
    }
    body
}
