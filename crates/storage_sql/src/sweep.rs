//! The sweep: takes away, a portion at a time, what nobody can see any more. Rows of purged rooms
//! first; then, if anything was taken out of rooms, the roots and nodes of states that no event
//! names.
//!
//! Everything is found on a connection of its own, so the writer only deletes, at most
//! [`ROWS_WRITTEN_MAX`] rows of a kind at a time, and commits go in between. What is half done when
//! the process ends is done anew by the next sweep, for what is due is stored: purged rooms in
//! their table, and the number of removals when the newest whole sweep began.
//!
//! A sweep of states is safe beside commits, of all nodes, for this reason. It has a number, which
//! is stored before it takes its view of the database. All that this view reaches is marked. What
//! becomes reachable later is made by a commit from a state that was reachable then (so it is
//! marked), or is written, or written again, or looked up by its hash; and then the row gets the
//! sweep's number. So whatever is unmarked and has a lower number cannot be reached, now or ever.

use std::sync::Arc;

use lyceum_model::Event;
use lyceum_storage::{
    StorageError,
    state_trie::{self, NodeHash},
};
use ruma_common::OwnedRoomId;

use crate::{
    apply::{EventRows, Shared, Upkeep, trie_failed},
    event_number::bounds,
    event_rows::{EventRow, event_columns},
    ledger::Counters,
    node_cache::NodeCache,
    readers::OpenSession,
    sql::{Session, Sql, params},
};

/// How many rows of a kind the writer takes away at once.
pub(crate) const ROWS_WRITTEN_MAX: usize = 256;
/// How many rows a step looks at.
const ROWS_READ: usize = 4096;
/// Bits of the marks for each root, and of all.
const MARK_BITS_PER_ROOT: u64 = 64;
const MARK_BITS_MIN: u64 = 1 << 16;
const MARK_BITS_MAX: u64 = 1 << 28;

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing is left.
    Nothing,
    /// Go on.
    Looked,
    /// The writer does this, then go on.
    Write(Upkeep),
}

/// A sweep that is going on.
#[derive(Default)]
pub(crate) struct Sweep {
    session: Option<Box<dyn Session>>,
    stage: Stage,
    is_closed: bool,
}

impl std::fmt::Debug for Sweep {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sweep").finish_non_exhaustive()
    }
}

#[derive(Default)]
enum Stage {
    #[default]
    Rooms,
    Room(PurgedRoom),
    /// The sweep of states with this number was to begin.
    Begun(i64),
    Marking(Box<Marking>),
    Roots(Box<Marks>, i64),
    Nodes(Box<Marks>, NodeHash),
    Ended,
}

/// A purged room of which something is left.
struct PurgedRoom {
    number: i64,
    room_id: OwnedRoomId,
    /// No account data of users below this one is left.
    least_user: i64,
}

/// What a view of the database reaches.
struct Marks {
    sweep: i64,
    removals: i64,
    roots: Vec<u64>,
    nodes: Vec<u64>,
}

struct Marking {
    marks: Marks,
    /// Nodes that were read lately. Not those that all share, which have better uses.
    cache: NodeCache,
    /// Events up to this one were looked at.
    event: i64,
    /// The root that was marked last: what the next one has in common with it is marked.
    last_root: NodeHash,
}

impl Sweep {
    /// Finds the next portion. After an error all begins anew.
    pub(crate) fn step(
        &mut self,
        open: &OpenSession,
        shared: &Shared,
    ) -> Result<Step, StorageError> {
        if self.is_closed {
            return Ok(Step::Nothing);
        }
        let result = self.try_step(open, shared);
        if !matches!(result, Ok(Step::Looked | Step::Write(_))) {
            self.end();
        }
        result
    }

    fn end(&mut self) {
        if let Some(session) = &mut self.session {
            session.release_sweep();
        }
        *self = Self::default();
    }

    /// What was to be written could not be.
    pub(crate) fn begin_anew(&mut self) {
        self.stage = Stage::Rooms;
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self) {
        self.end();
        self.is_closed = true;
    }

    fn try_step(&mut self, open: &OpenSession, shared: &Shared) -> Result<Step, StorageError> {
        let session = match &mut self.session {
            Some(session) => session,
            None => {
                let mut session = open()?;
                if !session.claim_sweep()? {
                    return Ok(Step::Nothing);
                }
                self.session.insert(session)
            }
        };
        let (step, stage) = match std::mem::take(&mut self.stage) {
            Stage::Rooms => look_for_work(session.sql())?,
            Stage::Room(room) => sweep_room(session.sql(), shared, room)?,
            Stage::Begun(sweep) => {
                // Ended when all is marked.
                session.begin_read()?;
                let counters = Counters::load(session.sql())?;
                if counters.sweep != sweep {
                    // Whoever asked for the last step went before it was written.
                    session.rollback();
                    self.stage = Stage::Rooms;
                    return Ok(Step::Looked);
                }
                let marking = Box::new(Marking::new(counters));
                (Step::Looked, Stage::Marking(marking))
            }
            Stage::Marking(mut marking) => {
                if marking.mark_events(session.sql())? {
                    (Step::Looked, Stage::Marking(marking))
                } else {
                    marking.mark_rooms(session.sql())?;
                    session.rollback();
                    (Step::Looked, Stage::Roots(Box::new(marking.marks), 0))
                }
            }
            Stage::Roots(marks, after) => sweep_roots(session.sql(), marks, after)?,
            Stage::Nodes(marks, after) => sweep_nodes(session.sql(), marks, after)?,
            Stage::Ended => (Step::Nothing, Stage::Rooms),
        };
        self.stage = stage;
        Ok(step)
    }
}

