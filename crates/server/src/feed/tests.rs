//! Who is woken, when, by a commit.

use futures_util::{FutureExt, future::join_all};
use lyceum_storage::memory::MemoryStore;

use super::*;

/// Cells of so many users, who are in no room: what a user without a cell does is told to all.
async fn cells(feed: &Feed, count: usize) -> Vec<Arc<UserCell>> {
    let store = MemoryStore::new();
    let mut cells = Vec::with_capacity(count);
    for number in 0..count {
        let user_id = user(number);
        let cell = feed.user(&store, &user_id, Timestamp(1)).await;
        cells.push(cell.expect("the memory engine answers"));
    }
    cells
}

fn user(number: usize) -> OwnedUserId {
    UserId::parse(format!("@user{number}:example.org")).expect("a user id")
}

fn publish(feed: &Feed, position: u64, touch: Touch) {
    feed.publish(&Published {
        position: Position(position),
        touches: Arc::new(vec![touch]),
        own: None,
    });
}

/// Waits for something while a task that does not end goes on.
async fn beside<T>(task: impl Future<Output = ()>, awaited: impl Future<Output = T>) -> T {
    tokio::select! {
        () = task => unreachable!("it does not end"),
        done = awaited => done,
    }
}

#[tokio::test]
async fn a_crowd_hears_later_who_is_there_and_finds_it_at_once() {
    let feed = Feed::new(Position(0));
    let cells = cells(&feed, WOKEN_AT_ONCE + 4).await;
    let mut woken: Vec<_> = cells.iter().map(|cell| Box::pin(cell.notified())).collect();
    for notified in &mut woken {
        notified.as_mut().enable();
    }
    for position in 1..=30 {
        let come = user(1_000 + position);
        publish(&feed, position as u64, Touch::Presence(come));
    }
    for (cell, notified) in cells.iter().zip(&mut woken) {
        assert!(notified.as_mut().now_or_never().is_none());
        let touches = cell.touches(Position(0), Position(30));
        assert_eq!(touches.expect("it is complete").len(), 30);
    }
    assert_eq!(feed.crowd.lock().len(), cells.len());
    beside(feed.wake_crowds(), join_all(woken)).await;
    assert!(feed.crowd.lock().is_empty());
}

#[tokio::test]
async fn a_few_hear_at_once_who_is_there() {
    let feed = Feed::new(Position(0));
    let cells = cells(&feed, WOKEN_AT_ONCE).await;
    let mut woken: Vec<_> = cells.iter().map(|cell| Box::pin(cell.notified())).collect();
    for notified in &mut woken {
        notified.as_mut().enable();
    }
    publish(&feed, 1, Touch::Presence(user(1_000)));
    assert!(
        woken
            .into_iter()
            .all(|woken| woken.now_or_never().is_some())
    );
}

#[tokio::test]
async fn everybody_of_a_crowd_is_woken() {
    let feed = Feed::new(Position(0));
    let cells = cells(&feed, 5 * WOKEN_AT_ONCE).await;
    let mut woken: Vec<_> = cells.iter().map(|cell| Box::pin(cell.notified())).collect();
    for notified in &mut woken {
        notified.as_mut().enable();
    }
    publish(&feed, 1, Touch::DeviceList(user(1_000)));
    beside(feed.wake_the_rest(), join_all(woken)).await;
}
