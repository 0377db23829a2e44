//! The answer of `/sync` (Client-Server API, "Syncing"), from plain data to bytes.
//!
//! Invariants: what a filter says about account data, presence, typing notices, receipts and whole
//! rooms is applied here; timelines and state come chosen already ([`crate::room_view`]). Rooms in
//! which nothing happened are left out, and so are empty sections, but for those that Synapse
//! always has and clients came to rely on: inside a room, and the counts of keys.

use std::{
    collections::BTreeMap,
    ops::{Add, AddAssign},
    sync::Arc,
};

use lyceum_model::{AccountDataEntry, Timestamp};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde_json::value::RawValue;

use crate::{
    client_event::{EventForm, ShownEvent},
    filter::Filter,
    json_text::{any_key, displayed, key, number_member, raw_member, separate, text, texts},
    presence::PresenceEvent,
    summary::SummaryChange,
    token::{SyncToken, TimelineToken},
};

/// Clients wait for a count of these keys, also when there are none.
const USUAL_KEY_ALGORITHM: &str = "signed_curve25519";

/// Everything that one sync tells one device.
#[derive(Debug, Clone)]
pub struct SyncInput {
    /// Where the next sync goes on.
    pub next_batch: SyncToken,
    /// The time, for the ages of events.
    pub now: Timestamp,
    /// What the client does not want.
    pub filter: Arc<Filter>,
    /// Whether (and under which name) state is told as of the end of timelines.
    pub use_state_after: Option<StateAfter>,
    /// Rooms in which the user is joined.
    pub joined: Vec<JoinedRoom>,
    /// Rooms to which the user is invited.
    pub invited: Vec<StrippedRoom>,
    /// Rooms on which the user knocks.
    pub knocked: Vec<StrippedRoom>,
    /// Rooms that the user has left or was banned from.
    pub left: Vec<LeftRoom>,
    /// Account data of the whole account.
    pub account_data: Vec<AccountData>,
    /// Presence of others.
    pub presence: Vec<PresenceEvent>,
    /// Messages to the device: JSON of `sender`, `type` and `content`.
    pub to_device: Vec<String>,
    /// Whose device lists changed.
    pub device_lists: DeviceLists,
    /// How many one-time keys of each algorithm the device has left.
    pub one_time_key_counts: BTreeMap<String, u64>,
    /// Algorithms of fallback keys that nobody has used yet.
    pub unused_fallback_key_types: Vec<String>,
}

/// The name under which state is told as of the end of timelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateAfter {
    /// `state_after`.
    Stable,
    /// `org.matrix.msc4222.state_after`.
    Unstable,
}

/// What happened in a room in which the user is joined.
#[derive(Debug, Clone)]
pub struct JoinedRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// New events.
    pub timeline: Timeline,
    /// State before (with `use_state_after`: after) the timeline, as far as the client lacks it.
    pub state: Vec<ShownEvent>,
    /// The `m.typing` event, if who is typing changed.
    pub typing: Option<Arc<str>>,
    /// `m.receipt` events.
    pub receipts: Vec<Arc<str>>,
    /// Account data about the room.
    pub account_data: Vec<AccountData>,
    /// The summary, if it may have changed.
    pub summary: Option<SummaryChange>,
    /// Unread notifications. They alone do not make a room appear.
    pub unread: Unread,
    /// Whether the room appears even if nothing happened: in a first sync, with `full_state`,
    /// and when the user has just joined.
    pub is_shown_always: bool,
}

/// Consecutive events of a room.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// The events, oldest first.
    pub events: Vec<ShownEvent>,
    /// Whether older ones were left out.
    pub limited: bool,
    /// The gap before them.
    pub prev_batch: Option<TimelineToken>,
}

/// What happened in a room until the user left.
#[derive(Debug, Clone)]
pub struct LeftRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The last events that the user sees.
    pub timeline: Timeline,
    /// State before (with `use_state_after`: after) the timeline, as far as the client lacks it.
    pub state: Vec<ShownEvent>,
    /// Account data about the room.
    pub account_data: Vec<AccountData>,
    /// Whether the room appears even if nothing happened: when the user has just left it.
    pub is_shown_always: bool,
}

