//! What the suite's batches speak of, and batches that are plausible in it.
//!
//! Invariants: the world knows only what was stored; states and forks need not obey the rules of
//! rooms, because storage does not know those.

use std::sync::Arc;

use lyceum_model::{
    Alias, Batch, Event, Expect, Media, MediaChange, MediaId, Placement, RoomChange, RoomHead,
    RoomHeads, StateBefore, StateKey, TicketKind, Timestamp, TransactionId, TransactionOutcome,
};
use ruma_common::{
    OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId,
    RoomVersionId,
};
use serde_json::{Value, json};

use super::chance::Chance;

/// The most changes that a batch is made of, rooms apart.
const CHANGES_MAX: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct World {
    /// Milliseconds; goes on by hours.
    pub(super) now: u64,
    /// The newest commit.
    pub(super) newest: u64,
    /// Devices that were sent a message, with the commit.
    pub(super) messages: Vec<(OwnedUserId, OwnedDeviceId, u64)>,
    pub(super) rooms: Vec<WorldRoom>,
    /// For each user the numbers of the backups that are there, and the highest number ever.
    pub(super) backups: Vec<(Vec<u64>, u64)>,
}

#[derive(Debug, Clone)]
pub(super) struct WorldRoom {
    pub(super) room_id: OwnedRoomId,
    version: RoomVersionId,
    is_known: bool,
    pub(super) revision: u64,
    heads: Vec<RoomHead>,
    pub(super) events: Vec<Made>,
}

