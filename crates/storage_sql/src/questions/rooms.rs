//! Answers about rooms and events.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use lyceum_model::{
    Alias, Event, Position, Receipt, ReceiptKind, Seq, StateKey, StoredEvent, Timestamp,
    TransactionId, TransactionOutcome,
};
use lyceum_storage::{
    Direction, RoomMembership, RoomPage, RoomRecord, RoomSummary, StateOf, StateSide, StateWanted,
    StorageError, TimelinePage, UserChanges,
    state_trie::{self, KeyHash, NodeHash},
};
use ruma_common::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, RoomVersionId, UserId,
};

use crate::{
    apply::{Shared, membership_of, trie_failed},
    event_body::take_id,
    event_number::{bounds, from_local, in_timeline, room_of, seq_of},
    event_rows::{
        EventRow, ROWS_MAX, event_columns, hash_of, room_ids, rows_by_id, rows_by_number,
        to_events, to_stored,
    },
    ledger::{RoomRow, room_columns},
    sql::{Param, Row, Sql, params, texts},
    transaction_key::{buckets, key_of},
};

/// Events from which the newest place at a position is looked for one after another.
const NEWEST_LOOKED_AT: i64 = 32;

pub(crate) fn room(
    sql: &mut dyn Sql,
    shared: &Shared,
    room_id: &RoomId,
) -> Result<Option<RoomRecord>, StorageError> {
    let row = sql.first(
        concat!(
            "SELECT r.number, ",
            room_columns!(),
            " FROM rooms r JOIN room_heads h ON h.room = r.number WHERE r.room_id = ?1"
        ),
        params![room_id],
    )?;
    let Some(mut row) = row else { return Ok(None) };
    let number = row.take(0)?;
    let room = RoomRow::read(&mut row, 1)?;
    let root = root_hash(sql, room.state)?;
    Ok(Some(RoomRecord {
        room_id: room_id.to_owned(),
        version: room.version,
        revision: room.revision,
        heads: room.heads,
        last_seq: Seq(room.last_seq),
        last_position: room.last_position,
        is_published: room.is_published,
        state: whole_state(sql, shared, number, root)?,
    }))
}

pub(crate) fn revision(sql: &mut dyn Sql, room_id: &RoomId) -> Result<Option<u64>, StorageError> {
    let row = sql.first(
        "SELECT h.revision FROM rooms r JOIN room_heads h ON h.room = r.number \
         WHERE r.room_id = ?1",
        params![room_id],
    )?;
    let revision = row.map(|mut row| row.take::<i64>(0)).transpose()?;
    Ok(revision.map(i64::cast_unsigned))
}

pub(crate) fn rooms(sql: &mut dyn Sql, page: &RoomPage) -> Result<Vec<RoomSummary>, StorageError> {
    let after = page.after.as_ref().map_or("", |room_id| room_id.as_str());
    let params = params![after, page.limit];
    let rows = if page.only_published {
        sql.query(
            "SELECT r.room_id, h.version, h.is_published, h.joined FROM room_heads h \
             JOIN rooms r ON r.number = h.room WHERE h.is_published = 1 AND r.room_id > ?1 \
             ORDER BY r.room_id LIMIT ?2",
            params,
        )?
    } else {
        sql.query(
            "SELECT r.room_id, h.version, h.is_published, h.joined FROM rooms r \
             JOIN room_heads h ON h.room = r.number WHERE r.room_id > ?1 \
             ORDER BY r.room_id LIMIT ?2",
            params,
        )?
    };
    rows.into_iter()
        .map(|mut row| {
            let version: String = row.take(1)?;
            Ok(RoomSummary {
                room_id: row.take(0)?,
                version: RoomVersionId::try_from(version)
                    .map_err(|error| StorageError::Broken(format!("a room's version: {error}")))?,
                is_published: row.take(2)?,
                joined: row.take(3)?,
            })
        })
        .collect()
}

pub(crate) fn events(
    sql: &mut dyn Sql,
    shared: &Shared,
    ids: &[OwnedEventId],
) -> Result<Vec<StoredEvent>, StorageError> {
    let found = rows_by_id(sql, &shared.codec, ids.iter().map(|id| &**id))?;
    let rows = ids.iter().filter_map(|id| found.get(id).cloned()).collect();
    to_stored(sql, &shared.codec, rows)
}

