//! Syncs beside which the world goes on.

use std::sync::Arc;

use lyceum_media_store::{MediaStore, ThumbnailLimits};
use lyceum_model::{Position, Timestamp};
use lyceum_room::{Draft, Preset};
use lyceum_storage::memory::MemoryStore;
use lyceum_sync::{
    classic::{SyncInput, assemble},
    filter::Filter,
};
use ruma_common::{OwnedRoomId, UserId, user_id};
use tempfile::TempDir;

use super::{SyncDevices, SyncRequest, Syncing};
use crate::{Server, clock::Clock, config::Config, rooms::NewRoom, sessions::Session};

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

/// A server with a public room of Alice's.
struct World {
    server: Arc<Server>,
    alice: Arc<Session>,
    room_id: OwnedRoomId,
    _files: TempDir,
}

impl World {
    async fn new() -> Self {
        let files = TempDir::new().expect("there is a folder for temporary files");
        let config = Config {
            server_name: "example.org".try_into().expect("a name"),
            data_dir: files.path().to_owned(),
            ..Config::default()
        };
        let media = MediaStore::open(&files.path().join("media"), ThumbnailLimits::default());
        let server = Server::start(
            config,
            Clock::fixed(Timestamp(1_800_000_000_000)),
            Arc::new(MemoryStore::new()),
            Arc::new(media.expect("the folder can be written")),
            Vec::new(),
        );
        let server = server.await.expect("the memory engine answers");
        let alice = session(user_id!("@alice:example.org"));
        let wish = NewRoom {
            preset: Some(Preset::PublicChat),
            ..NewRoom::default()
        };
        let room_id = server.create_room(&alice, wish).await;
        Self {
            server,
            alice,
            room_id: room_id.expect("anybody may make a room"),
            _files: files,
        }
    }

    async fn join(&self, session: &Session) {
        let joined = self
            .server
            .join_room(&session.user_id, &self.room_id, None, None);
        joined.await.expect("the room is public");
    }

    async fn leave(&self, session: &Session) {
        let left = self
            .server
            .leave_room(&session.user_id, &self.room_id, None);
        left.await.expect("members may leave");
    }

    async fn say(&self, body: &str) {
        let content = serde_json::json!({ "msgtype": "m.text", "body": body });
        let content = serde_json::value::to_raw_value(&content).expect("it is JSON");
        let draft = Draft::message("m.room.message", content);
        let sent = self
            .server
            .send_message(&self.alice, &self.room_id, draft, None, None);
        sent.await.expect("the creator may speak");
    }

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
            cell: cell.expect("the memory engine answers"),
            server,
        })
    }
}

fn session(user_id: &UserId) -> Arc<Session> {
    Arc::new(Session {
        device_id: Some("DEVICE".into()),
        ..Session::without_token(user_id.to_owned())
    })
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
