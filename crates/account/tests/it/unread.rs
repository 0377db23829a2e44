//! Unread counts.

use lyceum_account::{
    push::Actions,
    unread::{Counted, Counter, RECENT_MAX, ReadScope, THREADS_MAX},
};
use lyceum_model::Seq;
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest},
};
use ruma_common::{EventId, OwnedEventId};

fn actions(notify: bool, highlight: bool) -> Actions {
    Actions {
        notify,
        highlight,
        ..Actions::NOTHING
    }
}

fn thread(number: usize) -> OwnedEventId {
    EventId::parse(format!("$thread{number}")).unwrap()
}

/// `all main threads`, each as notifications/highlights.
fn told(counter: &Counter) -> String {
    let one = |counted: Counted| format!("{}/{}", counted.notify, counted.highlight);
    let threads: Vec<String> = counter
        .threads()
        .into_iter()
        .map(|(root, counted)| format!(" {root}={}", one(counted)))
        .collect();
    format!(
        "{} {}{}",
        one(counter.in_all()),
        one(counter.main()),
        threads.concat()
    )
}

#[test]
fn counting_and_reading() {
    let mut counter = Counter::starting_at(Seq(10));
    counter.add(Seq(10), None, &actions(true, true));
    assert_eq!(told(&counter), "0/0 0/0");
    counter.add(Seq(11), None, &actions(true, false));
    counter.add(Seq(12), Some(&thread(1)), &actions(true, true));
    counter.add(Seq(13), None, &actions(false, true));
    counter.add(Seq(14), Some(&thread(2)), &actions(true, false));
    counter.add(Seq(14), Some(&thread(2)), &actions(true, false));
    counter.add(Seq(15), None, &actions(true, true));
    assert_eq!(told(&counter), "4/2 2/1 $thread1=1/1 $thread2=1/0");
    assert_eq!(counter.up_to(), Seq(15));

    let mut redacted = counter.clone();
    redacted.forget(Seq(12));
    redacted.forget(Seq(13));
    assert_eq!(told(&redacted), "3/1 2/1 $thread2=1/0");

    let stored = Counter::from_json(&counter.to_json()).unwrap();
    assert_eq!(stored, counter);

    assert!(counter.read_up_to(&ReadScope::Main, Seq(11)));
    assert_eq!(told(&counter), "3/2 1/1 $thread1=1/1 $thread2=1/0");
    assert!(counter.read_up_to(&ReadScope::Thread(thread(1)), Seq(15)));
    assert_eq!(told(&counter), "2/1 1/1 $thread2=1/0");
    // A receipt behind what was read brings nothing back.
    assert!(!counter.read_up_to(&ReadScope::Unthreaded, Seq(9)));
    assert!(counter.read_up_to(&ReadScope::Unthreaded, Seq(14)));
    assert_eq!(told(&counter), "1/1 1/1");
    assert!(counter.read_up_to(&ReadScope::Unthreaded, Seq(15)));
    assert!(counter.is_empty());
    assert!(!counter.read_up_to(&ReadScope::Unthreaded, Seq(15)));
}

#[test]
fn the_example_of_the_specification() {
    // A and B are roots; C, E, G are in thread A (as its H), D and F in thread B, I in none.
    let events = [
        ("A", None),
        ("B", None),
        ("C", Some(1)),
        ("D", Some(2)),
        ("E", Some(1)),
        ("F", Some(2)),
        ("G", Some(1)),
        ("H", Some(1)),
        ("I", None),
    ];
    let check = |scope: ReadScope, at: i64, unread: &str| {
        let mut counter = Counter::default();
        for (index, (_, root)) in events.iter().enumerate() {
            let root = root.map(thread);
            counter.add(
                Seq(index as i64 + 1),
                root.as_deref(),
                &actions(true, false),
            );
        }
        counter.read_up_to(&scope, Seq(at));
        assert_eq!(told(&counter), unread);
    };
    check(ReadScope::Main, 9, "6/0 0/0 $thread1=4/0 $thread2=2/0");
    check(
        ReadScope::Thread(thread(1)),
        5,
        "7/0 3/0 $thread1=2/0 $thread2=2/0",
    );
    check(
        ReadScope::Unthreaded,
        4,
        "5/0 1/0 $thread1=3/0 $thread2=1/0",
    );
    check(ReadScope::Main, 1, "8/0 2/0 $thread1=4/0 $thread2=2/0");
}

#[test]
fn a_receipt_may_come_first() {
    let mut counter = Counter::default();
    counter.read_up_to(&ReadScope::Thread(thread(1)), Seq(5));
    counter.read_up_to(&ReadScope::Main, Seq(3));
    counter.add(Seq(2), None, &actions(true, false));
    counter.add(Seq(3), Some(&thread(1)), &actions(true, false));
    counter.add(Seq(4), None, &actions(true, false));
    counter.add(Seq(5), Some(&thread(1)), &actions(true, false));
    counter.add(Seq(6), Some(&thread(1)), &actions(true, false));
    assert_eq!(told(&counter), "2/0 1/0 $thread1=1/0");
    assert!(!counter.to_json().contains("\"m\""));
}

