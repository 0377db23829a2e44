//! Events in the form that clients get (Client-Server API, "Room event format"): made once from
//! the stored event, then copied into each answer.
//!
//! Invariant: nothing of an event is parsed again when it is written in client form without a
//! choice of fields; only `unsigned` differs between readers.

use std::{collections::BTreeMap, sync::Arc};

use lyceum_model::{Event, Membership, Timestamp};
use ruma_common::{EventId, OwnedEventId, OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    filter::{EventFields, EventFormat, Filter},
    json_text::{any_key, into_string, key, number_member, raw_member, separate, text_member},
};

/// An event in client form, without what differs between readers.
#[derive(Debug)]
pub struct ClientEvent {
    event_id: OwnedEventId,
    sender: OwnedUserId,
    origin_server_ts: u64,
    replaces_state: Option<OwnedEventId>,
    /// The PDU, for clients that want the federation format.
    pdu: Arc<str>,
    /// Members of the event in client form, in four pieces: `room_id` with a comma after it, what
    /// stands before `unsigned`, `replaces_state`, and `prev_content` with `prev_sender`.
    text: Box<str>,
    room_id_end: usize,
    event_end: usize,
    replaces_end: usize,
}

impl ClientEvent {
    /// The client form of `event`. A redaction names its target both at its top level and in its
    /// content, whatever its room version.
    pub fn new(event: &Event) -> Self {
        let kept = event
            .unsigned
            .as_ref()
            .map(|json| KeptUnsigned::read(json))
            .unwrap_or_default();
        let mut out = Vec::with_capacity(event.content.get().len() + 384);
        text_member(&mut out, "room_id", event.room_id.as_str());
        out.push(b',');
        let room_id_end = out.len();
        out.extend_from_slice(b"\"content\":");
        match &event.redacts {
            Some(target) if &*event.kind == "m.room.redaction" => {
                write_redaction_content(&mut out, event.content.get(), target);
            }
            _ => out.extend_from_slice(event.content.get().as_bytes()),
        }
        text_member(&mut out, "event_id", event.id.as_str());
        number_member(&mut out, "origin_server_ts", event.origin_server_ts);
        if let Some(target) = &event.redacts {
            text_member(&mut out, "redacts", target.as_str());
        }
        text_member(&mut out, "sender", event.sender.as_str());
        if let Some(state_key) = &event.state_key {
            text_member(&mut out, "state_key", state_key);
        }
        text_member(&mut out, "type", &event.kind);
        let event_end = out.len();
        if let Some(replaced) = &kept.replaces_state {
            text_member(&mut out, "replaces_state", replaced.as_str());
        }
        let replaces_end = out.len();
        if let Some(content) = kept.prev_content {
            raw_member(&mut out, "prev_content", content.get());
        }
        if let Some(sender) = kept.prev_sender {
            raw_member(&mut out, "prev_sender", sender.get());
        }
        Self {
            event_id: event.id.clone(),
            sender: event.sender.clone(),
            origin_server_ts: event.origin_server_ts,
            replaces_state: kept.replaces_state,
            pdu: event.json.clone(),
            text: into_string(out).into_boxed_str(),
            room_id_end,
            event_end,
            replaces_end,
        }
    }

    /// Its id.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// Who sent it.
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The state event that it replaced.
    pub fn replaces_state(&self) -> Option<&EventId> {
        self.replaces_state.as_deref()
    }

