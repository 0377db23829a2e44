//! `GET /sync`: whoever follows step by step knows what somebody learns who begins anew, whatever
//! happens, and whichever caches are lost meanwhile; and nothing comes twice or out of order when
//! many write at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lyceum_model::Timestamp;
use serde_json::{Value, json};

use crate::{
    chat::{escape, next_batch, short},
    harness::{Client, TestServer},
};

/// How many things happen in one run.
const STEPS: usize = 120;
/// The run of one seed.
const SEEDS: u64 = 4;

#[tokio::test]
async fn following_and_beginning_anew_agree() {
    for seed in 1..=SEEDS {
        World::new(seed).await.run().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_write_at_once_comes_once_and_in_one_order() {
    const WRITERS: usize = 16;
    const READERS: usize = 4;
    const MESSAGES: usize = 20;
    let server = TestServer::start().await;
    let owner = server.user("owner").await;
    let room = owner.create_public().await;
    let mut readers = Vec::new();
    for number in 0..READERS {
        let reader = server.user(&format!("reader{number}")).await;
        reader.join(&room).await;
        let last = reader.sync("").await;
        readers.push((reader, last));
    }
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        let writer = server.user(&format!("writer{number}")).await;
        writer.join(&room).await;
        let room = room.clone();
        writers.spawn(async move {
            let mut sent = Vec::new();
            for number in 0..MESSAGES {
                sent.push(writer.say(&room, &format!("m{number}")).await);
            }
            sent
        });
    }
    let mut following = tokio::task::JoinSet::new();
    for (reader, mut last) in readers {
        let room = room.clone();
        following.spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < WRITERS * MESSAGES {
                let query = format!("since={}&timeout=10000", next_batch(&last));
                last = reader.sync(&query).await;
                let timeline = &last["rooms"]["join"][&room]["timeline"];
                if timeline["limited"] == true {
                    seen.extend(gap(&reader, &room, timeline, seen.last()).await);
                }
                seen.extend(messages_of(&last, &room));
            }
            seen
        });
    }
    let written: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    let followed = tokio::time::timeout(Duration::from_secs(60), following.join_all());
    let followed = followed.await.expect("everybody sees everything");
    let history = owner.messages(&room, "dir=f&limit=1000").await;
    let mut history: Vec<String> = ids(&history["chunk"], "m.room.message");
    for seen in &followed {
        assert_eq!(*seen, history);
    }
    history.sort();
    let mut written = written;
    written.sort();
    assert_eq!(history, written);
}

/// The messages between those seen and a limited timeline.
async fn gap(reader: &Client, room: &str, timeline: &Value, seen: Option<&String>) -> Vec<String> {
    let from = timeline["prev_batch"].as_str().unwrap();
    let page = reader
        .messages(room, &format!("dir=b&limit=1000&from={from}"))
        .await;
    let missed = ids(&page["chunk"], "m.room.message");
    let mut missed: Vec<_> = missed
        .into_iter()
        .take_while(|id| Some(id) != seen)
        .collect();
    missed.reverse();
    missed
}

fn messages_of(answer: &Value, room: &str) -> Vec<String> {
    ids(
        &answer["rooms"]["join"][room]["timeline"]["events"],
        "m.room.message",
    )
}

fn ids(events: &Value, kind: &str) -> Vec<String> {
    let events = events.as_array().map_or(&[][..], Vec::as_slice);
    let wanted = events.iter().filter(|event| event["type"] == kind);
    wanted
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}

/// People, rooms, and what happens by chance.
struct World {
    chance: Chance,
    server: TestServer,
    people: Vec<Person>,
    rooms: Vec<String>,
    story: Vec<String>,
}

