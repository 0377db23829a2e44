//! Bodies that are objects, of whatever keys.

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use serde_json::{Map, Value};

/// A JSON value that is an object.
pub(crate) struct Object(pub(crate) Value);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(|map| Self(Value::Object(map)))
    }
}

/// A part of a body that must be an object: a list would pass for a struct with its fields in
/// order.
pub(crate) fn object_of<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Object(object) = Object::deserialize(deserializer)?;
    serde_json::from_value(object).map_err(D::Error::custom)
}
