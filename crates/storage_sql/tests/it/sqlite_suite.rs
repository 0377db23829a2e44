//! SQLite against the suite.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use lyceum_storage::{
    Store,
    suite::{self, EngineFactory},
};
use lyceum_storage_sql::{SqliteOptions, SqliteStore};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Keeps the stores and their folders as long as the test runs.
#[derive(Default)]
struct Sqlite {
    known: Mutex<Vec<(Arc<SqliteStore>, PathBuf)>>,
    folders: Mutex<Vec<TempDir>>,
}

impl Sqlite {
    async fn keep(&self, path: PathBuf) -> Arc<dyn Store> {
        let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        self.known.lock().await.push((Arc::clone(&store), path));
        store
    }

    async fn find(&self, store: &Arc<dyn Store>) -> (Arc<SqliteStore>, PathBuf) {
        let known = self.known.lock().await;
        let is_it =
            |known: &Arc<SqliteStore>| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(store));
        known
            .iter()
            .find(|(known, _)| is_it(known))
            .unwrap()
            .clone()
    }
}

#[async_trait]
impl EngineFactory for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lyceum.db");
        self.folders.lock().await.push(folder);
        self.keep(path).await
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().await.unwrap();
        let (_, path) = self.find(&store).await;
        self.keep(path).await
    }

    async fn crash_and_reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let (known, path) = self.find(&store).await;
        known.abandon();
        self.keep(path).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases() {
    suite::run_cases(&Sqlite::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeds() {
    for seed in 1..=3 {
        suite::run_seed(&Sqlite::default(), seed).await;
    }
}
