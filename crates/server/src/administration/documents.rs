//! Small documents: JSON under a setting of the server, changed by compare and set.

use lyceum_model::{Batch, Change, Expect};
use lyceum_storage::{CommitError, StorageError, Store};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Server, decide::pause_before};

/// How often a change is tried again when others change the same document.
const ATTEMPTS_MAX: u8 = 32;

/// A document; its default if it was never written.
pub(super) async fn read<T: DeserializeOwned + Default>(
    store: &dyn Store,
    key: &str,
) -> Result<T, StorageError> {
    match store.setting(key).await? {
        Some(text) => parse(key, &text),
        None => Ok(T::default()),
    }
}

/// Changes a document. `change` is called again when another was faster.
pub(super) async fn update<T, R>(
    server: &Server,
    key: &str,
    change: impl FnMut(&mut T) -> R + Send,
) -> Result<R, CommitError>
where
    T: Serialize + DeserializeOwned + Default + Send,
    R: Send,
{
    update_with(server, key, change, |_, _| {}).await
}

/// Changes a document, and in the same batch what `also` adds, given what `change` told. Both are
/// called again when another was faster.
pub(super) async fn update_with<T, R>(
    server: &Server,
    key: &str,
    mut change: impl FnMut(&mut T) -> R + Send,
    mut also: impl FnMut(&R, &mut Batch) + Send,
) -> Result<R, CommitError>
where
    T: Serialize + DeserializeOwned + Default + Send,
    R: Send,
{
    let mut stale = None;
    for attempt in 0..ATTEMPTS_MAX {
        pause_before(attempt).await;
        let mut batch = Batch::new();
        let result = change_in(server, key, &mut batch, &mut change).await?;
        also(&result, &mut batch);
        match server.commit(batch).await {
            Ok(_) => return Ok(result),
            Err(error @ CommitError::Stale(Expect::Setting(..))) => stale = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(stale.expect("the loop ends only after something was stale"))
}

/// Adds the change of a document, and that it must not have changed meanwhile, to a batch.
pub(super) async fn change_in<T, R>(
    server: &Server,
    key: &str,
    batch: &mut Batch,
    change: impl FnOnce(&mut T) -> R + Send,
) -> Result<R, StorageError>
where
    T: Serialize + DeserializeOwned + Default + Send,
    R: Send,
{
    let before = server.store.setting(key).await?;
    let mut document = match &before {
        Some(text) => parse(key, text)?,
        None => T::default(),
    };
    let result = change(&mut document);
    let after = serde_json::to_string(&document)
        .map_err(|error| StorageError::Broken(format!("{key} cannot be written: {error}")))?;
    batch.expect(Expect::Setting(key.to_owned(), before));
    batch.push(Change::Setting {
        key: key.to_owned(),
        value: Some(after),
    });
    Ok(result)
}

fn parse<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, StorageError> {
    serde_json::from_str(text)
        .map_err(|error| StorageError::Broken(format!("the setting {key} is damaged: {error}")))
}
