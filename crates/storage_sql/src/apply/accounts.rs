//! What changes about accounts do.

use lyceum_model::{
    AccessToken, AccountChange, Device, Presence, PresenceState, Receipt, ReceiptKind, Timestamp,
    User,
};
use lyceum_storage::StorageError;
use ruma_common::{DeviceId, UserId};

use super::Apply;
use crate::{ledger::RoomEntry, sql::params, transaction_key::bucket_of};

/// How long a transaction is remembered at least.
const TRANSACTION_KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a token is remembered after its end: its client then learns that it may be renewed.
const ENDED_TOKEN_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The stored number of a presence state.
pub(crate) fn presence_code(state: PresenceState) -> i64 {
    match state {
        PresenceState::Online => 0,
        PresenceState::Unavailable => 1,
        PresenceState::Offline => 2,
    }
}

/// The stored number of a receipt kind, in the order of kinds.
pub(crate) fn receipt_code(kind: ReceiptKind) -> i64 {
    match kind {
        ReceiptKind::Read => 0,
        ReceiptKind::ReadPrivate => 1,
    }
}

/// How a receipt's thread is stored: nothing, or the thread after a mark; in the same order.
pub(crate) fn thread_text(thread: Option<&str>) -> String {
    thread.map_or_else(String::new, |thread| format!("={thread}"))
}

