//! Answers about accounts, encryption and files.

use std::collections::{BTreeMap, BTreeSet};

use lyceum_model::{
    AccountDataEntry, BackupSession, BackupVersion, Media, OneTimeKey, Position, Presence,
    Timestamp, ToDevice, User,
};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, RoomId, UserId};

use super::data::Data;
use crate::{ClaimableKey, KeyCounts, MediaPage, UserSelection};

impl Data {
    pub(super) fn users_selected(
        &self,
        selection: &UserSelection,
        after: Option<&UserId>,
        limit: usize,
    ) -> Vec<User> {
        let part = selection
            .name_contains
            .as_ref()
            .map(|part| part.to_lowercase());
        let is_named = |user: &User| {
            let Some(part) = &part else { return true };
            user.user_id.as_str().to_lowercase().contains(part)
                || self
                    .display_name(&user.user_id)
                    .to_lowercase()
                    .contains(part)
        };
        self.users
            .values()
            .filter(|user| {
                after.is_none_or(|after| *user.user_id > *after)
                    && (selection.with_deactivated || !user.is_deactivated)
                    && selection
                        .is_admin
                        .is_none_or(|is_admin| user.is_admin == is_admin)
                    && selection
                        .is_locked
                        .is_none_or(|is_locked| user.is_locked == is_locked)
                    && is_named(user)
            })
            .take(limit)
            .cloned()
            .collect()
    }

    /// Empty if the user has none, or one that is not a JSON string.
    fn display_name(&self, user_id: &UserId) -> String {
        let name = self
            .profiles
            .get(&(user_id.to_owned(), "displayname".to_owned()));
        name.and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default()
    }

    pub(super) fn profiles_of(
        &self,
        user_ids: &[OwnedUserId],
    ) -> BTreeMap<OwnedUserId, BTreeMap<String, String>> {
        let mut profiles = BTreeMap::<_, BTreeMap<_, _>>::new();
        for ((user_id, key), value) in &self.profiles {
            if user_ids.contains(user_id) {
                profiles
                    .entry(user_id.clone())
                    .or_default()
                    .insert(key.clone(), value.clone());
            }
        }
        profiles
    }

