//! Several nodes on one PostgreSQL database.

use std::{sync::Arc, time::Duration};

use lyceum_model::{Batch, Change, Expect, Position, Seq, Touch};
use lyceum_storage::{CommitError, Published, Store};
use lyceum_storage_sql::PostgresStore;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    messages::{make_room, message, room_id},
    postgres_server::{drop_database, new_database, two_readers},
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    store: PostgresStore,
    told: Arc<Mutex<Vec<Published>>>,
    was_told: Arc<Notify>,
}

impl Node {
    fn open(url: &str) -> Self {
        let store = PostgresStore::open(url, &two_readers()).unwrap();
        let told: Arc<Mutex<Vec<Published>>> = Arc::default();
        let was_told = Arc::new(Notify::new());
        let (listener, notify) = (Arc::clone(&told), Arc::clone(&was_told));
        store.listen(Box::new(move |published| {
            listener.lock().push(published);
            notify.notify_one();
        }));
        Self {
            store,
            told,
            was_told,
        }
    }

    /// Waits until this node knows of a commit.
    async fn reach(&self, position: Position) {
        let wait = async {
            while self
                .told
                .lock()
                .last()
                .is_none_or(|told| told.position < position)
            {
                self.was_told.notified().await;
            }
            // The listener is told a moment before the position is there.
            while self.store.position() < position {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the other node's commits arrive");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_follow_each_other() {
    let Some(url) = new_database("nodes").await else {
        return;
    };
    let (one, two) = (Node::open(&url), Node::open(&url));
    let head = make_room(&one.store, 1).await;
    two.reach(Position(1)).await;
    {
        let told = two.told.lock();
        assert!(told[0].own.is_none());
        assert!(told[0].touches.contains(&Touch::Room(room_id(1))));
    }
    assert_eq!(
        two.store.room(&room_id(1)).await.unwrap().unwrap().heads[0].event_id,
        head
    );

    // Both write at once, in rooms of their own and in one room by turns of its revision.
    let write = async |node: &Node, room: u64| {
        let mut head = make_room(&node.store, room).await;
        for index in 0..100 {
            node.store
                .submit(message(room, room, index, &mut head))
                .await
                .unwrap();
        }
    };
    let contend = async |node: &Node, worker: u64| {
        let mut stale = 0;
        for index in 0..40 {
            loop {
                let record = node.store.room(&room_id(1)).await.unwrap().unwrap();
                let mut head = record.heads[0].event_id.clone();
                let mut batch = message(1, worker, index, &mut head);
                batch.expect(Expect::RoomRevision(room_id(1), record.revision));
                match node.store.submit(batch).await {
                    Ok(_) => break,
                    Err(CommitError::Stale(_)) => stale += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        stale
    };
    let ((), (), stale_one, stale_two) = tokio::join!(
        write(&one, 2),
        write(&two, 3),
        contend(&one, 10),
        contend(&two, 11)
    );
    println!("{stale_one} and {stale_two} decisions were stale");
    let last = Position(1 + 2 * 101 + 2 * 40);
    one.reach(last).await;
    two.reach(last).await;
    for node in [&one, &two] {
        assert_eq!(node.store.position(), last);
        let told: Vec<u64> = node
            .told
            .lock()
            .iter()
            .map(|told| told.position.0)
            .collect();
        assert_eq!(
            told,
            (1..=last.0).collect::<Vec<u64>>(),
            "in order, without gaps"
        );
        for (room, last_seq) in [(1, 82), (2, 102), (3, 102)] {
            let record = node.store.room(&room_id(room)).await.unwrap().unwrap();
            assert_eq!(record.last_seq, Seq(last_seq));
        }
    }
    let own = |node: &Node| {
        node.told
            .lock()
            .iter()
            .filter(|told| told.own.is_some())
            .count()
    };
    assert_eq!(
        own(&one) as u64 + own(&two) as u64,
        last.0,
        "each has one author"
    );

    // A node that comes later begins where the others are.
    let three = Node::open(&url);
    assert_eq!(three.store.position(), last);
    let setting = Change::Setting {
        key: "key".to_owned(),
        value: Some("\0".to_owned()),
    };
    two.store
        .submit(Batch {
            expects: Vec::new(),
            changes: vec![setting],
        })
        .await
        .unwrap();
    three.reach(Position(last.0 + 1)).await;
    one.reach(Position(last.0 + 1)).await;
    assert_eq!(
        three.store.setting("key").await.unwrap().as_deref(),
        Some("\0")
    );
    for node in [one, two, three] {
        node.store.close().await.unwrap();
    }
    drop_database(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_comes_back() {
    let Some(url) = new_database("lost").await else {
        return;
    };
    let (one, two) = (Node::open(&url), Node::open(&url));
    let mut head = make_room(&one.store, 1).await;
    let (address, name) = url.rsplit_once('/').unwrap();
    let (client, connection) =
        tokio_postgres::connect(&format!("{address}/postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    let connection = tokio::task::spawn(connection);
    client
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            &[&name],
        )
        .await
        .unwrap();
    let mut index = 0;
    // The first answers may be errors; nothing is acknowledged that is not stored.
    let wait = async {
        loop {
            let mut next = head.clone();
            match one.store.submit(message(1, 0, index, &mut next)).await {
                Ok(committed) => {
                    head = next;
                    return committed.position;
                }
                Err(CommitError::Storage(_)) => index += 1,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let position = tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it can write again");
    two.reach(position).await;
    assert_eq!(one.store.position(), position);
    for node in [one, two] {
        node.store.close().await.unwrap();
    }
    drop(client);
    connection.await.unwrap().unwrap();
    drop_database(&url).await;
}