/// A room to which the user is invited, or on which they knock.
#[derive(Debug, Clone)]
pub struct StrippedRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its stripped state.
    pub state: Vec<Box<RawValue>>,
}

/// A piece of account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountData {
    /// Its type.
    pub kind: String,
    /// Its content, as JSON.
    pub content: String,
}

impl From<AccountDataEntry> for AccountData {
    /// What was deleted is told as empty content.
    fn from(entry: AccountDataEntry) -> Self {
        Self {
            kind: entry.kind,
            content: entry.content.unwrap_or_else(|| "{}".to_owned()),
        }
    }
}

/// Users whose devices the client must ask for anew, and users it need not follow any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceLists {
    /// Whose devices or cross-signing keys changed, or who now shares an encrypted room.
    pub changed: Vec<OwnedUserId>,
    /// Who shares no encrypted room any more.
    pub left: Vec<OwnedUserId>,
}

/// Unread notifications of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread {
    /// Of events that are in no thread.
    pub main: Counts,
    /// By the root of each thread that has any.
    pub threads: BTreeMap<OwnedEventId, Counts>,
}

/// How many unread notifications.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub notifications: u64,
    /// Those with a highlight.
    pub highlights: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            notifications: self.notifications.saturating_add(other.notifications),
            highlights: self.highlights.saturating_add(other.highlights),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl JoinedRoom {
    /// A room in which nothing happened.
    pub fn new(room_id: OwnedRoomId) -> Self {
        Self {
            room_id,
            timeline: Timeline::default(),
            state: Vec::new(),
            typing: None,
            receipts: Vec::new(),
            account_data: Vec::new(),
            summary: None,
            unread: Unread::default(),
            is_shown_always: false,
        }
    }
}

impl LeftRoom {
    /// A room in which nothing happened.
    pub fn new(room_id: OwnedRoomId) -> Self {
        Self {
            room_id,
            timeline: Timeline::default(),
            state: Vec::new(),
            account_data: Vec::new(),
            is_shown_always: false,
        }
    }
}

impl SyncInput {
    /// A sync that tells nothing.
    pub fn new(next_batch: SyncToken, now: Timestamp, filter: Arc<Filter>) -> Self {
        Self {
            next_batch,
            now,
            filter,
            use_state_after: None,
            joined: Vec::new(),
            invited: Vec::new(),
            knocked: Vec::new(),
            left: Vec::new(),
            account_data: Vec::new(),
            presence: Vec::new(),
            to_device: Vec::new(),
            device_lists: DeviceLists::default(),
            one_time_key_counts: BTreeMap::new(),
            unused_fallback_key_types: Vec::new(),
        }
    }

    /// Whether there is anything for which a client that waits should get its answer now.
    pub fn has_news(&self) -> bool {
        let filter = &*self.filter;
        let is_wanted = |room_id: &RoomId| filter.room.allows_room(room_id);
        self.joined
            .iter()
            .any(|room| is_wanted(&room.room_id) && has_joined_news(filter, room))
            || self.invited.iter().any(|room| is_wanted(&room.room_id))
            || self.knocked.iter().any(|room| is_wanted(&room.room_id))
            || self
                .left
                .iter()
                .any(|room| is_wanted(&room.room_id) && has_left_news(filter, room))
            || wanted_account_data(filter, &self.account_data)
                .next()
                .is_some()
            || wanted_presence(filter, &self.presence).next().is_some()
            || !self.to_device.is_empty()
            || !self.device_lists.changed.is_empty()
            || !self.device_lists.left.is_empty()
    }
}

/// The body of the answer.
pub fn assemble(input: &SyncInput) -> Vec<u8> {
    let mut out = Vec::with_capacity(estimate_bytes(input));
    let filter = &*input.filter;
    out.push(b'{');
    key(&mut out, "next_batch");
    displayed(&mut out, &input.next_batch);
    write_account_data(
        &mut out,
        wanted_account_data(filter, &input.account_data),
        Empty::Omit,
    );
    let presence = wanted_presence(filter, &input.presence).map(|event| event.json.as_str());
    write_raw_events(&mut out, "presence", presence, Empty::Omit);
    write_device_lists(&mut out, &input.device_lists);
    write_key_counts(&mut out, input);
    write_rooms(&mut out, input);
    let to_device = input.to_device.iter().map(String::as_str);
    write_raw_events(&mut out, "to_device", to_device, Empty::Omit);
    out.push(b'}');
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Omit,
    Show,
}

