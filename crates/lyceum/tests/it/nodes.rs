//! Two nodes that change the same things at the same moment: on one PostgreSQL database, and on one
//! memory engine, where it is quicker and happens more often.

use std::sync::Arc;

use lyceum_account::push::RuleKind;
use lyceum_media_store::{MediaStore, ThumbnailLimits};
use lyceum_model::{BackupSession, MediaId, Membership};
use lyceum_room::{Draft, Preset, Target};
use lyceum_server::{
    Server,
    accounts::{logout, tags},
    administration::{
        external_ids::ExternalId,
        notices::Notice,
        people::{Changer, PersonChange},
    },
    clock::Clock,
    config::Config,
    encryption::backups::{self, Part},
    media::{Description, Fulfilment},
    push_rules,
    rooms::NewRoom,
    sessions::Session,
};
use lyceum_storage::{Store, memory::MemoryStore};
use lyceum_storage_sql::{PostgresOptions, PostgresStore};
use ruma_common::{OwnedUserId, RoomId, UserId};
use serde_json::{Map, Value, json, value::RawValue};
use tempfile::TempDir;

/// How often each node does each thing.
const TIMES: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn on_one_memory_engine() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    race(Arc::clone(&store), store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_one_postgres_database() {
    let Some(url) = new_database().await else {
        return;
    };
    let options = PostgresOptions {
        readers: 3,
        ..PostgresOptions::default()
    };
    let open = || Arc::new(PostgresStore::open(&url, &options).unwrap());
    race(open(), open()).await;
    take_turns(open(), open()).await;
    drop_database(&url).await;
}

/// What one node has just stored, the other one decides on, whatever it knew of the room before.
async fn take_turns(one: Arc<dyn Store>, two: Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let one = node(&folder, "one", one).await;
    let two = node(&folder, "two", two).await;
    let alice = Session::without_token(person(&one, "alice2").await);
    let bob = Session::without_token(person(&one, "bob2").await);
    let wish = NewRoom {
        preset: Some(Preset::PublicChat),
        ..NewRoom::default()
    };
    let room = one.create_room(&alice, wish).await.unwrap();
    let say = async |node: &Arc<Server>, who: &Session| {
        let content = json!({ "msgtype": "m.text", "body": "x" }).to_string();
        let content = RawValue::from_string(content).unwrap();
        let draft = Draft::message("m.room.message", content);
        node.send_message(who, &room, draft, None, None).await
    };
    let call = async |node: &Arc<Server>, topic: &str| {
        let content = json!({ "topic": topic }).to_string();
        let content = RawValue::from_string(content).unwrap();
        let draft = Draft::state("m.room.topic", "", content);
        node.send_state(&alice, &room, draft, None).await.unwrap()
    };
    let standing = async || {
        let rooms = one.store.memberships(&bob.user_id).await.unwrap();
        rooms.first().map(|standing| standing.membership)
    };
    for _ in 0..TIMES {
        say(&one, &alice).await.unwrap();
        two.join_room(&bob.user_id, &room, None, None)
            .await
            .unwrap();
        say(&one, &bob).await.unwrap();
        one.leave_room(&bob.user_id, &room, None).await.unwrap();
        two.join_room(&bob.user_id, &room, None, None)
            .await
            .unwrap();
        assert_eq!(standing().await, Some(Membership::Join));
        let target = Target {
            user_id: bob.user_id.clone(),
            reason: None,
        };
        one.kick(&alice.user_id, &room, target).await.unwrap();
        assert_eq!(standing().await, Some(Membership::Leave));
        let first = call(&one, "x").await;
        call(&two, "y").await;
        assert_ne!(call(&one, "x").await, first);
    }
}

async fn race(one: Arc<dyn Store>, two: Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let one = node(&folder, "one", one).await;
    let two = node(&folder, "two", two).await;
    let alice = person(&one, "alice").await;
    let admin = person(&one, "admin").await;
    backups::create(&one, &alice, &backup_body()).await.unwrap();
    tokio::join!(change(&one, &alice, 1), change(&two, &alice, 2));

    let room = RoomId::parse("!room:nodes.test").unwrap();
    let tagged = tags::tags(&one, &alice, &room).await.unwrap();
    assert_eq!(tagged.len(), 2 * TIMES, "tags");
    let rules = push_rules::load(&two, &alice)
        .await
        .unwrap()
        .content()
        .to_string();
    for number in [1, 2] {
        for time in 0..TIMES {
            let name = format!("\"rule{number}x{time}\"");
            assert!(rules.contains(&name), "{name} is missing in {rules}");
        }
    }
    let backup = backups::version(&one, &alice, Some(1)).await.unwrap();
    assert_eq!(
        (backup.count, backup.etag),
        (TIMES as u64, 3 * TIMES as u64)
    );
    assert_eq!(backup.auth_data, "{}", "an update takes no keys back");
    let user = one.store.user(&alice).await.unwrap().unwrap();
    assert!(user.is_locked && user.is_suspended, "{user:?}");
    assert_ids(&one, &alice).await;

    tokio::join!(act_as(&one, &admin, &alice), end_all(&two, &admin));
    pictures(&one, &two, &Session::without_token(admin.clone())).await;
    // The first two make the account that writes them.
    tokio::join!(notify(&one, &alice), notify(&two, &admin));
    for server in [one, two] {
        server.stop().await;
    }
}

/// Every kind of change, side by side with the other node's.
async fn change(server: &Arc<Server>, alice: &UserId, number: usize) {
    let room = RoomId::parse("!room:nodes.test").unwrap();
    for time in 0..TIMES {
        let name = format!("{number}x{time}");
        tags::put(server, alice, &room, &format!("u.{name}"), Map::new())
            .await
            .unwrap();
        let rule = json!({ "actions": ["notify"], "pattern": "word" });
        let rule_id = format!("rule{name}");
        push_rules::change(server, alice, |rules| {
            rules.put(RuleKind::Content, &rule_id, &rule, None, None)
        })
        .await
        .unwrap();

        let session = session(&room, &name);
        let put = backups::put_sessions(server, alice, 1, Part::All, vec![session]).await;
        put.unwrap();
        if number == 1 {
            let part = Part::Session(&room, &name);
            backups::remove_sessions(server, alice, 1, part)
                .await
                .unwrap();
        }
        backups::update(server, alice, 1, &backup_body())
            .await
            .unwrap();

        let is_set = !time.is_multiple_of(2);
        let set = server.change_user(alice, |user| match number {
            1 => user.is_locked = is_set,
            _ => user.is_suspended = is_set,
        });
        set.await.unwrap();
        let user = server.store.user(alice).await.unwrap().unwrap();
        let own = if number == 1 {
            user.is_locked
        } else {
            user.is_suspended
        };
        assert_eq!(own, is_set, "another change took this one back");

        let ids = vec![
            external_id("own", &name),
            external_id("shared", &time.to_string()),
        ];
        let change = PersonChange {
            external_ids: Some(ids),
            ..PersonChange::default()
        };
        server
            .put_person(alice, change, Changer::Platform)
            .await
            .unwrap();
    }
}

/// Each id names its user, and no id that was given up does.
async fn assert_ids(server: &Server, alice: &UserId) {
    let ids = server.external_ids(alice).await.unwrap();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let mut all = Vec::new();
    for time in 0..TIMES {
        all.push(external_id("shared", &time.to_string()));
        all.extend([1, 2].map(|number| external_id("own", &format!("{number}x{time}"))));
    }
    for id in all {
        let user = server.user_of_external_id(&id).await.unwrap();
        assert_eq!(user.is_some(), ids.contains(&id), "{id:?}");
    }
}

async fn act_as(server: &Server, admin: &UserId, user_id: &UserId) {
    for _ in 0..TIMES {
        server.impersonate(admin, user_id, None).await.unwrap();
    }
}

async fn end_all(server: &Server, admin: &UserId) {
    for _ in 0..TIMES {
        let token = server.impersonate(admin, admin, None).await.unwrap();
        logout::log_out_everywhere(server, &token).await.unwrap();
        let again = logout::log_out_everywhere(server, &token).await;
        assert!(again.is_err(), "the token has ended");
    }
}

/// Pictures whose ids two nodes promise at once cannot be told apart: no room may get another's.
async fn pictures(one: &Arc<Server>, two: &Arc<Server>, moodle: &Session) {
    for _ in 0..TIMES {
        let (first, second) = tokio::join!(promise(one, moodle), promise(two, moodle));
        let (third, fourth) = tokio::join!(upload(one, moodle), upload(two, moodle));
        let uploaded = [third, fourth];
        assert!(!uploaded.contains(&first) && !uploaded.contains(&second));

        let alone = promise(two, moodle).await;
        assert_eq!(upload(one, moodle).await, alone);
    }
}

async fn notify(server: &Server, user_id: &UserId) {
    let content = json!({ "msgtype": "m.text", "body": "Maintenance" });
    let notice = Notice {
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: serde_json::value::to_raw_value(&content).unwrap(),
        transaction_id: None,
    };
    server.send_notice(user_id, notice).await.unwrap();
    let memberships = server.store.memberships(user_id).await.unwrap();
    assert!(
        memberships
            .iter()
            .any(|membership| membership.membership == Membership::Invite)
    );
}

async fn promise(server: &Server, moodle: &Session) -> MediaId {
    let promised = server.promise_upload(moodle, Fulfilment::ByNextUpload);
    promised.await.unwrap().id
}

async fn upload(server: &Server, moodle: &Session) -> MediaId {
    let description = Description::default();
    let incoming = server.begin_upload(moodle, description, Fulfilment::ByNextUpload);
    let mut incoming = incoming.await.unwrap();
    incoming.write(b"picture").await.unwrap();
    server.keep_upload(incoming).await.unwrap()
}

async fn node(folder: &TempDir, name: &str, store: Arc<dyn Store>) -> Arc<Server> {
    let data_dir = folder.path().join(name);
    std::fs::create_dir(&data_dir).unwrap();
    let media = MediaStore::open(&data_dir.join("media"), ThumbnailLimits::default()).unwrap();
    let config = Config {
        server_name: "nodes.test".try_into().unwrap(),
        data_dir,
        ..Config::default()
    };
    let server = Server::start(config, Clock::default(), store, Arc::new(media), Vec::new());
    server.await.unwrap()
}

async fn person(server: &Arc<Server>, name: &str) -> OwnedUserId {
    let user_id = UserId::parse(format!("@{name}:nodes.test")).unwrap();
    let put = server.put_person(&user_id, PersonChange::default(), Changer::Platform);
    put.await.unwrap();
    user_id
}

fn external_id(provider: &str, id: &str) -> ExternalId {
    ExternalId {
        auth_provider: provider.to_owned(),
        external_id: id.to_owned(),
    }
}

fn backup_body() -> Value {
    json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {} })
}

