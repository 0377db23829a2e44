//! Syncs beside which the world goes on.

use std::sync::Arc;

use lyceum_model::Position;
use lyceum_sync::{
    classic::{SyncInput, assemble},
    filter::Filter,
};
use ruma_common::user_id;

use super::{SyncDevices, SyncRequest, Syncing};
use crate::{
    sessions::Session,
    test_world::{World, session},
};

/// What was said while the user was out is told to who came back, also when they have left once
/// more by the time that the answer is put together: it is about the moment at which they were in.
#[tokio::test]
async fn who_leaves_again_is_told_the_past_of_when_they_were_in() {
    let world = World::new().await;
    let bob = session(user_id!("@bob:example.org"));
    world.join(&bob).await;
    world.leave(&bob).await;
    world.say("while bob was out").await;
    let since = world.server.feed.position();
    let syncing = world.syncing(&bob, since).await;

    world.join(&bob).await;
    let news = syncing.news();
    world.leave(&bob).await;
    let input = syncing
        .input(news)
        .await
        .expect("the memory engine answers");

    assert_eq!(messages(&input), ["while bob was out"]);
}

impl World {
    /// A sync that has not looked at anything yet.
    async fn syncing(&self, session: &Arc<Session>, since: Position) -> Arc<Syncing> {
        let server = self.server.clone();
        let cell = server
            .feed
            .user(&*server.store, &session.user_id, server.clock.now())
            .await;
        let device_id = session.device_id.clone().expect("all have a device");
        Arc::new(Syncing {
            device: SyncDevices::default().device(&session.user_id, &device_id),
            session: session.clone(),
            device_id,
            request: SyncRequest {
                since: Some(since),
                filter: Arc::new(Filter::default()),
                full_state: false,
                timeout_ms: 0,
                use_state_after: None,
            },
            goes_on: true,
            cell: cell.expect("the memory engine answers"),
            server,
        })
    }
}

/// The bodies of the messages that are told in the rooms that the user is in.
fn messages(input: &SyncInput) -> Vec<String> {
    let answer: serde_json::Value =
        serde_json::from_slice(&assemble(input)).expect("the answer is JSON");
    let rooms = answer["rooms"]["join"].as_object().into_iter().flatten();
    let events = rooms.flat_map(|(_, room)| room["timeline"]["events"].as_array().cloned());
    let bodies = events
        .flatten()
        .map(|event| event["content"]["body"].clone());
    bodies
        .filter_map(|body| Some(body.as_str()?.to_owned()))
        .collect()
}