struct Person {
    client: Client,
    /// A device that begins anew each time.
    other: Client,
    followers: Vec<Follower>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let server = TestServer::with(|config| config.caches.rooms_bytes_max = 0).await;
        let mut people = Vec::new();
        for name in ["alice", "bob", "carol"] {
            let client = server.user(name).await;
            let mut followers = Vec::new();
            for (limit, uses_state_after) in [(10, false), (2, false), (3, true)] {
                followers.push(Follower::new(limit, uses_state_after));
            }
            people.push(Person {
                client,
                other: server.log_in(name).await,
                followers,
            });
        }
        let story = vec![format!("seed {seed}")];
        Self {
            chance: Chance(seed),
            server,
            people,
            rooms: Vec::new(),
            story,
        }
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            self.step().await;
            for index in 0..self.people.len() {
                for follower in 0..self.people[index].followers.len() {
                    if self.chance.below(4) == 0 {
                        let person = &mut self.people[index];
                        person.followers[follower]
                            .follow(&person.client, &self.story)
                            .await;
                    }
                }
            }
            if self.chance.below(6) == 0 {
                self.compare().await;
            }
        }
        self.compare().await;
    }

    /// All who follow come up to date, and know what a first sync tells.
    async fn compare(&mut self) {
        for person in &mut self.people {
            for follower in &mut person.followers {
                follower.follow(&person.client, &self.story).await;
            }
            let mut anew = Follower::new(100, false);
            anew.follow(&person.other, &self.story).await;
            for follower in &person.followers {
                follower.compare(&anew, &person.client, &self.story);
            }
        }
    }

    async fn step(&mut self) {
        let who = self.chance.below(self.people.len());
        let whom = self.chance.below(self.people.len());
        let (client, other) = (&self.people[who].client, &self.people[whom].client);
        let room = match self.rooms.len() {
            0 => String::new(),
            count => self.rooms[self.chance.below(count)].clone(),
        };
        let choice = self.chance.below(30);
        let number = self.story.len();
        let mut what = String::new();
        let answer = match choice {
            0 | 1 if self.rooms.len() < 4 => {
                let visibility = ["joined", "invited", "shared", "world_readable"];
                let visibility = visibility[self.chance.below(4)];
                let preset = ["public_chat", "private_chat"][self.chance.below(2)];
                what = format!("create {preset} {visibility}");
                let state = json!([{
                    "type": "m.room.history_visibility",
                    "content": { "history_visibility": visibility },
                }]);
                let invite: Vec<_> = match who == whom {
                    true => Vec::new(),
                    false => vec![other.user_id.clone()],
                };
                let body = json!({ "preset": preset, "invite": invite, "initial_state": state });
                let room = client.create(body).await;
                self.rooms.push(room);
                None
            }
            2 => {
                what = "lose the rooms in memory".to_owned();
                // What was used since the last sweep stays.
                self.server.server.rooms.sweep();
                self.server.server.rooms.sweep();
                None
            }
            3 => {
                what = "lose who was told what".to_owned();
                self.server.server.feed.sweep(Timestamp(u64::MAX));
                None
            }
            _ if room.is_empty() => None,
            4..=6 => Some(("join", client.act(&room, "join", json!({})).await)),
            7 => Some(("leave", client.act(&room, "leave", json!({})).await)),
            8 | 9 => Some(("invite", client.act_on(&room, "invite", other).await)),
            10 => Some(("kick", client.act_on(&room, "kick", other).await)),
            11 => Some(("ban", client.act_on(&room, "ban", other).await)),
            12 => Some(("unban", client.act_on(&room, "unban", other).await)),
            13 => Some(("forget", client.act(&room, "forget", json!({})).await)),
            14 | 15 => {
                let path = format!("/v3/rooms/{room}/state/m.room.name");
                let body = json!({ "name": format!("n{number}") });
                Some(("name", client.put(&path, body).await))
            }
            16 => {
                let path = format!("/v3/user/{}/rooms/{room}/account_data/x", client.user_id);
                Some(("data", client.put(&path, json!({ "n": number })).await))
            }
            17 => {
                let path = format!("/v3/user/{}/account_data/y", client.user_id);
                Some((
                    "global data",
                    client.put(&path, json!({ "n": number })).await,
                ))
            }
            18 | 19 => {
                let page = client
                    .get(&format!("/v3/rooms/{room}/messages?dir=b&limit=1"))
                    .await;
                let event = page.body["chunk"][0]["event_id"]
                    .as_str()
                    .unwrap_or("$none");
                let path = format!("/v3/rooms/{room}/receipt/m.read/{event}");
                Some(("read", client.post(&path, json!({})).await))
            }
            20 => {
                let page = client
                    .get(&format!("/v3/rooms/{room}/messages?dir=b&limit=1"))
                    .await;
                let event = page.body["chunk"][0]["event_id"]
                    .as_str()
                    .unwrap_or("$none");
                let path = format!("/v3/rooms/{room}/redact/{event}/t{number}");
                Some(("redact", client.put(&path, json!({})).await))
            }
            _ => {
                let body = json!({ "msgtype": "m.text", "body": format!("{number}") });
                Some((
                    "say",
                    client.send_event(&room, "m.room.message", body).await,
                ))
            }
        };
        if let Some((verb, answer)) = answer {
            what = format!("{verb} {} -> {}", short(&other.user_id), answer.status);
            assert!(
                answer.status < 500,
                "{} {:?}",
                self.story.join("\n"),
                answer
            );
        }
        let who = short(&client.user_id);
        let at = self
            .rooms
            .iter()
            .position(|known| *known == room)
            .unwrap_or(9);
        self.story.push(format!("{number}: {who} in {at}: {what}"));
    }
}

/// What a client knows that follows `/sync`.
struct Follower {
    query: String,
    uses_state_after: bool,
    next_batch: Option<String>,
    joined: BTreeMap<String, KnownRoom>,
    invited: BTreeSet<String>,
    account_data: BTreeMap<String, Value>,
}

