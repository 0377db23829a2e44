//! Numbered documents: reports, and the changes of quarantine. The list of numbers is one document,
//! each entry another.

use lyceum_model::{Batch, Change};
use lyceum_storage::{CommitError, StorageError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::documents;
use crate::Server;

/// A kind of numbered documents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Journal {
    /// What its settings begin with.
    pub(super) key: &'static str,
    /// How many entries are kept; the oldest go first.
    pub(super) entries_max: usize,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// The number of the newest entry there ever was.
    newest: u64,
    /// Those that are kept, oldest first.
    kept: Vec<u64>,
}

impl Journal {
    /// Adds an entry and tells its number.
    pub(super) async fn append(
        self,
        server: &Server,
        entry: &(impl Serialize + Sync),
    ) -> Result<u64, CommitError> {
        let text = serde_json::to_string(entry).map_err(|error| broken(self.key, &error))?;
        let appended = documents::update_with(
            server,
            self.key,
            |index: &mut Index| {
                index.newest += 1;
                index.kept.push(index.newest);
                let surplus = index.kept.len().saturating_sub(self.entries_max);
                (
                    index.newest,
                    index.kept.drain(..surplus).collect::<Vec<_>>(),
                )
            },
            |(number, dropped), batch| {
                batch.push(Change::Setting {
                    key: self.key_of(*number),
                    value: Some(text.clone()),
                });
                for number in dropped {
                    batch.push(Change::Setting {
                        key: self.key_of(*number),
                        value: None,
                    });
                }
            },
        );
        Ok(appended.await?.0)
    }

    /// An entry.
    pub(super) async fn entry<T: DeserializeOwned>(
        self,
        server: &Server,
        number: u64,
    ) -> Result<Option<T>, StorageError> {
        match server.store.setting(&self.key_of(number)).await? {
            Some(text) => Ok(Some(
                serde_json::from_str(&text).map_err(|error| broken(self.key, &error))?,
            )),
            None => Ok(None),
        }
    }

    /// The numbers of all entries, oldest first, and the newest that there ever was.
    pub(super) async fn numbers(self, server: &Server) -> Result<(Vec<u64>, u64), StorageError> {
        let index: Index = documents::read(&*server.store, self.key).await?;
        Ok((index.kept, index.newest))
    }

    /// All entries, oldest first.
    pub(super) async fn entries<T: DeserializeOwned>(
        self,
        server: &Server,
    ) -> Result<Vec<(u64, T)>, StorageError> {
        let mut entries = Vec::new();
        for number in self.numbers(server).await?.0 {
            if let Some(entry) = self.entry(server, number).await? {
                entries.push((number, entry));
            }
        }
        Ok(entries)
    }

    /// Removes an entry; whether it was there.
    pub(super) async fn remove(self, server: &Server, number: u64) -> Result<bool, CommitError> {
        let was_there = documents::update(server, self.key, |index: &mut Index| {
            let before = index.kept.len();
            index.kept.retain(|kept| *kept != number);
            index.kept.len() < before
        })
        .await?;
        if was_there {
            server
                .commit(Batch {
                    expects: Vec::new(),
                    changes: vec![Change::Setting {
                        key: self.key_of(number),
                        value: None,
                    }],
                })
                .await?;
        }
        Ok(was_there)
    }

    fn key_of(self, number: u64) -> String {
        format!("{}.{number}", self.key)
    }
}

fn broken(key: &str, error: &serde_json::Error) -> StorageError {
    StorageError::Broken(format!("an entry of {key} is damaged: {error}"))
}
