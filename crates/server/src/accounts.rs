//! Accounts: who may register and log in, and what belongs to a user.
//!
//! Each operation loads what it needs, has a rule of `lyceum_account` decide, and commits one
//! batch. Invariants: secrets are stored hashed; what reads, changes and writes back a piece of
//! a user's data holds that user's [turn](Accounts::turn).

pub mod account_data;
pub mod closing;
pub mod devices;
pub mod erased;
pub mod filters;
pub mod interactive_auth;
pub mod login;
pub mod logout;
pub mod open_id;
pub mod passwords;
pub mod profiles;
pub mod refresh;
pub mod registration;
pub mod registration_tokens;
pub mod tags;
pub mod tokens;
pub mod user_directory;

use ruma_common::UserId;
use tokio::sync::{MutexGuard, Semaphore};

use crate::turns::Turns;

/// How many passwords are hashed at a time; each takes memory and a core.
const PASSWORD_HASHES_MAX: usize = 2;

/// What operations on accounts share.
#[derive(Debug)]
pub struct Accounts {
    erased: erased::Erased,
    password_hashes: Semaphore,
    turns: Turns,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            erased: erased::Erased::default(),
            password_hashes: Semaphore::new(PASSWORD_HASHES_MAX),
            turns: Turns::default(),
        }
    }
}

impl Accounts {
    /// Waits until nobody else on this node reads, changes and writes back data of this user.
    pub async fn turn(&self, user_id: &UserId) -> MutexGuard<'_, ()> {
        self.turns.of(user_id.as_str()).await
    }
}
