//! PostgreSQL against the suite.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use lyceum_storage::{
    Store,
    suite::{self, EngineFactory},
};
use lyceum_storage_sql::PostgresStore;
use tokio::sync::Mutex;

use crate::postgres_server::{drop_database, new_database, two_readers};

/// Keeps the stores and their databases as long as the test runs.
struct Postgres {
    name: &'static str,
    count: AtomicU64,
    known: Mutex<Vec<(Arc<PostgresStore>, String)>>,
}

impl Postgres {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            count: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    async fn keep(&self, url: String) -> Arc<dyn Store> {
        let store = Arc::new(PostgresStore::open(&url, &two_readers()).unwrap());
        self.known.lock().await.push((Arc::clone(&store), url));
        store
    }

    async fn find(&self, store: &Arc<dyn Store>) -> (Arc<PostgresStore>, String) {
        let known = self.known.lock().await;
        let is_it =
            |known: &Arc<PostgresStore>| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(store));
        known
            .iter()
            .find(|(known, _)| is_it(known))
            .unwrap()
            .clone()
    }

    async fn clear(&self) {
        let mut urls: Vec<String> = Vec::new();
        for (store, url) in self.known.lock().await.drain(..) {
            store.close().await.unwrap();
            urls.push(url);
        }
        urls.sort();
        urls.dedup();
        for url in urls {
            drop_database(&url).await;
        }
    }
}

#[async_trait]
impl EngineFactory for Postgres {
    async fn open(&self) -> Arc<dyn Store> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{count}", self.name);
        self.keep(new_database(&name).await.unwrap()).await
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().await.unwrap();
        let (_, url) = self.find(&store).await;
        self.keep(url).await
    }

    async fn crash_and_reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let (known, url) = self.find(&store).await;
        known.abandon();
        self.keep(url).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases() {
    let Some(url) = new_database("probe_cases").await else {
        return;
    };
    drop_database(&url).await;
    let factory = Postgres::new("cases");
    suite::run_cases(&factory).await;
    factory.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeds() {
    let Some(url) = new_database("probe_seeds").await else {
        return;
    };
    drop_database(&url).await;
    let factory = Postgres::new("seeds");
    for seed in 1..=3 {
        suite::run_seed(&factory, seed).await;
    }
    factory.clear().await;
}
