//! Messages to devices (Client-Server API, "Send-to-Device messaging").

use std::collections::BTreeMap;

use lyceum_model::{
    AccountChange, Batch, Expect, MatrixError, Position, RoomChange, ToDevice, TransactionId,
    TransactionOutcome,
};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedDeviceId, OwnedUserId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Server;

/// How many messages wait for a device that does not fetch them. Further ones are not kept: they
/// would be for a device that nobody uses, and refusing them would let it keep everybody else
/// from sending.
const WAITING_MAX: u64 = 10_000;
/// The largest message, in bytes of JSON.
const MESSAGE_BYTES_MAX: usize = 65_536;
/// How many messages one request can bring.
const MESSAGES_MAX: usize = 10_000;
/// How often devices are looked up again when they go meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// Contents by user and device; the device `*` means all of the user's devices.
pub type Messages = BTreeMap<OwnedUserId, BTreeMap<String, Box<RawValue>>>;

/// A message as its device gets it.
#[derive(Serialize)]
struct Message<'a> {
    content: &'a RawValue,
    sender: &'a UserId,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// Why messages were not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A content is no JSON object.
    #[error("a message is no object")]
    NotAnObject,
    /// A message is too large, or there are too many.
    #[error("too large or too many messages")]
    TooLarge,
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SendError> for MatrixError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotAnObject => Self::bad_json("Each message must be an object"),
            SendError::TooLarge => Self::too_large("A message is too large, or there are too many"),
            SendError::Commit(error) => error.into(),
            SendError::Storage(error) => error.into(),
        }
    }
}

/// Sends messages to devices, once for each transaction. Devices that do not exist get nothing.
pub async fn send(
    server: &Server,
    transaction: TransactionId,
    kind: &str,
    messages: &Messages,
) -> Result<(), SendError> {
    check(messages)?;
    let mut stale = None;
    for _ in 0..ATTEMPTS_MAX {
        if server.store.transaction(&transaction).await?.is_some() {
            return Ok(());
        }
        let batch = deliveries(server, &transaction, kind, messages).await?;
        match server.commit(batch).await {
            Ok(_) | Err(CommitError::Stale(Expect::TransactionAbsent(_))) => return Ok(()),
            Err(CommitError::Stale(expect)) => stale = Some(expect),
            Err(error) => return Err(error.into()),
        }
    }
    let expect = stale.expect("the loop ends only after something was stale");
    Err(CommitError::Stale(expect).into())
}

fn check(messages: &Messages) -> Result<(), SendError> {
    let contents = || messages.values().flat_map(BTreeMap::values);
    if contents().count() > MESSAGES_MAX {
        return Err(SendError::TooLarge);
    }
    for content in contents() {
        if !content.get().starts_with('{') {
            return Err(SendError::NotAnObject);
        }
        if content.get().len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
    }
    Ok(())
}

async fn deliveries(
    server: &Server,
    transaction: &TransactionId,
    kind: &str,
    messages: &Messages,
) -> Result<Batch, SendError> {
    let local: Vec<OwnedUserId> = messages
        .keys()
        .filter(|user_id| server.is_local(user_id))
        .cloned()
        .collect();
    let mut devices: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>> = BTreeMap::new();
    for device in server.store.devices(&local).await? {
        devices
            .entry(device.user_id)
            .or_default()
            .push(device.device_id);
    }
    let mut batch = Batch::new();
    batch.expect(Expect::TransactionAbsent(transaction.clone()));
    let mut deliveries = 0;
    for (user_id, contents) in messages {
        for device_id in devices.remove(user_id).unwrap_or_default() {
            let content = contents
                .get(device_id.as_str())
                .or_else(|| contents.get("*"));
            let Some(content) = content else { continue };
            deliveries += 1;
            if deliveries > MESSAGES_MAX {
                return Err(SendError::TooLarge);
            }
            let waiting = server.store.to_device_count(user_id, &device_id).await?;
            if waiting >= WAITING_MAX {
                tracing::debug!(%user_id, %device_id, "too many messages wait for a device");
                continue;
            }
            let message = Message {
                sender: &transaction.user_id,
                kind,
                content,
            };
            let json = serde_json::to_string(&message).expect("texts and JSON make JSON");
            batch.expect(Expect::DeviceExists(user_id.clone(), device_id.clone()));
            batch.push(AccountChange::SendToDevice(ToDevice {
                user_id: user_id.clone(),
                device_id,
                json,
                position: Position::default(),
                index: 0,
            }));
        }
    }
    batch.push(RoomChange::Transaction {
        id: transaction.clone(),
        outcome: TransactionOutcome::Done,
        at: server.clock.now(),
    });
    Ok(batch)
}
