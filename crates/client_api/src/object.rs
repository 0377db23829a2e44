//! Bodies that are objects, of whatever keys.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A JSON value that is an object.
pub(crate) struct Object(pub(crate) Value);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(|map| Self(Value::Object(map)))
    }
}