impl Apply<'_> {
    pub(super) fn account(&mut self, change: &AccountChange) -> Result<(), StorageError> {
        match change {
            AccountChange::PutUser(user) => self.put_user(user),
            AccountChange::ProfileField {
                user_id,
                key,
                value,
            } => self.profile_field(user_id, key, value.as_deref()),
            AccountChange::PutDevice(device) => self.put_device(device),
            AccountChange::DeviceSeen {
                user_id,
                device_id,
                at,
                ip,
                user_agent,
            } => self.run(user_id, |user| {
                (
                    "UPDATE devices SET last_seen = ?3, last_seen_ip = ?4, user_agent = ?5 \
                         WHERE who = ?1 AND device_id = ?2",
                    vec![
                        user.into(),
                        device_id.into(),
                        (*at).into(),
                        ip.as_ref().into(),
                        user_agent.as_ref().into(),
                    ],
                )
            }),
            AccountChange::RemoveDevice { user_id, device_id } => {
                self.remove_device(user_id, device_id)
            }
            AccountChange::PutToken(token) => self.put_token(token),
            AccountChange::RemoveToken(hash) => {
                self.sql
                    .execute("DELETE FROM tokens WHERE hash = ?1", params![hash])?;
                Ok(())
            }
            AccountChange::RemoveDeviceTokens { user_id, device_id } => self.run(user_id, |user| {
                (REMOVE_DEVICE_TOKENS, vec![user.into(), device_id.into()])
            }),
            AccountChange::PutTicket(ticket) => {
                self.sql.execute(
                    "INSERT INTO tickets (kind, key, data, expires) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (kind, key) DO UPDATE SET data = excluded.data, \
                     expires = excluded.expires",
                    params![
                        ticket.kind.code(),
                        &ticket.key,
                        &ticket.data,
                        ticket.expires
                    ],
                )?;
                Ok(())
            }
            AccountChange::RemoveTicket(kind, key) => {
                self.sql.execute(
                    "DELETE FROM tickets WHERE kind = ?1 AND key = ?2",
                    params![kind.code(), key],
                )?;
                Ok(())
            }
            AccountChange::Expire(now) => self.expire(*now),
            AccountChange::AccountData {
                user_id,
                room_id,
                kind,
                content,
            } => {
                let user = self.ledger.user(self.sql, user_id)?;
                let room = match room_id {
                    Some(room_id) => self.room_number(room_id)?,
                    None => 0,
                };
                self.sql.execute(
                    "INSERT INTO account_data (who, room, kind, content, position) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (who, room, kind) DO UPDATE SET \
                     content = excluded.content, position = excluded.position",
                    params![user, room, kind, content.as_ref(), self.position],
                )?;
                Ok(())
            }
            AccountChange::PutFilter {
                user_id,
                filter_id,
                json,
            } => {
                let user = self.ledger.user(self.sql, user_id)?;
                self.sql.execute(
                    "INSERT INTO filters (who, filter_id, json) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (who, filter_id) DO UPDATE SET json = excluded.json",
                    params![user, filter_id, json],
                )?;
                Ok(())
            }
            AccountChange::PutReceipt(receipt) => self.put_receipt(receipt),
            AccountChange::PutUnread(counts) => {
                let user = self.ledger.user(self.sql, &counts.user_id)?;
                let room = self.room_number(&counts.room_id)?;
                self.sql.execute(
                    "INSERT INTO unread (who, room, json) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (who, room) DO UPDATE SET json = excluded.json",
                    params![user, room, &counts.json],
                )?;
                Ok(())
            }
            AccountChange::PutPresence(presence) => self.put_presence(presence),
            AccountChange::PutRegistrationToken(token) => {
                self.sql.execute(
                    "INSERT INTO registration_tokens \
                     (token, uses_allowed, pending, completed, expires) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (token) DO UPDATE SET \
                     uses_allowed = excluded.uses_allowed, pending = excluded.pending, \
                     completed = excluded.completed, expires = excluded.expires",
                    params![
                        &token.token,
                        token.uses_allowed,
                        token.pending,
                        token.completed,
                        token.expires
                    ],
                )?;
                Ok(())
            }
            AccountChange::RemoveRegistrationToken(token) => {
                self.sql.execute(
                    "DELETE FROM registration_tokens WHERE token = ?1",
                    params![token],
                )?;
                Ok(())
            }
            AccountChange::PutThreepid(threepid) => {
                let user = self.ledger.user(self.sql, &threepid.user_id)?;
                self.sql.execute(
                    "INSERT INTO threepids (medium, address, who, added, validated) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (medium, address) DO UPDATE SET \
                     who = excluded.who, added = excluded.added, validated = excluded.validated",
                    params![
                        &threepid.medium,
                        &threepid.address,
                        user,
                        threepid.added,
                        threepid.validated
                    ],
                )?;
                Ok(())
            }
            AccountChange::RemoveThreepid { medium, address } => {
                self.sql.execute(
                    "DELETE FROM threepids WHERE medium = ?1 AND address = ?2",
                    params![medium, address],
                )?;
                Ok(())
            }
            AccountChange::EraseUserData(user_id) => self.erase(user_id),
            AccountChange::PutDeviceKeys(_)
            | AccountChange::AddOneTimeKeys { .. }
            | AccountChange::TakeOneTimeKey { .. }
            | AccountChange::PutFallbackKeys { .. }
            | AccountChange::FallbackKeyUsed { .. }
            | AccountChange::PutCrossSigningKey(_)
            | AccountChange::PutSignature(_)
            | AccountChange::DeviceListChanged(_)
            | AccountChange::KeysChangedFor { .. }
            | AccountChange::SendToDevice(_)
            | AccountChange::ToDeviceReceived { .. }
            | AccountChange::PutBackup(_)
            | AccountChange::RemoveBackup { .. }
            | AccountChange::PutBackupSessions { .. }
            | AccountChange::RemoveBackupSessions { .. } => self.encryption(change),
        }
    }

    /// Runs a statement about a user, if they have a number at all.
    pub(super) fn run<'p>(
        &mut self,
        user_id: &UserId,
        statement: impl FnOnce(i64) -> (&'static str, Vec<crate::sql::Param<'p>>),
    ) -> Result<(), StorageError> {
        if let Some(user) = self.ledger.find_user(self.sql, user_id)? {
            let (sql, values) = statement(user);
            self.sql.execute(sql, &values)?;
        }
        Ok(())
    }

    fn put_user(&mut self, user: &User) -> Result<(), StorageError> {
        let number = self.ledger.user(self.sql, &user.user_id)?;
        self.sql.execute(
            "INSERT INTO accounts (who, password_hash, created, is_admin, is_deactivated, \
             is_erased, is_locked, is_suspended, is_shadow_banned, kind, application_service, \
             origin, id_folded) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
             ON CONFLICT (who) DO UPDATE SET password_hash = excluded.password_hash, \
             created = excluded.created, is_admin = excluded.is_admin, \
             is_deactivated = excluded.is_deactivated, is_erased = excluded.is_erased, \
             is_locked = excluded.is_locked, is_suspended = excluded.is_suspended, \
             is_shadow_banned = excluded.is_shadow_banned, kind = excluded.kind, \
             application_service = excluded.application_service, origin = excluded.origin",
            params![
                number,
                user.password_hash.as_ref(),
                user.created,
                user.is_admin,
                user.is_deactivated,
                user.is_erased,
                user.is_locked,
                user.is_suspended,
                user.is_shadow_banned,
                user.kind.as_ref(),
                user.application_service.as_ref(),
                &user.origin,
                &user.user_id.as_str().to_lowercase()
            ],
        )?;
        Ok(())
    }

    fn profile_field(
        &mut self,
        user_id: &UserId,
        field: &str,
        value: Option<&str>,
    ) -> Result<(), StorageError> {
        let Some(value) = value else {
            return self.run(user_id, |user| {
                (
                    "DELETE FROM profiles WHERE who = ?1 AND field = ?2",
                    vec![user.into(), field.into()],
                )
            });
        };
        let user = self.ledger.user(self.sql, user_id)?;
        // The display name is also searched for, in any case.
        let folded = (field == "displayname")
            .then(|| serde_json::from_str::<String>(value).ok())
            .flatten()
            .map(|name| name.to_lowercase());
        self.sql.execute(
            "INSERT INTO profiles (who, field, value, folded) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (who, field) DO UPDATE SET value = excluded.value, \
             folded = excluded.folded",
            params![user, field, value, folded.as_ref()],
        )?;
        Ok(())
    }

    fn put_device(&mut self, device: &Device) -> Result<(), StorageError> {
        let user = self.ledger.user(self.sql, &device.user_id)?;
        self.sql.execute(
            "INSERT INTO devices (who, device_id, display_name, created, last_seen, \
             last_seen_ip, user_agent) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT (who, device_id) DO UPDATE SET display_name = excluded.display_name, \
             created = excluded.created, last_seen = excluded.last_seen, \
             last_seen_ip = excluded.last_seen_ip, user_agent = excluded.user_agent",
            params![
                user,
                &device.device_id,
                device.display_name.as_ref(),
                device.created,
                device.last_seen,
                device.last_seen_ip.as_ref(),
                device.user_agent.as_ref()
            ],
        )?;
        Ok(())
    }

    fn remove_device(
        &mut self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), StorageError> {
        let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
            return Ok(());
        };
        for sql in [
            REMOVE_DEVICE_TOKENS,
            "DELETE FROM devices WHERE who = ?1 AND device_id = ?2",
            "DELETE FROM device_keys WHERE who = ?1 AND device_id = ?2",
            "DELETE FROM one_time_keys WHERE who = ?1 AND device_id = ?2",
            "DELETE FROM taken_keys WHERE who = ?1 AND device_id = ?2",
            "DELETE FROM fallback_keys WHERE who = ?1 AND device_id = ?2",
            "DELETE FROM to_device WHERE who = ?1 AND device_id = ?2",
            "DELETE FROM signatures WHERE target = ?1 AND target_key = ?2",
        ] {
            self.sql.execute(sql, params![user, device_id])?;
        }
        Ok(())
    }

    fn put_token(&mut self, token: &AccessToken) -> Result<(), StorageError> {
        let user = self.ledger.user(self.sql, &token.user_id)?;
        self.sql.execute(
            "INSERT INTO tokens (hash, kind, who, device_id, expires, puppeted_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (hash) DO UPDATE SET \
             kind = excluded.kind, who = excluded.who, device_id = excluded.device_id, \
             expires = excluded.expires, puppeted_by = excluded.puppeted_by",
            params![
                &token.hash,
                token.kind.code(),
                user,
                token.device_id.as_ref(),
                token.expires,
                token.puppeted_by.as_ref()
            ],
        )?;
        Ok(())
    }

    fn expire(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.flush()?;
        let ended = Timestamp(now.0.saturating_sub(ENDED_TOKEN_KEPT_MS));
        self.sql
            .execute("DELETE FROM tickets WHERE expires < ?1", params![now])?;
        self.sql
            .execute("DELETE FROM tokens WHERE expires < ?1", params![ended])?;
        let oldest = Timestamp(now.0.saturating_sub(TRANSACTION_KEPT_MS));
        self.sql.execute(
            "DELETE FROM transactions WHERE bucket <= ?1 AND at < ?2",
            params![bucket_of(oldest), oldest],
        )?;
        self.ledger.transactions.clear();
        Ok(())
    }

    fn put_receipt(&mut self, receipt: &Receipt) -> Result<(), StorageError> {
        let Some(RoomEntry {
            number,
            row: Some(_),
        }) = self.find_room(&receipt.room_id)?
        else {
            return Ok(());
        };
        let room = *number;
        let user = self.ledger.user(self.sql, &receipt.user_id)?;
        self.sql.execute(
            "INSERT INTO receipts (room, who, kind, thread, event, at, position) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (room, who, kind, thread) \
             DO UPDATE SET event = excluded.event, at = excluded.at, \
             position = excluded.position",
            params![
                room,
                user,
                receipt_code(receipt.kind),
                &thread_text(receipt.thread.as_deref()),
                &receipt.event_id,
                receipt.at,
                self.position
            ],
        )?;
        Ok(())
    }

    fn put_presence(&mut self, presence: &Presence) -> Result<(), StorageError> {
        let user = self.ledger.user(self.sql, &presence.user_id)?;
        self.sql.execute(
            "INSERT INTO presence (who, state, status, last_active, position) \
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (who) DO UPDATE SET \
             state = excluded.state, status = excluded.status, \
             last_active = excluded.last_active, position = excluded.position",
            params![
                user,
                presence_code(presence.state),
                presence.status.as_ref(),
                presence.last_active,
                self.position
            ],
        )?;
        Ok(())
    }

    /// Everything goes but the record, the devices with their tokens and messages, and what
    /// storage must keep to be right: the number of the newest backup, the newest change of the
    /// device list, what the user did in rooms.
    fn erase(&mut self, user_id: &UserId) -> Result<(), StorageError> {
        let Some(user) = self.ledger.find_user(self.sql, user_id)? else {
            return Ok(());
        };
        for sql in [
            "DELETE FROM account_data WHERE who = ?1",
            "DELETE FROM filters WHERE who = ?1",
            "DELETE FROM unread WHERE who = ?1",
            "DELETE FROM profiles WHERE who = ?1",
            "DELETE FROM device_keys WHERE who = ?1",
            "DELETE FROM one_time_keys WHERE who = ?1",
            "DELETE FROM taken_keys WHERE who = ?1",
            "DELETE FROM fallback_keys WHERE who = ?1",
            "DELETE FROM cross_signing_keys WHERE who = ?1",
            "DELETE FROM signatures WHERE target = ?1 OR signer = ?1",
            "DELETE FROM backup_sessions WHERE who = ?1",
            "UPDATE backups SET is_removed = 1, count = 0 WHERE who = ?1",
            "DELETE FROM threepids WHERE who = ?1",
            "DELETE FROM presence WHERE who = ?1",
            "DELETE FROM receipts WHERE who = ?1",
        ] {
            self.sql.execute(sql, params![user])?;
        }
        Ok(())
    }
}

const REMOVE_DEVICE_TOKENS: &str = "DELETE FROM tokens WHERE who = ?1 AND device_id = ?2";
