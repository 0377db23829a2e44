//! The memory engine against itself: the suite must agree with its own specification, and must
//! notice an engine that differs.

use super::*;

struct Memory(Mutex<Vec<(Arc<dyn Store>, Arc<MemoryStore>)>>);

impl Memory {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn keep(&self, store: MemoryStore) -> Arc<dyn Store> {
        let memory = Arc::new(store);
        let store: Arc<dyn Store> = memory.clone();
        self.0.lock().push((store.clone(), memory));
        store
    }
}

#[async_trait]
impl EngineFactory for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        self.keep(MemoryStore::new())
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().await.unwrap();
        assert!(store.submit(Batch::new()).await.is_err(), "it is closed");
        self.crash_and_reopen(store).await
    }

    async fn crash_and_reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let memory = self
            .0
            .lock()
            .iter()
            .find(|(known, _)| Arc::ptr_eq(known, &store))
            .unwrap()
            .1
            .reopen();
        self.keep(memory)
    }
}

/// Drives a future that never waits for anything outside.
fn finish(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(
        future.as_mut().poll(&mut context).is_ready(),
        "nothing here waits"
    );
}

#[test]
fn the_cases_hold() {
    finish(run_cases(&Memory::new()));
}

#[test]
fn the_memory_engine_agrees_with_itself() {
    for seed in SEEDS {
        finish(run_seed(&Memory::new(), seed));
    }
}

/// The batches must reach what they are to test.
#[test]
fn batches_are_plausible() {
    let mut chance = Chance::new(7);
    let mut world = World::new();
    let memory = MemoryStore::new();
    let (mut stored, mut stale, mut empty, mut answers) = (0, 0, 0, 0);
    for step in 0..400 {
        let before = world.clone();
        match now(memory.submit(world.batch(&mut chance))) {
            Ok(_) => stored += 1,
            Err(CommitError::Stale(_)) => {
                world = before;
                stale += 1;
            }
            Err(CommitError::Storage(error)) => panic!("step {step}: {error}"),
        }
        if step % 20 == 19 {
            let seed = chance.next();
            finish(async {
                for asked in ask_all(&memory, &world, seed, memory.position().0).await {
                    answers += 1;
                    empty +=
                        usize::from(asked.answer.len() < 12 || asked.answer.contains("None,\n)"));
                }
            });
        }
    }
    println!("{stored} stored, {stale} stale, {empty} of {answers} answers empty");
    assert!(stored > 300 && stale > 20, "{stored} {stale}");
    assert!(
        empty * 2 < answers,
        "{empty} of {answers} answers are empty"
    );
}
