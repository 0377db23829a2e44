//! Builders and fixtures for tests: users, a signing key, a clock that counts, seeded chance, and
//! [`Scene`], in which users make rooms and act in them.
//!
//! Invariants: everything follows from the arguments, so a test that fails fails again; wrong use
//! panics, because only tests use it.

mod chance;
mod scene;

pub use chance::Chance;
pub use scene::Scene;

use lyceum_room::{Profile, Signer};
use ruma_common::{OwnedServerName, OwnedUserId};
use serde_json::{Value, value::RawValue};

/// The server of all users of this kit that do not say otherwise.
pub const SERVER: &str = "example.org";
/// The time at which every [`Scene`] begins, in milliseconds since the epoch.
pub const BEGIN_MS: u64 = 1_800_000_000_000;

/// A user: `alice` is on [`SERVER`], `alice:other.org` on another server.
pub fn user(name: &str) -> OwnedUserId {
    let id = if name.contains(':') {
        format!("@{name}")
    } else {
        format!("@{name}:{SERVER}")
    };
    OwnedUserId::try_from(id).expect("a test names valid users")
}

/// `@alice:example.org`
pub fn alice() -> OwnedUserId {
    user("alice")
}

/// `@bob:example.org`
pub fn bob() -> OwnedUserId {
    user("bob")
}

/// `@carol:example.org`
pub fn carol() -> OwnedUserId {
    user("carol")
}

/// `@dave:example.org`
pub fn dave() -> OwnedUserId {
    user("dave")
}

/// The signer of [`SERVER`].
pub fn signer() -> Signer {
    signer_of(SERVER)
}

/// The signer of some server; each has a key of its own.
pub fn signer_of(server: &str) -> Signer {
    let server_name = OwnedServerName::try_from(server).expect("a test names valid servers");
    let mut seed = [7; 32];
    for (place, byte) in seed.iter_mut().zip(server.bytes()) {
        *place ^= byte;
    }
    Signer::from_seed(server_name, "test", &seed).expect("32 bytes are a seed")
}

/// JSON as the rules take it.
pub fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("a JSON value is JSON")
}

/// A profile with a name only.
pub fn named(name: &str) -> Profile {
    Profile {
        displayname: Some(name.to_owned()),
        avatar_url: None,
    }
}
