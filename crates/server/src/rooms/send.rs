//! Sending: messages, state, redactions.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use lyceum_model::{
    Batch, Event, Expect, MatrixError, Membership, RoomChange, StateKey, Timestamp, TransactionId,
    TransactionOutcome,
};
use lyceum_room::{Decision, Draft, Past, Redaction, State};
use lyceum_storage::{StateOf, StateSide, StateWanted, StorageError};
use ruma_common::{EventId, OwnedEventId, OwnedUserId, RoomAliasId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{Server, rooms::RoomError, sessions::Session};

/// How many annotations of an event are looked at for one that says the same.
const ANNOTATIONS_MAX: usize = 1_000;
/// The longest key of an annotation, in characters.
const ANNOTATION_KEY_CHARACTERS_MAX: usize = 500;

/// A client's name for what it asks, so that asking twice does it once.
#[derive(Debug, Clone)]
pub struct TransactionName {
    /// The endpoint with its path parameters but for the transaction id.
    pub scope: String,
    /// The transaction id.
    pub transaction_id: String,
}

impl TransactionName {
    /// The name in the scope of a session's device.
    pub fn of(self, session: &Session) -> TransactionId {
        TransactionId {
            user_id: session.user_id.clone(),
            device_id: session.device_id.clone().unwrap_or_else(|| "".into()),
            scope: self.scope,
            transaction_id: self.transaction_id,
        }
    }
}

/// What was sent.
pub type Sent = OwnedEventId;

impl Server {
    /// Sends a message event (`PUT /rooms/{roomId}/send/{eventType}/{txnId}`). `sent_at`: when, if
    /// not now (Application Service API, "Timestamp massaging").
    pub async fn send_message(
        &self,
        session: &Session,
        room_id: &RoomId,
        draft: Draft,
        transaction: Option<TransactionName>,
        sent_at: Option<Timestamp>,
    ) -> Result<Sent, RoomError> {
        // The same reaction twice at once is still twice.
        let _turn = match draft.kind.as_str() {
            "m.reaction" => Some(self.accounts.turn(&session.user_id).await),
            _ => None,
        };
        if let Err(error) = self.check_relation(session, room_id, &draft).await {
            // What was granted once stays granted.
            if let (RoomError::Refused(_), Some(name)) = (&error, transaction)
                && let Some(event_id) = self.sent_before(&name.of(session)).await?
            {
                return Ok(event_id);
            }
            return Err(error);
        }
        let sender = &session.user_id;
        let signer = &self.signer;
        self.send_with(session, room_id, transaction, |room| {
            let now = sent_at.unwrap_or_else(|| self.clock.now());
            Ok(lyceum_room::send(room, sender, draft.clone(), signer, now)?)
        })
        .await
    }

    /// The event that was sent by a transaction, if there was one.
    pub async fn sent_before(
        &self,
        transaction: &TransactionId,
    ) -> Result<Option<Sent>, StorageError> {
        let outcome = self.store.transaction(transaction).await?;
        Ok(outcome.and_then(|outcome| match outcome {
            TransactionOutcome::Event(event_id) => Some(event_id),
            TransactionOutcome::Done => None,
        }))
    }

    /// Sets a piece of state (`PUT /rooms/{roomId}/state/{eventType}/{stateKey}`).
    pub async fn send_state(
        &self,
        session: &Session,
        room_id: &RoomId,
        mut draft: Draft,
        sent_at: Option<Timestamp>,
    ) -> Result<Sent, RoomError> {
        if draft.kind == "m.room.canonical_alias" {
            self.check_aliases(room_id, &draft.content).await?;
        }
        if let Some((user_id, membership)) = membership_in(&draft) {
            if membership == "invite" {
                self.may_be_invited(&session.user_id, &user_id).await?;
            }
            if matches!(&*membership, "invite" | "join" | "knock") {
                self.refuse_blocked(room_id).await?;
                draft.content = self.with_profile(&user_id, draft.content).await?;
            }
        }
        if session.is_shadow_banned && self.comes_or_goes(session, room_id, &draft).await? {
            // That is theirs, however it is said.
            let unbanned = Session {
                is_shadow_banned: false,
                ..session.clone()
            };
            return self
                .send_message(&unbanned, room_id, draft, None, sent_at)
                .await;
        }
        self.send_message(session, room_id, draft, None, sent_at)
            .await
    }

    /// The content of a member event with the name and picture of the user where it says nothing of
    /// them, as other ways into a room fill them in.
    async fn with_profile(
        &self,
        user_id: &UserId,
        content: Box<RawValue>,
    ) -> Result<Box<RawValue>, RoomError> {
        let Some(mut fields) = fields_of(&content) else {
            return Ok(content);
        };
        let profile = self.profile(user_id).await?;
        let known = [
            ("displayname", profile.displayname),
            ("avatar_url", profile.avatar_url),
        ];
        let missing = known.map(|(key, value)| {
            let value = value.filter(|_| !fields.contains_key(key));
            (key, value.and_then(|text| to_raw_value(&text).ok()))
        });
        for (key, value) in &missing {
            if let Some(value) = value {
                fields.insert(Cow::Borrowed(key), value);
            }
        }
        to_raw_value(&fields)
            .map_err(|_| MatrixError::internal("The content could not be written").into())
    }

    /// Whether a user comes into a room or leaves it with this, and does more than rename
    /// themselves in it.
    async fn comes_or_goes(
        &self,
        session: &Session,
        room_id: &RoomId,
        draft: &Draft,
    ) -> Result<bool, RoomError> {
        let user_id = &session.user_id;
        if draft.kind != "m.room.member" || draft.state_key.as_deref() != Some(user_id.as_str()) {
            return Ok(false);
        }
        let room = self.rooms.room(room_id).await?;
        let is_in = room.is_some_and(|room| room.is_joined(user_id));
        let stays = membership_in(draft).is_some_and(|(_, membership)| membership == "join");
        Ok(!(is_in && stays))
    }

    /// Redacts an event (`PUT /rooms/{roomId}/redact/{eventId}/{txnId}`).
    pub async fn redact(
        &self,
        session: &Session,
        room_id: &RoomId,
        target: &EventId,
        content: Option<Box<RawValue>>,
        transaction: Option<TransactionName>,
    ) -> Result<Sent, RoomError> {
        let target = self.redaction_target(room_id, target).await?;
        let sender = &session.user_id;
        if session.is_suspended && target.sender != *sender {
            let why = "A suspended account can redact its own events only";
            return Err(MatrixError::user_suspended(why).into());
        }
        let signer = &self.signer;
        self.send_with(session, room_id, transaction, |room| {
            let redaction = Redaction {
                target: &target,
                content: content.clone(),
                past: None,
            };
            Ok(lyceum_room::redact(
                room,
                sender,
                redaction,
                signer,
                self.clock.now(),
            )?)
        })
        .await
    }

    /// Redacts an event in the name of its sender, who has left the room, as if they had done it
    /// at once.
    pub(crate) async fn redact_in_the_past(
        &self,
        room_id: &RoomId,
        target: &EventId,
        content: Option<Box<RawValue>>,
    ) -> Result<Sent, RoomError> {
        let target = self.redaction_target(room_id, target).await?;
        let is_end = &*target.kind == "m.room.member"
            && target.state_key.as_deref() == Some(target.sender.as_str())
            && lyceum_room::membership_of(&target) != Some(Membership::Join);
        let (side, place): (_, fn(&Event, State) -> Past) = if is_end {
            (StateSide::Before, Past::before)
        } else {
            (StateSide::After, Past::after)
        };
        let of = StateOf {
            event_id: target.id.clone(),
            side,
        };
        // What allows a redaction, and no more: the room may have thousands of members.
        let keys = vec![
            StateKey::new("m.room.create", ""),
            StateKey::new("m.room.power_levels", ""),
            StateKey::new("m.room.member", target.sender.as_str()),
        ];
        let state = self.store.state_at(of, StateWanted::Keys(keys)).await?;
        let past = place(&target, state.unwrap_or_default().into_iter().collect());
        let decide = |room: &lyceum_room::Room| {
            let redaction = Redaction {
                target: &target,
                content: content.clone(),
                past: Some(&past),
            };
            let (sender, signer) = (&target.sender, &self.signer);
            let now = self.clock.now();
            Ok(lyceum_room::redact(room, sender, redaction, signer, now)?)
        };
        let (decision, _) = self.rooms.decide(room_id, decide, |_, _| {}).await?;
        Ok(decision.event().id.clone())
    }

    async fn redaction_target(
        &self,
        room_id: &RoomId,
        target: &EventId,
    ) -> Result<Arc<Event>, RoomError> {
        let found = self.store.events(&[target.to_owned()]).await?;
        let mut found = found.into_iter().map(|stored| stored.event);
        let found = found.find(|event| event.room_id == *room_id);
        found.ok_or_else(|| MatrixError::not_found("There is no such event to redact").into())
    }

    async fn send_with(
        &self,
        session: &Session,
        room_id: &RoomId,
        transaction: Option<TransactionName>,
        mut decide: impl FnMut(&lyceum_room::Room) -> Result<Decision, RoomError> + Send,
    ) -> Result<Sent, RoomError> {
        if session.is_shadow_banned {
            // They are told that it was sent, and nobody else hears of it.
            let room = self.rooms.room(room_id).await?;
            let room = room.ok_or(RoomError::UnknownRoom)?;
            return Ok(decide(&room)?.event().id.clone());
        }
        let transaction = transaction.map(|name| name.of(session));
        let running = match &transaction {
            Some(id) => self.rooms.begin_transaction(id).await,
            None => None,
        };
        if let (Some(id), None) = (&transaction, &running)
            && let Some(event_id) = self.sent_before(id).await?
        {
            return Ok(event_id);
        }
        let now = self.clock.now();
        let amend = |decision: &Decision, batch: &mut Batch| {
            let Some(id) = &transaction else { return };
            batch.expect(Expect::TransactionAbsent(id.clone()));
            batch.push(RoomChange::Transaction {
                id: id.clone(),
                outcome: TransactionOutcome::Event(decision.event().id.clone()),
                at: now,
            });
        };
        let error = match self.rooms.decide(room_id, decide, amend).await {
            Ok((decision, _)) => {
                self.end_typing_of_gone(&decision.events).await;
                return Ok(decision.event().id.clone());
            }
            Err(error) => error,
        };
        // What was granted once stays granted, whatever has become of the sender's rights.
        if let (Some(id), RoomError::Repeated(_) | RoomError::Denied(_)) = (&transaction, &error)
            && let Some(event_id) = self.sent_before(id).await?
        {
            return Ok(event_id);
        }
        Err(error)
    }

    /// What a message relates to must be there for it: an event of the room, of which the sender
    /// has not said the same already, and which may be the root of a thread if it shall be one
    /// (Client-Server API, "Event annotations and reactions", "Threading").
    async fn check_relation(
        &self,
        session: &Session,
        room_id: &RoomId,
        draft: &Draft,
    ) -> Result<(), RoomError> {
        let Some(relation) = Relation::of(draft) else {
            return Ok(());
        };
        let Some((room, recent)) = self.rooms.snapshot(room_id).await? else {
            return Ok(());
        };
        if !room.is_joined(&session.user_id) {
            // They are told that, and nothing about what there is.
            return Ok(());
        }
        let refused = |why: &'static str| Err(MatrixError::new(400, "M_UNKNOWN", why).into());
        let Ok(parent) = EventId::parse(relation.event_id) else {
            return refused("The event to relate to is unknown");
        };
        let parent = &parent;
        let found = match recent.event(parent) {
            Some(entry) => Some(entry.event.clone()),
            None => {
                let found = self.store.events(std::slice::from_ref(parent)).await?;
                found.into_iter().next().map(|stored| stored.event)
            }
        };
        match &found {
            Some(found) if found.room_id != *room_id => {
                return refused("The event to relate to is in another room");
            }
            Some(_) => {}
            // It may be gone while what relates to it is still there.
            None if self
                .store
                .relations(parent, None, None, 1)
                .await?
                .is_empty() =>
            {
                return refused("The event to relate to is unknown");
            }
            None => {}
        }
        match &*relation.rel_type {
            "m.thread" => {
                let is_root = found.is_none_or(|found| found.relates_to.is_none());
                if !is_root {
                    return refused(
                        "The root of a thread cannot be an event that relates to another",
                    );
                }
            }
            "m.annotation" => {
                let Some(key) = relation.key.as_ref().and_then(Value::as_str) else {
                    return refused("An annotation needs a key");
                };
                if key.chars().count() > ANNOTATION_KEY_CHARACTERS_MAX {
                    return refused("The key of the annotation is too long");
                }
                if self.has_annotated(session, draft, parent, key).await? {
                    let why = "You have reacted in this way already";
                    return Err(MatrixError::new(400, "M_DUPLICATE_ANNOTATION", why).into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether somebody has annotated an event in this way already.
    async fn has_annotated(
        &self,
        session: &Session,
        draft: &Draft,
        parent: &EventId,
        key: &str,
    ) -> Result<bool, StorageError> {
        let related = self
            .store
            .relations(parent, Some("m.annotation"), None, ANNOTATIONS_MAX)
            .await?;
        Ok(related.iter().any(|other| {
            let relation = other.event.relates_to.as_ref();
            other.event.sender == session.user_id
                && *other.event.kind == *draft.kind
                && relation.and_then(|relation| relation.key.as_deref()) == Some(key)
        }))
    }

    /// An alias that a room claims must name it (Client-Server API, "m.room.canonical_alias").
    async fn check_aliases(&self, room_id: &RoomId, content: &RawValue) -> Result<(), RoomError> {
        let claimed = claimed_aliases(content)?;
        let room = self
            .rooms
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        let mut had = room.alternative_aliases();
        had.extend(room.canonical_alias());
        for alias in claimed {
            if had.iter().any(|had| had.as_str() == alias) {
                continue;
            }
            let alias = RoomAliasId::parse(&alias)
                .map_err(|_| MatrixError::invalid_param(format!("{alias} is not an alias")))?;
            let named = self.store.alias(&alias).await?;
            if named.is_none_or(|named| named.room_id != *room_id) {
                return Err(bad_alias(alias.as_str()).into());
            }
        }
        Ok(())
    }
}

/// The aliases that a content of `m.room.canonical_alias` claims.
pub(super) fn claimed_aliases(content: &RawValue) -> Result<Vec<String>, MatrixError> {
    #[derive(Deserialize)]
    struct CanonicalAlias {
        #[serde(default)]
        alias: Option<String>,
        #[serde(default)]
        alt_aliases: Vec<String>,
    }
    let content: CanonicalAlias = serde_json::from_str(content.get())
        .map_err(|error| MatrixError::bad_json(format!("The content is wrong: {error}")))?;
    let claimed = content.alias.into_iter().chain(content.alt_aliases);
    Ok(claimed.filter(|alias| !alias.is_empty()).collect())
}

/// A room claims an alias that names another one, or none.
pub(super) fn bad_alias(alias: &str) -> MatrixError {
    let why = format!("The alias {alias} does not name this room");
    MatrixError::new(400, "M_BAD_ALIAS", why)
}

/// How an event to be sent refers to another one.
struct Relation {
    rel_type: String,
    event_id: String,
    key: Option<Value>,
}

impl Relation {
    fn of(draft: &Draft) -> Option<Self> {
        // Of a key that comes twice the last one counts, as in the event that is made of it.
        let content = fields_of(&draft.content)?;
        let fields = fields_of(content.get("m.relates_to")?)?;
        let text = |key: &str| serde_json::from_str(fields.get(key)?.get()).ok();
        Some(Self {
            rel_type: text("rel_type")?,
            event_id: text("event_id")?,
            key: fields
                .get("key")
                .and_then(|key| serde_json::from_str(key.get()).ok()),
        })
    }
}

/// The user whom a draft of a member event is about, and the membership that it says.
pub fn membership_in(draft: &Draft) -> Option<(OwnedUserId, String)> {
    if draft.kind != "m.room.member" {
        return None;
    }
    let user_id = UserId::parse(draft.state_key.as_deref()?).ok()?;
    let content = fields_of(&draft.content)?;
    let membership = serde_json::from_str(content.get("membership")?.get()).ok()?;
    Some((user_id, membership))
}

/// The fields of an object; of those that come twice the last one.
fn fields_of(object: &RawValue) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(object.get()).ok()
}