    /// About how many bytes it occupies in memory, for caches with a limit. The PDU counts with
    /// the event that it shares it with.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + 32
    }

    /// Writes it as somebody sees it of whom nothing is known.
    pub fn write(&self, out: &mut Vec<u8>, form: &EventForm<'_>) {
        self.write_shown(out, form, &Reader::default());
    }

    fn write_shown(&self, out: &mut Vec<u8>, form: &EventForm<'_>, reader: &Reader<'_>) {
        let Some(fields) = form.fields else {
            return self.write_whole(out, form, reader);
        };
        let mut whole = Vec::new();
        self.write_whole(&mut whole, form, reader);
        fields.select(&into_string(whole), out);
    }

    fn write_whole(&self, out: &mut Vec<u8>, form: &EventForm<'_>, reader: &Reader<'_>) {
        // The events inside `unsigned` are chosen from as parts of this one.
        let inner = EventForm {
            fields: None,
            ..*form
        };
        match form.format {
            EventFormat::Client => {
                out.push(b'{');
                let start = if form.with_room_id {
                    0
                } else {
                    self.room_id_end
                };
                out.extend_from_slice(&self.text.as_bytes()[start..self.event_end]);
            }
            EventFormat::Federation => self.write_pdu_members(out),
        }
        key(out, "unsigned");
        self.write_unsigned(out, &inner, reader);
        out.push(b'}');
    }

    fn write_pdu_members(&self, out: &mut Vec<u8>) {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_str(&self.pdu).unwrap_or_default();
        out.push(b'{');
        for (name, value) in members {
            if name != "unsigned" && name != "event_id" {
                any_key(out, &name);
                out.extend_from_slice(value.get().as_bytes());
            }
        }
        text_member(out, "event_id", self.event_id.as_str());
    }

    fn write_unsigned(&self, out: &mut Vec<u8>, form: &EventForm<'_>, reader: &Reader<'_>) {
        out.push(b'{');
        number_member(
            out,
            "age",
            i128::from(form.now.0) - i128::from(self.origin_server_ts),
        );
        if let Some(membership) = reader.membership {
            text_member(out, "membership", membership.as_str());
        }
        if let Some(transaction_id) = reader.transaction_id {
            text_member(out, "transaction_id", transaction_id);
        }
        if let Some(redaction) = reader.redacted_because {
            key(out, "redacted_because");
            redaction.write(out, form);
        }
        // Both pieces begin with a comma: a member stands before them.
        let end = if reader.shows_prev_content {
            self.text.len()
        } else {
            self.replaces_end
        };
        out.extend_from_slice(&self.text.as_bytes()[self.event_end..end]);
        if let Some(relations) = reader.relations.filter(|relations| !relations.is_empty()) {
            key(out, "m.relations");
            relations.write(out, form);
        }
        out.push(b'}');
    }
}

/// In which form events are written.
#[derive(Debug, Clone, Copy)]
pub struct EventForm<'a> {
    /// Whether to name the room; `/sync` does not.
    pub with_room_id: bool,
    /// The time, for `unsigned.age`.
    pub now: Timestamp,
    /// Which fields are wanted; `None`: all.
    pub fields: Option<&'a EventFields>,
    /// The client's or the servers' form.
    pub format: EventFormat,
}

impl<'a> EventForm<'a> {
    /// The whole event in client form, with its room.
    pub fn new(now: Timestamp) -> Self {
        Self {
            with_room_id: true,
            now,
            fields: None,
            format: EventFormat::Client,
        }
    }

    /// As a filter of `/sync` wants events.
    pub fn of_filter(filter: &'a Filter, now: Timestamp) -> Self {
        Self {
            with_room_id: false,
            now,
            fields: filter.event_fields.as_ref(),
            format: filter.event_format,
        }
    }
}

/// An event as one reader sees it.
#[derive(Debug, Clone)]
pub struct ShownEvent {
    /// The event.
    pub event: Arc<ClientEvent>,
    /// The transaction by which it was sent, for the device that sent it.
    pub transaction_id: Option<Box<str>>,
    /// What the reader was to the room at the event (with what the event itself changed).
    pub membership: Option<Membership>,
    /// The redaction that took its content away.
    pub redacted_because: Option<Arc<ClientEvent>>,
    /// Summaries of the events that relate to it.
    pub relations: Option<Arc<BundledRelations>>,
    /// Whether the reader sees the state that it replaced: it was not redacted.
    pub shows_prev_content: bool,
}

impl ShownEvent {
    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>, form: &EventForm<'_>) {
        let reader = Reader {
            transaction_id: self.transaction_id.as_deref(),
            membership: self.membership,
            redacted_because: self.redacted_because.as_deref(),
            relations: self.relations.as_deref(),
            shows_prev_content: self.shows_prev_content,
        };
        self.event.write_shown(out, form, &reader);
    }

    /// Its JSON alone.
    pub fn to_json(&self, form: &EventForm<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes_written());
        self.write(&mut out, form);
        out
    }

    /// About how many bytes it takes when written.
    pub(crate) fn bytes_written(&self) -> usize {
        let redaction = self
            .redacted_because
            .as_ref()
            .map_or(0, |event| event.text.len() + 64);
        self.event.text.len() + 96 + redaction
    }
}