pub(crate) fn timeline(
    sql: &mut dyn Sql,
    shared: &Shared,
    page: &TimelinePage,
) -> Result<Vec<StoredEvent>, StorageError> {
    let Some(room) = known_room(sql, &page.room_id)? else {
        return Ok(Vec::new());
    };
    let least = in_timeline(room, Seq(i64::MIN));
    let beyond = in_timeline(room, Seq(i64::MAX)) + 1;
    let from = in_timeline(room, page.from);
    let until = page.until.map(|until| in_timeline(room, until));
    let rows = match page.direction {
        Direction::Forward => sql.query(
            concat!(
                "SELECT ",
                event_columns!(),
                " FROM events WHERE number >= ?1 AND number < ?2 AND position <= ?3 \
                 ORDER BY number LIMIT ?4"
            ),
            params![from, until.unwrap_or(beyond), page.up_to, page.limit],
        )?,
        Direction::Backward => sql.query(
            concat!(
                "SELECT ",
                event_columns!(),
                " FROM events WHERE number >= ?1 AND number < ?2 AND position <= ?3 \
                 ORDER BY number DESC LIMIT ?4"
            ),
            params![until.unwrap_or(least), from, page.up_to, page.limit],
        )?,
    };
    let rows = rows
        .into_iter()
        .map(EventRow::read)
        .collect::<Result<_, _>>()?;
    to_stored(sql, &shared.codec, rows)
}

pub(crate) fn seq_at(
    sql: &mut dyn Sql,
    room_id: &RoomId,
    at: Position,
) -> Result<Seq, StorageError> {
    let row = sql.first(
        "SELECT r.number, h.last_seq FROM rooms r JOIN room_heads h ON h.room = r.number \
         WHERE r.room_id = ?1",
        params![room_id],
    )?;
    match row {
        Some(mut row) => newest_seq(sql, row.take(0)?, row.take(1)?, at),
        None => Ok(Seq(0)),
    }
}

/// The newest place of a timeline in commits up to `at`. Along the timeline positions only grow,
/// so after a look at the newest events it is searched by halves.
fn newest_seq(
    sql: &mut dyn Sql,
    room: i64,
    last_seq: i64,
    at: Position,
) -> Result<Seq, StorageError> {
    let lowest = last_seq.saturating_sub(NEWEST_LOOKED_AT).max(0);
    let newest = sql.first(
        "SELECT number FROM events WHERE number > ?1 AND number <= ?2 AND position <= ?3 \
         ORDER BY number DESC LIMIT 1",
        params![
            in_timeline(room, Seq(lowest)),
            in_timeline(room, Seq(last_seq)),
            at
        ],
    )?;
    if let Some(mut row) = newest {
        return Ok(seq_of(row.take(0)?).unwrap_or_default());
    }
    // What is sought lies in [is, is_not). Places may be empty where events were erased, so each
    // look finds the first event from a place on.
    let (mut is, mut is_not) = (0, lowest + 1);
    while is_not - is > 1 {
        let middle = i64::midpoint(is, is_not);
        let next = sql.first(
            "SELECT number, position FROM events WHERE number >= ?1 AND number <= ?2 \
             ORDER BY number LIMIT 1",
            params![
                in_timeline(room, Seq(middle)),
                in_timeline(room, Seq(is_not - 1))
            ],
        )?;
        let next: Option<(i64, Position)> = match next {
            Some(mut row) => Some((row.take(0)?, row.take(1)?)),
            None => None,
        };
        match next {
            Some((number, position)) if position <= at => {
                is = seq_of(number).map_or(middle, |seq| seq.0);
            }
            _ => is_not = middle,
        }
    }
    Ok(Seq(is))
}

