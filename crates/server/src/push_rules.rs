//! Push rules of users: the default ones with what the user changed (Client-Server API, "Push
//! Rules"). They are kept as account data `m.push_rules`.

use lyceum_account::push::{PushRuleError, PushRules};
use lyceum_model::MatrixError;
use lyceum_storage::{CommitError, StorageError};
use ruma_common::UserId;

use crate::{
    Server,
    accounts::account_data,
    decide::{MayBeStale, decide},
};

/// The account data that holds them.
pub const KIND: &str = "m.push_rules";
/// The largest rule set, in bytes of JSON.
const RULES_BYTES_MAX: usize = 512 * 1024;

/// Why push rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRulesError {
    /// The rules of push rules say no.
    #[error(transparent)]
    Rule(#[from] PushRuleError),
    /// There are too many.
    #[error("too many push rules")]
    TooMany,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<PushRulesError> for MatrixError {
    fn from(error: PushRulesError) -> Self {
        match error {
            PushRulesError::Rule(error) => error.into(),
            PushRulesError::TooMany => Self::too_large("There are too many push rules"),
            PushRulesError::Commit(error) => error.into(),
            PushRulesError::Storage(error) => error.into(),
        }
    }
}

impl MayBeStale for PushRulesError {
    fn is_stale(&self) -> bool {
        matches!(self, Self::Commit(error) if error.is_stale())
    }
}

/// A user's push rules.
pub async fn load(server: &Server, user_id: &UserId) -> Result<PushRules, StorageError> {
    let entry = server.store.account_data_entry(user_id, None, KIND).await?;
    let stored = entry.and_then(|entry| entry.content);
    Ok(PushRules::load(user_id, stored.as_deref()))
}

/// Changes a user's push rules. `change` is called again when another node was faster.
pub async fn change(
    server: &Server,
    user_id: &UserId,
    change: impl Fn(&mut PushRules) -> Result<(), PushRuleError> + Send + Sync,
) -> Result<(), PushRulesError> {
    let _turn = server.accounts.turn(user_id).await;
    decide(|| try_change(server, user_id, &change)).await
}

async fn try_change(
    server: &Server,
    user_id: &UserId,
    change: &(impl Fn(&mut PushRules) -> Result<(), PushRuleError> + Send + Sync),
) -> Result<(), PushRulesError> {
    let entry = server.store.account_data_entry(user_id, None, KIND).await?;
    let stored = entry.as_ref().and_then(|entry| entry.content.as_deref());
    let mut rules = PushRules::load(user_id, stored);
    change(&mut rules)?;
    let content = rules.content().to_string();
    if content.len() > RULES_BYTES_MAX {
        return Err(PushRulesError::TooMany);
    }
    let read_at = entry.map(|entry| entry.position);
    account_data::replace(server, user_id, None, KIND, read_at, content).await?;
    Ok(())
}
