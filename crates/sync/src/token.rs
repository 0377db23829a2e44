//! The text forms of places in time that clients hand back: sync tokens and timeline tokens.

use std::{fmt, str::FromStr};

use lyceum_model::{Position, Seq};

/// The text is no token of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this server")]
pub struct InvalidToken;

/// Up to which commit a client has been told everything: `s12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncToken(pub Position);

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0.0)
    }
}

impl FromStr for SyncToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let digits = text.strip_prefix('s').ok_or(InvalidToken)?;
        Ok(Self(Position(number(digits)?)))
    }
}

/// The gap before an event of a room's timeline, as seen at a commit: `t12_34`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineToken {
    /// Events of later commits are not seen from here.
    pub position: Position,
    /// The gap lies before this place; it need not be taken.
    pub seq: Seq,
}

impl fmt::Display for TimelineToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}_{}", self.position.0, self.seq.0)
    }
}

impl FromStr for TimelineToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (position, seq) = text
            .strip_prefix('t')
            .and_then(|rest| rest.split_once('_'))
            .ok_or(InvalidToken)?;
        let seq = match seq.strip_prefix('-') {
            Some(digits) => -number::<i64>(digits)?,
            None => number::<i64>(seq)?,
        };
        Ok(Self {
            position: Position(number(position)?),
            seq: Seq(seq),
        })
    }
}

/// What `from`, `to` and `at` accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageToken {
    /// A `next_batch`: the end of every timeline as of that commit.
    Sync(SyncToken),
    /// A `prev_batch`, `start` or `end`.
    Timeline(TimelineToken),
}

impl PageToken {
    /// Events of later commits are not seen from here.
    pub fn position(&self) -> Position {
        match self {
            Self::Sync(token) => token.0,
            Self::Timeline(token) => token.position,
        }
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync(token) => token.fmt(f),
            Self::Timeline(token) => token.fmt(f),
        }
    }
}

impl FromStr for PageToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.starts_with('s') {
            text.parse().map(Self::Sync)
        } else {
            text.parse().map(Self::Timeline)
        }
    }
}

/// Digits only: `+5` and ` 5` are not ours.
fn number<N: FromStr>(digits: &str) -> Result<N, InvalidToken> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidToken);
    }
    digits.parse().map_err(|_| InvalidToken)
}