pub(crate) fn state_at(
    sql: &mut dyn Sql,
    shared: &Shared,
    of: &StateOf,
    wanted: &StateWanted,
) -> Result<Option<Vec<Arc<Event>>>, StorageError> {
    let Some((room, root)) = root_of(sql, shared, of)? else {
        return Ok(None);
    };
    let events = match wanted {
        StateWanted::All => whole_state(sql, shared, room, root)?,
        StateWanted::Keys(names) => {
            let keys: Vec<KeyHash> = names
                .iter()
                .map(|name| KeyHash::of(&name.kind, &name.key))
                .collect();
            let found =
                state_trie::get_many(root, &keys, &mut loader(sql, shared)).map_err(trie_failed)?;
            let mut events = state_events(sql, shared, room, found.into_values())?;
            // Another entry with the same hash would be a broken promise of SHA-256.
            events.retain(|event| event.state_name().is_some_and(|name| names.contains(&name)));
            events
        }
    };
    Ok(Some(events))
}

pub(crate) fn state_difference(
    sql: &mut dyn Sql,
    shared: &Shared,
    from: Option<&StateOf>,
    to: &StateOf,
) -> Result<Option<Vec<Arc<Event>>>, StorageError> {
    let Some((room, to)) = root_of(sql, shared, to)? else {
        return Ok(None);
    };
    let from = match from {
        None => NodeHash::EMPTY,
        Some(from) => match root_of(sql, shared, from)? {
            None => return Ok(None),
            Some((other, from)) if other == room => from,
            // States of different rooms have nothing in common.
            Some(_) => NodeHash::EMPTY,
        },
    };
    let differences =
        state_trie::difference(from, to, &mut loader(sql, shared)).map_err(trie_failed)?;
    let numbers = differences
        .into_iter()
        .filter_map(|difference| difference.to);
    state_events(sql, shared, room, numbers).map(Some)
}

pub(crate) fn memberships(
    sql: &mut dyn Sql,
    shared: &Shared,
    user_id: &UserId,
) -> Result<Vec<RoomMembership>, StorageError> {
    let rows = sql.query(
        "SELECT r.room_id, m.membership, m.event, m.position, m.is_forgotten \
         FROM memberships m JOIN rooms r ON r.number = m.room \
         WHERE m.who = (SELECT number FROM users WHERE user_id = ?1) ORDER BY r.room_id",
        params![user_id],
    )?;
    to_memberships(sql, shared, user_id, rows)
}

/// Rows of room id, membership, event number, position, whether forgotten.
fn to_memberships(
    sql: &mut dyn Sql,
    shared: &Shared,
    user_id: &UserId,
    mut rows: Vec<Row>,
) -> Result<Vec<RoomMembership>, StorageError> {
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &mut rows {
        numbers.push(row.take::<i64>(2)?);
    }
    let mut ids: HashMap<i64, OwnedEventId> = HashMap::with_capacity(rows.len());
    for row in rows_by_number(sql, &numbers)? {
        ids.insert(row.number, shared.codec.decode_id(&row.body)?);
    }
    rows.into_iter()
        .zip(numbers)
        .map(|(mut row, number)| {
            Ok(RoomMembership {
                room_id: row.take(0)?,
                user_id: user_id.to_owned(),
                membership: membership_of(row.take(1)?)?,
                event_id: ids
                    .get(&number)
                    .cloned()
                    .ok_or_else(|| StorageError::Broken("a member event is missing".to_owned()))?,
                position: row.take(3)?,
                is_forgotten: row.take(4)?,
            })
        })
        .collect()
}

pub(crate) fn transaction(
    sql: &mut dyn Sql,
    id: &TransactionId,
) -> Result<Option<TransactionOutcome>, StorageError> {
    let row = sql.first(
        concat!(
            buckets!(),
            "SELECT t.outcome FROM buckets b JOIN transactions t ON t.bucket = b.bucket \
             WHERE t.key = ?1"
        ),
        params![&key_of(id)],
    )?;
    let Some(mut row) = row else { return Ok(None) };
    Ok(Some(match row.take::<Option<Vec<u8>>>(0)? {
        None => TransactionOutcome::Done,
        Some(bytes) => TransactionOutcome::Event(take_id(&mut &bytes[..])?),
    }))
}

