//! The memory engine against itself: the suite must agree with its own specification, and must
//! notice an engine that differs.

use lyceum_model::{AccountChange, Change, Placement};

use super::*;

type Bug = fn(&mut Batch);
/// One store under both its names.
type Known = (Arc<dyn Store>, Arc<MemoryStore>);

#[derive(Default)]
struct Memory {
    stores: Mutex<Vec<Known>>,
    bug: Option<Bug>,
}

impl Memory {
    fn new() -> Self {
        Self::default()
    }

    fn keep(&self, store: MemoryStore) -> Arc<dyn Store> {
        let memory = Arc::new(store);
        let store: Arc<dyn Store> = memory.clone();
        self.stores.lock().push((store.clone(), memory));
        store
    }
}

#[async_trait]
impl EngineFactory for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        let mut store = MemoryStore::new();
        store.bug = self.bug;
        self.keep(store)
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store.close().await.unwrap();
        assert!(store.submit(Batch::new()).await.is_err(), "it is closed");
        self.crash_and_reopen(store).await
    }

    async fn crash_and_reopen(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let known = self
            .stores
            .lock()
            .iter()
            .find(|(of, _)| Arc::ptr_eq(of, &store))
            .cloned();
        self.keep(known.unwrap().1.reopen())
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

/// With how many seeds a planted bug is looked for: some show rarely.
const PLANTED_SEEDS_MAX: u64 = 12;

/// Changes a batch in one of the ways in which an engine might misunderstand it; the suite must
/// notice each.
#[test]
fn planted_bugs_are_found() {
    let bugs: [(&str, Bug); 16] = [
        ("outliers are never promoted", |batch| {
            each_room_change(batch, |change| match change {
                RoomChange::Append {
                    event, placement, ..
                } if *placement != Placement::Outlier && event.json.contains("\"again\"") => {
                    *placement = Placement::Outlier;
                }
                _ => {}
            });
        }),
        ("what a resolution removes stays", |batch| {
            each_state(batch, |state| {
                if let StateBefore::Resolved { removed, .. } = state {
                    removed.clear();
                }
            });
        }),
        ("a resolution starts from nothing", |batch| {
            each_state(batch, |state| {
                if let StateBefore::Resolved { base, .. } = state {
                    *base = None;
                }
            });
        }),
        ("the last event of a resolution is lost", |batch| {
            each_state(batch, |state| {
                if let StateBefore::Resolved { set, .. } = state {
                    set.pop();
                }
            });
        }),
        ("soft-failed events are shown", |batch| {
            each_room_change(batch, |change| {
                if let RoomChange::Append { placement, .. } = change
                    && *placement == Placement::SoftFailed
                {
                    *placement = Placement::Timeline;
                }
            });
        }),
        ("rejected events count as state", |batch| {
            each_room_change(batch, |change| {
                if let RoomChange::Append { placement, .. } = change
                    && *placement == Placement::Rejected
                {
                    *placement = Placement::SoftFailed;
                }
            });
        }),
        ("redactions are forgotten", |batch| {
            drop_changes(batch, |of| {
                matches!(of, Change::Room(RoomChange::Redact { .. }))
            });
        }),
        ("forgetting is forgotten", |batch| {
            drop_changes(batch, |of| {
                matches!(of, Change::Room(RoomChange::Forget { .. }))
            });
        }),
        ("heads are shared by all", |batch| {
            each_room_change(batch, |change| {
                if let RoomChange::Heads { heads, .. } = change {
                    heads.heads.truncate(1);
                }
            });
        }),
        ("two rooms in a batch", |batch| {
            let mut rooms = 0;
            drop_changes(batch, |of| {
                rooms += usize::from(matches!(of, Change::Room(RoomChange::Publish { .. })));
                rooms > 1
            });
        }),
        ("nothing expires", |batch| {
            drop_changes(batch, |of| {
                matches!(of, Change::Account(AccountChange::Expire(_)))
            });
        }),
        ("keys are added in another order", |batch| {
            each_account_change(batch, |change| {
                if let AccountChange::AddOneTimeKeys { keys, .. } = change {
                    keys.truncate(1);
                }
            });
        }),
        ("messages are received one commit late", |batch| {
            each_account_change(batch, |change| {
                if let AccountChange::ToDeviceReceived { to, .. } = change {
                    to.0 = to.0.saturating_sub(1);
                }
            });
        }),
        ("threads share a receipt", |batch| {
            each_account_change(batch, |change| {
                if let AccountChange::PutReceipt(receipt) = change {
                    receipt.thread = None;
                }
            });
        }),
        ("deleted account data is kept as null", |batch| {
            each_account_change(batch, |change| {
                if let AccountChange::AccountData { content, .. } = change {
                    content.get_or_insert_with(|| "null".to_owned());
                }
            });
        }),
        ("a stale batch is stored", |batch| batch.expects.clear()),
    ];
    for (name, bug) in bugs {
        let found = (1..=PLANTED_SEEDS_MAX).any(|seed| {
            let factory = Memory {
                bug: Some(bug),
                ..Memory::default()
            };
            let run = std::panic::AssertUnwindSafe(|| finish(run_seed(&factory, seed)));
            std::panic::catch_unwind(run).is_err()
        });
        assert!(found, "nobody noticed that {name}");
    }
}

fn each_room_change(batch: &mut Batch, bug: impl Fn(&mut RoomChange)) {
    for change in &mut batch.changes {
        if let Change::Room(change) = change {
            bug(change);
        }
    }
}

fn each_account_change(batch: &mut Batch, bug: impl Fn(&mut AccountChange)) {
    for change in &mut batch.changes {
        if let Change::Account(change) = change {
            bug(change);
        }
    }
}

fn each_state(batch: &mut Batch, bug: impl Fn(&mut StateBefore)) {
    each_room_change(batch, |change| match change {
        RoomChange::Append { state_before, .. } => bug(state_before),
        RoomChange::Heads { heads, .. } => bug(&mut heads.state),
        _ => {}
    });
}

fn drop_changes(batch: &mut Batch, mut is_lost: impl FnMut(&Change) -> bool) {
    batch.changes.retain(|change| !is_lost(change));
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