#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) event: Arc<Event>,
    placement: Placement,
    has_state: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let versions = ["12", "1", "11", "6", "10", "3"];
        let rooms = versions
            .into_iter()
            .enumerate()
            .map(|(number, version)| WorldRoom {
                room_id: parsed(&match version {
                    "12" => "!Bm7zLQnHGXZ0RxDPVvRkuuG_Gc8aQbc0r3rVZ3bm2Yk".to_owned(),
                    _ => format!("!room{number}:one.example"),
                }),
                version: parsed_version(version),
                is_known: false,
                revision: 0,
                heads: Vec::new(),
                events: Vec::new(),
            });
        Self {
            now: 1_700_000_000_000,
            newest: 0,
            messages: Vec::new(),
            rooms: rooms.collect(),
            backups: vec![(Vec::new(), 0); users().len()],
        }
    }

    /// A batch, and what it leaves behind if it is stored.
    pub(super) fn batch(&mut self, chance: &mut Chance) -> Batch {
        self.now += 1 + chance.below(3_600_000) as u64;
        let mut batch = Batch::new();
        if chance.one_in(6) {
            batch.expect(self.any_expect(chance));
        }
        if !chance.one_in(3) {
            let mut numbers: Vec<usize> = (0..self.rooms.len()).collect();
            for _ in 0..1 + chance.below(2) {
                let index = chance.below(numbers.len());
                self.act_in_room(numbers.swap_remove(index), &mut batch, chance);
            }
        }
        for _ in 0..chance.below(CHANGES_MAX + 1) {
            if chance.one_in(5) {
                self.change_something(&mut batch, chance);
            } else {
                self.change_account(&mut batch, chance);
            }
        }
        batch
    }

    fn act_in_room(&mut self, number: usize, batch: &mut Batch, chance: &mut Chance) {
        let now = self.now;
        let room = &mut self.rooms[number];
        if chance.one_in(2) {
            let wrong = u64::from(chance.one_in(12));
            batch.expect(Expect::RoomRevision(
                room.room_id.clone(),
                room.revision + wrong,
            ));
        }
        if !room.is_known {
            batch.push(RoomChange::Create {
                room_id: room.room_id.clone(),
                version: room.version.clone(),
            });
            room.is_known = true;
            match chance.below(3) {
                0 => room.join_remote(batch, now, chance),
                _ => room.create(batch, now, chance),
            }
            return;
        }
        let mut has_appended = false;
        for _ in 0..1 + chance.below(4) {
            match chance.below(10) {
                0 => room.append_again(batch, now, chance),
                1 => room.redact(batch, now, chance),
                _ => has_appended |= room.append_any(batch, now, chance),
            }
        }
        if has_appended || chance.one_in(3) {
            room.set_heads(batch, chance);
        }
    }

    fn change_something(&mut self, batch: &mut Batch, chance: &mut Chance) {
        let at = Timestamp(self.now);
        let users = users();
        let number = chance.below(self.rooms.len());
        let room_id = self.rooms[number].room_id.clone();
        let user_id = chance.pick(&users).clone();
        match chance.below(20) {
            0..=1 => batch.push(RoomChange::Forget { room_id, user_id }),
            2..=3 => batch.push(RoomChange::SetAlias(Alias {
                alias: chance.pick(&aliases()).clone(),
                room_id,
                creator: user_id,
            })),
            4 => batch.push(RoomChange::RemoveAlias(chance.pick(&aliases()).clone())),
            5..=6 => batch.push(RoomChange::Publish {
                room_id,
                is_published: !chance.one_in(3),
            }),
            7..=9 => {
                let typing = chance.some(&users, 2);
                let until = at.plus_ms(chance.below(30_000) as u64);
                let users = typing.into_iter().map(|user_id| (user_id, until)).collect();
                batch.push(RoomChange::Typing { room_id, users })
            }
            10..=12 => {
                let outcome = match self.rooms[number].any_event(chance) {
                    Some(event) if !chance.one_in(3) => TransactionOutcome::Event(event.id.clone()),
                    _ => TransactionOutcome::Done,
                };
                let id = chance.pick(&transactions()).clone();
                batch.push(RoomChange::Transaction { id, outcome, at })
            }
            13 if chance.one_in(3) => {
                let room = &mut self.rooms[number];
                room.is_known = false;
                room.revision = 0;
                room.heads.clear();
                room.events.clear();
                batch.push(RoomChange::Purge { room_id })
            }
            13..=14 => batch.push(lyceum_model::Change::Setting {
                key: chance.pick(&settings()).clone(),
                value: (!chance.one_in(3)).then(|| format!("{{\"at\":{}}}", at.0)),
            }),
            15..=17 => {
                let is_there = chance.one_in(2);
                batch.push(MediaChange::Put(Media {
                    id: chance.pick(&media()).clone(),
                    uploader: (!chance.one_in(4)).then_some(user_id),
                    created: at,
                    sha256: is_there.then_some([chance.below(256) as u8; 32]),
                    size: chance.below(1 << 40) as u64,
                    content_type: chance.one_in(2).then(|| "image/png".to_owned()),
                    file_name: chance.one_in(2).then(|| "Überblick 100%.png".to_owned()),
                    upload_until: (!is_there && !chance.one_in(4))
                        .then(|| at.plus_ms(chance.below(8_000_000) as u64)),
                    last_access: None,
                    quarantined_by: chance.one_in(5).then(|| chance.pick(&users).clone()),
                    is_safe_from_quarantine: chance.one_in(5),
                }))
            }
            18 => batch.push(MediaChange::Remove(chance.pick(&media()).clone())),
            _ => batch.push(MediaChange::Accessed(chance.pick(&media()).clone(), at)),
        };
    }

    fn any_expect(&self, chance: &mut Chance) -> Expect {
        let user_id = chance.pick(&users()).clone();
        match chance.below(17) {
            0 => Expect::UserAbsent(user_id),
            1 => Expect::UserExists(user_id),
            2 => Expect::AliasAbsent(chance.pick(&aliases()).clone()),
            3 => Expect::TransactionAbsent(chance.pick(&transactions()).clone()),
            4 => Expect::TicketExists(*chance.pick(&TICKETS), chance.pick(&secrets()).clone()),
            5 => Expect::OneTimeKeyExists(
                user_id,
                chance.pick(&devices()).clone(),
                chance.pick(&key_ids()).clone(),
            ),
            6 => Expect::DeviceExists(user_id, chance.pick(&devices()).clone()),
            7 => Expect::TokenExists([chance.below(TOKENS) as u8; 32]),
            8 => Expect::ThreepidAbsent("email".to_owned(), chance.pick(&addresses()).clone()),
            9 => Expect::MediaPending(chance.pick(&media()).clone()),
            10 => Expect::MediaAbsent(chance.pick(&media()).clone()),
            11 => {
                let number = chance.below(self.backups.len());
                let newest = self.backups[number].0.iter().max().copied();
                let newest = if chance.one_in(4) { Some(77) } else { newest };
                Expect::NewestBackup(users()[number].clone(), newest)
            }
            12 => Expect::RegistrationTokenUsed(
                chance.pick(&secrets()).clone(),
                chance.below(2) as u64,
            ),
            13 => {
                let room_id = chance.pick(&self.rooms).room_id.clone();
                let room_id = (!chance.one_in(2)).then_some(room_id);
                Expect::AccountData(user_id, room_id, chance.pick(&kinds()).clone(), None)
            }
            14 => Expect::BackupEtag(user_id, 1, chance.below(3) as u64),
            _ => Expect::Setting(chance.pick(&settings()).clone(), None),
        }
    }
}