fn look_for_work(sql: &mut dyn Sql) -> Result<(Step, Stage), StorageError> {
    let room = sql.first(
        "SELECT room, room_id FROM purged_rooms ORDER BY room LIMIT 1",
        params![],
    )?;
    if let Some(mut row) = room {
        let room = PurgedRoom {
            number: row.take(0)?,
            room_id: row.take(1)?,
            least_user: 0,
        };
        return Ok((Step::Looked, Stage::Room(room)));
    }
    let counters = Counters::load(sql)?;
    if counters.removals == counters.removals_swept {
        return Ok((Step::Nothing, Stage::Rooms));
    }
    let stage = Stage::Begun(counters.sweep + 1);
    Ok((Step::Write(Upkeep::Begin), stage))
}

fn sweep_room(
    sql: &mut dyn Sql,
    shared: &Shared,
    mut room: PurgedRoom,
) -> Result<(Step, Stage), StorageError> {
    let (first, last) = bounds(room.number);
    let rows = sql.query(
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM events WHERE number BETWEEN ?1 AND ?2 ORDER BY number LIMIT ?3"
        ),
        params![first, last, ROWS_WRITTEN_MAX],
    )?;
    if !rows.is_empty() {
        let mut event_rows = EventRows::default();
        for row in rows {
            let row = EventRow::read(row)?;
            event_rows.numbers.push(row.number);
            if let Some(seq) = row.seq()
                && !row.body.is_empty()
            {
                let (id, json) = shared.codec.decode(&row.body, &room.room_id)?;
                let event = Event::from_pdu(id, Some(room.room_id.clone()), json.into())
                    .map_err(|error| StorageError::Broken(format!("a stored event: {error}")))?;
                if let Some(relation) = &event.relates_to {
                    event_rows.relates(&relation.parent, seq);
                }
            }
        }
        let step = Step::Write(Upkeep::DropEvents(event_rows));
        return Ok((step, Stage::Room(room)));
    }
    let standings = sql.first(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM memberships WHERE room = ?1) \
         OR EXISTS (SELECT 1 FROM unread WHERE room = ?1) \
         OR EXISTS (SELECT 1 FROM receipts WHERE room = ?1)",
        params![room.number],
    )?;
    if standings.is_some() {
        let upkeep = Upkeep::DropStandings {
            room: room.number,
            rows: ROWS_WRITTEN_MAX as i64,
        };
        return Ok((Step::Write(upkeep), Stage::Room(room)));
    }
    // Its key begins with the user: each is looked up once, which costs no commit anything, as an
    // index by room would.
    let rows = sql.query(
        "SELECT number FROM users WHERE number >= ?2 AND EXISTS \
         (SELECT 1 FROM account_data WHERE who = number AND room = ?1) \
         ORDER BY number LIMIT ?3",
        params![room.number, room.least_user, ROWS_WRITTEN_MAX],
    )?;
    let users = rows
        .into_iter()
        .map(|mut row| row.take(0))
        .collect::<Result<Vec<i64>, _>>()?;
    if let Some(last) = users.last() {
        room.least_user = *last;
        let upkeep = Upkeep::DropAccountData {
            room: room.number,
            users,
        };
        return Ok((Step::Write(upkeep), Stage::Room(room)));
    }
    Ok((Step::Write(Upkeep::RoomIsGone(room.number)), Stage::Rooms))
}

impl Marking {
    fn new(counters: Counters) -> Self {
        let roots = counters.roots.max(0).cast_unsigned() + 1;
        let bits = (roots * MARK_BITS_PER_ROOT)
            .next_power_of_two()
            .clamp(MARK_BITS_MIN, MARK_BITS_MAX);
        Self {
            marks: Marks {
                sweep: counters.sweep,
                removals: counters.removals,
                roots: vec![0; (roots / 64 + 1) as usize],
                nodes: vec![0; (bits / 64) as usize],
            },
            cache: NodeCache::default(),
            event: 0,
            last_root: NodeHash::EMPTY,
        }
    }

    /// Marks the states at some more events; whether there are more.
    fn mark_events(&mut self, sql: &mut dyn Sql) -> Result<bool, StorageError> {
        // In the order of rooms and places, so that each state is much like the one before.
        let rows = sql.query(
            "SELECT number, state_before, state_after FROM events WHERE number > ?1 \
             ORDER BY number LIMIT ?2",
            params![self.event, ROWS_READ],
        )?;
        let is_more = rows.len() == ROWS_READ;
        for mut row in rows {
            self.event = row.take(0)?;
            for column in [1, 2] {
                if let Some(root) = row.take(column)? {
                    self.mark(sql, root)?;
                }
            }
        }
        Ok(is_more)
    }