fn write_device_lists(out: &mut Vec<u8>, lists: &DeviceLists) {
    if lists.changed.is_empty() && lists.left.is_empty() {
        return;
    }
    key(out, "device_lists");
    out.push(b'{');
    key(out, "changed");
    texts(out, &lists.changed);
    key(out, "left");
    texts(out, &lists.left);
    out.push(b'}');
}

fn write_key_counts(out: &mut Vec<u8>, input: &SyncInput) {
    key(out, "device_one_time_keys_count");
    out.push(b'{');
    if !input.one_time_key_counts.contains_key(USUAL_KEY_ALGORITHM) {
        number_member(out, USUAL_KEY_ALGORITHM, 0);
    }
    for (algorithm, count) in &input.one_time_key_counts {
        any_key(out, algorithm);
        out.extend_from_slice(count.to_string().as_bytes());
    }
    out.push(b'}');
    for name in [
        "device_unused_fallback_key_types",
        "org.matrix.msc2732.device_unused_fallback_key_types",
    ] {
        key(out, name);
        texts(out, &input.unused_fallback_key_types);
    }
}

fn write_rooms(out: &mut Vec<u8>, input: &SyncInput) {
    let filter = &*input.filter;
    let form = EventForm::of_filter(filter, input.now);
    let writer = RoomWriter {
        filter,
        form,
        use_state_after: input.use_state_after,
    };
    let start = out.len();
    key(out, "rooms");
    out.push(b'{');
    let first = out.len();
    let joined = input
        .joined
        .iter()
        .filter(|room| has_joined_news(filter, room));
    writer.section(
        out,
        "join",
        joined,
        |room| &room.room_id,
        RoomWriter::joined,
    );
    let invited = input.invited.iter();
    writer.section(
        out,
        "invite",
        invited,
        |room| &room.room_id,
        |_, out, room| {
            write_stripped(out, "invite_state", room);
        },
    );
    let knocked = input.knocked.iter();
    writer.section(
        out,
        "knock",
        knocked,
        |room| &room.room_id,
        |_, out, room| {
            write_stripped(out, "knock_state", room);
        },
    );
    let left = input.left.iter().filter(|room| has_left_news(filter, room));
    writer.section(out, "leave", left, |room| &room.room_id, RoomWriter::left);
    if out.len() == first {
        out.truncate(start);
    } else {
        out.push(b'}');
    }
}

struct RoomWriter<'a> {
    filter: &'a Filter,
    form: EventForm<'a>,
    use_state_after: Option<StateAfter>,
}