fn session(room_id: &RoomId, name: &str) -> BackupSession {
    BackupSession {
        room_id: room_id.to_owned(),
        session_id: name.to_owned(),
        first_message_index: 0,
        forwarded_count: 0,
        is_verified: false,
        session_data: "{}".to_owned(),
    }
}

async fn new_database() -> Option<String> {
    let server = std::env::var("LYCEUM_TEST_POSTGRES")
        .expect("LYCEUM_TEST_POSTGRES is postgres://user@host:port/database, or \"skip\"");
    if server == "skip" {
        println!("PostgreSQL was not tested: LYCEUM_TEST_POSTGRES is \"skip\"");
        return None;
    }
    let name = format!("lyceum_race_{}", std::process::id());
    run(
        &server,
        &format!("CREATE DATABASE {name} TEMPLATE template0"),
    )
    .await;
    let (address, _) = server.rsplit_once('/').unwrap();
    Some(format!("{address}/{name}"))
}

async fn drop_database(url: &str) {
    let (address, name) = url.rsplit_once('/').unwrap();
    let sql = format!("DROP DATABASE {name} WITH (FORCE)");
    run(&format!("{address}/postgres"), &sql).await;
}

async fn run(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let (done, _) = tokio::join!(async move { client.batch_execute(sql).await }, connection);
    done.unwrap();
}