    /// Marks the present states of all rooms: of most it was done already.
    fn mark_rooms(&mut self, sql: &mut dyn Sql) -> Result<(), StorageError> {
        for mut row in sql.query("SELECT state FROM room_heads ORDER BY room", params![])? {
            self.mark(sql, row.take(0)?)?;
        }
        Ok(())
    }

    fn mark(&mut self, sql: &mut dyn Sql, root: i64) -> Result<(), StorageError> {
        if root == 0 || self.marks.has_root(root) {
            return Ok(());
        }
        self.marks.set_root(root);
        let row = sql.first(
            "SELECT hash FROM state_roots WHERE number = ?1",
            params![root],
        )?;
        let mut row =
            row.ok_or_else(|| StorageError::Broken("a room's state is missing".to_owned()))?;
        let hash = NodeHash(row.take(0)?);
        let unsaved = std::collections::HashMap::new();
        let (cache, marks) = (&self.cache, &mut self.marks);
        state_trie::visit_new(
            self.last_root,
            hash,
            &mut |hashes: &[NodeHash]| -> Result<Vec<Arc<[u8]>>, StorageError> {
                cache.load(sql, &unsaved, hashes)
            },
            &mut |node| marks.set_node(node),
        )
        .map_err(trie_failed)?;
        self.last_root = hash;
        Ok(())
    }
}

fn sweep_roots(
    sql: &mut dyn Sql,
    marks: Box<Marks>,
    mut after: i64,
) -> Result<(Step, Stage), StorageError> {
    let rows = sql.query(
        "SELECT number FROM state_roots WHERE number > ?1 AND sweep < ?2 \
         ORDER BY number LIMIT ?3",
        params![after, marks.sweep, ROWS_READ],
    )?;
    if rows.is_empty() {
        return Ok((Step::Looked, Stage::Nodes(marks, NodeHash::EMPTY)));
    }
    let mut numbers = Vec::new();
    for mut row in rows {
        after = row.take(0)?;
        if !marks.has_root(after) {
            numbers.push(after);
            if numbers.len() == ROWS_WRITTEN_MAX {
                break;
            }
        }
    }
    let step = if numbers.is_empty() {
        Step::Looked
    } else {
        let sweep = marks.sweep;
        Step::Write(Upkeep::DropRoots { sweep, numbers })
    };
    Ok((step, Stage::Roots(marks, after)))
}

fn sweep_nodes(
    sql: &mut dyn Sql,
    marks: Box<Marks>,
    mut after: NodeHash,
) -> Result<(Step, Stage), StorageError> {
    let rows = sql.query(
        "SELECT hash FROM state_nodes WHERE hash > ?1 AND sweep < ?2 ORDER BY hash LIMIT ?3",
        params![&after.0, marks.sweep, ROWS_READ],
    )?;
    if rows.is_empty() {
        let removals = marks.removals;
        return Ok((Step::Write(Upkeep::End { removals }), Stage::Ended));
    }
    let mut hashes = Vec::new();
    for mut row in rows {
        after = NodeHash(row.take(0)?);
        if !marks.has_node(after) {
            hashes.push(after);
            if hashes.len() == ROWS_WRITTEN_MAX {
                break;
            }
        }
    }
    let step = if hashes.is_empty() {
        Step::Looked
    } else {
        let sweep = marks.sweep;
        Step::Write(Upkeep::DropNodes { sweep, hashes })
    };
    Ok((step, Stage::Nodes(marks, after)))
}

impl Marks {
    fn set_root(&mut self, number: i64) {
        let (word, bit) = place_of(number);
        if let Some(word) = self.roots.get_mut(word) {
            *word |= bit;
        }
    }

    fn has_root(&self, number: i64) -> bool {
        let (word, bit) = place_of(number);
        self.roots.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set_node(&mut self, hash: NodeHash) {
        for (word, bit) in self.places_of(hash) {
            self.nodes[word] |= bit;
        }
    }

    /// Whether the node was marked. Some others seem so, and wait for a later sweep.
    fn has_node(&self, hash: NodeHash) -> bool {
        self.places_of(hash)
            .iter()
            .all(|(word, bit)| self.nodes[*word] & bit != 0)
    }

    /// Each quarter of a hash gives one bit.
    fn places_of(&self, hash: NodeHash) -> [(usize, u64); 4] {
        let bits = self.nodes.len() as u64 * 64;
        let quarter = |index: usize| {
            let bytes = &hash.0[4 * index..4 * index + 4];
            let number = bytes
                .iter()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            let place = number % bits;
            ((place / 64) as usize, 1 << (place % 64))
        };
        [quarter(0), quarter(1), quarter(2), quarter(3)]
    }
}

fn place_of(number: i64) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}