impl RoomWriter<'_> {
    /// A section of rooms by id, unless no room of it is wanted.
    fn section<'r, R: 'r>(
        &self,
        out: &mut Vec<u8>,
        name: &str,
        rooms: impl Iterator<Item = &'r R>,
        room_id: impl Fn(&R) -> &RoomId,
        write: impl Fn(&Self, &mut Vec<u8>, &R),
    ) {
        let mut is_open = false;
        for room in rooms.filter(|room| self.filter.room.allows_room(room_id(room))) {
            if !is_open {
                key(out, name);
                out.push(b'{');
                is_open = true;
            }
            any_key(out, room_id(room).as_str());
            out.push(b'{');
            write(self, out, room);
            out.push(b'}');
        }
        if is_open {
            out.push(b'}');
        }
    }

    fn joined(&self, out: &mut Vec<u8>, room: &JoinedRoom) {
        let account_data = wanted_room_account_data(self.filter, &room.room_id, &room.account_data);
        write_account_data(out, account_data, Empty::Show);
        write_raw_events(
            out,
            "ephemeral",
            wanted_ephemeral(self.filter, room),
            Empty::Show,
        );
        self.state(out, &room.state);
        key(out, "summary");
        write_summary(out, room.summary.as_ref());
        self.timeline(out, &room.timeline);
        self.unread(out, &room.unread);
    }

    fn left(&self, out: &mut Vec<u8>, room: &LeftRoom) {
        let account_data = wanted_room_account_data(self.filter, &room.room_id, &room.account_data);
        write_account_data(out, account_data, Empty::Show);
        self.state(out, &room.state);
        self.timeline(out, &room.timeline);
    }

    fn state(&self, out: &mut Vec<u8>, state: &[ShownEvent]) {
        key(
            out,
            match self.use_state_after {
                None => "state",
                Some(StateAfter::Stable) => "state_after",
                Some(StateAfter::Unstable) => "org.matrix.msc4222.state_after",
            },
        );
        out.push(b'{');
        self.events(out, state);
        out.push(b'}');
    }

    fn timeline(&self, out: &mut Vec<u8>, timeline: &Timeline) {
        key(out, "timeline");
        out.push(b'{');
        self.events(out, &timeline.events);
        raw_member(
            out,
            "limited",
            if timeline.limited { "true" } else { "false" },
        );
        if let Some(token) = &timeline.prev_batch {
            key(out, "prev_batch");
            displayed(out, token);
        }
        out.push(b'}');
    }

    fn events(&self, out: &mut Vec<u8>, events: &[ShownEvent]) {
        key(out, "events");
        out.push(b'[');
        for event in events {
            separate(out);
            event.write(out, &self.form);
        }
        out.push(b']');
    }

    fn unread(&self, out: &mut Vec<u8>, unread: &Unread) {
        let splits_threads = self.filter.room.timeline.unread_thread_notifications;
        let mut counts = unread.main;
        if !splits_threads {
            for thread in unread.threads.values() {
                counts += *thread;
            }
        }
        key(out, "unread_notifications");
        write_counts(out, counts);
        if splits_threads && !unread.threads.is_empty() {
            key(out, "unread_thread_notifications");
            out.push(b'{');
            for (root, counts) in &unread.threads {
                any_key(out, root.as_str());
                write_counts(out, *counts);
            }
            out.push(b'}');
        }
    }
}

fn write_counts(out: &mut Vec<u8>, counts: Counts) {
    out.push(b'{');
    number_member(out, "highlight_count", counts.highlights);
    number_member(out, "notification_count", counts.notifications);
    out.push(b'}');
}

fn write_summary(out: &mut Vec<u8>, summary: Option<&SummaryChange>) {
    out.push(b'{');
    if let Some(summary) = summary {
        if let Some(heroes) = &summary.heroes {
            key(out, "m.heroes");
            texts(out, heroes);
        }
        number_member(out, "m.invited_member_count", summary.invited);
        number_member(out, "m.joined_member_count", summary.joined);
    }
    out.push(b'}');
}

fn write_stripped(out: &mut Vec<u8>, name: &str, room: &StrippedRoom) {
    write_raw_events(
        out,
        name,
        room.state.iter().map(|event| event.get()),
        Empty::Show,
    );
}

fn write_account_data<'a>(
    out: &mut Vec<u8>,
    entries: impl Iterator<Item = &'a AccountData>,
    empty: Empty,
) {
    write_events(out, "account_data", entries, empty, |out, entry| {
        out.push(b'{');
        raw_member(out, "content", &entry.content);
        key(out, "type");
        text(out, &entry.kind);
        out.push(b'}');
    });
}

fn write_raw_events<'a>(
    out: &mut Vec<u8>,
    name: &str,
    events: impl Iterator<Item = &'a str>,
    empty: Empty,
) {
    write_events(out, name, events, empty, |out, event| {
        out.extend_from_slice(event.as_bytes())
    });
}

fn write_events<E>(
    out: &mut Vec<u8>,
    name: &str,
    events: impl Iterator<Item = E>,
    empty: Empty,
    write: impl Fn(&mut Vec<u8>, E),
) {
    let mut events = events.peekable();
    if events.peek().is_none() && empty == Empty::Omit {
        return;
    }
    key(out, name);
    out.extend_from_slice(b"{\"events\":[");
    for event in events {
        separate(out);
        write(out, event);
    }
    out.extend_from_slice(b"]}");
}

