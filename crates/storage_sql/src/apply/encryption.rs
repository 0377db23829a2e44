//! What changes about keys, messages to devices and backups do.

use std::collections::HashSet;

use lyceum_model::{AccountChange, BackupSession, BackupVersion, CrossSigningUsage, OneTimeKey};
use lyceum_storage::{StorageError, fingerprint};
use ruma_common::{DeviceId, RoomId, UserId};

use super::Apply;
use crate::sql::{Insert, params};

const DEVICE_KEYS: &str = "INSERT INTO device_keys (who, device_id, json) VALUES (?1, ?2, ?3) \
     ON CONFLICT (who, device_id) DO UPDATE SET json = excluded.json";
const ONE_TIME_KEYS: Insert = Insert {
    into: "one_time_keys (who, device_id, algorithm, position, key_id, json)",
    columns: 6,
    conflict: "ON CONFLICT (who, device_id, algorithm, position, key_id) DO NOTHING",
};

/// What stands before the colon of a key id.
pub(super) fn algorithm_of(key_id: &str) -> &str {
    key_id.split(':').next().unwrap_or_default()
}

/// The stored number of a usage, in the order of usages.
pub(crate) fn usage_code(usage: CrossSigningUsage) -> i64 {
    match usage {
        CrossSigningUsage::Master => 0,
        CrossSigningUsage::SelfSigning => 1,
        CrossSigningUsage::UserSigning => 2,
    }
}