#[derive(Default)]
struct KnownRoom {
    /// By type and key, the event id.
    state: BTreeMap<(String, String), String>,
    /// Events that are not state, since the last gap.
    timeline: Vec<String>,
    /// All events since the last gap.
    seen: BTreeSet<String>,
    unread: Value,
    account_data: BTreeMap<String, Value>,
    joined_count: Value,
}

impl Follower {
    fn new(limit: usize, uses_state_after: bool) -> Self {
        let filter = json!({ "room": { "timeline": { "limit": limit } } }).to_string();
        Self {
            query: format!(
                "filter={}&use_state_after={uses_state_after}",
                escape(&filter)
            ),
            uses_state_after,
            next_batch: None,
            joined: BTreeMap::new(),
            invited: BTreeSet::new(),
            account_data: BTreeMap::new(),
        }
    }

    async fn follow(&mut self, client: &Client, story: &[String]) {
        let mut query = self.query.clone();
        if let Some(since) = &self.next_batch {
            query = format!("{query}&since={since}");
        }
        let answer = client.get(&format!("/v3/sync?{query}")).await;
        assert_eq!(answer.status, 200, "{}\n{answer:?}", story.join("\n"));
        let told = answer.body;
        self.next_batch = Some(next_batch(&told).to_owned());
        take_data(&mut self.account_data, &told["account_data"]);
        let none = serde_json::Map::new();
        let section = |name: &str| told["rooms"][name].as_object().unwrap_or(&none);
        for room_id in section("invite").keys() {
            self.joined.remove(room_id);
            self.invited.insert(room_id.clone());
        }
        for room_id in section("leave").keys() {
            self.joined.remove(room_id);
            self.invited.remove(room_id);
        }
        for (room_id, room) in section("join") {
            self.invited.remove(room_id);
            self.joined.entry(room_id.clone()).or_default().take(
                room,
                self.uses_state_after,
                story,
            );
        }
    }

    fn compare(&self, anew: &Self, client: &Client, story: &[String]) {
        let context = || {
            format!(
                "\n{}\n{} with {}",
                story.join("\n"),
                client.user_id,
                self.query
            )
        };
        let rooms = |follower: &Self| follower.joined.keys().cloned().collect::<Vec<_>>();
        assert_eq!(rooms(self), rooms(anew), "{}", context());
        assert_eq!(self.invited, anew.invited, "{}", context());
        assert_eq!(self.account_data, anew.account_data, "{}", context());
        for (room_id, known) in &self.joined {
            let fresh = &anew.joined[room_id];
            assert_eq!(known.state, fresh.state, "{room_id} {}", context());
            let count = known.timeline.len().min(fresh.timeline.len());
            let tail = |timeline: &[String]| timeline[timeline.len() - count..].to_vec();
            assert_eq!(
                tail(&known.timeline),
                tail(&fresh.timeline),
                "{room_id} {}",
                context()
            );
            assert_eq!(known.unread, fresh.unread, "{room_id} {}", context());
            assert_eq!(
                known.account_data,
                fresh.account_data,
                "{room_id} {}",
                context()
            );
            assert_eq!(
                known.joined_count,
                fresh.joined_count,
                "{room_id} {}",
                context()
            );
        }
    }
}

impl KnownRoom {
    fn take(&mut self, room: &Value, uses_state_after: bool, story: &[String]) {
        let timeline = room["timeline"]["events"].as_array().unwrap();
        if room["timeline"]["limited"] == true {
            self.timeline.clear();
            self.seen.clear();
        }
        let part = if uses_state_after {
            "state_after"
        } else {
            "state"
        };
        let mut state = room[part]["events"].as_array().unwrap().clone();
        if !uses_state_after {
            state.extend(
                timeline
                    .iter()
                    .filter(|event| event["state_key"].is_string())
                    .cloned(),
            );
        }
        for event in state {
            let name = |key: &str| event[key].as_str().unwrap().to_owned();
            self.state
                .insert((name("type"), name("state_key")), name("event_id"));
        }
        for event in timeline {
            let id = event["event_id"].as_str().unwrap().to_owned();
            assert!(
                !self.seen.contains(&id),
                "{id} comes twice\n{}",
                story.join("\n")
            );
            self.seen.insert(id.clone());
            // Which state events are in a timeline depends on what the state is at that time.
            if event["state_key"].is_null() {
                self.timeline.push(id);
            }
        }
        self.unread = room["unread_notifications"].clone();
        take_data(&mut self.account_data, &room["account_data"]);
        let count = &room["summary"]["m.joined_member_count"];
        if !count.is_null() {
            self.joined_count = count.clone();
        }
    }
}

fn take_data(known: &mut BTreeMap<String, Value>, told: &Value) {
    for entry in told["events"].as_array().map_or(&[][..], Vec::as_slice) {
        let kind = entry["type"].as_str().unwrap();
        known.insert(kind.to_owned(), entry["content"].clone());
    }
}

/// Numbers from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}
