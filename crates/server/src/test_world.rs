//! A server for tests of its insides.

use std::sync::Arc;

use lyceum_media_store::{MediaStore, ThumbnailLimits};
use lyceum_model::Timestamp;
use lyceum_room::{Draft, Preset};
use lyceum_storage::memory::MemoryStore;
use ruma_common::{OwnedRoomId, UserId, user_id};
use tempfile::TempDir;

use crate::{Server, clock::Clock, config::Config, rooms::NewRoom, sessions::Session};

/// A server with a public room of Alice's.
pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) alice: Arc<Session>,
    pub(crate) room_id: OwnedRoomId,
    _files: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
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

    pub(crate) async fn join(&self, session: &Session) {
        let joined = self
            .server
            .join_room(&session.user_id, &self.room_id, None, None);
        joined.await.expect("the room is public");
    }

    pub(crate) async fn leave(&self, session: &Session) {
        let left = self
            .server
            .leave_room(&session.user_id, &self.room_id, None);
        left.await.expect("members may leave");
    }

    pub(crate) async fn say(&self, body: &str) {
        let content = serde_json::json!({ "msgtype": "m.text", "body": body });
        let content = serde_json::value::to_raw_value(&content).expect("it is JSON");
        let draft = Draft::message("m.room.message", content);
        let sent = self
            .server
            .send_message(&self.alice, &self.room_id, draft, None, None);
        sent.await.expect("the creator may speak");
    }
}

/// Somebody with a device.
pub(crate) fn session(user_id: &UserId) -> Arc<Session> {
    Arc::new(Session {
        device_id: Some("DEVICE".into()),
        ..Session::without_token(user_id.to_owned())
    })
}
