//! Whether the facts hold on which a decision rested.

use lyceum_model::{Expect, Position};
use lyceum_storage::StorageError;
use ruma_common::UserId;

use super::Apply;
use crate::{
    questions::accounts,
    sql::{Param, params},
    transaction_key::{buckets, key_of},
};

impl Apply<'_> {
    pub(super) fn holds(&mut self, expect: &Expect) -> Result<bool, StorageError> {
        match expect {
            Expect::RoomRevision(room_id, revision) => {
                let room = self
                    .find_room(room_id)?
                    .and_then(|entry| entry.row.as_ref());
                Ok(room.map_or(0, |room| room.revision) == *revision)
            }
            Expect::RoomHeads(room_id, heads) => {
                let room = self
                    .find_room(room_id)?
                    .and_then(|entry| entry.row.as_ref());
                Ok(room.is_some_and(|room| room.heads.iter().map(|head| &head.event_id).eq(heads)))
            }
            Expect::UserAbsent(user_id) => {
                Ok(!self.of_user(user_id, "SELECT 1 FROM accounts WHERE who = ?1", None)?)
            }
            Expect::UserExists(user_id) => {
                self.of_user(user_id, "SELECT 1 FROM accounts WHERE who = ?1", None)
            }
            Expect::UserIs(user) => {
                // Users made in this group are not written yet.
                self.flush()?;
                Ok(accounts::user(self.sql, &user.user_id)?.as_ref() == Some(&**user))
            }
            Expect::AccountData(user_id, room_id, kind, position) => {
                let user = self.ledger.find_user(self.sql, user_id)?;
                let room = match room_id {
                    Some(room_id) => self.find_room(room_id)?.map(|entry| entry.number),
                    None => Some(0),
                };
                let (Some(user), Some(room)) = (user, room) else {
                    return Ok(position.is_none());
                };
                let row = self.sql.first(
                    "SELECT position FROM account_data WHERE who = ?1 AND room = ?2 \
                     AND kind = ?3 AND content IS NOT NULL",
                    params![user, room, kind],
                )?;
                let set: Option<Position> = match row {
                    Some(mut row) => Some(row.take(0)?),
                    None => None,
                };
                Ok(set == *position)
            }
            Expect::AliasAbsent(alias) => Ok(!self
                .sql
                .exists("SELECT 1 FROM aliases WHERE alias = ?1", params![alias])?),
            Expect::TransactionAbsent(id) => Ok(!self.has_happened(&key_of(id))?),
            Expect::TicketExists(kind, key) => self.sql.exists(
                "SELECT 1 FROM tickets WHERE kind = ?1 AND key = ?2",
                params![kind.code(), key],
            ),
            Expect::OneTimeKeyExists(user_id, device_id, key_id) => {
                let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
                    return Ok(false);
                };
                self.sql.exists(
                    "SELECT 1 FROM one_time_keys \
                     WHERE who = ?1 AND device_id = ?2 AND algorithm = ?3 AND key_id = ?4",
                    params![
                        user,
                        device_id,
                        super::encryption::algorithm_of(key_id),
                        key_id
                    ],
                )
            }
            Expect::DeviceExists(user_id, device_id) => self.of_user(
                user_id,
                "SELECT 1 FROM devices WHERE who = ?1 AND device_id = ?2",
                Some(device_id.as_str()),
            ),
            Expect::TokenExists(hash) => self
                .sql
                .exists("SELECT 1 FROM tokens WHERE hash = ?1", params![hash]),
            Expect::ThreepidAbsent(medium, address) => Ok(!self.sql.exists(
                "SELECT 1 FROM threepids WHERE medium = ?1 AND address = ?2",
                params![medium, address],
            )?),
            Expect::MediaPending(id) => self.sql.exists(
                "SELECT 1 FROM media \
                 WHERE server_name = ?1 AND media_id = ?2 AND sha256 IS NULL",
                params![&id.server_name, &id.media_id],
            ),
            Expect::MediaAbsent(id) => Ok(!self.sql.exists(
                "SELECT 1 FROM media WHERE server_name = ?1 AND media_id = ?2",
                params![&id.server_name, &id.media_id],
            )?),
            Expect::NewestBackup(user_id, version) => {
                let newest = match self.ledger.find_user(self.sql, user_id)? {
                    Some(user) => self.sql.first(
                        "SELECT version FROM backups WHERE who = ?1 AND is_removed = 0 \
                         ORDER BY version DESC LIMIT 1",
                        params![user],
                    )?,
                    None => None,
                };
                let newest: Option<u64> = match newest {
                    Some(mut row) => Some(row.take(0)?),
                    None => None,
                };
                Ok(newest == *version)
            }
            Expect::BackupEtag(user_id, version, etag) => {
                let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
                    return Ok(false);
                };
                self.sql.exists(
                    "SELECT 1 FROM backups WHERE who = ?1 AND version = ?2 AND etag = ?3 \
                     AND is_removed = 0",
                    params![user, *version, etag.cast_signed()],
                )
            }
            Expect::RegistrationTokenUsed(token, completed) => self.sql.exists(
                "SELECT 1 FROM registration_tokens WHERE token = ?1 AND completed = ?2",
                params![token, *completed],
            ),
            Expect::Setting(key, value) => {
                let row = self
                    .sql
                    .first("SELECT value FROM settings WHERE key = ?1", params![key])?;
                let present: Option<String> = match row {
                    Some(mut row) => Some(row.take(0)?),
                    None => None,
                };
                Ok(present == *value)
            }
        }
    }

    /// Whether there is a row of this user, and of this name if one is given.
    fn of_user(
        &mut self,
        user_id: &UserId,
        sql: &'static str,
        name: Option<&str>,
    ) -> Result<bool, StorageError> {
        let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
            return Ok(false);
        };
        match name {
            Some(name) => self.sql.exists(sql, params![user, name]),
            None => self.sql.exists(sql, params![user]),
        }
    }

    pub(super) fn has_happened(&mut self, key: &[u8; 16]) -> Result<bool, StorageError> {
        if let Some(has_happened) = self.ledger.transactions.get(key) {
            return Ok(*has_happened);
        }
        let has_happened = self.sql.exists(
            concat!(
                buckets!(),
                "SELECT 1 FROM buckets b JOIN transactions t ON t.bucket = b.bucket \
                 WHERE t.key = ?1"
            ),
            &[Param::Blob(key)],
        )?;
        self.ledger.transactions.insert(*key, has_happened);
        Ok(has_happened)
    }
}
