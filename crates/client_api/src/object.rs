//! Bodies that are objects, of whatever keys, and objects inside bodies.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Value, value::RawValue};

/// A JSON value that is an object.
pub(crate) struct Object(pub(crate) Value);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(|map| Self(Value::Object(map)))
    }
}

/// A part of a body that must be an object: a list would pass for a struct with its fields in
/// order.
#[derive(Default)]
pub(crate) struct ObjectOf<T>(pub(crate) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for ObjectOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = Box::<RawValue>::deserialize(deserializer)?;
        if !part.get().starts_with('{') {
            return Err(D::Error::custom("expected an object"));
        }
        let part = serde_json::from_str(part.get()).map_err(D::Error::custom)?;
        Ok(Self(part))
    }
}
