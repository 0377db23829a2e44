//! A course as Moodle provisions it: its calls in its order, one after another, each over a
//! connection of its own.
//!
//! Room, avatar; for each participant, all new to the server: account, members, join; then power
//! levels read and written, and the daily look at members and levels.
//!
//! A participant's time is that of its requests, from opening the connection to the last byte of
//! the answer. What the client then makes of a list of thousands is its own affair; it counts in
//! the time of the whole course.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::clock::now;
use crate::connection::{Answer, Call, ask_once};
use crate::sheet::{Better, Sheet};
use crate::world::{Account, World, segment, server_name_of, text_of};

/// The level that Moodle gives to teachers.
const MODERATOR: u64 = 51;
/// What Moodle sends as the body of a GET.
const EMPTY_ARRAY: &[u8] = b"[]";

pub(super) async fn run(world: &mut World, sizes: &[usize], sheet: &mut Sheet) -> Result<()> {
    let admin = world.admin().await?;
    let server = world.server.name.clone();
    if !can_provision(world, &admin).await? {
        sheet.note(&server, "course left out: no admin API that makes users");
        return Ok(());
    }
    for size in sizes {
        let before = world.server.usage();
        let (enrolled, elapsed, asked) = provision(world, &admin, *size).await?;
        let used = world.server.usage().since(before);
        let people = enrolled.max(1) as f64;
        if enrolled < *size {
            sheet.note(
                &server,
                format!("course of {size}: time allowed for {enrolled} only"),
            );
        } else {
            let id = (
                format!("course.{size}.s"),
                format!("course of {size}, whole"),
            );
            sheet.put(&server, id, ("s", Better::Lower), elapsed.as_secs_f64());
        }
        let id = (
            format!("course.{size}.ms"),
            format!("course of {size}, a participant"),
        );
        let each_ms = asked.as_secs_f64() * 1000.0 / people;
        sheet.put(&server, id, ("ms", Better::Lower), each_ms);
        let label = format!("course of {size}, a participant: CPU of the server");
        let id = (format!("course.{size}.cpu"), label);
        sheet.put(&server, id, ("ms", Better::Lower), used.cpu_ms / people);
    }
    Ok(())
}

/// Whether the server has the endpoint by which Moodle makes accounts.
async fn can_provision(world: &World, admin: &Account) -> Result<bool> {
    let user_id = format!(
        "@course-{}-probe:{}",
        world.tag,
        server_name_of(&admin.user_id)?
    );
    let path = format!("/_synapse/admin/v2/users/{}", segment(&user_id));
    let body = json!({ "displayname": "Probe" });
    let answer = Moodle::new(world, admin)
        .call(Method::PUT, &path, &body)
        .await?;
    match answer.status {
        404 | 405 => Ok(false),
        _ => answer.accepted().map(|_| true),
    }
}

/// Makes one course; how many participants there was time for, how long it took, and how much of
/// that were requests.
async fn provision(
    world: &World,
    admin: &Account,
    size: usize,
) -> Result<(usize, Duration, Duration)> {
    let moodle = Moodle::new(world, admin);
    let server_name = server_name_of(&admin.user_id)?;
    let time = world.budget * 12;
    let start = now();
    let body = json!({
        "name": "Course", "visibility": "private", "preset": "private_chat",
        "initial_state": [], "topic": "",
    });
    let room = moodle
        .call(Method::POST, "/_matrix/client/v3/createRoom", &body)
        .await?
        .accepted()?;
    let room_id = text_of(&room, "room_id")?;
    let room = segment(&room_id);
    let avatar = format!("/_matrix/client/v3/rooms/{room}/state/m.room.avatar");
    // Moodle ignores what this answers, for a room without a picture.
    moodle
        .call(Method::PUT, &avatar, &json!({ "url": null }))
        .await?;

    let members = format!("/_matrix/client/v3/rooms/{room}/joined_members");
    let levels = format!("/_matrix/client/r0/rooms/{room}/state/m.room.power_levels");
    let mut participants = Vec::new();
    while participants.len() < size && start.elapsed() < time {
        let localpart = format!("course-{}-{size}-{}", world.tag, participants.len());
        let user_id = format!("@{localpart}:{server_name}");
        let path = format!("/_synapse/admin/v2/users/{}", segment(&user_id));
        let body = json!({
            "displayname": format!("Participant {}", participants.len()),
            "threepids": [{ "medium": "email", "address": format!("{localpart}@example.invalid") }],
            "externalids": [],
        });
        let user = moodle.call(Method::PUT, &path, &body).await?.accepted()?;
        ensure!(
            user["name"] == user_id.as_str(),
            "made somebody else: {user}"
        );
        moodle.get(&members).await?;
        let path = format!("/_synapse/admin/v1/join/{room}");
        let answer = moodle
            .call(Method::POST, &path, &json!({ "user_id": user_id }))
            .await?;
        ensure!(
            answer.accepted()?["room_id"] == room_id.as_str(),
            "joined another room"
        );
        participants.push(user_id);
    }

    let mut content = moodle.get(&levels).await?;
    let teacher = participants.first().context("a course has participants")?;
    content["users"][teacher] = json!(MODERATOR);
    let path = levels.replace("/r0/", "/v3/");
    moodle
        .call(Method::PUT, &path, &content)
        .await?
        .accepted()
        .context("power levels")?;
    let joined = moodle.get(&members).await?;
    let content = moodle.get(&levels).await?;
    let elapsed = start.elapsed();

    let joined = joined["joined"].as_object().context("no joined members")?;
    ensure!(
        joined.len() == participants.len() + 1,
        "{} members in the end",
        joined.len()
    );
    for user_id in &participants {
        ensure!(joined.contains_key(user_id), "{user_id} is not in the room");
    }
    ensure!(
        content["users"][teacher] == MODERATOR,
        "the teacher is no moderator: {content}"
    );
    Ok((participants.len(), elapsed, moodle.asked.get()))
}

struct Moodle<'a> {
    world: &'a World,
    admin: &'a Account,
    /// How long all requests took.
    asked: Cell<Duration>,
}

impl<'a> Moodle<'a> {
    fn new(world: &'a World, admin: &'a Account) -> Self {
        Self {
            world,
            admin,
            asked: Cell::default(),
        }
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, Bytes::from_static(EMPTY_ARRAY))
            .await?
            .accepted()
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        self.ask(method, path, Bytes::from(body.to_string())).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let call = Call {
            method,
            path,
            token: Some(&self.admin.token),
            body,
            content_type: Some("application/json"),
            is_last: true,
        };
        let began = now();
        let answer = ask_once(self.world.server.address, &call).await;
        self.asked.set(self.asked.get() + began.elapsed());
        answer
    }
}
