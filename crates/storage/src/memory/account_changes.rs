//! What changes about accounts do.

use lyceum_model::{
    AccountChange, AccountDataEntry, BackupVersion, Presence, Receipt, Timestamp, ToDevice,
};
use ruma_common::{DeviceId, UserId};

use super::data::{Backup, Data, retain, set};
use crate::fingerprint;

/// How long a transaction is remembered at least.
const TRANSACTION_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// How long a token is remembered after its end: its client then learns that it may be renewed.
const ENDED_TOKEN_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;

impl Data {
    pub(super) fn change_account(&mut self, change: &AccountChange) {
        let position = self.position;
        match change.clone() {
            AccountChange::PutUser(user) => {
                self.users.insert(user.user_id.clone(), user);
            }
            AccountChange::ProfileField {
                user_id,
                key,
                value,
            } => {
                set(&mut self.profiles, (user_id, key), value);
            }
            AccountChange::PutDevice(device) => {
                self.devices
                    .insert((device.user_id.clone(), device.device_id.clone()), device);
            }
            AccountChange::DeviceSeen {
                user_id,
                device_id,
                at,
                ip,
                user_agent,
            } => {
                if let Some(device) = self.devices.get_mut(&(user_id, device_id)) {
                    device.last_seen = Some(at);
                    device.last_seen_ip = ip;
                    device.user_agent = user_agent;
                }
            }
            AccountChange::RemoveDevice { user_id, device_id } => {
                self.remove_device(&user_id, &device_id);
            }
            AccountChange::PutToken(token) => {
                self.tokens.insert(token.hash, token);
            }
            AccountChange::RemoveToken(hash) => {
                self.tokens.remove(&hash);
            }
            AccountChange::RemoveDeviceTokens { user_id, device_id } => {
                self.remove_tokens(&user_id, &device_id);
            }
            AccountChange::PutTicket(ticket) => {
                self.tickets
                    .insert((ticket.kind, ticket.key.clone()), ticket);
            }
            AccountChange::RemoveTicket(kind, key) => {
                self.tickets.remove(&(kind, key));
            }
            AccountChange::Expire(now) => self.expire(now),
            AccountChange::AccountData {
                user_id,
                room_id,
                kind,
                content,
            } => {
                let name = (user_id, room_id.clone(), kind.clone());
                let entry = AccountDataEntry {
                    room_id,
                    kind,
                    content,
                    position,
                };
                self.account_data.insert(name, entry);
            }
            AccountChange::PutFilter {
                user_id,
                filter_id,
                json,
            } => {
                self.filters.insert((user_id, filter_id), json);
            }
            AccountChange::PutDeviceKeys(keys) => {
                self.device_keys
                    .insert((keys.user_id.clone(), keys.device_id.clone()), keys);
            }
            AccountChange::AddOneTimeKeys {
                user_id,
                device_id,
                keys,
            } => {
                let device = (user_id, device_id);
                for key in keys {
                    let taken = (device.clone(), fingerprint(&key));
                    if !self.taken_keys.contains_key(&taken) {
                        let name = (device.clone(), key.key_id.clone());
                        self.one_time_keys.entry(name).or_insert((position, key));
                    }
                }
            }
            AccountChange::TakeOneTimeKey {
                user_id,
                device_id,
                key_id,
            } => {
                let device = (user_id, device_id);
                let taken = self.one_time_keys.remove(&(device.clone(), key_id));
                if let Some((_, key)) = taken {
                    self.taken_keys.insert((device, fingerprint(&key)), ());
                }
            }
            AccountChange::PutFallbackKeys {
                user_id,
                device_id,
                keys,
            } => {
                let device = (user_id, device_id);
                for key in keys {
                    let name = (device.clone(), key.algorithm().to_owned());
                    let known = self.fallback_keys.get(&name);
                    if known.is_none_or(|(known, _)| *known != key) {
                        self.fallback_keys.insert(name, (key, false));
                    }
                }
            }
            AccountChange::FallbackKeyUsed {
                user_id,
                device_id,
                key_id,
            } => {
                let algorithm = key_id.split(':').next().unwrap_or_default().to_owned();
                let key = self
                    .fallback_keys
                    .get_mut(&((user_id, device_id), algorithm));
                if let Some((key, is_used)) = key
                    && key.key_id == key_id
                {
                    *is_used = true;
                }
            }
            AccountChange::PutCrossSigningKey(key) => {
                self.cross_signing_keys
                    .insert((key.user_id.clone(), key.usage), key);
            }
            AccountChange::PutSignature(of) => {
                let target = (of.target.clone(), of.target_key.clone());
                let signer = (of.signer.clone(), of.signer_key_id.clone());
                self.signatures
                    .insert((target.0, target.1, signer.0, signer.1), of);
            }
            AccountChange::DeviceListChanged(user_id) => {
                self.device_lists.insert(user_id, position);
            }
            AccountChange::KeysChangedFor { viewer, user_id } => {
                self.keys_for.insert((viewer, user_id), position);
            }
            AccountChange::SendToDevice(message) => {
                let index = self.messages;
                self.messages += 1;
                let device = (message.user_id.clone(), message.device_id.clone());
                let message = ToDevice {
                    position,
                    index,
                    ..message
                };
                self.to_device.insert((device, position, index), message);
            }
            AccountChange::ToDeviceReceived {
                user_id,
                device_id,
                to,
            } => {
                let device = (user_id, device_id);
                retain(&mut self.to_device, |(of, at, _), _| {
                    *of != device || *at > to
                });
            }
            AccountChange::PutBackup(version) => self.put_backup(version),
            AccountChange::RemoveBackup { user_id, version } => {
                self.backups.remove(&(user_id, version));
            }
            AccountChange::PutBackupSessions {
                user_id,
                version,
                sessions,
                etag,
            } => {
                if let Some(backup) = self.backups.get_mut(&(user_id, version)) {
                    for session in sessions {
                        let name = (session.room_id.clone(), session.session_id.clone());
                        backup.sessions.insert(name, session);
                    }
                    backup.version.etag = etag;
                }
            }
            AccountChange::RemoveBackupSessions {
                user_id,
                version,
                room_id,
                session_id,
                etag,
            } => {
                if let Some(backup) = self.backups.get_mut(&(user_id, version)) {
                    retain(&mut backup.sessions, |(room, session), _| {
                        room_id.as_ref().is_some_and(|id| id != room)
                            || session_id.as_ref().is_some_and(|id| id != session)
                    });
                    backup.version.etag = etag;
                }
            }
            AccountChange::PutReceipt(receipt) => {
                if let Some(room) = self.rooms.get_mut(&receipt.room_id) {
                    let name = (
                        receipt.user_id.clone(),
                        receipt.kind,
                        receipt.thread.clone(),
                    );
                    room.receipts.insert(
                        name,
                        Receipt {
                            position,
                            ..receipt
                        },
                    );
                }
            }
            AccountChange::PutUnread(counts) => {
                self.unread
                    .insert((counts.user_id.clone(), counts.room_id.clone()), counts);
            }
            AccountChange::PutPresence(presence) => {
                let presence = Presence {
                    position,
                    ..presence
                };
                self.presence.insert(presence.user_id.clone(), presence);
            }
            AccountChange::PutRegistrationToken(token) => {
                self.registration_tokens.insert(token.token.clone(), token);
            }
            AccountChange::RemoveRegistrationToken(token) => {
                self.registration_tokens.remove(&token);
            }
            AccountChange::PutThreepid(of) => {
                self.threepids
                    .insert((of.medium.clone(), of.address.clone()), of);
            }
            AccountChange::RemoveThreepid { medium, address } => {
                self.threepids.remove(&(medium, address));
            }
            AccountChange::EraseUserData(user_id) => self.erase(&user_id),
        }
    }

