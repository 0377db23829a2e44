//! The small piece of SQL that both engines share: values, rows, and how statements are written.
//!
//! Statements are written once, with `?1` as placeholders and `IN (?1[])` for a
//! list (`IN (?1[x])` for one of bytes); each engine
//! translates them to its own form. Integers are 64 bits everywhere; truth is 0 or 1.

use lyceum_model::{Position, Timestamp};
use lyceum_storage::StorageError;
use ruma_common::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedServerName,
    OwnedUserId, RoomAliasId, RoomId, ServerName, UserId,
};

/// A connection on which statements run.
pub(crate) trait Sql {
    /// Runs a question.
    fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StorageError>;
    /// Runs a change; says how many rows it concerned.
    fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StorageError>;
    /// Inserts rows, whose values follow each other in `values`.
    fn insert(&mut self, insert: &'static Insert, values: &[Param<'_>])
    -> Result<(), StorageError>;

    /// The first row of an answer.
    fn first(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Option<Row>, StorageError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// Whether there is an answer.
    fn exists(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<bool, StorageError> {
        Ok(!self.query(sql, params)?.is_empty())
    }

    /// The number that a question counts.
    fn number(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<i64, StorageError> {
        match self.first(sql, params)? {
            Some(mut row) => row.take(0),
            None => Err(StorageError::Broken(format!("no row: {sql}"))),
        }
    }
}

/// A connection that a thread owns: [`Sql`] with its transactions.
pub(crate) trait Session: Sql + Send {
    /// Begins a transaction that sees one moment.
    fn begin_read(&mut self) -> Result<(), StorageError>;
    /// Begins a transaction that writes, alone among all writers of the database.
    fn begin_write(&mut self) -> Result<(), StorageError>;
    /// Ends it, durably.
    fn commit(&mut self) -> Result<(), StorageError>;
    /// Ends it without effect; makes the connection usable again if it can.
    fn rollback(&mut self);
    /// Runs a script of several statements, given in the common dialect.
    fn script(&mut self, script: &str) -> Result<(), StorageError>;
    /// Whether the connection still stands.
    fn is_alive(&self) -> bool;
    /// Whether this connection may sweep; no other one may until it is closed.
    fn claim_sweep(&mut self) -> Result<bool, StorageError>;
    /// Lets another connection sweep.
    fn release_sweep(&mut self);
    /// This session as its statements.
    fn sql(&mut self) -> &mut dyn Sql;
}

/// An `INSERT` of any number of rows.
#[derive(Debug)]
pub(crate) struct Insert {
    /// The table with its columns: `users (number, user_id)`.
    pub(crate) into: &'static str,
    /// How many columns.
    pub(crate) columns: usize,
    /// What follows the values: an `ON CONFLICT` clause, or nothing.
    pub(crate) conflict: &'static str,
}

impl Insert {
    /// The statement for one row.
    pub(crate) fn for_rows(&self, rows: usize) -> String {
        let mut sql = format!("INSERT INTO {} VALUES ", self.into);
        let mut index = 0;
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..self.columns {
                index += 1;
                sql.push_str(if column == 0 { "?" } else { ",?" });
                sql.push_str(&index.to_string());
            }
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(self.conflict);
        sql
    }
}

/// A value given to a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Param<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
    Ints(&'a [i64]),
    Texts(&'a [&'a str]),
    Blobs(&'a [&'a [u8]]),
}

/// Parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Param::from($value)),*] };
}
pub(crate) use params;

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Param<'_> {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Param<'_> {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<Timestamp> for Param<'_> {
    fn from(value: Timestamp) -> Self {
        value.0.into()
    }
}

impl From<Position> for Param<'_> {
    fn from(value: Position) -> Self {
        value.0.into()
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Param<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Blob(value)
    }
}

impl<'a> From<&'a [i64]> for Param<'a> {
    fn from(value: &'a [i64]) -> Self {
        Self::Ints(value)
    }
}

impl<'a> From<&'a Vec<i64>> for Param<'a> {
    fn from(value: &'a Vec<i64>) -> Self {
        Self::Ints(value)
    }
}

impl<'a> From<&'a Vec<&'a str>> for Param<'a> {
    fn from(value: &'a Vec<&'a str>) -> Self {
        Self::Texts(value)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! text_params {
    ($($kind:ty),*) => { $(
        impl<'a> From<&'a $kind> for Param<'a> {
            fn from(value: &'a $kind) -> Self {
                Self::Text(value.as_str())
            }
        }
    )* };
}
text_params!(
    UserId,
    OwnedUserId,
    RoomId,
    OwnedRoomId,
    EventId,
    OwnedEventId,
    DeviceId,
    OwnedDeviceId,
    RoomAliasId,
    OwnedRoomAliasId,
    ServerName,
    OwnedServerName
);

/// A value in an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Value {
    #[default]
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) struct Row(pub(crate) Vec<Value>);

impl Row {
    /// Takes the value of a column out.
    pub(crate) fn take<T: FromValue>(&mut self, column: usize) -> Result<T, StorageError> {
        let value = self
            .0
            .get_mut(column)
            .map(std::mem::take)
            .unwrap_or_default();
        T::from_value(value).ok_or_else(|| {
            StorageError::Broken(format!(
                "column {column} does not hold {}",
                std::any::type_name::<T>()
            ))
        })
    }
}

/// What a value of a row can be read as.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: Value) -> Option<Self> {
        i64::from_value(value).map(i64::cast_unsigned)
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        i64::from_value(value).map(|value| value != 0)
    }
}

impl FromValue for Timestamp {
    fn from_value(value: Value) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

impl FromValue for Position {
    fn from_value(value: Value) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Blob(value) => Some(value),
            _ => None,
        }
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: Value) -> Option<Self> {
        Vec::from_value(value)?.try_into().ok()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Null {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}

impl FromValue for OwnedDeviceId {
    fn from_value(value: Value) -> Option<Self> {
        String::from_value(value).map(Into::into)
    }
}

macro_rules! from_text {
    ($($owned:ty),*) => { $(
        impl FromValue for $owned {
            fn from_value(value: Value) -> Option<Self> {
                Self::try_from(String::from_value(value)?).ok()
            }
        }
    )* };
}
from_text!(
    OwnedUserId,
    OwnedRoomId,
    OwnedEventId,
    OwnedRoomAliasId,
    OwnedServerName
);

/// The texts of ids, for a list parameter.
pub(crate) fn texts<T: AsRef<str>>(ids: &[T]) -> Vec<&str> {
    ids.iter().map(AsRef::as_ref).collect()
}

/// A pattern for `LIKE … ESCAPE '\'` that finds `part` anywhere.
pub(crate) fn pattern_containing(part: &str) -> String {
    let mut pattern = String::with_capacity(part.len() + 2);
    pattern.push('%');
    for letter in part.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
