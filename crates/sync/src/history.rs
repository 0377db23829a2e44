//! The answers that read a room's past and its state: `/messages`, `/context`, `/relations`,
//! `/threads`, `/state`, `/members` and `/joined_members`.

use std::{collections::BTreeSet, sync::Arc};

use lyceum_model::Event;
use ruma_common::UserId;

use crate::{
    client_event::{ClientEvent, EventForm, ShownEvent},
    filter::RoomEventFilter,
    json_text::{any_key, displayed, key, number_member, raw_member, separate, text_member},
    token::{PageToken, TimelineToken},
};

/// The answer of `/messages`.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    /// In which form events are written.
    pub form: EventForm<'a>,
    /// Where the chunk begins.
    pub start: PageToken,
    /// Where to go on; `None`: there is no more.
    pub end: Option<TimelineToken>,
    /// The events, in the direction asked for.
    pub chunk: Vec<ShownEvent>,
    /// The members that show the chunk ([`members_for`]).
    pub state: Vec<ShownEvent>,
}

/// The answer of `/messages`.
pub fn messages(answer: &Messages<'_>) -> Vec<u8> {
    let mut out = buffer(answer.chunk.iter().chain(&answer.state));
    out.push(b'{');
    write_events(&mut out, "chunk", &answer.chunk, &answer.form);
    if let Some(end) = &answer.end {
        key(&mut out, "end");
        displayed(&mut out, end);
    }
    key(&mut out, "start");
    displayed(&mut out, &answer.start);
    if !answer.state.is_empty() {
        write_events(&mut out, "state", &answer.state, &answer.form);
    }
    out.push(b'}');
    out
}

/// The answer of `/context`.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// In which form events are written.
    pub form: EventForm<'a>,
    /// Whence `/messages` goes on backwards.
    pub start: TimelineToken,
    /// Whence it goes on forwards.
    pub end: TimelineToken,
    /// The event itself.
    pub event: ShownEvent,
    /// Events before it, newest first.
    pub events_before: Vec<ShownEvent>,
    /// Events after it, oldest first.
    pub events_after: Vec<ShownEvent>,
    /// The state at the last event.
    pub state: Vec<ShownEvent>,
}

/// The answer of `/context`.
pub fn context(answer: &Context<'_>) -> Vec<u8> {
    let around = answer
        .events_before
        .iter()
        .chain(&answer.events_after)
        .chain(&answer.state);
    let mut out = buffer(around.chain([&answer.event]));
    out.push(b'{');
    key(&mut out, "end");
    displayed(&mut out, &answer.end);
    key(&mut out, "event");
    answer.event.write(&mut out, &answer.form);
    write_events(&mut out, "events_after", &answer.events_after, &answer.form);
    write_events(
        &mut out,
        "events_before",
        &answer.events_before,
        &answer.form,
    );
    key(&mut out, "start");
    displayed(&mut out, &answer.start);
    write_events(&mut out, "state", &answer.state, &answer.form);
    out.push(b'}');
    out
}

/// The answer of `/relations` and `/threads`.
#[derive(Debug, Clone)]
pub struct Relations<'a> {
    /// In which form events are written.
    pub form: EventForm<'a>,
    /// The events, in the direction asked for.
    pub chunk: Vec<ShownEvent>,
    /// Where to go on; `None`: there is no more.
    pub next_batch: Option<String>,
    /// Where the chunk begins, if the client asked to begin somewhere.
    pub prev_batch: Option<String>,
    /// How deep the server went, if it was asked to recurse.
    pub recursion_depth: Option<u64>,
}

/// The answer of `/relations` and `/threads`.
pub fn relations(answer: &Relations<'_>) -> Vec<u8> {
    let mut out = buffer(answer.chunk.iter());
    out.push(b'{');
    write_events(&mut out, "chunk", &answer.chunk, &answer.form);
    if let Some(token) = &answer.next_batch {
        text_member(&mut out, "next_batch", token);
    }
    if let Some(token) = &answer.prev_batch {
        text_member(&mut out, "prev_batch", token);
    }
    if let Some(depth) = answer.recursion_depth {
        number_member(&mut out, "recursion_depth", depth);
    }
    out.push(b'}');
    out
}

/// The answer of `/state`: an array of events.
pub fn event_list<'e>(
    events: impl IntoIterator<Item = &'e ShownEvent>,
    form: &EventForm<'_>,
) -> Vec<u8> {
    let mut out = vec![b'['];
    for event in events {
        separate(&mut out);
        event.write(&mut out, form);
    }
    out.push(b']');
    out
}

/// The answer of `/members`: an object with the events as its `chunk`.
pub fn event_chunk<'e>(
    events: impl IntoIterator<Item = &'e ClientEvent>,
    form: &EventForm<'_>,
) -> Vec<u8> {
    let mut out = b"{\"chunk\":[".to_vec();
    for event in events {
        separate(&mut out);
        event.write(&mut out, form);
    }
    out.extend_from_slice(b"]}");
    out
}

/// The answer of `/joined_members`: user, display name, avatar. What a member lacks is `null`:
/// Synapse always has both keys, and clients read them unasked.
pub fn joined_members<'m>(
    members: impl IntoIterator<Item = (&'m UserId, Option<&'m str>, Option<&'m str>)>,
) -> Vec<u8> {
    let mut out = b"{\"joined\":{".to_vec();
    for (user_id, display_name, avatar_url) in members {
        any_key(&mut out, user_id.as_str());
        out.push(b'{');
        for (name, value) in [("avatar_url", avatar_url), ("display_name", display_name)] {
            match value {
                Some(value) => text_member(&mut out, name, value),
                None => raw_member(&mut out, name, "null"),
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
    out
}

/// The member events that show a chunk of history to a client with lazy loading: one for each
/// sender. `member`: a user's member event at the chunk. Nothing without lazy loading.
pub fn members_for(
    chunk: &[Arc<Event>],
    filter: &RoomEventFilter,
    member: &dyn Fn(&UserId) -> Option<Arc<Event>>,
) -> Vec<Arc<Event>> {
    if !filter.lazy_load_members {
        return Vec::new();
    }
    let senders: BTreeSet<&UserId> = chunk.iter().map(|event| &*event.sender).collect();
    senders.into_iter().filter_map(member).collect()
}

fn buffer<'e>(events: impl Iterator<Item = &'e ShownEvent>) -> Vec<u8> {
    Vec::with_capacity(events.map(ShownEvent::bytes_written).sum::<usize>() + 256)
}

fn write_events(out: &mut Vec<u8>, name: &str, events: &[ShownEvent], form: &EventForm<'_>) {
    key(out, name);
    out.push(b'[');
    for event in events {
        separate(out);
        event.write(out, form);
    }
    out.push(b']');
}
