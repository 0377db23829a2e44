//! Sending: messages, state, redactions.

use lyceum_model::{Batch, Expect, MatrixError, RoomChange, TransactionId, TransactionOutcome};
use lyceum_room::{Decision, Draft, Redaction};
use ruma_common::{EventId, OwnedEventId, RoomAliasId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Server, rooms::RoomError, sessions::Session};

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
    /// Sends a message event (`PUT /rooms/{roomId}/send/{eventType}/{txnId}`).
    pub async fn send_message(
        &self,
        session: &Session,
        room_id: &RoomId,
        draft: Draft,
        transaction: Option<TransactionName>,
    ) -> Result<Sent, RoomError> {
        let sender = &session.user_id;
        let signer = &self.signer;
        self.send_with(session, room_id, transaction, |room| {
            Ok(lyceum_room::send(
                room,
                sender,
                draft.clone(),
                signer,
                self.clock.now(),
            )?)
        })
        .await
    }

    /// Sets a piece of state (`PUT /rooms/{roomId}/state/{eventType}/{stateKey}`).
    pub async fn send_state(
        &self,
        session: &Session,
        room_id: &RoomId,
        draft: Draft,
    ) -> Result<Sent, RoomError> {
        if draft.kind == "m.room.canonical_alias" {
            self.check_aliases(room_id, &draft.content).await?;
        }
        self.send_message(session, room_id, draft, None).await
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
        decide: impl FnMut(&lyceum_room::Room) -> Result<Decision, RoomError> + Send,
    ) -> Result<Sent, RoomError> {
        let transaction = transaction.map(|name| name.of(session));
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
        match self.rooms.decide(room_id, decide, amend).await {
            Ok((decision, _)) => Ok(decision.event().id.clone()),
            Err(RoomError::Repeated(id)) => match self.store.transaction(&id).await? {
                Some(TransactionOutcome::Event(event_id)) => Ok(event_id),
                Some(TransactionOutcome::Done) | None => Err(RoomError::Repeated(id)),
            },
            Err(error) => Err(error),
        }
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
