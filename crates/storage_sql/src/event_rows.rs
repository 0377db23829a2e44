//! Rows of events, and how they become events again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use lyceum_model::{Event, Placement, Position, SentAs, Seq, StoredEvent};
use lyceum_storage::StorageError;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId};
use sha2::{Digest, Sha256};

use crate::{
    event_body::BodyCodec,
    event_number::{room_of, seq_of},
    sql::{Row, Sql, params},
};

/// How many rows one statement asks for.
pub(crate) const ROWS_MAX: usize = 500;
/// Added to the code of a placement when the event was redacted.
const REDACTED: i64 = 16;

/// The columns that [`EventRow::read`] reads.
macro_rules! event_columns {
    () => {
        "number, position, placement, state_before, state_after, link, body, sent_as"
    };
}
pub(crate) use event_columns;

/// Whether an event's room was not purged. 36: see event_number.rs.
macro_rules! is_kept {
    () => {
        "NOT EXISTS (SELECT 1 FROM purged_rooms p WHERE p.room = (number >> 36))"
    };
}

/// An event as it lies in the table.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) number: i64,
    pub(crate) position: Position,
    pub(crate) placement: Placement,
    pub(crate) is_redacted: bool,
    pub(crate) state_before: Option<i64>,
    pub(crate) state_after: Option<i64>,
    pub(crate) link: Option<i64>,
    pub(crate) body: Vec<u8>,
    pub(crate) sent_as: Option<Vec<u8>>,
}

impl EventRow {
    pub(crate) fn read(mut row: Row) -> Result<Self, StorageError> {
        let code: i64 = row.take(2)?;
        Ok(Self {
            number: row.take(0)?,
            position: row.take(1)?,
            placement: placement_of(code)?,
            is_redacted: code & REDACTED != 0,
            state_before: row.take(3)?,
            state_after: row.take(4)?,
            link: row.take(5)?,
            body: row.take(6)?,
            sent_as: row.take(7)?,
        })
    }

    pub(crate) fn seq(&self) -> Option<Seq> {
        seq_of(self.number).or_else(|| self.link.and_then(seq_of))
    }

    /// Whether it only stands in the timeline for an event with another number.
    fn is_stub(&self) -> bool {
        self.body.is_empty()
    }
}

/// The stored number of a placement.
pub(crate) fn placement_code(placement: Placement, is_redacted: bool) -> i64 {
    let code = match placement {
        Placement::Timeline => 0,
        Placement::History => 1,
        Placement::Outlier => 2,
        Placement::SoftFailed => 3,
        Placement::Rejected => 4,
    };
    if is_redacted { code | REDACTED } else { code }
}

fn placement_of(code: i64) -> Result<Placement, StorageError> {
    Ok(match code & !REDACTED {
        0 => Placement::Timeline,
        1 => Placement::History,
        2 => Placement::Outlier,
        3 => Placement::SoftFailed,
        4 => Placement::Rejected,
        _ => return Err(StorageError::Broken(format!("unknown placement {code}"))),
    })
}

