//! What a batch does to the database.
//!
//! The facts it expects are checked first, before anything is written or counted; a batch that
//! fails later is either a bug of whoever made it or a broken database, and the writer rolls the
//! whole transaction back. Rows of rooms, events and states are collected in the ledger and
//! written once a group; everything else is written at once.

mod accounts;
mod encryption;
mod expects;
mod group;
mod rooms;
mod state;
mod upkeep;

use std::sync::Arc;

use lyceum_model::{Appended, Batch, Change, Expect, MediaChange, Position};
use lyceum_storage::StorageError;

pub(crate) use state::{membership_of, trie_failed};
pub(crate) use upkeep::{EventRows, Upkeep};

use crate::{
    event_body::BodyCodec,
    ledger::Ledger,
    node_cache::NodeCache,
    sql::{Sql, params},
};

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) codec: BodyCodec,
    pub(crate) nodes: NodeCache,
}

/// A batch being applied.
pub(crate) struct Apply<'a> {
    pub(crate) sql: &'a mut dyn Sql,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) shared: &'a Shared,
    /// The position that the batch gets.
    position: Position,
    /// To-device messages of the batch so far.
    messages: u32,
}

/// How applying a batch ended, if nothing broke.
pub(crate) enum Applied {
    /// It is in the transaction.
    Done(Position, Vec<Appended>),
    /// It changed nothing, because this does not hold.
    Stale(Expect),
}

impl<'a> Apply<'a> {
    /// Applies a batch; `bodies` are the stored forms of the events that it appends or redacts,
    /// in their order.
    pub(crate) fn batch(
        sql: &'a mut dyn Sql,
        ledger: &'a mut Ledger,
        shared: &'a Shared,
        batch: &Batch,
        bodies: &[Arc<[u8]>],
    ) -> Result<Applied, StorageError> {
        let position = Position(ledger.counters.position.cast_unsigned() + 1);
        let mut apply = Self {
            sql,
            ledger,
            shared,
            position,
            messages: 0,
        };
        for expect in &batch.expects {
            if !apply.holds(expect)? {
                return Ok(Applied::Stale(expect.clone()));
            }
        }
        apply.ledger.counters.position += 1;
        let mut bodies = bodies.iter();
        let sent = batch.sent();
        let mut appended = Vec::new();
        for change in &batch.changes {
            match change {
                Change::Room(change) => apply.room(change, &mut bodies, &sent, &mut appended)?,
                Change::Account(change) => apply.account(change)?,
                Change::Media(change) => apply.media(change)?,
                Change::Setting { key, value } => apply.setting(key, value.as_deref())?,
            }
        }
        Ok(Applied::Done(position, appended))
    }

    fn media(&mut self, change: &MediaChange) -> Result<(), StorageError> {
        match change {
            MediaChange::Put(media) => {
                let uploader = match &media.uploader {
                    Some(user_id) => Some(self.ledger.user(self.sql, user_id)?),
                    None => None,
                };
                self.sql.execute(
                    "INSERT INTO media (server_name, media_id, uploader, created, sha256, size, \
                     content_type, file_name, upload_until, last_access, quarantined_by, is_safe) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
                     ON CONFLICT (server_name, media_id) DO UPDATE SET \
                     uploader = excluded.uploader, created = excluded.created, \
                     sha256 = excluded.sha256, size = excluded.size, \
                     content_type = excluded.content_type, file_name = excluded.file_name, \
                     upload_until = excluded.upload_until, last_access = excluded.last_access, \
                     quarantined_by = excluded.quarantined_by, is_safe = excluded.is_safe",
                    params![
                        &media.id.server_name,
                        &media.id.media_id,
                        uploader,
                        media.created,
                        media.sha256.as_ref(),
                        media.size,
                        media.content_type.as_ref(),
                        media.file_name.as_ref(),
                        media.upload_until,
                        media.last_access,
                        media.quarantined_by.as_ref(),
                        media.is_safe_from_quarantine,
                    ],
                )?;
            }
            MediaChange::Remove(id) => {
                self.sql.execute(
                    "DELETE FROM media WHERE server_name = ?1 AND media_id = ?2",
                    params![&id.server_name, &id.media_id],
                )?;
            }
            MediaChange::Accessed(id, at) => {
                self.sql.execute(
                    "UPDATE media SET last_access = ?3 WHERE server_name = ?1 AND media_id = ?2",
                    params![&id.server_name, &id.media_id, *at],
                )?;
            }
        }
        Ok(())
    }

    fn setting(&mut self, key: &str, value: Option<&str>) -> Result<(), StorageError> {
        match value {
            Some(value) => self.sql.execute(
                "INSERT INTO settings (key, value) VALUES (?1, ?2) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                params![key, value],
            )?,
            None => self
                .sql
                .execute("DELETE FROM settings WHERE key = ?1", params![key])?,
        };
        Ok(())
    }
}