/// Those of the events that have relations.
pub(crate) fn related(
    sql: &mut dyn Sql,
    shared: &Shared,
    ids: &[OwnedEventId],
) -> Result<Vec<OwnedEventId>, StorageError> {
    let hashes: Vec<i64> = ids.iter().map(|id| hash_of(id)).collect();
    let mut parents = HashSet::new();
    for hashes in hashes.chunks(ROWS_MAX) {
        let rows = sql.query(
            "SELECT DISTINCT parent FROM relations WHERE parent IN (?1[])",
            &[Param::Ints(hashes)],
        )?;
        for mut row in rows {
            parents.insert(row.take::<i64>(0)?);
        }
    }
    let mut related = Vec::new();
    for (id, hash) in ids.iter().zip(hashes) {
        if parents.contains(&hash) && !relations(sql, shared, id, None, None, 1)?.is_empty() {
            related.push(id.clone());
        }
    }
    Ok(related)
}

pub(crate) fn relations(
    sql: &mut dyn Sql,
    shared: &Shared,
    parent: &EventId,
    kind: Option<&str>,
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<StoredEvent>, StorageError> {
    let Some(known) = rows_by_id(sql, &shared.codec, [parent])?.remove(parent) else {
        return Ok(Vec::new());
    };
    // Nobody may relate across rooms.
    let (first, last) = bounds(room_of(known.number));
    let mut before = before.map_or(i64::MAX, |before| before.0);
    let mut found = Vec::new();
    loop {
        let rows = sql.query(
            "SELECT seq, number FROM relations WHERE parent = ?1 AND seq < ?2 \
             AND (CAST(?3 AS TEXT) IS NULL OR kind = ?3) AND number BETWEEN ?5 AND ?6 \
             ORDER BY seq DESC LIMIT ?4",
            params![
                hash_of(parent),
                before,
                kind,
                ROWS_MAX.min(limit.max(1)),
                first,
                last
            ],
        )?;
        if rows.is_empty() || limit == 0 {
            return Ok(found);
        }
        let mut numbers = Vec::with_capacity(rows.len());
        for mut row in rows {
            before = row.take(0)?;
            numbers.push(row.take(1)?);
        }
        let order: HashMap<i64, usize> = numbers
            .iter()
            .enumerate()
            .map(|(index, number)| (*number, index))
            .collect();
        let mut rows = rows_by_number(sql, &numbers)?;
        rows.sort_unstable_by_key(|row| order.get(&row.number).copied());
        for stored in to_stored(sql, &shared.codec, rows)? {
            let is_meant = stored.event.relates_to.as_ref().is_some_and(|relation| {
                relation.parent == parent && kind.is_none_or(|kind| &*relation.kind == kind)
            });
            if is_meant {
                found.push(stored);
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
    }
}

pub(crate) fn alias(sql: &mut dyn Sql, alias: &RoomAliasId) -> Result<Option<Alias>, StorageError> {
    let row = sql.first(
        "SELECT a.alias, r.room_id, u.user_id FROM aliases a \
         JOIN rooms r ON r.number = a.room JOIN users u ON u.number = a.creator \
         WHERE a.alias = ?1",
        params![alias],
    )?;
    row.map(to_alias).transpose()
}

pub(crate) fn aliases(sql: &mut dyn Sql, room_id: &RoomId) -> Result<Vec<Alias>, StorageError> {
    let rows = sql.query(
        "SELECT a.alias, r.room_id, u.user_id FROM rooms r \
         JOIN aliases a ON a.room = r.number JOIN users u ON u.number = a.creator \
         WHERE r.room_id = ?1 ORDER BY a.alias",
        params![room_id],
    )?;
    rows.into_iter().map(to_alias).collect()
}

fn to_alias(mut row: Row) -> Result<Alias, StorageError> {
    Ok(Alias {
        alias: row.take(0)?,
        room_id: row.take(1)?,
        creator: row.take(2)?,
    })
}

pub(crate) fn typing(
    sql: &mut dyn Sql,
    room_id: &RoomId,
) -> Result<Vec<(OwnedUserId, Timestamp)>, StorageError> {
    let row = sql.first(
        "SELECT t.users FROM rooms r JOIN typing t ON t.room = r.number WHERE r.room_id = ?1",
        params![room_id],
    )?;
    let Some(mut row) = row else {
        return Ok(Vec::new());
    };
    let json: String = row.take(0)?;
    serde_json::from_str(&json)
        .map_err(|error| StorageError::Broken(format!("who is typing: {error}")))
}

pub(crate) fn receipts(
    sql: &mut dyn Sql,
    room_ids: &[OwnedRoomId],
    from: Position,
    to: Position,
) -> Result<Vec<Receipt>, StorageError> {
    let mut receipts = Vec::new();
    for room_ids in room_ids.chunks(ROWS_MAX) {
        let rows = sql.query(
            "SELECT r.room_id, u.user_id, c.kind, c.thread, c.event, c.at, c.position \
             FROM rooms r JOIN receipts c ON c.room = r.number \
             JOIN users u ON u.number = c.who \
             WHERE r.room_id IN (?1[]) AND c.position > ?2 AND c.position <= ?3",
            params![&texts(room_ids), from, to],
        )?;
        for row in rows {
            receipts.push(to_receipt(row)?);
        }
    }
    receipts.sort_by(|a: &Receipt, b: &Receipt| {
        (&a.room_id, &a.user_id, a.kind, &a.thread)
            .cmp(&(&b.room_id, &b.user_id, b.kind, &b.thread))
    });
    Ok(receipts)
}

pub(crate) fn receipts_of(
    sql: &mut dyn Sql,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<Vec<Receipt>, StorageError> {
    let rows = sql.query(
        "SELECT r.room_id, u.user_id, c.kind, c.thread, c.event, c.at, c.position \
         FROM rooms r JOIN users u ON u.user_id = ?2 \
         JOIN receipts c ON c.room = r.number AND c.who = u.number WHERE r.room_id = ?1",
        params![room_id, user_id],
    )?;
    let receipts: Result<Vec<Receipt>, StorageError> = rows.into_iter().map(to_receipt).collect();
    let mut receipts = receipts?;
    receipts.sort_by(|a, b| (a.kind, &a.thread).cmp(&(b.kind, &b.thread)));
    Ok(receipts)
}

fn to_receipt(mut row: Row) -> Result<Receipt, StorageError> {
    let kind: i64 = row.take(2)?;
    let thread: String = row.take(3)?;
    Ok(Receipt {
        room_id: row.take(0)?,
        user_id: row.take(1)?,
        kind: if kind == 0 {
            ReceiptKind::Read
        } else {
            ReceiptKind::ReadPrivate
        },
        thread: thread.strip_prefix('=').map(ToOwned::to_owned),
        event_id: row.take(4)?,
        at: row.take(5)?,
        position: row.take(6)?,
    })
}

pub(crate) fn changes_for(
    sql: &mut dyn Sql,
    shared: &Shared,
    user_id: &UserId,
    from: Position,
    to: Position,
) -> Result<UserChanges, StorageError> {
    let user = sql.first(
        "SELECT number FROM users WHERE user_id = ?1",
        params![user_id],
    )?;
    let Some(mut user) = user else {
        return Ok(UserChanges::default());
    };
    let user: i64 = user.take(0)?;
    let mut changes = UserChanges::default();
    let rows = sql.query(
        "SELECT r.room_id, m.membership, m.event, m.position, m.is_forgotten \
         FROM memberships m JOIN rooms r ON r.number = m.room \
         WHERE m.who = ?1 AND m.position > ?2 AND m.position <= ?3 ORDER BY r.room_id",
        params![user, from, to],
    )?;
    changes.memberships = to_memberships(sql, shared, user_id, rows)?;
    let rows = sql.query(
        "SELECT h.room, h.last_seq, h.last_position FROM memberships m \
         JOIN room_heads h ON h.room = m.room \
         WHERE m.who = ?1 AND (m.membership = 0 OR m.position > ?3) AND h.last_position > ?2",
        params![user, from, to],
    )?;
    let mut timelines = Vec::new();
    for mut row in rows {
        let (room, last_seq): (i64, i64) = (row.take(0)?, row.take(1)?);
        let last_position: Position = row.take(2)?;
        let has_changed = last_position <= to
            || newest_seq(sql, room, last_seq, to)? > newest_seq(sql, room, last_seq, from)?;
        if has_changed {
            timelines.push(room);
        }
    }
    changes.timelines = sorted_rooms(sql, timelines)?;
    let receipts = sql.query(
        "SELECT m.room FROM memberships m \
         WHERE m.who = ?1 AND (m.membership = 0 OR m.position > ?3) AND EXISTS \
         (SELECT 1 FROM receipts c WHERE c.room = m.room AND c.position > ?2 \
         AND c.position <= ?3)",
        params![user, from, to],
    )?;
    changes.receipts = sorted_rooms(sql, numbers(receipts)?)?;
    let typing = sql.query(
        "SELECT m.room FROM memberships m JOIN typing t ON t.room = m.room \
         WHERE m.who = ?1 AND (m.membership = 0 OR m.position > ?3) \
         AND t.position > ?2 AND t.position <= ?3",
        params![user, from, to],
    )?;
    changes.typing = sorted_rooms(sql, numbers(typing)?)?;
    Ok(changes)
}

fn numbers(rows: Vec<Row>) -> Result<Vec<i64>, StorageError> {
    rows.into_iter().map(|mut row| row.take(0)).collect()
}

fn sorted_rooms(sql: &mut dyn Sql, numbers: Vec<i64>) -> Result<Vec<OwnedRoomId>, StorageError> {
    let mut ids: Vec<OwnedRoomId> = room_ids(sql, numbers)?.into_values().collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The number of a room that this server knows.
fn known_room(sql: &mut dyn Sql, room_id: &RoomId) -> Result<Option<i64>, StorageError> {
    let row = sql.first(
        "SELECT r.number FROM rooms r JOIN room_heads h ON h.room = r.number \
         WHERE r.room_id = ?1",
        params![room_id],
    )?;
    row.map(|mut row| row.take(0)).transpose()
}

/// The room and the root of a state around an event.
fn root_of(
    sql: &mut dyn Sql,
    shared: &Shared,
    of: &StateOf,
) -> Result<Option<(i64, NodeHash)>, StorageError> {
    let row = rows_by_id(sql, &shared.codec, [&*of.event_id])?.remove(&of.event_id);
    let Some(row) = row else { return Ok(None) };
    let root = match of.side {
        StateSide::Before => row.state_before,
        StateSide::After => row.state_after,
    };
    let Some(root) = root else { return Ok(None) };
    Ok(Some((room_of(row.number), root_hash(sql, root)?)))
}

fn root_hash(sql: &mut dyn Sql, number: i64) -> Result<NodeHash, StorageError> {
    if number == 0 {
        return Ok(NodeHash::EMPTY);
    }
    let row = sql.first(
        "SELECT hash FROM state_roots WHERE number = ?1",
        params![number],
    )?;
    let mut row =
        row.ok_or_else(|| StorageError::Broken("a room's state is missing".to_owned()))?;
    Ok(NodeHash(row.take(0)?))
}

fn loader<'a>(
    sql: &'a mut dyn Sql,
    shared: &'a Shared,
) -> impl FnMut(&[NodeHash]) -> Result<Vec<Arc<[u8]>>, StorageError> {
    let unsaved = HashMap::new();
    move |hashes| shared.nodes.load(sql, &unsaved, hashes)
}

fn whole_state(
    sql: &mut dyn Sql,
    shared: &Shared,
    room: i64,
    root: NodeHash,
) -> Result<Vec<Arc<Event>>, StorageError> {
    let entries = state_trie::entries(root, &mut loader(sql, shared)).map_err(trie_failed)?;
    state_events(
        sql,
        shared,
        room,
        entries.into_iter().map(|(_, number)| number),
    )
}

/// The events of entries of a state, ordered by (type, state key).
fn state_events(
    sql: &mut dyn Sql,
    shared: &Shared,
    room: i64,
    entries: impl Iterator<Item = u64>,
) -> Result<Vec<Arc<Event>>, StorageError> {
    let numbers: Vec<i64> = entries
        .map(|local| {
            from_local(room, local).ok_or_else(|| {
                StorageError::Broken("an entry of a room's state is damaged".to_owned())
            })
        })
        .collect::<Result<_, _>>()?;
    let rows = rows_by_number(sql, &numbers)?;
    if rows.len() != numbers.len() {
        return Err(StorageError::Broken(
            "an event of a room's state is missing".to_owned(),
        ));
    }
    let events = to_events(sql, &shared.codec, &rows)?;
    let ordered: BTreeMap<StateKey, Arc<Event>> = events
        .into_iter()
        .filter_map(|event| Some((event.state_name()?, event)))
        .collect();
    Ok(ordered.into_values().collect())
}