impl WorldRoom {
    pub(super) fn any_event(&self, chance: &mut Chance) -> Option<Arc<Event>> {
        (!self.events.is_empty()).then(|| chance.pick(&self.events).event.clone())
    }

    /// A room that is made here: its first events follow each other.
    fn create(&mut self, batch: &mut Batch, now: u64, chance: &mut Chance) {
        let creator = chance.pick(&users()).clone();
        let mut state_before = StateBefore::Empty;
        for (kind, key, content) in [
            (
                "m.room.create",
                "",
                json!({"room_version": self.version.as_str()}),
            ),
            (
                "m.room.member",
                creator.as_str(),
                json!({"membership": "join"}),
            ),
            (
                "m.room.power_levels",
                "",
                json!({"users": {creator.as_str(): 100}}),
            ),
            ("m.room.join_rules", "", json!({"join_rule": "public"})),
            ("m.room.name", "", json!({"name": "A room — «Übung» 例 🦀"})),
        ] {
            let event = self.make(kind, Some(key), &creator, content, now, chance);
            let id = event.id.clone();
            self.push(event, Placement::Timeline, state_before, batch);
            state_before = StateBefore::After(id);
        }
        self.set_heads(batch, chance);
    }

    /// A room that another server has: its state comes from outside the timeline.
    fn join_remote(&mut self, batch: &mut Batch, now: u64, chance: &mut Chance) {
        let users = users();
        let creator = chance.pick(&users).clone();
        let mut set = Vec::new();
        let create = self.make("m.room.create", Some(""), &creator, json!({}), now, chance);
        set.push(create.id.clone());
        self.push(create, Placement::Outlier, StateBefore::Unknown, batch);
        for user_id in chance.some(&users, 5) {
            let content = json!({"membership": "join", "displayname": user_id.localpart()});
            let key = Some(user_id.as_str());
            let event = self.make("m.room.member", key, &user_id, content, now, chance);
            set.push(event.id.clone());
            self.push(event, Placement::Outlier, StateBefore::Unknown, batch);
        }
        let state_before = StateBefore::Resolved {
            base: None,
            set,
            removed: Vec::new(),
        };
        let content = json!({"membership": "join"});
        let join = self.make(
            "m.room.member",
            Some(creator.as_str()),
            &creator,
            content,
            now,
            chance,
        );
        self.push(join, Placement::Timeline, state_before, batch);
        self.set_heads(batch, chance);
    }