/// The number by which an event id is looked for. Several ids may share one.
pub(crate) fn hash_of(id: &EventId) -> i64 {
    let digest = Sha256::digest(id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(bytes)
}

/// The rows of those of these events that are known.
pub(crate) fn rows_by_id<'a>(
    sql: &mut dyn Sql,
    codec: &BodyCodec,
    ids: impl IntoIterator<Item = &'a EventId>,
) -> Result<HashMap<OwnedEventId, EventRow>, StorageError> {
    let mut wanted: Vec<(i64, &EventId)> = ids.into_iter().map(|id| (hash_of(id), id)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = HashMap::with_capacity(wanted.len());
    for wanted in wanted.chunks(ROWS_MAX) {
        let hashes: Vec<i64> = wanted.iter().map(|(hash, _)| *hash).collect();
        let rows = match hashes[..] {
            // The most frequent question; a list would cost more.
            [hash] => sql.query(
                concat!(
                    "SELECT ",
                    event_columns!(),
                    " FROM events WHERE hash = ?1 AND ",
                    is_kept!()
                ),
                params![hash],
            )?,
            _ => sql.query(
                concat!(
                    "SELECT ",
                    event_columns!(),
                    " FROM events WHERE hash IN (?1[]) AND ",
                    is_kept!()
                ),
                params![&hashes],
            )?,
        };
        for row in rows {
            let row = EventRow::read(row)?;
            let id = codec.decode_id(&row.body)?;
            // Another event may have the same hash.
            if wanted.iter().any(|(_, wanted)| *wanted == id) {
                found.insert(id, row);
            }
        }
    }
    Ok(found)
}

/// The rows of events with these numbers.
pub(crate) fn rows_by_number(
    sql: &mut dyn Sql,
    numbers: &[i64],
) -> Result<Vec<EventRow>, StorageError> {
    let mut found = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(ROWS_MAX) {
        let rows = sql.query(
            concat!(
                "SELECT ",
                event_columns!(),
                " FROM events WHERE number IN (?1[])"
            ),
            params![numbers],
        )?;
        for row in rows {
            found.push(EventRow::read(row)?);
        }
    }
    Ok(found)
}

/// The ids of rooms by their numbers.
pub(crate) fn room_ids(
    sql: &mut dyn Sql,
    numbers: impl IntoIterator<Item = i64>,
) -> Result<HashMap<i64, OwnedRoomId>, StorageError> {
    let numbers: BTreeSet<i64> = numbers.into_iter().collect();
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let mut found = HashMap::with_capacity(numbers.len());
    for numbers in numbers.chunks(ROWS_MAX) {
        let rows = match *numbers {
            [number] => sql.query(
                "SELECT number, room_id FROM rooms WHERE number = ?1",
                params![number],
            )?,
            _ => sql.query(
                "SELECT number, room_id FROM rooms WHERE number IN (?1[])",
                params![numbers],
            )?,
        };
        for mut row in rows {
            found.insert(row.take(0)?, row.take(1)?);
        }
    }
    Ok(found)
}

/// The events of rows, in their order.
pub(crate) fn to_events(
    sql: &mut dyn Sql,
    codec: &BodyCodec,
    rows: &[EventRow],
) -> Result<Vec<Arc<Event>>, StorageError> {
    let rooms = room_ids(sql, rows.iter().map(|row| room_of(row.number)))?;
    rows.iter()
        .map(|row| {
            let room_id = rooms
                .get(&room_of(row.number))
                .ok_or_else(|| StorageError::Broken("an event's room has no name".to_owned()))?;
            let (id, json) = codec.decode(&row.body, room_id)?;
            Event::from_pdu(id, Some(room_id.clone()), json.into())
                .map(Arc::new)
                .map_err(|error| StorageError::Broken(format!("a stored event: {error}")))
        })
        .collect()
}

/// What is known of the events of rows, in their order. Stubs are followed.
pub(crate) fn to_stored(
    sql: &mut dyn Sql,
    codec: &BodyCodec,
    mut rows: Vec<EventRow>,
) -> Result<Vec<StoredEvent>, StorageError> {
    let linked: Vec<i64> = rows
        .iter()
        .filter(|row| row.is_stub())
        .filter_map(|row| row.link)
        .collect();
    if !linked.is_empty() {
        let mut originals: HashMap<i64, EventRow> = rows_by_number(sql, &linked)?
            .into_iter()
            .map(|row| (row.number, row))
            .collect();
        for row in &mut rows {
            if row.is_stub()
                && let Some(original) = row.link.and_then(|number| originals.remove(&number))
            {
                *row = original;
            }
        }
    }
    let redacted: Vec<i64> = rows
        .iter()
        .filter(|row| row.is_redacted)
        .map(|row| row.number)
        .collect();
    let redactions = redactions_of(sql, codec, &redacted)?;
    let events = to_events(sql, codec, &rows)?;
    let stored = |(row, event): (&EventRow, Arc<Event>)| -> Result<_, StorageError> {
        Ok(StoredEvent {
            event,
            seq: row.seq(),
            position: row.position,
            placement: row.placement,
            redacted_because: redactions.get(&row.number).cloned(),
            sent_as: row.sent_as.as_deref().map(sent_as_of).transpose()?,
        })
    };
    rows.iter().zip(events).map(stored).collect()
}

/// Stands between a device id and a transaction id; no UTF-8 text has it.
const SENT_AS_SEPARATOR: u8 = 255;

/// As what an event was sent, in the form of the column.
pub(crate) fn sent_as_bytes(sent_as: &SentAs) -> Vec<u8> {
    let device_id = sent_as.device_id.as_bytes();
    let parts = [device_id, sent_as.transaction_id.as_bytes()];
    parts.join(&SENT_AS_SEPARATOR)
}

fn sent_as_of(bytes: &[u8]) -> Result<SentAs, StorageError> {
    let broken = || StorageError::Broken("as what an event was sent".to_owned());
    let mut parts = bytes.splitn(2, |byte| *byte == SENT_AS_SEPARATOR);
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (device_id, transaction_id) = text().zip(text()).ok_or_else(broken)?;
    Ok(SentAs {
        device_id: device_id.into(),
        transaction_id: transaction_id.into(),
    })
}

/// The known redaction events of redacted events, by the numbers of the redacted.
fn redactions_of(
    sql: &mut dyn Sql,
    codec: &BodyCodec,
    numbers: &[i64],
) -> Result<HashMap<i64, Arc<Event>>, StorageError> {
    let mut because: Vec<(i64, OwnedEventId)> = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(ROWS_MAX) {
        let rows = sql.query(
            "SELECT number, because FROM redactions WHERE number IN (?1[])",
            params![numbers],
        )?;
        for mut row in rows {
            because.push((row.take(0)?, row.take(1)?));
        }
    }
    if because.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = rows_by_id(sql, codec, because.iter().map(|(_, id)| &**id))?;
    let (ids, rows): (Vec<OwnedEventId>, Vec<EventRow>) = rows.into_iter().unzip();
    let events = to_events(sql, codec, &rows)?;
    let events: HashMap<OwnedEventId, Arc<Event>> = ids.into_iter().zip(events).collect();
    Ok(because
        .into_iter()
        .filter_map(|(number, id)| Some((number, Arc::clone(events.get(&id)?))))
        .collect())
}
