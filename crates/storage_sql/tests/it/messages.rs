//! Rooms and messages for tests and measurements: of the size and shape of real ones.

use std::sync::Arc;

use lyceum_model::{
    Batch, Event, Expect, Placement, RoomChange, RoomHead, RoomHeads, StateBefore, Timestamp,
    TransactionId, TransactionOutcome,
};
use lyceum_storage::Store;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomVersionId};
use sha2::{Digest, Sha256};

/// A new room with two events; its head.
pub(crate) async fn make_room(store: &dyn Store, room: u64) -> OwnedEventId {
    let create = event(
        room,
        "m.room.create",
        Some(""),
        "{\"room_version\":\"12\"}",
        None,
        0,
    );
    let member = event(
        room,
        "m.room.member",
        Some("@alice:example.org"),
        "{\"membership\":\"join\"}",
        Some(&create.id),
        1,
    );
    let id = member.id.clone();
    let mut batch = Batch::new();
    batch
        .push(RoomChange::Create {
            room_id: room_id(room),
            version: RoomVersionId::V12,
        })
        .push(RoomChange::Append {
            event: Arc::clone(&create),
            placement: Placement::Timeline,
            state_before: StateBefore::Empty,
        })
        .push(RoomChange::Append {
            event: member,
            placement: Placement::Timeline,
            state_before: StateBefore::After(create.id.clone()),
        })
        .push(heads(room, &id));
    store.submit(batch).await.expect("stored");
    id
}

/// A batch as sending a message makes it; `previous` is the head before and after it.
pub(crate) fn message(room: u64, worker: u64, index: u64, previous: &mut OwnedEventId) -> Batch {
    let content = format!(
        "{{\"body\":\"Message {index} of {worker}: shall we meet at five?\",\"msgtype\":\"m.text\"}}"
    );
    let event = event(
        room,
        "m.room.message",
        None,
        &content,
        Some(previous),
        index + 2,
    );
    let id = TransactionId {
        user_id: event.sender.clone(),
        device_id: format!("DEVICE{worker}").into(),
        scope: format!("send/{}/m.room.message", event.room_id),
        transaction_id: format!("m{index}.{worker}"),
    };
    let mut batch = Batch::new();
    batch
        .expect(Expect::TransactionAbsent(id.clone()))
        .push(RoomChange::Append {
            event: Arc::clone(&event),
            placement: Placement::Timeline,
            state_before: StateBefore::After(previous.clone()),
        })
        .push(heads(room, &event.id))
        .push(RoomChange::Transaction {
            id,
            outcome: TransactionOutcome::Event(event.id.clone()),
            at: Timestamp(1_795_398_012_345 + index),
        });
    *previous = event.id.clone();
    batch
}

/// The room has this one end now.
pub(crate) fn heads(room: u64, id: &EventId) -> RoomChange {
    RoomChange::Heads {
        room_id: room_id(room),
        heads: RoomHeads {
            heads: vec![RoomHead {
                event_id: id.to_owned(),
                depth: 1,
            }],
            state: StateBefore::After(id.to_owned()),
        },
    }
}

/// The id of a room.
pub(crate) fn room_id(room: u64) -> OwnedRoomId {
    format!("!{}", base64(&digest(&[room])))
        .try_into()
        .expect("a room id")
}

/// An event like a real one.
pub(crate) fn event(
    room: u64,
    kind: &str,
    state_key: Option<&str>,
    content: &str,
    previous: Option<&EventId>,
    depth: u64,
) -> Arc<Event> {
    let seed = [room, depth, content.len() as u64];
    let mut hasher = Sha256::new();
    hasher.update(content);
    hasher.update(digest(&seed));
    let hash: [u8; 32] = hasher.finalize().into();
    let id: OwnedEventId = format!("${}", base64(&hash).replace('+', "-").replace('/', "_"))
        .try_into()
        .expect("an id");
    let auth: Vec<String> = (0..3)
        .map(|index| {
            let id = base64(&digest(&[room, index]))
                .replace('+', "-")
                .replace('/', "_");
            format!("\"${id}\"")
        })
        .collect();
    let signature: Vec<u8> = [digest(&hash.map(u64::from)), digest(&seed)].concat();
    let json = format!(
        "{{\"auth_events\":[{}],\"content\":{content},\"depth\":{depth},\"hashes\":{{\"sha256\":\"{}\"}},\
         \"origin_server_ts\":{},\"prev_events\":[{}],\"room_id\":\"{}\",\
         \"sender\":\"@alice:example.org\",\"signatures\":{{\"example.org\":{{\"ed25519:a_Qwer\":\"{}\"}}}},{}\
         \"type\":\"{kind}\"}}",
        auth.join(","),
        base64(&digest(&hash.map(u64::from))),
        1_795_398_012_345 + depth,
        previous.map_or_else(String::new, |id| format!("\"{id}\"")),
        room_id(room),
        base64(&signature),
        state_key.map_or_else(String::new, |key| format!("\"state_key\":\"{key}\",")),
    );
    Arc::new(Event::from_pdu(id, Some(room_id(room)), json.into()).expect("an event"))
}

fn digest(numbers: &[u64]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for number in numbers {
        hasher.update(number.to_le_bytes());
    }
    hasher.finalize().into()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(char::from(
                LETTERS[(bits >> (18 - 6 * index) & 63) as usize],
            ));
        }
    }
    out
}
