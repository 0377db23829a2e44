//! A room in which users act one after the other.

#![expect(
    clippy::needless_pass_by_value,
    reason = "tests write json!(..) where it is needed"
)]

use std::sync::Arc;

use lyceum_model::{Batch, Event, Timestamp};
use lyceum_room::{
    CreateRoom, Decision, Denied, Draft, Invite, Join, Knock, Past, Preset, Redaction, Room,
    Signer, Target,
};
use ruma_common::{OwnedEventId, RoomVersionId, UserId};
use serde_json::{Value, json};

use crate::{BEGIN_MS, SERVER, raw, signer_of, user};

/// How much time passes from one act to the next.
const STEP_MS: u64 = 1_000;

/// A room and its history. Acts that must succeed panic otherwise; those with `try_` tell.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The room as it is.
    pub room: Room,
    /// All events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// What was committed, oldest first.
    pub batches: Vec<Batch>,
    /// Who signs.
    pub signer: Signer,
    /// The time of the next act.
    pub now: Timestamp,
}

impl Scene {
    /// Alice makes a public room in the newest version.
    pub fn public() -> Self {
        Self::with(CreateRoom {
            preset: Some(Preset::PublicChat),
            ..CreateRoom::new(user("alice"), RoomVersionId::V12)
        })
    }

    /// Alice makes a private room in the newest version.
    pub fn private() -> Self {
        Self::with(CreateRoom::new(user("alice"), RoomVersionId::V12))
    }

    /// Alice makes a public room in a version, given as `6` or so.
    pub fn public_in(version: &str) -> Self {
        let version = RoomVersionId::try_from(version).expect("a test names valid versions");
        Self::with(CreateRoom {
            preset: Some(Preset::PublicChat),
            ..CreateRoom::new(user("alice"), version)
        })
    }

    /// Any room.
    pub fn with(request: CreateRoom) -> Self {
        Self::try_with(request).expect("the room may be made")
    }

    /// Any room, unless it is refused.
    pub fn try_with(request: CreateRoom) -> Result<Self, Denied> {
        let signer = signer_of(SERVER);
        let now = Timestamp(BEGIN_MS);
        let decision = lyceum_room::create(request, &signer, now, [42; 32])?;
        Ok(Self {
            room: decision.room,
            events: decision.events,
            batches: vec![decision.batch],
            signer,
            now: now.plus_ms(STEP_MS),
        })
    }

    /// Takes a decision over as if it had been committed, and lets time pass.
    pub fn commit(&mut self, decision: Decision) -> Arc<Event> {
        let event = decision.event().clone();
        self.now = self.now.plus_ms(STEP_MS);
        if !decision.is_unchanged() {
            self.room = decision.room;
            self.events.extend(decision.events);
            self.batches.push(decision.batch);
        }
        event
    }

    fn take(&mut self, decision: Result<Decision, Denied>) -> Result<Arc<Event>, Denied> {
        decision.map(|decision| self.commit(decision))
    }

    /// The newest event.
    pub fn newest(&self) -> &Arc<Event> {
        self.events.last().expect("a scene begins with events")
    }

    /// A user says something.
    pub fn say(&mut self, sender: &UserId, body: &str) -> Arc<Event> {
        let content = json!({ "msgtype": "m.text", "body": body });
        self.try_send(sender, "m.room.message", content)
            .expect("may send")
    }

    /// A user sends a message of any type.
    pub fn try_send(
        &mut self,
        sender: &UserId,
        kind: &str,
        content: Value,
    ) -> Result<Arc<Event>, Denied> {
        let draft = Draft::message(kind, raw(&content));
        let decision = lyceum_room::send(&self.room, sender, draft, &self.signer, self.now);
        self.take(decision)
    }

    /// A user sets state.
    pub fn set(&mut self, sender: &UserId, kind: &str, key: &str, content: Value) -> Arc<Event> {
        self.try_set(sender, kind, key, content)
            .expect("may set this state")
    }

