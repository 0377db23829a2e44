//! Random changes to accounts.

use lyceum_model::{
    AccessToken, AccountChange, BackupSession, BackupVersion, Batch, CrossSigningKey,
    CrossSigningUsage, Device, DeviceKeys, KeySignature, OneTimeKey, Position, Presence,
    PresenceState, Receipt, ReceiptKind, RegistrationToken, Threepid, Ticket, Timestamp, ToDevice,
    TokenKind, UnreadCounts, User,
};

use super::{
    chance::Chance,
    world::{
        TICKETS, TOKENS, World, addresses, devices, event_id, key_ids, kinds, secrets, sessions,
        threads, users,
    },
};

/// The kinds of account changes made here.
const KINDS: usize = 45;

impl World {
    pub(super) fn change_account(&mut self, batch: &mut Batch, chance: &mut Chance) {
        let at = Timestamp(self.now);
        let number = chance.below(self.backups.len());
        let user_id = users()[number].clone();
        let other = chance.pick(&users()).clone();
        // Few have keys and messages, so that these meet.
        let keyed = users()[number % 3].clone();
        let device_id = devices()[chance.below(5) % 3].clone();
        let room_id = chance.pick(&self.rooms).room_id.clone();
        let json = format!("{{\"n\":\"{}\"}}", chance.base64(8, false));
        batch.push(match chance.below(KINDS) {
            0..=2 => AccountChange::PutUser(User {
                user_id,
                password_hash: chance.one_in(2).then(|| "$argon2id$v=19$x".to_owned()),
                created: at,
                is_admin: chance.one_in(3),
                is_deactivated: chance.one_in(4),
                is_erased: chance.one_in(6),
                is_locked: chance.one_in(6),
                is_suspended: chance.one_in(6),
                is_shadow_banned: chance.one_in(6),
                kind: chance.one_in(4).then(|| "bot".to_owned()),
                application_service: chance.one_in(4).then(|| "irc".to_owned()),
                origin: "registration".to_owned(),
            }),
            3..=4 => AccountChange::ProfileField {
                user_id,
                key: "displayname".to_owned(),
                value: (!chance.one_in(4)).then(|| {
                    let names = [
                        "\"Älice 100%\"",
                        "\"BOB\"",
                        "\"un_derscore\"",
                        "7",
                        "\"\\u00e4\"",
                    ];
                    (*chance.pick(&names)).to_owned()
                }),
            },
            5 => AccountChange::ProfileField {
                user_id,
                key: chance
                    .pick(&["avatar_url", "m.tz", "org.example.x"])
                    .to_string(),
                value: (!chance.one_in(3)).then_some(json),
            },
            6..=8 => AccountChange::PutDevice(Device {
                user_id,
                device_id,
                display_name: chance.one_in(2).then(|| "My phone".to_owned()),
                created: at,
                last_seen: chance.one_in(2).then_some(at),
                last_seen_ip: chance.one_in(2).then(|| "::1".to_owned()),
                user_agent: chance.one_in(2).then(|| "curl".to_owned()),
            }),
            9 => AccountChange::DeviceSeen {
                user_id,
                device_id,
                at,
                ip: chance.one_in(2).then(|| "127.0.0.1".to_owned()),
                user_agent: chance.one_in(2).then(|| "Element".to_owned()),
            },
            10 => AccountChange::RemoveDevice { user_id, device_id },
            11..=12 => AccountChange::PutToken(AccessToken {
                hash: [chance.below(TOKENS) as u8; 32],
                kind: *chance.pick(&[
                    TokenKind::Access,
                    TokenKind::Refresh,
                    TokenKind::Impersonation,
                    TokenKind::Provisioning,
                ]),
                user_id,
                device_id: (!chance.one_in(4)).then_some(device_id),
                expires: chance
                    .one_in(2)
                    .then(|| at.plus_ms(chance.below(9_000_000) as u64)),
                puppeted_by: chance.one_in(4).then_some(other),
            }),
            13 => AccountChange::RemoveToken([chance.below(TOKENS) as u8; 32]),
            14 => AccountChange::RemoveDeviceTokens { user_id, device_id },
            15 => AccountChange::PutTicket(Ticket {
                kind: *chance.pick(&TICKETS),
                key: chance.pick(&secrets()).clone(),
                data: json,
                expires: at.plus_ms(chance.below(9_000_000) as u64),
            }),
            16 => {
                AccountChange::RemoveTicket(*chance.pick(&TICKETS), chance.pick(&secrets()).clone())
            }
            17 => AccountChange::Expire(at),
            18..=20 => AccountChange::AccountData {
                user_id,
                room_id: chance.one_in(2).then_some(room_id),
                kind: chance.pick(&kinds()).clone(),
                content: (!chance.one_in(4)).then_some(json),
            },
            21 => AccountChange::PutFilter {
                user_id,
                filter_id: chance.pick(&secrets()).clone(),
                json,
            },
            22 => AccountChange::PutDeviceKeys(DeviceKeys {
                user_id,
                device_id,
                json,
            }),
            23..=24 => AccountChange::AddOneTimeKeys {
                user_id: keyed,
                device_id,
                keys: some_keys(chance, &json),
            },
            25 => AccountChange::TakeOneTimeKey {
                user_id: keyed,
                device_id,
                key_id: chance.pick(&key_ids()).clone(),
            },
            26 => {
                let mut keys = some_keys(chance, &json);
                keys.dedup_by(|a, b| a.algorithm() == b.algorithm());
                AccountChange::PutFallbackKeys {
                    user_id: keyed,
                    device_id,
                    keys,
                }
            }
            27 => AccountChange::FallbackKeyUsed {
                user_id: keyed,
                device_id,
                key_id: chance.pick(&key_ids()).clone(),
            },
            28 => AccountChange::PutCrossSigningKey(CrossSigningKey {
                user_id,
                usage: *chance.pick(&[
                    CrossSigningUsage::Master,
                    CrossSigningUsage::SelfSigning,
                    CrossSigningUsage::UserSigning,
                ]),
                json,
            }),
            29..=30 => AccountChange::PutSignature(KeySignature {
                signer: other,
                signer_key_id: chance
                    .pick(&["ed25519:PHONE", "ed25519:master"])
                    .to_string(),
                target: user_id,
                target_key: if chance.one_in(3) {
                    "master".into()
                } else {
                    device_id.to_string()
                },
                signature: chance.base64(86, false),
            }),
            31 => match chance.one_in(2) {
                true => AccountChange::DeviceListChanged(user_id),
                false => AccountChange::KeysChangedFor {
                    viewer: keyed,
                    user_id,
                },
            },
            32..=34 => {
                self.messages
                    .push((keyed.clone(), device_id.clone(), self.newest + 1));
                AccountChange::SendToDevice(ToDevice {
                    user_id: keyed,
                    device_id,
                    json,
                    position: Position(chance.below(5) as u64),
                    index: chance.below(3) as u32,
                })
            }
            35 => match self.messages.pop() {
                Some((user_id, device_id, to)) => AccountChange::ToDeviceReceived {
                    user_id,
                    device_id,
                    to: Position(to),
                },
                None => AccountChange::ToDeviceReceived {
                    user_id: keyed,
                    device_id,
                    to: Position(self.newest),
                },
            },
            36 => {
                let (there, highest) = &mut self.backups[number];
                let version = if !there.is_empty() && chance.one_in(2) {
                    *chance.pick(there)
                } else {
                    *highest += 1;
                    there.push(*highest);
                    *highest
                };
                AccountChange::PutBackup(BackupVersion {
                    user_id,
                    version,
                    algorithm: "m.megolm_backup.v1".to_owned(),
                    auth_data: json,
                    etag: chance.below(9) as u64,
                    count: 99,
                })
            }
            37 => {
                let version = chance.below(4) as u64;
                let (there, _) = &mut self.backups[number];
                there.retain(|of| *of != version);
                AccountChange::RemoveBackup { user_id, version }
            }
            38..=39 => AccountChange::PutBackupSessions {
                user_id,
                version: self.backups[number]
                    .1
                    .saturating_sub(chance.below(2) as u64),
                sessions: (0..1 + chance.below(3))
                    .map(|_| BackupSession {
                        room_id: chance.pick(&self.rooms).room_id.clone(),
                        session_id: chance.pick(&sessions()).clone(),
                        first_message_index: chance.below(1 << 32) as u64,
                        forwarded_count: chance.below(3) as u64,
                        is_verified: chance.one_in(2),
                        session_data: json.clone(),
                    })
                    .collect(),
                etag: chance.next() >> 16,
            },
            40 => AccountChange::RemoveBackupSessions {
                user_id,
                version: self.backups[number].1,
                room_id: (!chance.one_in(3)).then_some(room_id),
                session_id: chance.one_in(2).then(|| chance.pick(&sessions()).clone()),
                etag: chance.below(1 << 48) as u64,
            },
            41 => AccountChange::PutReceipt(Receipt {
                room_id,
                user_id,
                kind: *chance.pick(&[ReceiptKind::Read, ReceiptKind::ReadPrivate]),
                thread: chance.pick(&threads()).clone(),
                event_id: event_id(chance),
                at,
                position: Position(3),
            }),
            42 => AccountChange::PutUnread(UnreadCounts {
                user_id,
                room_id,
                json,
            }),
            43 => AccountChange::PutPresence(Presence {
                user_id,
                state: *chance.pick(&[
                    PresenceState::Online,
                    PresenceState::Unavailable,
                    PresenceState::Offline,
                ]),
                status: chance.one_in(2).then(|| "mal weg".to_owned()),
                last_active: at,
                position: Position(2),
            }),
            _ => match chance.below(6) {
                0..=1 => AccountChange::PutRegistrationToken(RegistrationToken {
                    token: chance.pick(&secrets()).clone(),
                    uses_allowed: chance.one_in(2).then_some(5),
                    pending: chance.below(2) as u64,
                    completed: chance.below(2) as u64,
                    expires: chance.one_in(2).then_some(at),
                }),
                2 => AccountChange::RemoveRegistrationToken(chance.pick(&secrets()).clone()),
                3 => AccountChange::PutThreepid(Threepid {
                    user_id,
                    medium: "email".to_owned(),
                    address: chance.pick(&addresses()).clone(),
                    added: at,
                    validated: at,
                }),
                4 => AccountChange::RemoveThreepid {
                    medium: "email".to_owned(),
                    address: chance.pick(&addresses()).clone(),
                },
                _ => {
                    self.backups[number].0.clear();
                    AccountChange::EraseUserData(user_id)
                }
            },
        });
    }
}

fn some_keys(chance: &mut Chance, json: &str) -> Vec<OneTimeKey> {
    let mut keys: Vec<OneTimeKey> = chance
        .some(&key_ids(), 2)
        .into_iter()
        .map(|key_id| OneTimeKey {
            key_id,
            json: json.to_owned(),
        })
        .collect();
    if chance.one_in(2) {
        keys.reverse();
    }
    keys
}
