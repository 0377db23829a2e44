//! Tokens: secrets that stand for a login. Only their SHA-256 is ever kept.

use std::fmt::{self, Write as _};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// A token that has just been made: the text goes to the client, the hash into storage.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What the client gets. It is nowhere else.
    pub text: String,
    /// What is kept.
    pub hash: [u8; 32],
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").finish_non_exhaustive()
    }
}

/// An access token.
pub fn access(random: &[u8; 32]) -> NewToken {
    new("lyc_", random)
}

/// A refresh token.
pub fn refresh(random: &[u8; 32]) -> NewToken {
    new("lyr_", random)
}

/// A token for `m.login.token`.
pub fn login(random: &[u8; 32]) -> NewToken {
    new("lyl_", random)
}

/// A token for a learning platform's provisioning.
pub fn provisioning(random: &[u8; 32]) -> NewToken {
    new("lyp_", random)
}

/// An OpenID token for third parties.
pub fn open_id(random: &[u8; 32]) -> NewToken {
    new("lyo_", random)
}

fn new(prefix: &str, random: &[u8; 32]) -> NewToken {
    let mut text = prefix.to_owned();
    URL_SAFE_NO_PAD.encode_string(random, &mut text);
    NewToken {
        hash: hash(&text),
        text,
    }
}

/// What is kept of a token.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The same as lower-case hexadecimal digits, as `Ticket::key` has it.
pub fn ticket_key(text: &str) -> String {
    let mut key = String::with_capacity(64);
    for byte in hash(text) {
        write!(key, "{byte:02x}").expect("writing into a string cannot fail");
    }
    key
}
