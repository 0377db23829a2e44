//! Making decisions: events appended one after the other, and what they change in storage.
//!
//! Invariants: a decision rests on the room's revision and raises it by one; every event follows
//! all heads (up to a limit) and names the state events that allow it; the room after the
//! decision equals the room that storage will show.

use std::sync::Arc;

use lyceum_model::{
    Batch, Event, Expect, Placement, RoomChange, RoomHead, RoomHeads, StateBefore, Timestamp,
};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, UserId};
use ruma_events::TimelineEventType;
use ruma_state_res::auth_types_for_event;
use serde_json::value::RawValue;

use crate::{
    authorise::{judge_by_rules, judge_create, judge_ordinary},
    check,
    denied::Denied,
    pdu::{Proposal, canonical_text, quoted, seal},
    room::Room,
    rules::RoomRules,
    signer::Signer,
    state::State,
};

/// Server-Server API, "PDUs": how many events one event may follow.
const PREV_EVENTS_MAX: usize = 20;
/// The greatest depth that canonical JSON can hold.
const DEPTH_MAX: u64 = (1 << 53) - 1;

/// What a client wants to send.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event type.
    pub kind: String,
    /// Present for state.
    pub state_key: Option<String>,
    /// A JSON object.
    pub content: Box<RawValue>,
    /// The target of a redaction; only [`crate::redact`] acts on it.
    pub redacts: Option<OwnedEventId>,
}

impl Draft {
    /// A message.
    pub fn message(kind: impl Into<String>, content: Box<RawValue>) -> Self {
        Self {
            kind: kind.into(),
            state_key: None,
            content,
            redacts: None,
        }
    }

    /// A piece of state.
    pub fn state(kind: impl Into<String>, key: impl Into<String>, content: Box<RawValue>) -> Self {
        Self {
            kind: kind.into(),
            state_key: Some(key.into()),
            content,
            redacts: None,
        }
    }
}

/// What becomes of a request that was granted.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The room afterwards.
    pub room: Room,
    /// The new events, oldest first; none if nothing changed.
    pub events: Vec<Arc<Event>>,
    /// What to commit; empty if nothing changed.
    pub batch: Batch,
    /// The event that already says what was asked for.
    pub unchanged: Option<Arc<Event>>,
}

impl Decision {
    /// The newest event that was made, or the one that already says it.
    pub fn event(&self) -> &Arc<Event> {
        let event = self.events.last().or(self.unchanged.as_ref());
        event.expect("a decision makes an event or names the one that holds")
    }

    /// Whether there is nothing to commit.
    pub fn is_unchanged(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn unchanged(room: &Room, event: &Arc<Event>) -> Self {
        Self {
            room: room.clone(),
            events: Vec::new(),
            batch: Batch::new(),
            unchanged: Some(event.clone()),
        }
    }
}

/// Sends a message or sets state. Joins, invites and other changes of membership have functions
/// of their own, which know more; a redaction goes through [`crate::redact`] only.
///
/// Setting state to what it is, by the same sender, changes nothing.
pub fn send(
    room: &Room,
    sender: &UserId,
    draft: Draft,
    signer: &Signer,
    now: Timestamp,
) -> Result<Decision, Denied> {
    if draft.kind == "m.room.redaction" {
        return Err(Denied::InvalidParam(
            "redactions have an endpoint of their own".to_owned(),
        ));
    }
    let mut content = check::object(&draft.content)?;
    if draft.kind == "m.room.member" {
        // Only this server's own judgement may vouch for a join.
        content.remove("join_authorised_via_users_server");
    }
    let mut composer = Composer::new(room, signer, now);
    composer.set(
        sender,
        Piece {
            kind: draft.kind,
            state_key: draft.state_key,
            content,
        },
    )?;
    Ok(composer.finish())
}

/// A checked draft.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) kind: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: CanonicalJsonObject,
}

impl Piece {
    pub(crate) fn state(kind: &str, key: &str, content: CanonicalJsonObject) -> Self {
        Self {
            kind: kind.to_owned(),
            state_key: Some(key.to_owned()),
            content,
        }
    }
}

/// A place in a room's past at which something is said only now.
#[derive(Debug, Clone)]
pub struct Past {
    prev_events: Vec<OwnedEventId>,
    depth: u64,
    state: State,
}

impl Past {
    /// Right after an event; `state`: the room's after it.
    pub fn after(event: &Event, state: State) -> Self {
        Self {
            prev_events: vec![event.id.clone()],
            depth: event.depth + 1,
            state,
        }
    }

    /// Right before an event; `state`: the room's before it.
    pub fn before(event: &Event, state: State) -> Self {
        Self {
            prev_events: event.prev_events.clone(),
            depth: event.depth,
            state,
        }
    }
}

