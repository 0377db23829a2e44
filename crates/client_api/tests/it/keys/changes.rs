//! `GET /keys/changes` against a model: users join and leave rooms and change keys at random; who
//! must be told is computed from who shared rooms with whom, then and now. Each question is
//! answered from what the server remembers and, when that is dropped, from storage.

use std::collections::BTreeSet;

use lyceum_model::Timestamp;
use serde_json::{Value, json};

use crate::{
    harness::{Client, TestServer},
    signing::device_keys,
};

const USERS: usize = 4;
const ROOMS: usize = 3;
const STEPS: usize = 150;

#[tokio::test]
async fn who_must_be_told_is_told() {
    for seed in 1..=4 {
        check(seed).await;
    }
}

/// How things stood at a position.
#[derive(Clone)]
struct Moment {
    token: String,
    /// Who is in which room.
    members: [BTreeSet<usize>; ROOMS],
    /// How often each user's keys have changed.
    keys: [u8; USERS],
}

impl Moment {
    fn share(&self, one: usize, other: usize) -> bool {
        let mut rooms = self.members.iter();
        rooms.any(|members| members.contains(&one) && members.contains(&other))
    }
}

async fn check(seed: u64) {
    let server = TestServer::start().await;
    let mut chance = Chance(seed);
    let mut users = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        users.push(server.user(name).await);
    }
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let body = json!({ "preset": "public_chat" });
        let room = users[0].post("/v3/createRoom", body).await.ok();
        rooms.push(room["room_id"].as_str().unwrap().to_owned());
    }
    let mut now = Moment {
        token: token(&server),
        members: std::array::from_fn(|_| BTreeSet::from([0])),
        keys: [0; USERS],
    };
    let mut moments = vec![now.clone()];
    for step in 0..STEPS {
        act(&mut chance, &users, &rooms, &mut now).await;
        now.token = token(&server);
        moments.push(now.clone());
        let then = &moments[chance.below(moments.len())];
        let observer = chance.below(USERS);
        if chance.below(2) == 0 {
            // All that is remembered is dropped: storage must know as much.
            server.server.feed.sweep(Timestamp(u64::MAX));
        }
        let path = format!("/v3/keys/changes?from={}&to={}", then.token, now.token);
        let told = users[observer].get(&path).await.ok();
        let changed = indices(&users, &told["changed"]);
        let left = indices(&users, &told["left"]);
        for other in 0..USERS {
            let what = format!("seed {seed}, step {step}: {observer} about {other}: {told}");
            let shared = then.share(observer, other);
            let shares = now.share(observer, other);
            let has_new_keys = then.keys[other] != now.keys[other];
            if other == observer {
                assert!(!has_new_keys || changed.contains(&other), "{what}");
                assert!(!left.contains(&other), "{what}");
                continue;
            }
            if shares && (has_new_keys || !shared) {
                assert!(changed.contains(&other), "{what}");
            }
            if shared && !shares {
                assert!(left.contains(&other), "{what}");
            }
            assert!(shares || !changed.contains(&other), "{what}");
            assert!(!shares || !left.contains(&other), "{what}");
        }
    }
}

/// One random deed.
async fn act(chance: &mut Chance, users: &[Client], rooms: &[String], now: &mut Moment) {
    let user = chance.below(USERS);
    let room = chance.below(ROOMS);
    let client = &users[user];
    match chance.below(3) {
        0 => {
            now.keys[user] += 1;
            let keys = device_keys(&client.user_id, &client.device_id, now.keys[user]);
            let body = json!({ "device_keys": keys });
            client.post("/v3/keys/upload", body).await.ok();
        }
        _ if now.members[room].remove(&user) => {
            let path = format!("/v3/rooms/{}/leave", rooms[room]);
            client.post(&path, json!({})).await.ok();
        }
        _ => {
            now.members[room].insert(user);
            let path = format!("/v3/join/{}", rooms[room]);
            client.post(&path, json!({})).await.ok();
        }
    }
}

fn token(server: &TestServer) -> String {
    format!("s{}", server.server.feed.position().0)
}

fn indices(users: &[Client], ids: &Value) -> BTreeSet<usize> {
    let ids = ids.as_array().unwrap().iter().filter_map(Value::as_str);
    ids.filter_map(|id| users.iter().position(|user| user.user_id == id))
        .collect()
}

/// Numbers that look random and follow from the seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}