    /// Adds one event somewhere; whether it belongs to the timeline.
    fn append_any(&mut self, batch: &mut Batch, now: u64, chance: &mut Chance) -> bool {
        let users = users();
        let sender = chance.pick(&users).clone();
        let parent = self
            .any_event(chance)
            .map_or(event_id(chance), |event| event.id.clone());
        let body = format!(
            "message {}: {}",
            chance.below(1000),
            chance.base64(20, true)
        );
        let event = match chance.below(12) {
            0..=4 => {
                let content = json!({"msgtype": "m.text", "body": body});
                self.make("m.room.message", None, &sender, content, now, chance)
            }
            5 => {
                let relation = json!({"rel_type": "m.annotation", "event_id": parent, "key": "👍"});
                let content = json!({"m.relates_to": relation});
                self.make("m.reaction", None, &sender, content, now, chance)
            }
            6 => {
                let kind = *chance.pick(&["m.thread", "m.replace", "m.reference"]);
                let relation = json!({"rel_type": kind, "event_id": parent});
                let content = json!({"body": body, "m.relates_to": relation});
                self.make("m.room.message", None, &sender, content, now, chance)
            }
            7..=9 => {
                let member = chance.pick(&users).clone();
                let membership = *chance.pick(&[
                    "join",
                    "join",
                    "invite",
                    "leave",
                    "ban",
                    "knock",
                    "leave",
                    "unheard of",
                ]);
                let content = json!({"membership": membership, "reason": body});
                self.make(
                    "m.room.member",
                    Some(member.as_str()),
                    &sender,
                    content,
                    now,
                    chance,
                )
            }
            10 => {
                let key = *chance.pick(&["", "a", "B", "@alice:one.example", "ä_%"]);
                self.make(
                    "org.example.note",
                    Some(key),
                    &sender,
                    json!({"n": body}),
                    now,
                    chance,
                )
            }
            _ => self.make(
                "m.room.topic",
                Some(""),
                &sender,
                json!({"topic": body}),
                now,
                chance,
            ),
        };
        let (placement, state_before) = match chance.below(20) {
            0 => (Placement::Outlier, StateBefore::Unknown),
            1 => (Placement::SoftFailed, self.any_state(chance)),
            2 => (Placement::Rejected, StateBefore::Unknown),
            3 => (Placement::Rejected, self.any_state(chance)),
            4..=5 => (Placement::History, self.any_state(chance)),
            6 => (Placement::History, StateBefore::Unknown),
            _ => (Placement::Timeline, self.state_at_heads(chance)),
        };
        let depth = event.depth;
        let id = event.id.clone();
        self.push(event, placement, state_before, batch);
        if placement == Placement::Timeline {
            if chance.one_in(6) {
                self.heads.truncate(2);
            } else {
                self.heads.clear();
            }
            self.heads.push(RoomHead {
                event_id: id,
                depth,
            });
            self.heads.sort_by(|a, b| a.event_id.cmp(&b.event_id));
        }
        placement == Placement::Timeline
    }

    /// A known event comes again, perhaps with another text beside it.
    fn append_again(&mut self, batch: &mut Batch, now: u64, chance: &mut Chance) {
        if self.events.is_empty() {
            return;
        }
        let index = chance.below(self.events.len());
        let placement = *chance.pick(&[
            Placement::Timeline,
            Placement::History,
            Placement::SoftFailed,
            Placement::Outlier,
            Placement::Rejected,
        ]);
        let state_before = self.any_state(chance);
        let made = &mut self.events[index];
        let mut event = made.event.clone();
        if chance.one_in(3) {
            let mut value: Value = serde_json::from_str(&event.json).expect("it was JSON");
            value["unsigned"] = json!({"again": now});
            event = Arc::new(from_value(event.id.clone(), event.room_id.clone(), &value));
        }
        let is_promoted = matches!(made.placement, Placement::Outlier | Placement::Rejected)
            && !matches!(placement, Placement::Outlier | Placement::Rejected);
        if is_promoted {
            made.placement = placement;
            made.has_state = true;
        }
        batch.push(RoomChange::Append {
            event,
            placement,
            state_before,
        });
    }

    fn redact(&mut self, batch: &mut Batch, now: u64, chance: &mut Chance) {
        let Some(event) = self.any_event(chance) else {
            return;
        };
        let sender = chance.pick(&users()).clone();
        let because = if chance.one_in(4) {
            event_id(chance)
        } else {
            let content = json!({"redacts": event.id});
            let redaction = self.make("m.room.redaction", None, &sender, content, now, chance);
            let id = redaction.id.clone();
            let placement = if chance.one_in(3) {
                Placement::SoftFailed
            } else {
                Placement::Timeline
            };
            self.push(redaction, placement, self.any_state(chance), batch);
            id
        };
        let mut value: Value = serde_json::from_str(&event.json).expect("it was JSON");
        let membership = value["content"].get("membership").cloned();
        value["content"] =
            membership.map_or(json!({}), |membership| json!({"membership": membership}));
        if let Value::Object(fields) = &mut value {
            fields.remove("unsigned");
        }
        let redacted = from_value(event.id.clone(), event.room_id.clone(), &value);
        batch.push(RoomChange::Redact {
            redacted: Arc::new(redacted),
            because,
        });
    }

    fn set_heads(&mut self, batch: &mut Batch, chance: &mut Chance) {
        if self.heads.is_empty()
            && let Some(made) = self.events.iter().rev().find(|made| made.has_state)
        {
            let event_id = made.event.id.clone();
            self.heads.push(RoomHead {
                event_id,
                depth: made.event.depth,
            });
        }
        let state = self.state_at_heads(chance);
        self.revision += 1;
        batch.push(RoomChange::Heads {
            room_id: self.room_id.clone(),
            heads: RoomHeads {
                heads: self.heads.clone(),
                state,
            },
        });
    }