/// Appends events to a room and collects what that changes.
#[derive(Debug)]
pub(crate) struct Composer<'a> {
    pub(crate) room: Room,
    signer: &'a Signer,
    now: Timestamp,
    events: Vec<Arc<Event>>,
    batch: Batch,
    unchanged: Option<Arc<Event>>,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(room: &Room, signer: &'a Signer, now: Timestamp) -> Self {
        let mut batch = Batch::new();
        batch.expect(Expect::RoomRevision(room.room_id.clone(), room.revision));
        if room.revision > 0 {
            let heads = room
                .heads
                .iter()
                .map(|head| head.event_id.clone())
                .collect();
            batch.expect(Expect::RoomHeads(room.room_id.clone(), heads));
        }
        Self {
            room: room.clone(),
            signer,
            now,
            events: Vec::new(),
            batch,
            unchanged: None,
        }
    }

    /// Founds a room: its create event.
    pub(crate) fn found(
        rules: RoomRules,
        room_id: Option<OwnedRoomId>,
        creator: &UserId,
        content: CanonicalJsonObject,
        (signer, now): (&'a Signer, Timestamp),
    ) -> Result<Self, Denied> {
        let proposal = Proposal {
            room_id,
            sender: creator.to_owned(),
            kind: "m.room.create".into(),
            state_key: Some("".into()),
            content,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            now,
            unsigned: None,
        };
        let event = Arc::new(seal(proposal, &rules, signer)?);
        judge_create(&event, &rules)?;
        let room = Room {
            room_id: event.room_id.clone(),
            rules: Arc::new(rules),
            revision: 0,
            heads: Vec::new(),
            state: State::new(),
            stored_state: None,
        };
        let mut composer = Self::new(&room, signer, now);
        composer.batch.push(RoomChange::Create {
            room_id: room.room_id.clone(),
            version: room.version().clone(),
        });
        composer.take_in(event, Vec::new());
        Ok(composer)
    }

    /// Sends a piece unless it is state that already holds, by the same sender.
    pub(crate) fn set(&mut self, sender: &UserId, piece: Piece) -> Result<(), Denied> {
        refuse_second_creation(&piece)?;
        if let Some(key) = &piece.state_key
            && let Some(present) = self.room.state.get(&piece.kind, key)
            && present.sender == sender
            && (piece.kind == "m.room.member" || self.room.is_joined(sender))
            && present.content.get() == canonical_text(&piece.content)
        {
            self.unchanged = Some(present.clone());
            return Ok(());
        }
        self.append(sender, piece, None).map(|_| ())
    }

    /// Appends an event after all heads.
    pub(crate) fn append(
        &mut self,
        sender: &UserId,
        piece: Piece,
        redacts: Option<OwnedEventId>,
    ) -> Result<Arc<Event>, Denied> {
        let (prev_heads, other_heads) = select_heads(&self.room.heads);
        let depth = prev_heads.iter().map(|head| head.depth).max().unwrap_or(0);
        let prev_events = prev_heads.into_iter().map(|head| head.event_id).collect();
        let event = self.make(sender, piece, redacts, (prev_events, depth + 1), None)?;
        self.take_in(event.clone(), other_heads);
        Ok(event)
    }

    /// Adds an event to the room's past: judged by how things stood there, and changing nothing of
    /// what holds now. It is no head: nothing follows it.
    pub(crate) fn append_to_past(
        &mut self,
        sender: &UserId,
        piece: Piece,
        redacts: Option<OwnedEventId>,
        past: &Past,
    ) -> Result<Arc<Event>, Denied> {
        let place = (past.prev_events.clone(), past.depth);
        let event = self.make(sender, piece, redacts, place, Some(&past.state))?;
        self.batch.push(RoomChange::Append {
            event: event.clone(),
            placement: Placement::Timeline,
            // For who reads on, the room is what it is now.
            state_before: self.room.present_state(),
        });
        self.unchanged = None;
        self.events.push(event.clone());
        Ok(event)
    }

    /// Makes an event at a place (what it follows, and its depth); `past`: the state there, if
    /// that is not the present one.
    fn make(
        &self,
        sender: &UserId,
        piece: Piece,
        redacts: Option<OwnedEventId>,
        (prev_events, depth): (Vec<OwnedEventId>, u64),
        past: Option<&State>,
    ) -> Result<Arc<Event>, Denied> {
        refuse_second_creation(&piece)?;
        let room = &self.room;
        let state = past.unwrap_or(&room.state);
        check::content(&piece, room, self.signer)?;
        let verdict = judge_ordinary(
            sender,
            &piece.kind,
            piece.state_key.as_deref(),
            state,
            &room.rules,
        );
        let is_judged = verdict.is_some();
        verdict.transpose()?;
        let present = piece
            .state_key
            .as_ref()
            .and_then(|key| state.get(&piece.kind, key));
        let proposal = Proposal {
            room_id: Some(room.room_id.clone()),
            sender: sender.to_owned(),
            auth_events: select_auth_events(sender, &piece, state, &room.rules)?,
            // The names of an entry that is replaced are shared, not stored again.
            kind: present.map_or_else(|| piece.kind.as_str().into(), |event| event.kind.clone()),
            state_key: match present {
                Some(event) => event.state_key.clone(),
                None => piece.state_key.map(Into::into),
            },
            unsigned: present.map(|event| unsigned_of(event)),
            content: piece.content,
            redacts,
            prev_events,
            depth: depth.min(DEPTH_MAX),
            now: self.now,
        };
        let event = Arc::new(seal(proposal, &room.rules, self.signer)?);
        if !is_judged {
            judge_by_rules(&event, state, &room.rules)?;
        }
        Ok(event)
    }

    fn take_in(&mut self, event: Arc<Event>, other_heads: Vec<RoomHead>) {
        self.batch.push(RoomChange::Append {
            event: event.clone(),
            placement: Placement::Timeline,
            state_before: self.room.present_state(),
        });
        let room = &mut self.room;
        room.stored_state = (!other_heads.is_empty()).then(|| StateBefore::After(event.id.clone()));
        room.heads = other_heads;
        room.heads.push(RoomHead {
            event_id: event.id.clone(),
            depth: event.depth,
        });
        room.heads
            .sort_unstable_by(|one, other| one.event_id.cmp(&other.event_id));
        if event.state_key.is_some() {
            room.state.insert(event.clone());
        }
        self.unchanged = None;
        self.events.push(event);
    }

    /// Adds a change that belongs to the same decision.
    pub(crate) fn also(&mut self, change: RoomChange) {
        self.batch.push(change);
    }

    /// Adds a fact that must hold.
    pub(crate) fn expect(&mut self, expect: Expect) {
        self.batch.expect(expect);
    }

    pub(crate) fn finish(mut self) -> Decision {
        if self.events.is_empty() {
            return Decision {
                room: self.room,
                events: Vec::new(),
                batch: Batch::new(),
                unchanged: self.unchanged,
            };
        }
        self.room.revision += 1;
        self.batch.push(RoomChange::Heads {
            room_id: self.room.room_id.clone(),
            heads: RoomHeads {
                heads: self.room.heads.clone(),
                state: self.room.present_state(),
            },
        });
        Decision {
            room: self.room,
            events: self.events,
            batch: self.batch,
            unchanged: None,
        }
    }
}