impl From<Arc<ClientEvent>> for ShownEvent {
    fn from(event: Arc<ClientEvent>) -> Self {
        Self {
            event,
            transaction_id: None,
            membership: None,
            redacted_because: None,
            relations: None,
            shows_prev_content: false,
        }
    }
}

/// Summaries of the events that relate to an event (Client-Server API, "Aggregations of child
/// events"). A redacted event has no `replacement`.
#[derive(Debug, Clone, Default)]
pub struct BundledRelations {
    /// The newest valid edit.
    pub replacement: Option<ShownEvent>,
    /// The thread of which it is the root.
    pub thread: Option<ThreadSummary>,
    /// Events that refer to it (`m.reference`), oldest first.
    pub references: Vec<OwnedEventId>,
}

/// A thread in short.
#[derive(Debug, Clone)]
pub struct ThreadSummary {
    /// Its newest event; may have relations itself, but no thread.
    pub latest_event: ShownEvent,
    /// How many events it has, without its root.
    pub count: u64,
    /// Whether the reader sent the root or an event of it.
    pub current_user_participated: bool,
}

impl BundledRelations {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.replacement.is_none() && self.thread.is_none() && self.references.is_empty()
    }

    fn write(&self, out: &mut Vec<u8>, form: &EventForm<'_>) {
        out.push(b'{');
        if !self.references.is_empty() {
            key(out, "m.reference");
            out.extend_from_slice(b"{\"chunk\":[");
            for event_id in &self.references {
                separate(out);
                out.push(b'{');
                text_member(out, "event_id", event_id.as_str());
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
        }
        if let Some(replacement) = &self.replacement {
            key(out, "m.replace");
            replacement.write(out, form);
        }
        if let Some(thread) = &self.thread {
            key(out, "m.thread");
            out.push(b'{');
            number_member(out, "count", thread.count);
            let participated = if thread.current_user_participated {
                "true"
            } else {
                "false"
            };
            raw_member(out, "current_user_participated", participated);
            key(out, "latest_event");
            thread.latest_event.write(out, form);
            out.push(b'}');
        }
        out.push(b'}');
    }
}

/// Prunes what another server sent as stripped state to `content`, `sender`, `state_key` and
/// `type` (Client-Server API, "Stripped state"); `None` if one of them is missing.
pub fn strip(event: &RawValue) -> Option<Box<RawValue>> {
    let stripped: WireStripped<'_> = serde_json::from_str(event.get()).ok()?;
    if !stripped.content.get().starts_with('{') {
        return None;
    }
    let mut out = vec![b'{'];
    raw_member(&mut out, "content", stripped.content.get());
    text_member(&mut out, "sender", stripped.sender.as_str());
    text_member(&mut out, "state_key", &stripped.state_key);
    text_member(&mut out, "type", &stripped.kind);
    out.push(b'}');
    RawValue::from_string(into_string(out)).ok()
}

#[derive(Deserialize)]
struct WireStripped<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    sender: OwnedUserId,
    state_key: String,
    #[serde(rename = "type")]
    kind: String,
}

/// What differs between readers.
#[derive(Default)]
struct Reader<'a> {
    transaction_id: Option<&'a str>,
    membership: Option<Membership>,
    redacted_because: Option<&'a ClientEvent>,
    relations: Option<&'a BundledRelations>,
    shows_prev_content: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KeptUnsigned<'a> {
    #[serde(borrow)]
    prev_content: Option<&'a RawValue>,
    #[serde(borrow)]
    prev_sender: Option<&'a RawValue>,
    replaces_state: Option<OwnedEventId>,
}

impl<'a> KeptUnsigned<'a> {
    fn read(json: &'a RawValue) -> Self {
        serde_json::from_str(json.get()).unwrap_or_default()
    }
}

/// A redaction's content with its target in it.
fn write_redaction_content(out: &mut Vec<u8>, content: &str, target: &EventId) {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(content).unwrap_or_default();
    out.push(b'{');
    text_member(out, "redacts", target.as_str());
    for (name, value) in members.iter().filter(|(name, _)| *name != "redacts") {
        any_key(out, name);
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
}