    /// After the only head, or resolved over several.
    fn state_at_heads(&self, chance: &mut Chance) -> StateBefore {
        match self.heads.as_slice() {
            [head] if !chance.one_in(8) => StateBefore::After(head.event_id.clone()),
            _ => self.any_state(chance),
        }
    }

    fn any_state(&self, chance: &mut Chance) -> StateBefore {
        let known: Vec<&Made> = self.events.iter().filter(|made| made.has_state).collect();
        let base = (!known.is_empty()).then(|| chance.pick(&known).event.id.clone());
        match base {
            Some(base) if !chance.one_in(3) => return StateBefore::After(base),
            None if chance.one_in(2) => return StateBefore::Empty,
            _ => {}
        }
        let mut set: Vec<OwnedEventId> = Vec::new();
        let mut names: Vec<StateKey> = Vec::new();
        let mut removed = Vec::new();
        for _ in 0..chance.below(5) {
            let Some(event) = self.any_event(chance) else {
                break;
            };
            let Some(name) = event.state_name() else {
                continue;
            };
            if names.contains(&name) {
                continue;
            }
            names.push(name.clone());
            if chance.one_in(4) {
                removed.push(name);
            } else {
                set.push(event.id.clone());
            }
        }
        let base = base.filter(|_| !chance.one_in(6));
        StateBefore::Resolved { base, set, removed }
    }

    fn push(
        &mut self,
        event: Event,
        placement: Placement,
        state_before: StateBefore,
        batch: &mut Batch,
    ) {
        let event = Arc::new(event);
        let has_state = state_before != StateBefore::Unknown;
        self.events.push(Made {
            event: event.clone(),
            placement,
            has_state,
        });
        batch.push(RoomChange::Append {
            event,
            placement,
            state_before,
        });
    }

    fn make(
        &self,
        kind: &str,
        state_key: Option<&str>,
        sender: &OwnedUserId,
        content: Value,
        now: u64,
        chance: &mut Chance,
    ) -> Event {
        let is_old = matches!(self.version.as_str(), "1" | "2");
        let id = if is_old {
            parsed(&format!("${}:two.example", chance.base64(12, true)))
        } else {
            event_id(chance)
        };
        let reference = |id: &OwnedEventId| match is_old {
            true => json!([id, {"sha256": "abc"}]),
            false => json!(id),
        };
        let prev: Vec<Value> = self
            .heads
            .iter()
            .map(|head| reference(&head.event_id))
            .collect();
        let auth: Vec<Value> = self
            .events
            .iter()
            .take(3)
            .map(|made| reference(&made.event.id))
            .collect();
        let depth = self
            .heads
            .iter()
            .map(|head| head.depth)
            .max()
            .unwrap_or_default()
            + 1;
        let hash = chance.base64(43, false);
        let signature = chance.base64(86, false);
        let mut value = json!({
            "auth_events": auth, "depth": depth, "hashes": {"sha256": hash},
            "origin_server_ts": now, "prev_events": prev, "sender": sender,
            "signatures": {sender.server_name().as_str(): {"ed25519:a_1": signature}},
            "type": kind,
        });
        value["content"] = content;
        if kind != "m.room.create" || self.version != RoomVersionId::V12 {
            value["room_id"] = json!(self.room_id);
        }
        if is_old {
            value["event_id"] = json!(id);
        }
        if let Some(key) = state_key {
            value["state_key"] = json!(key);
            value["unsigned"] = json!({"prev_content": {"was": now}});
        }
        if kind == "m.room.redaction" {
            value["redacts"] = value["content"]["redacts"].clone();
        }
        if chance.one_in(10) {
            value["origin"] = json!("two.example");
            value["org.example.unknown"] = json!([1, null, {"a": [true, "\u{1}\"\\"]}]);
        }
        from_value(id, self.room_id.clone(), &value)
    }
}

pub(super) fn from_value(id: OwnedEventId, room_id: OwnedRoomId, value: &Value) -> Event {
    Event::from_pdu(id, Some(room_id), value.to_string().into()).expect("it has all fields")
}