fn has_joined_news(filter: &Filter, room: &JoinedRoom) -> bool {
    room.is_shown_always
        || has_events(&room.timeline, &room.state)
        || room.summary.is_some()
        || wanted_ephemeral(filter, room).next().is_some()
        || wanted_room_account_data(filter, &room.room_id, &room.account_data)
            .next()
            .is_some()
}

fn has_left_news(filter: &Filter, room: &LeftRoom) -> bool {
    room.is_shown_always
        || has_events(&room.timeline, &room.state)
        || wanted_room_account_data(filter, &room.room_id, &room.account_data)
            .next()
            .is_some()
}

fn has_events(timeline: &Timeline, state: &[ShownEvent]) -> bool {
    timeline.limited || !timeline.events.is_empty() || !state.is_empty()
}

fn wanted_account_data<'a>(
    filter: &'a Filter,
    entries: &'a [AccountData],
) -> impl Iterator<Item = &'a AccountData> {
    entries
        .iter()
        .filter(|entry| filter.account_data.allows(&entry.kind, None))
        .take(filter.account_data.limit_or_all())
}

fn wanted_room_account_data<'a>(
    filter: &'a Filter,
    room_id: &RoomId,
    entries: &'a [AccountData],
) -> impl Iterator<Item = &'a AccountData> + use<'a> {
    let filter = &filter.room.account_data;
    let limit = if filter.allows_room(room_id) {
        filter.events.limit_or_all()
    } else {
        0
    };
    entries
        .iter()
        .filter(|entry| filter.events.allows(&entry.kind, None))
        .take(limit)
}

fn wanted_presence<'a>(
    filter: &'a Filter,
    events: &'a [PresenceEvent],
) -> impl Iterator<Item = &'a PresenceEvent> {
    events
        .iter()
        .filter(|event| filter.presence.allows("m.presence", Some(&event.sender)))
        .take(filter.presence.limit_or_all())
}

fn wanted_ephemeral<'a>(filter: &'a Filter, room: &'a JoinedRoom) -> impl Iterator<Item = &'a str> {
    let filter = &filter.room.ephemeral;
    let limit = if filter.allows_room(&room.room_id) {
        filter.events.limit_or_all()
    } else {
        0
    };
    let typing = room
        .typing
        .iter()
        .filter(|_| filter.events.allows("m.typing", None));
    let receipts = room
        .receipts
        .iter()
        .filter(|_| filter.events.allows("m.receipt", None));
    typing.chain(receipts).map(|event| &**event).take(limit)
}

/// About as many bytes as the answer will have, so that the buffer need not grow.
fn estimate_bytes(input: &SyncInput) -> usize {
    let of_events =
        |events: &[ShownEvent]| events.iter().map(ShownEvent::bytes_written).sum::<usize>();
    let of_data = |entries: &[AccountData]| {
        entries
            .iter()
            .map(|entry| entry.kind.len() + entry.content.len() + 32)
            .sum::<usize>()
    };
    let joined = input.joined.iter().map(|room| {
        of_events(&room.timeline.events)
            + of_events(&room.state)
            + of_data(&room.account_data)
            + room.typing.as_ref().map_or(0, |event| event.len())
            + room.receipts.iter().map(|event| event.len()).sum::<usize>()
            + room.unread.threads.len() * 96
            + 768
    });
    let left = input.left.iter().map(|room| {
        of_events(&room.timeline.events)
            + of_events(&room.state)
            + of_data(&room.account_data)
            + 384
    });
    let stripped = input.invited.iter().chain(&input.knocked).map(|room| {
        room.state
            .iter()
            .map(|event| event.get().len() + 1)
            .sum::<usize>()
            + 128
    });
    let lists = input.device_lists.changed.len() + input.device_lists.left.len();
    joined.sum::<usize>()
        + left.sum::<usize>()
        + stripped.sum::<usize>()
        + of_data(&input.account_data)
        + input
            .presence
            .iter()
            .map(|event| event.json.len() + 1)
            .sum::<usize>()
        + input
            .to_device
            .iter()
            .map(|event| event.len() + 1)
            .sum::<usize>()
        + lists * 48
        + 512
}