    pub(super) fn account_data_between(
        &self,
        user_id: &UserId,
        from: Position,
        to: Position,
    ) -> Vec<AccountDataEntry> {
        self.account_data
            .iter()
            .filter(|((of, ..), entry)| {
                of == user_id
                    && from < entry.position
                    && entry.position <= to
                    && (entry.content.is_some() || from > Position(0))
            })
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    pub(super) fn presence_between(
        &self,
        from: Position,
        to: Position,
        limit: usize,
    ) -> Vec<Presence> {
        let mut found: Vec<Presence> = self
            .presence
            .values()
            .filter(|presence| from < presence.position && presence.position <= to)
            .cloned()
            .collect();
        found.sort_by_key(|presence| presence.position);
        found.truncate(limit);
        found
    }

    pub(super) fn key_counts(&self, user_id: &UserId, device_id: &DeviceId) -> KeyCounts {
        let is_meant = |of: &(OwnedUserId, OwnedDeviceId)| of.0 == user_id && of.1 == device_id;
        let mut counts = KeyCounts::default();
        for ((device, _), (_, key)) in &self.one_time_keys {
            if is_meant(device) {
                *counts
                    .one_time
                    .entry(key.algorithm().to_owned())
                    .or_default() += 1;
            }
        }
        for ((device, algorithm), (_, is_used)) in &self.fallback_keys {
            if is_meant(device) && !is_used {
                counts.unused_fallback.push(algorithm.clone());
            }
        }
        counts
    }

    pub(super) fn one_time_keys_named(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        key_ids: &[String],
    ) -> Vec<OneTimeKey> {
        self.one_time_keys
            .iter()
            .filter(|((of, key_id), _)| {
                of.0 == user_id && of.1 == device_id && key_ids.contains(key_id)
            })
            .map(|(_, (_, key))| key.clone())
            .collect()
    }

    pub(super) fn claimable_key(
        &self,
        (user_id, device_id, algorithm): &(OwnedUserId, OwnedDeviceId, String),
    ) -> Option<ClaimableKey> {
        let device = (user_id.clone(), device_id.clone());
        let oldest = self
            .one_time_keys
            .iter()
            .filter(|((of, _), (_, key))| *of == device && key.algorithm() == algorithm)
            .min_by_key(|((_, key_id), (position, _))| (*position, key_id.clone()));
        if let Some((_, (_, key))) = oldest {
            return Some(ClaimableKey {
                key: key.clone(),
                is_fallback: false,
            });
        }
        let (key, _) = self.fallback_keys.get(&(device, algorithm.clone()))?;
        Some(ClaimableKey {
            key: key.clone(),
            is_fallback: true,
        })
    }

    pub(super) fn device_list_changes(
        &self,
        viewer: &UserId,
        from: Position,
        to: Position,
    ) -> Vec<OwnedUserId> {
        let for_all = self.device_lists.iter();
        let for_viewer = self.keys_for.iter().filter(|((of, _), _)| of == viewer);
        let for_viewer = for_viewer.map(|((_, user_id), at)| (user_id, at));
        let changed = for_all.chain(for_viewer);
        let changed = changed.filter(|(_, at)| from < **at && **at <= to);
        let changed: BTreeSet<&OwnedUserId> = changed.map(|(user_id, _)| user_id).collect();
        changed.into_iter().cloned().collect()
    }

    pub(super) fn to_device_waiting(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        to: Position,
        limit: usize,
    ) -> Vec<ToDevice> {
        self.to_device
            .values()
            .filter(|message| {
                message.user_id == user_id
                    && message.device_id == device_id
                    && message.position <= to
            })
            .take(limit)
            .cloned()
            .collect()
    }

    pub(super) fn backup(&self, user_id: &UserId, version: Option<u64>) -> Option<BackupVersion> {
        let mut backups = self
            .backups
            .values()
            .filter(|of| of.version.user_id == user_id);
        let backup = match version {
            Some(version) => backups.find(|backup| backup.version.version == version),
            None => backups.next_back(),
        }?;
        Some(BackupVersion {
            count: backup.sessions.len() as u64,
            ..backup.version.clone()
        })
    }

    pub(super) fn backup_sessions(
        &self,
        user_id: &UserId,
        version: u64,
        room_id: Option<&RoomId>,
        session_id: Option<&str>,
    ) -> Vec<BackupSession> {
        let Some(backup) = self.backups.get(&(user_id.to_owned(), version)) else {
            return Vec::new();
        };
        backup
            .sessions
            .values()
            .filter(|session| {
                room_id.is_none_or(|id| session.room_id == id)
                    && session_id.is_none_or(|id| session.session_id == id)
            })
            .cloned()
            .collect()
    }

    pub(super) fn named_bytes(&self, hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
        let named: BTreeSet<[u8; 32]> = self
            .media
            .values()
            .filter_map(|media| media.sha256)
            .filter(|sha256| hashes.contains(sha256))
            .collect();
        named.into_iter().collect()
    }

    pub(super) fn quarantine_of(&self, sha256: &[u8; 32]) -> Option<OwnedUserId> {
        let same = self
            .media
            .values()
            .filter(|media| media.sha256.as_ref() == Some(sha256));
        same.filter_map(|media| media.quarantined_by.clone()).min()
    }

    pub(super) fn media_selected(&self, page: &MediaPage) -> Vec<Media> {
        self.media
            .values()
            .filter(|media| {
                page.after.as_ref().is_none_or(|after| media.id > *after)
                    && page
                        .uploader
                        .as_ref()
                        .is_none_or(|of| media.uploader.as_ref() == Some(of))
            })
            .take(page.limit)
            .cloned()
            .collect()
    }

    pub(super) fn pending_uploads(&self, user_id: &UserId, now: Timestamp) -> u64 {
        let pending = self.media.values().filter(|media| {
            media.uploader.as_deref() == Some(user_id)
                && media.sha256.is_none()
                && media.upload_until.is_some_and(|until| until >= now)
        });
        pending.count() as u64
    }
}
