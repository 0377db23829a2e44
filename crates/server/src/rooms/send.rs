//! Sending: messages, state, redactions.

use lyceum_model::{
    Batch, Expect, MatrixError, RoomChange, StoredEvent, Timestamp, TransactionId,
    TransactionOutcome,
};
use lyceum_room::{Decision, Draft, Redaction};
use ruma_common::{EventId, OwnedEventId, RoomAliasId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Server, rooms::RoomError, sessions::Session};

/// How many annotations of an event are looked at for one that says the same.
const ANNOTATIONS_MAX: usize = 1_000;

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
        self.refuse_second_annotation(session, &draft, transaction.as_ref())
            .await?;
        let sender = &session.user_id;
        let signer = &self.signer;
        self.send_with(session, room_id, transaction, |room| {
            let now = sent_at.unwrap_or_else(|| self.clock.now());
            Ok(lyceum_room::send(room, sender, draft.clone(), signer, now)?)
        })
        .await
    }

    /// Sets a piece of state (`PUT /rooms/{roomId}/state/{eventType}/{stateKey}`).
    pub async fn send_state(
        &self,
        session: &Session,
        room_id: &RoomId,
        draft: Draft,
        sent_at: Option<Timestamp>,
    ) -> Result<Sent, RoomError> {
        if draft.kind == "m.room.canonical_alias" {
            self.check_aliases(room_id, &draft.content).await?;
        }
        if draft.kind == "m.room.member"
            && let Some(user_id) = draft.state_key.as_deref()
            && let Ok(user_id) = UserId::parse(user_id)
            && is_invite(&draft.content)
        {
            self.may_be_invited(&session.user_id, &user_id).await?;
        }
        self.send_message(session, room_id, draft, None, sent_at)
            .await
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
        let found = self.store.events(&[target.to_owned()]).await?;
        let Some(target) = found
            .into_iter()
            .find(|found| found.event.room_id == *room_id)
        else {
            return Err(MatrixError::not_found("There is no such event to redact").into());
        };
        let sender = &session.user_id;
        let signer = &self.signer;
        self.send_with(session, room_id, transaction, |room| {
            let redaction = Redaction {
                target: &target.event,
                content: content.clone(),
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
            && let Some(TransactionOutcome::Event(event_id)) = self.store.transaction(id).await?
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
            && let Some(TransactionOutcome::Event(event_id)) = self.store.transaction(id).await?
        {
            return Ok(event_id);
        }
        Err(error)
    }

    /// Somebody reacts to an event in the same way once (Client-Server API, "Event annotations
    /// and reactions").
    async fn refuse_second_annotation(
        &self,
        session: &Session,
        draft: &Draft,
        transaction: Option<&TransactionName>,
    ) -> Result<(), RoomError> {
        #[derive(Deserialize)]
        struct Annotated {
            #[serde(rename = "m.relates_to")]
            relates_to: Relation,
        }
        #[derive(Deserialize)]
        struct Relation {
            rel_type: String,
            event_id: OwnedEventId,
            key: String,
        }
        if draft.kind != "m.reaction" {
            return Ok(());
        }
        let Ok(Annotated { relates_to }) = serde_json::from_str(draft.content.get()) else {
            return Ok(());
        };
        if relates_to.rel_type != "m.annotation" {
            return Ok(());
        }
        let parent = &relates_to.event_id;
        let kind = Some("m.annotation");
        let related = self
            .store
            .relations(parent, kind, None, ANNOTATIONS_MAX)
            .await?;
        let is_same = |other: &StoredEvent| {
            let relation = other.event.relates_to.as_ref();
            other.event.sender == session.user_id
                && *other.event.kind == *draft.kind
                && relation.and_then(|relation| relation.key.as_deref()) == Some(&*relates_to.key)
        };
        if !related.iter().any(is_same) {
            return Ok(());
        }
        if let Some(name) = transaction
            && let Some(_) = self.store.transaction(&name.clone().of(session)).await?
        {
            return Ok(());
        }
        let why = "You have reacted in this way already";
        Err(MatrixError::new(400, "M_DUPLICATE_ANNOTATION", why).into())
    }

    /// An alias that a room claims must name it (Client-Server API, "m.room.canonical_alias").
    async fn check_aliases(&self, room_id: &RoomId, content: &RawValue) -> Result<(), RoomError> {
        #[derive(Deserialize)]
        struct CanonicalAlias {
            #[serde(default)]
            alias: Option<String>,
            #[serde(default)]
            alt_aliases: Vec<String>,
        }
        let content: CanonicalAlias = serde_json::from_str(content.get())
            .map_err(|error| MatrixError::bad_json(format!("The content is wrong: {error}")))?;
        let room = self
            .rooms
            .room(room_id)
            .await?
            .ok_or(RoomError::UnknownRoom)?;
        let mut had = room.alternative_aliases();
        had.extend(room.canonical_alias());
        for alias in content.alias.into_iter().chain(content.alt_aliases) {
            if alias.is_empty() || had.iter().any(|had| had.as_str() == alias) {
                continue;
            }
            let alias = RoomAliasId::parse(&alias)
                .map_err(|_| MatrixError::invalid_param(format!("{alias} is not an alias")))?;
            let named = self.store.alias(&alias).await?;
            if named.is_none_or(|named| named.room_id != *room_id) {
                let why = format!("The alias {alias} does not name this room");
                return Err(MatrixError::new(400, "M_BAD_ALIAS", why).into());
            }
        }
        Ok(())
    }
}

fn is_invite(content: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Member {
        membership: String,
    }
    serde_json::from_str(content.get()).is_ok_and(|member: Member| member.membership == "invite")
}