#[test]
fn many_are_summed_up() {
    let mut counter = Counter::default();
    let count = RECENT_MAX as i64 + 100;
    for seq in 1..=count {
        counter.add(Seq(seq), None, &actions(true, seq % 2 == 0));
    }
    assert_eq!(
        counter.main(),
        Counted {
            notify: 228,
            highlight: 114
        }
    );
    let mut redacted = counter.clone();
    redacted.forget(Seq(150));
    assert_eq!(redacted.blurred_from(), None);
    redacted.forget(Seq(50));
    assert_eq!(redacted.blurred_from(), Some(Seq(0)));
    assert!(!counter.read_up_to(&ReadScope::Thread(thread(1)), Seq(50)));
    assert_eq!(counter.blurred_from(), None);
    assert!(!counter.read_up_to(&ReadScope::Main, Seq(50)));
    assert_eq!(counter.blurred_from(), Some(Seq(0)));
    counter.keep();
    assert_eq!(counter.blurred_from(), None);
    assert!(counter.read_up_to(&ReadScope::Main, Seq(100)));
    assert_eq!(counter.blurred_from(), None);
    assert_eq!(
        counter.main(),
        Counted {
            notify: 128,
            highlight: 64
        }
    );
    assert!(counter.read_up_to(&ReadScope::Main, Seq(count - 1)));
    assert_eq!(
        counter.main(),
        Counted {
            notify: 1,
            highlight: 1
        }
    );
}

#[test]
fn its_size_is_bounded() {
    let mut counter = Counter::default();
    for number in 0..5_000 {
        let root = thread(number);
        counter.add(Seq(number as i64 + 1), Some(&root), &actions(true, false));
        counter.read_up_to(&ReadScope::Thread(thread(number + 10_000)), Seq(1_000_000));
    }
    assert_eq!(counter.in_all().notify, 5_000);
    assert!(counter.threads().len() <= THREADS_MAX + RECENT_MAX);
    assert!(
        counter.to_json().len() < 50_000,
        "{}",
        counter.to_json().len()
    );
    assert!(counter.read_up_to(&ReadScope::Unthreaded, Seq(5_000)));
    assert!(counter.is_empty());
}

#[test]
fn scopes() {
    assert_eq!(ReadScope::from_receipt(None), Some(ReadScope::Unthreaded));
    assert_eq!(ReadScope::from_receipt(Some("main")), Some(ReadScope::Main));
    assert_eq!(
        ReadScope::from_receipt(Some("$thread1")),
        Some(ReadScope::Thread(thread(1)))
    );
    assert_eq!(ReadScope::from_receipt(Some("other")), None);
    assert_eq!(Counter::from_json("nonsense"), None);
}

#[derive(Debug, Clone)]
enum Step {
    Event {
        thread: Option<usize>,
        notify: bool,
        highlight: bool,
    },
    Read {
        scope: ReadScope,
        at: i64,
    },
    Store,
}

fn step() -> impl Strategy<Value = Step> {
    let thread_number = || proptest::option::of(0..3_usize);
    proptest::prop_oneof![
        4 => (thread_number(), any::<bool>(), any::<bool>())
            .prop_map(|(thread, notify, highlight)| Step::Event { thread, notify, highlight }),
        2 => (0..5_usize, 0..60_i64).prop_map(|(scope, at)| Step::Read {
            scope: match scope {
                0 => ReadScope::Unthreaded,
                1 => ReadScope::Main,
                number => ReadScope::Thread(thread(number - 2)),
            },
            at,
        }),
        1 => proptest::strategy::Just(Step::Store),
    ]
}

proptest! {
    /// While all is known one by one, the counter agrees with a list of all events and receipts.
    #[test]
    fn as_a_list_of_everything(steps in vec(step(), 0..80)) {
        let mut counter = Counter::default();
        let mut events: Vec<(i64, Option<usize>, bool, bool)> = Vec::new();
        let mut receipts: Vec<(ReadScope, i64)> = Vec::new();
        for step in steps {
            match step {
                Step::Event { thread: root, notify, highlight } => {
                    let seq = events.len() as i64 + 1;
                    let root_id = root.map(thread);
                    counter.add(Seq(seq), root_id.as_deref(), &actions(notify, highlight));
                    events.push((seq, root, notify, highlight));
                }
                Step::Read { scope, at } => {
                    let before = counter.in_all();
                    let changed = counter.read_up_to(&scope, Seq(at));
                    prop_assert_eq!(changed, counter.in_all() != before);
                    receipts.push((scope, at));
                }
                Step::Store => counter = Counter::from_json(&counter.to_json()).unwrap(),
            }
            let unread = |wanted: &dyn Fn(Option<usize>) -> bool| {
                let mut counted = Counted::default();
                for (seq, root, notify, highlight) in &events {
                    let is_read = receipts.iter().any(|(scope, at)| at >= seq && match scope {
                        ReadScope::Unthreaded => true,
                        ReadScope::Main => root.is_none(),
                        ReadScope::Thread(id) => root.is_some_and(|root| thread(root) == *id),
                    });
                    if *notify && !is_read && wanted(*root) {
                        counted.notify += 1;
                        counted.highlight += u64::from(*highlight);
                    }
                }
                counted
            };
            prop_assert_eq!(counter.in_all(), unread(&|_| true));
            prop_assert_eq!(counter.main(), unread(&|root| root.is_none()));
            for number in 0..3 {
                let counted = counter.threads().get(&thread(number)).copied().unwrap_or_default();
                prop_assert_eq!(counted, unread(&|root| root == Some(number)));
            }
            prop_assert!(counter.in_all().highlight <= counter.in_all().notify);
        }
    }
}