    /// A device goes, with its tokens, its identity, one-time and fallback keys, the messages
    /// that wait for it and the signatures over its identity key.
    fn remove_device(&mut self, user_id: &UserId, device_id: &DeviceId) {
        let device = (user_id.to_owned(), device_id.to_owned());
        self.remove_tokens(user_id, device_id);
        self.devices.remove(&device);
        self.device_keys.remove(&device);
        retain(&mut self.one_time_keys, |(of, _), _| *of != device);
        retain(&mut self.taken_keys, |(of, _), _| *of != device);
        retain(&mut self.fallback_keys, |(of, _), _| *of != device);
        retain(&mut self.to_device, |(of, ..), _| *of != device);
        retain(&mut self.signatures, |_, of| {
            of.target != user_id || of.target_key != device_id.as_str()
        });
    }

    fn remove_tokens(&mut self, user_id: &UserId, device_id: &DeviceId) {
        retain(&mut self.tokens, |_, token| {
            token.user_id != user_id || token.device_id.as_deref() != Some(device_id)
        });
    }

    fn expire(&mut self, now: Timestamp) {
        let oldest = Timestamp(now.0.saturating_sub(TRANSACTION_KEPT_MS));
        retain(&mut self.tickets, |_, ticket| ticket.expires >= now);
        let ended = Timestamp(now.0.saturating_sub(ENDED_TOKEN_KEPT_MS));
        retain(&mut self.tokens, |_, token| {
            token.expires.is_none_or(|expires| expires >= ended)
        });
        retain(&mut self.transactions, |_, (_, at)| *at >= oldest);
    }

    fn put_backup(&mut self, version: BackupVersion) {
        let number = self
            .backup_numbers
            .entry(version.user_id.clone())
            .or_default();
        *number = version.version.max(*number);
        let name = (version.user_id.clone(), version.version);
        let sessions = self.backups.remove(&name).map(|backup| backup.sessions);
        let sessions = sessions.unwrap_or_default();
        self.backups.insert(name, Backup { version, sessions });
    }

    /// Everything goes but the record, the devices with their tokens and messages (the shell
    /// removes those one by one), what storage must keep to be right (the number of the newest
    /// backup, the newest change of the device list), and what the user did in rooms.
    fn erase(&mut self, user_id: &UserId) {
        retain(&mut self.account_data, |(of, ..), _| of != user_id);
        retain(&mut self.filters, |(of, _), _| of != user_id);
        retain(&mut self.unread, |(of, _), _| of != user_id);
        retain(&mut self.profiles, |(of, _), _| of != user_id);
        retain(&mut self.device_keys, |(of, _), _| of != user_id);
        retain(&mut self.one_time_keys, |((of, _), _), _| of != user_id);
        retain(&mut self.taken_keys, |((of, _), _), _| of != user_id);
        retain(&mut self.fallback_keys, |((of, _), _), _| of != user_id);
        retain(&mut self.cross_signing_keys, |(of, _), _| of != user_id);
        retain(&mut self.signatures, |_, of| {
            of.target != user_id && of.signer != user_id
        });
        retain(&mut self.backups, |(of, _), _| of != user_id);
        retain(&mut self.threepids, |_, of| of.user_id != user_id);
        self.presence.remove(user_id);
        let room_ids: Vec<_> = self.rooms.keys().cloned().collect();
        for room_id in room_ids {
            if let Some(room) = self.rooms.get_mut(&room_id) {
                retain(&mut room.receipts, |(of, ..), _| of != user_id);
            }
        }
    }
}
