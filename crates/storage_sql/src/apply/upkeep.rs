//! What the writer does for the sweep, between batches: it takes rows away that nobody can see,
//! so it is no commit. See sweep.rs.

use lyceum_model::{Position, Seq};
use lyceum_storage::{StorageError, state_trie::NodeHash};
use ruma_common::EventId;

use super::{Apply, Shared};
use crate::{
    event_rows::hash_of,
    ledger::Ledger,
    sql::{Param, Sql, params},
};

/// A portion of the sweep's work that writes.
#[derive(Debug)]
pub(crate) enum Upkeep {
    /// A sweep of states begins: what is written from now on is not for it to take.
    Begin,
    /// Roots of states that nothing names, unless they were used since this sweep began.
    DropRoots { sweep: i64, numbers: Vec<i64> },
    /// Nodes that no root reaches, unless they were written again since this sweep began.
    DropNodes { sweep: i64, hashes: Vec<NodeHash> },
    /// Events of a purged room.
    DropEvents(EventRows),
    /// At most so many rows each of what users have in a purged room.
    DropStandings { room: i64, rows: i64 },
    /// Account data of users in a purged room.
    DropAccountData { room: i64, users: Vec<i64> },
    /// Of a purged room nothing is left.
    RoomIsGone(i64),
    /// The sweep that began after so many removals is done.
    End { removals: i64 },
}

/// Rows of events that are to go, all of one room.
#[derive(Debug, Default)]
pub(crate) struct EventRows {
    pub(crate) numbers: Vec<i64>,
    /// Hashes of the events to which they relate, and between which places that is.
    parents: Vec<i64>,
    seqs: Option<(i64, i64)>,
}

impl EventRows {
    /// One of them, at this place, relates to `parent`.
    pub(crate) fn relates(&mut self, parent: &EventId, seq: Seq) {
        self.parents.push(hash_of(parent));
        let (first, last) = self.seqs.unwrap_or((seq.0, seq.0));
        self.seqs = Some((first.min(seq.0), last.max(seq.0)));
    }
}

impl<'a> Apply<'a> {
    /// Does a portion.
    pub(crate) fn upkeep(
        sql: &'a mut dyn Sql,
        ledger: &'a mut Ledger,
        shared: &'a Shared,
        upkeep: &Upkeep,
    ) -> Result<(), StorageError> {
        let mut apply = Self {
            sql,
            ledger,
            shared,
            position: Position(0),
            messages: 0,
        };
        apply.do_upkeep(upkeep)
    }

    fn do_upkeep(&mut self, upkeep: &Upkeep) -> Result<(), StorageError> {
        match upkeep {
            Upkeep::Begin => {
                self.ledger.counters.sweep += 1;
                // Roots that are used from now on must be found to be marked.
                self.ledger.root_numbers.clear();
                self.ledger.root_hashes.clear();
            }
            Upkeep::DropRoots { sweep, numbers } => {
                self.sql.execute(
                    "DELETE FROM state_roots WHERE number IN (?1[]) AND sweep < ?2",
                    params![numbers, *sweep],
                )?;
            }
            Upkeep::DropNodes { sweep, hashes } => {
                let names: Vec<&[u8]> = hashes.iter().map(|hash| &hash.0[..]).collect();
                self.sql.execute(
                    "DELETE FROM state_nodes WHERE hash IN (?1[x]) AND sweep < ?2",
                    &[Param::Blobs(&names), Param::Int(*sweep)],
                )?;
            }
            Upkeep::DropEvents(rows) => self.drop_event_rows(rows)?,
            Upkeep::DropStandings { room, rows } => {
                for sql in [
                    "DELETE FROM memberships WHERE room = ?1 AND who IN \
                     (SELECT who FROM memberships WHERE room = ?1 ORDER BY who LIMIT ?2)",
                    "DELETE FROM unread WHERE room = ?1 AND who IN \
                     (SELECT who FROM unread WHERE room = ?1 ORDER BY who LIMIT ?2)",
                    "DELETE FROM receipts WHERE room = ?1 AND (who, kind, thread) IN \
                     (SELECT who, kind, thread FROM receipts WHERE room = ?1 \
                     ORDER BY who, kind, thread LIMIT ?2)",
                ] {
                    self.sql.execute(sql, params![*room, *rows])?;
                }
            }
            Upkeep::DropAccountData { room, users } => {
                self.sql.execute(
                    "DELETE FROM account_data WHERE room = ?1 AND who IN (?2[])",
                    params![*room, users],
                )?;
            }
            Upkeep::RoomIsGone(room) => {
                self.sql
                    .execute("DELETE FROM purged_rooms WHERE room = ?1", params![*room])?;
            }
            Upkeep::End { removals } => self.ledger.counters.removals_swept = *removals,
        }
        Ok(())
    }

    /// Takes rows of events away, with what hangs on them.
    pub(super) fn drop_event_rows(&mut self, rows: &EventRows) -> Result<(), StorageError> {
        if rows.numbers.is_empty() {
            return Ok(());
        }
        let numbers = &rows.numbers;
        if let Some((first, last)) = rows.seqs {
            self.sql.execute(
                "DELETE FROM relations WHERE parent IN (?1[]) AND seq >= ?2 AND seq <= ?3 \
                 AND number IN (?4[])",
                params![&rows.parents, first, last, numbers],
            )?;
        }
        self.sql.execute(
            "DELETE FROM redactions WHERE number IN (?1[])",
            params![numbers],
        )?;
        self.sql.execute(
            "DELETE FROM events WHERE number IN (?1[])",
            params![numbers],
        )?;
        Ok(())
    }
}