/// Hashes in both alphabets, also such as no bytes have (unused bits set).
pub(super) fn event_id(chance: &mut Chance) -> OwnedEventId {
    let is_url_safe = !chance.one_in(8);
    let start = chance.base64(42, is_url_safe);
    let last = if chance.one_in(8) {
        chance.base64(1, is_url_safe)
    } else {
        (*chance.pick(&["A", "E", "Q", "c", "g", "0", "8"])).to_owned()
    };
    parsed(&format!("${start}{last}"))
}

pub(super) fn parsed<T>(text: &str) -> T
where
    T: for<'a> TryFrom<&'a str>,
{
    T::try_from(text).unwrap_or_else(|_| panic!("{text} is not an id"))
}

pub(super) fn parsed_version(version: &str) -> RoomVersionId {
    RoomVersionId::try_from(version).expect("a known version")
}

// What there may be; small numbers, so that things meet.

/// Kinds of tickets.
pub(super) const TICKETS: [TicketKind; 5] = [
    TicketKind::Login,
    TicketKind::InteractiveAuth,
    TicketKind::OpenId,
    TicketKind::RegistrationNonce,
    TicketKind::Registered,
];
/// How many tokens.
pub(super) const TOKENS: usize = 12;

pub(super) fn users() -> Vec<OwnedUserId> {
    let names = [
        "alice:one.example",
        "Bob:one.example",
        "a_b:one.example",
        "ab:one.example",
    ];
    let others = [
        "alice:two.example",
        "carol:two.example:8448",
        "a%b:one.example",
        "dora:[::1]",
    ];
    names
        .iter()
        .chain(&others)
        .map(|name| parsed(&format!("@{name}")))
        .collect()
}

pub(super) fn devices() -> Vec<OwnedDeviceId> {
    ["PHONE", "laptop", "ÄB c"]
        .map(OwnedDeviceId::from)
        .to_vec()
}

pub(super) fn aliases() -> Vec<OwnedRoomAliasId> {
    [
        "#a:one.example",
        "#B:one.example",
        "#b:one.example",
        "#ä_ö:one.example",
    ]
    .map(parsed)
    .to_vec()
}

pub(super) fn transactions() -> Vec<TransactionId> {
    let mut ids = Vec::new();
    for user_id in &users()[..2] {
        for device_id in [OwnedDeviceId::from("PHONE"), OwnedDeviceId::from("")] {
            for name in ["m1.0", "m1.1", "ö"] {
                ids.push(TransactionId {
                    user_id: user_id.clone(),
                    device_id: device_id.clone(),
                    scope: "send/!room1:one.example/m.room.message".to_owned(),
                    transaction_id: name.to_owned(),
                });
            }
        }
    }
    ids
}

pub(super) fn secrets() -> Vec<String> {
    ["first", "Second", "third_%"].map(str::to_owned).to_vec()
}

pub(super) fn settings() -> Vec<String> {
    ["signing_key", "motd", "Ünter"].map(str::to_owned).to_vec()
}

pub(super) fn addresses() -> Vec<String> {
    ["a@one.example", "b@one.example", "a_b@one.example"]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn kinds() -> Vec<String> {
    ["m.tag", "m.push_rules", "org.example.Ä"]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn threads() -> Vec<Option<String>> {
    vec![None, Some("main".to_owned()), Some("$root".to_owned())]
}

pub(super) fn sessions() -> Vec<String> {
    ["s1", "S2", "s3"].map(str::to_owned).to_vec()
}

pub(super) fn key_ids() -> Vec<String> {
    let ids = [
        "signed_curve25519:AAAAAQ",
        "signed_curve25519:AAAAAg",
        "signed_curve25519:AAAAAB",
    ];
    let others = ["signed_curve25519:B/+", "curve25519:AAAAAQ", "curve25519:C"];
    ids.iter().chain(&others).map(|&id| id.to_owned()).collect()
}

pub(super) fn media() -> Vec<MediaId> {
    let mut ids = Vec::new();
    for server in ["one.example", "two.example:8448"] {
        for name in ["abc", "Abd", "x_y-z"] {
            let server_name: OwnedServerName = parsed(server);
            ids.push(MediaId {
                server_name,
                media_id: name.to_owned(),
            });
        }
    }
    ids
}