    /// A user sets state, unless it is refused.
    pub fn try_set(
        &mut self,
        sender: &UserId,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<Arc<Event>, Denied> {
        let draft = Draft::state(kind, key, raw(&content));
        let decision = lyceum_room::send(&self.room, sender, draft, &self.signer, self.now);
        self.take(decision)
    }

    /// A user joins under the local part of their name.
    pub fn join(&mut self, user_id: &UserId) -> Arc<Event> {
        let profile = crate::named(user_id.localpart());
        self.try_join(
            user_id,
            Join {
                profile,
                ..Join::default()
            },
        )
        .expect("may join")
    }

    /// A user joins, unless it is refused.
    pub fn try_join(&mut self, user_id: &UserId, join: Join) -> Result<Arc<Event>, Denied> {
        let decision = lyceum_room::join(&self.room, user_id, join, &self.signer, self.now);
        self.take(decision)
    }

    /// A user invites another one.
    pub fn invite(&mut self, sender: &UserId, user_id: &UserId) -> Arc<Event> {
        self.try_invite(sender, user_id).expect("may invite")
    }

    /// A user invites another one, unless it is refused.
    pub fn try_invite(&mut self, sender: &UserId, user_id: &UserId) -> Result<Arc<Event>, Denied> {
        let invite = Invite {
            user_id: user_id.to_owned(),
            profile: crate::named(user_id.localpart()),
            reason: None,
            is_direct: false,
        };
        let decision = lyceum_room::invite(&self.room, sender, invite, &self.signer, self.now);
        self.take(decision)
    }

    /// A user leaves.
    pub fn leave(&mut self, user_id: &UserId) -> Arc<Event> {
        self.try_leave(user_id).expect("may leave")
    }

    /// A user leaves, unless it is refused.
    pub fn try_leave(&mut self, user_id: &UserId) -> Result<Arc<Event>, Denied> {
        let decision = lyceum_room::leave(&self.room, user_id, None, &self.signer, self.now);
        self.take(decision)
    }

    /// A user knocks, unless it is refused.
    pub fn try_knock(&mut self, user_id: &UserId) -> Result<Arc<Event>, Denied> {
        let knock = Knock::default();
        let decision = lyceum_room::knock(&self.room, user_id, knock, &self.signer, self.now);
        self.take(decision)
    }

    /// A user kicks another one, unless it is refused.
    pub fn try_kick(&mut self, sender: &UserId, user_id: &UserId) -> Result<Arc<Event>, Denied> {
        let target = target(user_id);
        let decision = lyceum_room::kick(&self.room, sender, target, &self.signer, self.now);
        self.take(decision)
    }

    /// A user bans another one, unless it is refused.
    pub fn try_ban(&mut self, sender: &UserId, user_id: &UserId) -> Result<Arc<Event>, Denied> {
        let target = target(user_id);
        let decision = lyceum_room::ban(&self.room, sender, target, &self.signer, self.now);
        self.take(decision)
    }

    /// A user ends another one's ban, unless it is refused.
    pub fn try_unban(&mut self, sender: &UserId, user_id: &UserId) -> Result<Arc<Event>, Denied> {
        let target = target(user_id);
        let decision = lyceum_room::unban(&self.room, sender, target, &self.signer, self.now);
        self.take(decision)
    }

    /// A user redacts an event of this scene, unless it is refused.
    pub fn try_redact(
        &mut self,
        sender: &UserId,
        event_id: &OwnedEventId,
    ) -> Result<Arc<Event>, Denied> {
        self.try_redact_at(sender, event_id, None)
    }

    /// The same at a place in the past.
    pub fn try_redact_at(
        &mut self,
        sender: &UserId,
        event_id: &OwnedEventId,
        past: Option<&Past>,
    ) -> Result<Arc<Event>, Denied> {
        let found = self.events.iter().find(|event| event.id == *event_id);
        let redacted = found.expect("the event is part of the scene").clone();
        let redaction = Redaction {
            target: &redacted,
            content: Some(raw(&json!({ "reason": "spam" }))),
            past,
        };
        let decision = lyceum_room::redact(&self.room, sender, redaction, &self.signer, self.now);
        self.take(decision)
    }
}

fn target(user_id: &UserId) -> Target {
    Target {
        user_id: user_id.to_owned(),
        reason: None,
    }
}
