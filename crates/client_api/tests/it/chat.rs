//! What people do in rooms, as requests; and what they are told, as text.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

use crate::harness::{Answer, Client};

static TRANSACTIONS: AtomicU64 = AtomicU64::new(0);

impl Client {
    /// Makes a room.
    pub(crate) async fn create(&self, body: Value) -> String {
        let made = self.post("/v3/createRoom", body).await.ok();
        made["room_id"].as_str().unwrap().to_owned()
    }

    /// Makes a room that anybody may join.
    pub(crate) async fn create_public(&self) -> String {
        self.create(json!({ "preset": "public_chat" })).await
    }

    /// `POST /rooms/{room}/{what}`.
    pub(crate) async fn act(&self, room: &str, what: &str, body: Value) -> Answer {
        self.post(&format!("/v3/rooms/{room}/{what}"), body).await
    }

    /// The same about a user.
    pub(crate) async fn act_on(&self, room: &str, what: &str, other: &Client) -> Answer {
        self.act(room, what, json!({ "user_id": other.user_id }))
            .await
    }

    pub(crate) async fn join(&self, room: &str) {
        self.act(room, "join", json!({})).await.ok();
    }

    pub(crate) async fn leave(&self, room: &str) {
        self.act(room, "leave", json!({})).await.ok();
    }

    /// Sends an event.
    pub(crate) async fn send_event(&self, room: &str, kind: &str, content: Value) -> Answer {
        let transaction = TRANSACTIONS.fetch_add(1, Ordering::Relaxed);
        let path = format!("/v3/rooms/{room}/send/{kind}/chat{transaction}");
        self.put(&path, content).await
    }

    /// Sends a text message; its event id.
    pub(crate) async fn say(&self, room: &str, text: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": text });
        event_id(self.send_event(room, "m.room.message", content).await)
    }

    /// Sets state; the event id.
    pub(crate) async fn set(&self, room: &str, kind: &str, key: &str, content: Value) -> String {
        let path = format!("/v3/rooms/{room}/state/{kind}/{key}");
        event_id(self.put(&path, content).await)
    }

    /// `GET /sync` with this query.
    pub(crate) async fn sync(&self, query: &str) -> Value {
        self.get(&format!("/v3/sync?{query}")).await.ok()
    }

    /// What is new since an answer.
    pub(crate) async fn sync_since(&self, last: &Value) -> Value {
        self.sync(&format!("since={}", next_batch(last))).await
    }

    /// `GET /rooms/{room}/messages` with this query.
    pub(crate) async fn messages(&self, room: &str, query: &str) -> Value {
        let path = format!("/v3/rooms/{room}/messages?{query}");
        self.get(&path).await.ok()
    }
}

/// The event id of an answer.
#[track_caller]
pub(crate) fn event_id(answer: Answer) -> String {
    answer.ok()["event_id"].as_str().unwrap().to_owned()
}

/// The token with which a client goes on.
pub(crate) fn next_batch(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

/// The text for a query string.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(byte as char);
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
    }
    out
}

/// Events as a line: who said what, what was set. State keys that are users lose their server.
pub(crate) fn line(events: &Value) -> String {
    let events = events.as_array().map_or(&[][..], Vec::as_slice);
    let words: Vec<String> = events.iter().map(word).collect();
    words.join(" ")
}

fn word(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or("?");
    let content = &event["content"];
    let sender = short(event["sender"].as_str().unwrap_or("?"));
    match kind {
        "m.room.message" => match content["body"].as_str() {
            Some(body) => body.to_owned(),
            None => format!("({sender}'s message)"),
        },
        "m.room.member" => {
            let user = short(event["state_key"].as_str().unwrap_or("?"));
            format!("{user}:{}", content["membership"].as_str().unwrap_or("?"))
        }
        "m.room.name" => format!("name={}", content["name"].as_str().unwrap_or("")),
        "m.room.topic" => format!("topic={}", content["topic"].as_str().unwrap_or("")),
        "m.room.redaction" => "redaction".to_owned(),
        "m.typing" => {
            let users = content["user_ids"].as_array().unwrap();
            let users: Vec<_> = users
                .iter()
                .map(|user| short(user.as_str().unwrap()))
                .collect();
            format!("typing[{}]", users.join(","))
        }
        kind => kind.strip_prefix("m.room.").unwrap_or(kind).to_owned(),
    }
}

/// A user id without its server.
pub(crate) fn short(user_id: &str) -> &str {
    user_id.split(':').next().unwrap().trim_start_matches('@')
}

/// What an answer of `/sync` tells of rooms: one line a room and section, with the parts that say
/// anything. Rooms are called as `names` say.
pub(crate) fn rooms(answer: &Value, names: &[(&str, &str)]) -> String {
    let names: BTreeMap<&str, &str> = names.iter().map(|(id, name)| (*id, *name)).collect();
    let mut lines = Vec::new();
    for section in ["join", "invite", "knock", "leave"] {
        let Some(rooms) = answer["rooms"][section].as_object() else {
            continue;
        };
        for (room_id, room) in rooms {
            let name = names.get(room_id.as_str()).copied().unwrap_or(room_id);
            let mut text = format!("{section} {name}");
            for (part, events) in [
                ("invite_state", &room["invite_state"]["events"]),
                ("knock_state", &room["knock_state"]["events"]),
                ("state", &room["state"]["events"]),
                ("state_after", &room["state_after"]["events"]),
                ("timeline", &room["timeline"]["events"]),
                ("ephemeral", &room["ephemeral"]["events"]),
                ("data", &room["account_data"]["events"]),
            ] {
                let line = line(events);
                if !line.is_empty() {
                    write!(text, " | {part}: {line}").unwrap();
                }
            }
            if room["timeline"]["limited"] == true {
                text.push_str(" | limited");
            }
            let unread = &room["unread_notifications"];
            if unread["notification_count"].as_u64().unwrap_or(0) > 0 {
                let counts = [&unread["notification_count"], &unread["highlight_count"]];
                write!(text, " | unread {}/{}", counts[0], counts[1]).unwrap();
            }
            lines.push(text);
        }
    }
    lines.sort();
    lines.join("\n")
}

/// Compares a text with what was expected, indented as it may be.
#[track_caller]
pub(crate) fn check(actual: &str, expected: &str) {
    let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
    let expected = expected.join("\n");
    assert!(
        actual == expected,
        "\nexpected:\n{expected}\ngot:\n{actual}\n"
    );
}