/// The state events that allow an event (Server-Server API, "Auth events selection").
fn select_auth_events(
    sender: &UserId,
    piece: &Piece,
    state: &State,
    rules: &RoomRules,
) -> Result<Vec<OwnedEventId>, Denied> {
    let rules = &rules.ruma.authorization;
    let mut ids = Vec::with_capacity(4);
    let mut add = |event: Option<&Arc<Event>>| ids.extend(event.map(|event| event.id.clone()));
    if piece.kind != "m.room.member" {
        if !rules.room_create_event_id_as_room_id {
            add(state.get("m.room.create", ""));
        }
        add(state.get("m.room.power_levels", ""));
        add(state.member(sender).map(|member| &member.event));
        return Ok(ids);
    }
    let content = RawValue::from_string(canonical_text(&piece.content))
        .expect("canonical JSON is valid JSON");
    let kinds = auth_types_for_event(
        &TimelineEventType::RoomMember,
        sender,
        piece.state_key.as_deref(),
        &content,
        rules,
    )
    .map_err(Denied::BadJson)?;
    for (kind, key) in kinds {
        add(state.get(&kind.to_string(), &key));
    }
    Ok(ids)
}

/// A create event has no predecessors, so nothing that follows a room's heads can be one.
fn refuse_second_creation(piece: &Piece) -> Result<(), Denied> {
    if piece.kind == "m.room.create" {
        return Err(Denied::forbidden("a room is created once"));
    }
    Ok(())
}

/// The heads that the next event follows: the deepest ones; and those that stay heads.
fn select_heads(heads: &[RoomHead]) -> (Vec<RoomHead>, Vec<RoomHead>) {
    let mut selected = heads.to_vec();
    if selected.len() <= PREV_EVENTS_MAX {
        return (selected, Vec::new());
    }
    selected.sort_by(|one, other| {
        other
            .depth
            .cmp(&one.depth)
            .then_with(|| one.event_id.cmp(&other.event_id))
    });
    let others = selected.split_off(PREV_EVENTS_MAX);
    (selected, others)
}

/// What is kept beside an event that replaces `replaced`.
fn unsigned_of(replaced: &Event) -> String {
    format!(
        r#"{{"prev_content":{},"prev_sender":{},"replaces_state":{}}}"#,
        replaced.content.get(),
        quoted(replaced.sender.as_str()),
        quoted(replaced.id.as_str()),
    )
}

/// A canonical object from pairs; absent values are left out.
pub(crate) fn object<const N: usize>(
    pairs: [(&str, Option<CanonicalJsonValue>); N],
) -> CanonicalJsonObject {
    pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// A canonical text value.
pub(crate) fn text(text: impl Into<String>) -> CanonicalJsonValue {
    CanonicalJsonValue::String(text.into())
}