impl Apply<'_> {
    /// `change` is one of those that the match names; others belong to `account`.
    pub(super) fn encryption(&mut self, change: &AccountChange) -> Result<(), StorageError> {
        match change {
            AccountChange::PutDeviceKeys(keys) => {
                let user = self.ledger.user(self.sql, &keys.user_id)?;
                self.sql
                    .execute(DEVICE_KEYS, params![user, &keys.device_id, &keys.json])?;
            }
            AccountChange::AddOneTimeKeys {
                user_id,
                device_id,
                keys,
            } => {
                self.add_one_time_keys(user_id, device_id, keys)?;
            }
            AccountChange::TakeOneTimeKey {
                user_id,
                device_id,
                key_id,
            } => {
                self.take_one_time_key(user_id, device_id, key_id)?;
            }
            AccountChange::PutFallbackKeys {
                user_id,
                device_id,
                keys,
            } => {
                let user = self.ledger.user(self.sql, user_id)?;
                for key in keys {
                    self.sql.execute(
                        "INSERT INTO fallback_keys \
                         (who, device_id, algorithm, key_id, json, is_used) \
                         VALUES (?1, ?2, ?3, ?4, ?5, 0) \
                         ON CONFLICT (who, device_id, algorithm) DO UPDATE SET \
                         key_id = excluded.key_id, json = excluded.json, is_used = 0 \
                         WHERE fallback_keys.key_id <> excluded.key_id \
                         OR fallback_keys.json <> excluded.json",
                        params![user, device_id, key.algorithm(), &key.key_id, &key.json],
                    )?;
                }
            }
            AccountChange::FallbackKeyUsed {
                user_id,
                device_id,
                key_id,
            } => {
                let algorithm = algorithm_of(key_id);
                self.run(user_id, |user| {
                    (
                        "UPDATE fallback_keys SET is_used = 1 \
                         WHERE who = ?1 AND device_id = ?2 AND algorithm = ?3 AND key_id = ?4",
                        vec![
                            user.into(),
                            device_id.into(),
                            algorithm.into(),
                            key_id.into(),
                        ],
                    )
                })?;
            }
            AccountChange::PutCrossSigningKey(key) => {
                let user = self.ledger.user(self.sql, &key.user_id)?;
                self.sql.execute(
                    "INSERT INTO cross_signing_keys (who, usage, json) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (who, usage) DO UPDATE SET json = excluded.json",
                    params![user, usage_code(key.usage), &key.json],
                )?;
            }
            AccountChange::PutSignature(of) => {
                let target = self.ledger.user(self.sql, &of.target)?;
                let signer = self.ledger.user(self.sql, &of.signer)?;
                self.sql.execute(
                    "INSERT INTO signatures \
                     (target, target_key, signer, signer_key_id, signature) \
                     VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT (target, target_key, signer, signer_key_id) DO UPDATE SET \
                     signature = excluded.signature",
                    params![
                        target,
                        &of.target_key,
                        signer,
                        &of.signer_key_id,
                        &of.signature
                    ],
                )?;
            }
            AccountChange::DeviceListChanged(user_id) => {
                let user = self.ledger.user(self.sql, user_id)?;
                self.sql.execute(
                    "INSERT INTO device_lists (who, position) VALUES (?1, ?2) \
                     ON CONFLICT (who) DO UPDATE SET position = excluded.position",
                    params![user, self.position],
                )?;
            }
            AccountChange::KeysChangedFor { viewer, user_id } => {
                let viewer = self.ledger.user(self.sql, viewer)?;
                let user = self.ledger.user(self.sql, user_id)?;
                self.sql.execute(
                    "INSERT INTO keys_for (viewer, who, position) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (viewer, who) DO UPDATE SET position = excluded.position",
                    params![viewer, user, self.position],
                )?;
            }
            AccountChange::SendToDevice(message) => {
                let user = self.ledger.user(self.sql, &message.user_id)?;
                self.sql.execute(
                    "INSERT INTO to_device (who, device_id, position, place, json) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        user,
                        &message.device_id,
                        self.position,
                        u64::from(self.messages),
                        &message.json
                    ],
                )?;
                self.messages += 1;
            }
            AccountChange::ToDeviceReceived {
                user_id,
                device_id,
                to,
            } => {
                self.run(user_id, |user| {
                    (
                        "DELETE FROM to_device \
                         WHERE who = ?1 AND device_id = ?2 AND position <= ?3",
                        vec![user.into(), device_id.into(), (*to).into()],
                    )
                })?;
            }
            AccountChange::PutBackup(version) => self.put_backup(version)?,
            AccountChange::RemoveBackup { user_id, version } => {
                let version = version.cast_signed();
                self.run(user_id, |user| {
                    (
                        "DELETE FROM backup_sessions WHERE who = ?1 AND version = ?2",
                        vec![user.into(), version.into()],
                    )
                })?;
                self.run(user_id, |user| {
                    (
                        "UPDATE backups SET is_removed = 1, count = 0 \
                         WHERE who = ?1 AND version = ?2",
                        vec![user.into(), version.into()],
                    )
                })?;
            }
            AccountChange::PutBackupSessions {
                user_id,
                version,
                sessions,
                etag,
            } => {
                self.put_backup_sessions(user_id, *version, sessions, *etag)?;
            }
            AccountChange::RemoveBackupSessions {
                user_id,
                version,
                room_id,
                session_id,
                etag,
            } => {
                self.remove_backup_sessions(
                    user_id,
                    *version,
                    room_id.as_deref(),
                    session_id.as_deref(),
                    *etag,
                )?;
            }
            _ => {
                return Err(StorageError::Broken(
                    "not a change of encryption".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// It goes, and is remembered, so that it does not come again.
    fn take_one_time_key(
        &mut self,
        user_id: &UserId,
        device_id: &DeviceId,
        key_id: &str,
    ) -> Result<(), StorageError> {
        let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
            return Ok(());
        };
        let taken = self.sql.query(
            "DELETE FROM one_time_keys \
             WHERE who = ?1 AND device_id = ?2 AND algorithm = ?3 AND key_id = ?4 \
             RETURNING json",
            params![user, device_id, algorithm_of(key_id), key_id],
        )?;
        for mut row in taken {
            let key = OneTimeKey {
                key_id: key_id.to_owned(),
                json: row.take(0)?,
            };
            self.sql.execute(
                "INSERT INTO taken_keys (who, device_id, fingerprint) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (who, device_id, fingerprint) DO NOTHING",
                params![user, device_id, fingerprint(&key)],
            )?;
        }
        Ok(())
    }

    /// Keys whose ids are there already are left alone, and so are those that were handed out.
    fn add_one_time_keys(
        &mut self,
        user_id: &UserId,
        device_id: &DeviceId,
        keys: &[OneTimeKey],
    ) -> Result<(), StorageError> {
        let user = self.ledger.user(self.sql, user_id)?;
        let ids: Vec<&str> = keys.iter().map(|key| key.key_id.as_str()).collect();
        let rows = self.sql.query(
            "SELECT key_id FROM one_time_keys \
             WHERE who = ?1 AND device_id = ?2 AND key_id IN (?3[])",
            params![user, device_id, &ids],
        )?;
        let mut present: HashSet<String> = rows
            .into_iter()
            .map(|mut row| row.take(0))
            .collect::<Result<_, _>>()?;
        let fingerprints: Vec<i64> = keys.iter().map(fingerprint).collect();
        let rows = self.sql.query(
            "SELECT fingerprint FROM taken_keys \
             WHERE who = ?1 AND device_id = ?2 AND fingerprint IN (?3[])",
            params![user, device_id, &fingerprints],
        )?;
        let taken: HashSet<i64> = rows
            .into_iter()
            .map(|mut row| row.take(0))
            .collect::<Result<_, _>>()?;
        let mut values = Vec::with_capacity(keys.len() * ONE_TIME_KEYS.columns);
        for (key, fingerprint) in keys.iter().zip(fingerprints) {
            if taken.contains(&fingerprint) {
                continue;
            }
            if present.insert(key.key_id.clone()) {
                values.extend_from_slice(params![
                    user,
                    device_id,
                    key.algorithm(),
                    self.position,
                    &key.key_id,
                    &key.json
                ]);
            }
        }
        self.sql.insert(&ONE_TIME_KEYS, &values)
    }

    fn put_backup(&mut self, backup: &BackupVersion) -> Result<(), StorageError> {
        let user = self.ledger.user(self.sql, &backup.user_id)?;
        self.sql.execute(
            "INSERT INTO backups (who, version, algorithm, auth_data, etag, count, is_removed) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 0) ON CONFLICT (who, version) DO UPDATE SET \
             algorithm = excluded.algorithm, auth_data = excluded.auth_data, \
             etag = excluded.etag, is_removed = 0",
            params![
                user,
                backup.version.cast_signed(),
                &backup.algorithm,
                &backup.auth_data,
                backup.etag.cast_signed()
            ],
        )?;
        Ok(())
    }

    /// The user's number, if this backup is there.
    fn backup(&mut self, user_id: &UserId, version: u64) -> Result<Option<i64>, StorageError> {
        let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
            return Ok(None);
        };
        let is_there = self.sql.exists(
            "SELECT 1 FROM backups WHERE who = ?1 AND version = ?2 AND is_removed = 0",
            params![user, version.cast_signed()],
        )?;
        Ok(is_there.then_some(user))
    }

    fn put_backup_sessions(
        &mut self,
        user_id: &UserId,
        version: u64,
        sessions: &[BackupSession],
        etag: u64,
    ) -> Result<(), StorageError> {
        let Some(user) = self.backup(user_id, version)? else {
            return Ok(());
        };
        let version = version.cast_signed();
        let mut added = 0;
        for session in sessions {
            let values = params![
                user,
                version,
                &session.room_id,
                &session.session_id,
                session.first_message_index.cast_signed(),
                session.forwarded_count.cast_signed(),
                session.is_verified,
                &session.session_data
            ];
            let updated = self.sql.execute(
                "UPDATE backup_sessions SET first_message_index = ?5, forwarded_count = ?6, \
                 is_verified = ?7, session_data = ?8 \
                 WHERE who = ?1 AND version = ?2 AND room = ?3 AND session_id = ?4",
                values,
            )?;
            if updated == 0 {
                self.sql.execute(
                    "INSERT INTO backup_sessions (who, version, room, session_id, \
                     first_message_index, forwarded_count, is_verified, session_data) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    values,
                )?;
                added += 1;
            }
        }
        self.backup_changed(user, version, etag, added)
    }

    fn remove_backup_sessions(
        &mut self,
        user_id: &UserId,
        version: u64,
        room_id: Option<&RoomId>,
        session_id: Option<&str>,
        etag: u64,
    ) -> Result<(), StorageError> {
        let Some(user) = self.backup(user_id, version)? else {
            return Ok(());
        };
        let version = version.cast_signed();
        let removed = self.sql.execute(
            "DELETE FROM backup_sessions WHERE who = ?1 AND version = ?2 \
             AND (CAST(?3 AS TEXT) IS NULL OR room = ?3) \
             AND (CAST(?4 AS TEXT) IS NULL OR session_id = ?4)",
            params![user, version, room_id, session_id],
        )?;
        self.backup_changed(user, version, etag, -removed.cast_signed())
    }

    fn backup_changed(
        &mut self,
        user: i64,
        version: i64,
        etag: u64,
        added: i64,
    ) -> Result<(), StorageError> {
        self.sql.execute(
            "UPDATE backups SET etag = ?3, count = count + ?4 WHERE who = ?1 AND version = ?2",
            params![user, version, etag.cast_signed(), added],
        )?;
        Ok(())
    }
}
