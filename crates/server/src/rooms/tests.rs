//! Rooms in memory against what storage publishes.

use std::sync::Arc;

use futures_util::{FutureExt, future::join};
use lyceum_model::Timestamp;
use lyceum_room::{CreateRoom, Signer};
use lyceum_storage::{Published, Store, memory::MemoryStore};
use parking_lot::Mutex;
use ruma_common::{OwnedEventId, OwnedRoomId, RoomVersionId, server_name, user_id};

use super::{Recent, Rooms};
use crate::test_world::World;

/// Between a commit and its publication everybody reads it in storage already.
#[tokio::test]
async fn what_is_read_before_it_is_told_does_not_come_twice() {
    let (store, told) = listened_store();
    let rooms = Rooms::new(store, usize::MAX);
    let (room_id, events) = found(&rooms).await;
    let early = rooms
        .recent(&room_id)
        .await
        .expect("the memory engine answers");
    assert_eq!(ids(&early), events);
    for published in told.lock().drain(..) {
        rooms.publish(&published);
    }
    let late = rooms
        .recent(&room_id)
        .await
        .expect("the memory engine answers");
    assert_eq!(ids(&late), events);
}

/// A double click, or two moderators.
#[tokio::test]
async fn upgrades_at_the_same_time_make_one_room() {
    let world = World::new().await;
    let upgrade = || {
        let version = RoomVersionId::V11;
        world
            .server
            .upgrade_room(&world.alice, &world.room_id, version, Vec::new())
    };
    let turn = world.server.rooms.upgrades.of(world.room_id.as_str()).await;
    let mut both = Box::pin(join(upgrade(), upgrade()));
    assert!(both.as_mut().now_or_never().is_none(), "they have begun");
    drop(turn);
    let (one, two) = both.await;
    let one = one.expect("creators may upgrade");
    assert_eq!(two.expect("it is upgraded"), one);
    let later = upgrade().await.expect("this is another upgrade");
    assert_ne!(later, one);
}

fn listened_store() -> (Arc<MemoryStore>, Arc<Mutex<Vec<Published>>>) {
    let store = Arc::new(MemoryStore::new());
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    store.listen(Box::new(move |published| listener.lock().push(published)));
    (store, told)
}

async fn found(rooms: &Rooms) -> (OwnedRoomId, Vec<OwnedEventId>) {
    let name = server_name!("example.org").to_owned();
    let signer = Signer::from_seed(name, "1", &[7; 32]).expect("32 bytes are a seed");
    let creator = user_id!("@alice:example.org").to_owned();
    let request = CreateRoom::new(creator, RoomVersionId::V12);
    let decision = lyceum_room::create(request, &signer, Timestamp(1), Default::default());
    let founded = rooms
        .found(decision.expect("anybody may make a room"))
        .await;
    let (decision, _) = founded.expect("the memory engine stores");
    let events = decision.events.iter().map(|event| event.id.clone());
    (decision.room.room_id.clone(), events.collect())
}

fn ids(recent: &Recent) -> Vec<OwnedEventId> {
    let entries = recent.entries.iter();
    entries.map(|entry| entry.event.id.clone()).collect()
}
