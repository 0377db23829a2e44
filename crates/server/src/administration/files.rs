//! Uploaded files as admins see them: lists, quarantine, deletion.

use std::collections::{BTreeMap, BTreeSet};

use lyceum_model::{Batch, MatrixError, Media, MediaChange, MediaId, Position, Seq, Timestamp};
use lyceum_storage::{
    CommitError, Direction, MediaPage, RoomPage, StorageError, TimelinePage, UserPage,
    UserSelection,
};
use ruma_common::{OwnedUserId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AdministrationError, journal::Journal};
use crate::Server;

/// How many files, users or rooms are asked for at a time.
const PAGE: usize = 1_000;
/// How many events are read at a time.
const CHUNK: usize = 256;
/// How many events of a room are looked at.
const LOOKED_AT_MAX: usize = 1_000_000;
/// How many changes a page has.
const CHANGES_PAGE: usize = 100;

const QUARANTINE_CHANGES: Journal = Journal {
    key: "admin.quarantine_changes",
    entries_max: 10_000,
};

/// A file went into quarantine, or came out of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuarantineChange {
    /// The file's server.
    pub origin: String,
    /// Its id there.
    pub media_id: String,
    /// Whether it is kept from being seen now.
    pub quarantined: bool,
}

/// Which files are to be deleted.
#[derive(Debug, Clone, Copy)]
pub struct OldFiles {
    /// Last used before this.
    pub before: Timestamp,
    /// Larger than this.
    pub size_gt: u64,
    /// Pictures of users and rooms stay.
    pub keep_profiles: bool,
}

impl Server {
    /// All files, of one uploader if that is given, in the order of their ids. Promised ones that
    /// have not come are left out.
    pub async fn files_of(&self, uploader: Option<&UserId>) -> Result<Vec<Media>, StorageError> {
        let mut files: Vec<Media> = Vec::new();
        let mut after = None;
        loop {
            let page = MediaPage {
                uploader: uploader.map(ToOwned::to_owned),
                after: after.take(),
                limit: PAGE,
            };
            let found = self.store.media_list(page).await?;
            after = found.last().map(|media| media.id.clone());
            let is_last = found.len() < PAGE;
            files.extend(found.into_iter().filter(|media| media.sha256.is_some()));
            if is_last {
                return Ok(files);
            }
        }
    }

    /// The files that unencrypted events of a room name: here, and at other servers.
    pub async fn files_of_room(
        &self,
        room_id: &RoomId,
    ) -> Result<(Vec<MediaId>, Vec<MediaId>), StorageError> {
        let mut found = BTreeSet::new();
        let mut from = Seq(i64::MAX);
        let mut looked_at = 0;
        loop {
            let page = TimelinePage {
                room_id: room_id.to_owned(),
                from,
                until: None,
                up_to: Position(u64::MAX >> 1),
                direction: Direction::Backward,
                limit: CHUNK,
            };
            let chunk = self.store.timeline(page).await?;
            for stored in &chunk {
                from = stored.seq.unwrap_or(from);
                if let Ok(content) = serde_json::from_str::<Value>(stored.event.content.get()) {
                    let thumbnail = &content["info"]["thumbnail_url"];
                    for text in [&content["url"], thumbnail]
                        .into_iter()
                        .filter_map(Value::as_str)
                    {
                        found.extend(media_id_of(text));
                    }
                }
            }
            looked_at += chunk.len();
            if chunk.len() < CHUNK || looked_at >= LOOKED_AT_MAX {
                break;
            }
        }
        let (local, remote) = found
            .into_iter()
            .partition(|id| id.server_name == self.config.server_name);
        Ok((local, remote))
    }

    /// Keeps files from being seen, with all others of the same bytes; how many were seen
    /// until now.
    pub async fn quarantine(
        &self,
        ids: &[MediaId],
        by: &UserId,
    ) -> Result<u64, AdministrationError> {
        let mut hashes = BTreeSet::new();
        for id in ids {
            if let Some(media) = self.store.media(id).await?
                && !media.is_safe_from_quarantine
            {
                hashes.extend(media.sha256);
            }
        }
        let mut count = 0;
        for media in self.files_of(None).await? {
            let is_same = media.sha256.is_some_and(|sha256| hashes.contains(&sha256));
            if is_same && !media.is_safe_from_quarantine && media.quarantined_by.is_none() {
                self.set_quarantine(media, Some(by.to_owned())).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Lets a file be seen again, with all others of the same bytes.
    pub async fn release(&self, id: &MediaId) -> Result<(), AdministrationError> {
        let Some(media) = self.store.media(id).await? else {
            return Ok(());
        };
        let same = match media.sha256 {
            Some(_) => self.files_of(None).await?,
            None => vec![media.clone()],
        };
        for other in same {
            if other.sha256 == media.sha256 && other.quarantined_by.is_some() {
                self.set_quarantine(other, None).await?;
            }
        }
        Ok(())
    }

    async fn set_quarantine(
        &self,
        media: Media,
        by: Option<OwnedUserId>,
    ) -> Result<(), AdministrationError> {
        let (id, quarantined) = (media.id.clone(), by.is_some());
        self.commit(MediaChange::Put(Media {
            quarantined_by: by,
            ..media
        }))
        .await?;
        self.note_quarantine(&id, quarantined).await?;
        Ok(())
    }

    /// Notes for admins that a file went into quarantine or came out of it.
    pub(crate) async fn note_quarantine(
        &self,
        id: &MediaId,
        quarantined: bool,
    ) -> Result<(), CommitError> {
        let change = QuarantineChange {
            origin: id.server_name.to_string(),
            media_id: id.media_id.clone(),
            quarantined,
        };
        QUARANTINE_CHANGES.append(self, &change).await?;
        Ok(())
    }

    /// Changes of quarantine after a number, oldest first, and the number to go on from; `None` if
    /// there never was a change of that number.
    pub async fn quarantine_changes(
        &self,
        after: u64,
    ) -> Result<Option<(Vec<QuarantineChange>, u64)>, StorageError> {
        let mut next = after;
        let mut changes = Vec::new();
        let (numbers, newest) = QUARANTINE_CHANGES.numbers(self).await?;
        if after > newest {
            return Ok(None);
        }
        for number in numbers {
            if number <= after || changes.len() >= CHANGES_PAGE {
                continue;
            }
            if let Some(change) = QUARANTINE_CHANGES.entry(self, number).await? {
                changes.push(change);
            }
            next = number;
        }
        Ok(Some((changes, next)))
    }

    /// Exempts a file from quarantine, or no longer; whether it is there.
    pub async fn protect_file(
        &self,
        media_id: &str,
        is_safe: bool,
    ) -> Result<bool, AdministrationError> {
        let id = self.local_media(media_id);
        let Some(media) = self.store.media(&id).await? else {
            return Ok(false);
        };
        self.commit(MediaChange::Put(Media {
            is_safe_from_quarantine: is_safe,
            ..media
        }))
        .await?;
        Ok(true)
    }

    /// A file of this server.
    pub fn local_media(&self, media_id: &str) -> MediaId {
        MediaId {
            server_name: self.config.server_name.clone(),
            media_id: media_id.to_owned(),
        }
    }

    /// Deletes files; bytes that another file shares stay. The ids of those that were there.
    pub async fn delete_files(&self, ids: &[MediaId]) -> Result<Vec<String>, AdministrationError> {
        let wanted: BTreeSet<&MediaId> = ids.iter().collect();
        let mut removed = Vec::new();
        for id in &wanted {
            if let Some(media) = self.store.media(id).await? {
                removed.push(media);
            }
        }
        if removed.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::new();
        for media in &removed {
            batch.push(MediaChange::Remove(media.id.clone()));
        }
        self.commit(batch).await?;
        let _bytes = self.removing_bytes().await;
        let mut orphans: BTreeSet<[u8; 32]> =
            removed.iter().filter_map(|media| media.sha256).collect();
        let hashes: Vec<[u8; 32]> = orphans.iter().copied().collect();
        for named in self.store.named_bytes(&hashes).await? {
            orphans.remove(&named);
        }
        for sha256 in orphans {
            if let Err(error) = self.media.remove(&sha256).await {
                tracing::error!(%error, "the bytes of a deleted file could not be removed");
                let why = "The server could not remove the file's bytes";
                return Err(MatrixError::internal(why).into());
            }
        }
        Ok(removed.into_iter().map(|media| media.id.media_id).collect())
    }

    /// Deletes files that nobody used for long.
    pub async fn delete_old_files(
        &self,
        which: OldFiles,
    ) -> Result<Vec<String>, AdministrationError> {
        let in_use = if which.keep_profiles {
            self.pictures().await?
        } else {
            BTreeSet::new()
        };
        let files = self.files_of(None).await?;
        let ids: Vec<MediaId> = files
            .into_iter()
            .filter(|media| {
                let used = media.last_access.unwrap_or(media.created);
                media.id.server_name == self.config.server_name
                    && used < which.before
                    && media.size > which.size_gt
                    && !media.is_safe_from_quarantine
                    && media.quarantined_by.is_none()
                    && !in_use.contains(&media.id)
            })
            .map(|media| media.id)
            .collect();
        self.delete_files(&ids).await
    }

    /// The pictures of users and rooms.
    async fn pictures(&self) -> Result<BTreeSet<MediaId>, StorageError> {
        let mut pictures = BTreeSet::new();
        let mut after = None;
        loop {
            let page = UserPage {
                selection: UserSelection {
                    with_deactivated: true,
                    ..UserSelection::default()
                },
                after: after.take(),
                limit: PAGE,
            };
            let users = self.store.users(page).await?;
            let ids: Vec<OwnedUserId> = users.into_iter().map(|user| user.user_id).collect();
            for fields in self.store.profiles(&ids).await?.values() {
                let url = super::people::text_of(fields, "avatar_url");
                pictures.extend(url.as_deref().and_then(media_id_of));
            }
            if ids.len() < PAGE {
                break;
            }
            after = ids.last().cloned();
        }
        let mut after = None;
        loop {
            let page = RoomPage {
                after: after.take(),
                only_published: false,
                limit: PAGE,
            };
            let rooms = self.store.rooms(page).await?;
            for summary in &rooms {
                if let Some(room) = self.rooms.room(&summary.room_id).await? {
                    pictures.extend(room.avatar_url().as_deref().and_then(media_id_of));
                }
            }
            if rooms.len() < PAGE {
                return Ok(pictures);
            }
            after = rooms.last().map(|room| room.room_id.clone());
        }
    }

    /// How many files each user uploaded in a time, and how many bytes.
    pub async fn media_usage(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<BTreeMap<OwnedUserId, (u64, u64)>, StorageError> {
        let mut usage: BTreeMap<OwnedUserId, (u64, u64)> = BTreeMap::new();
        for media in self.files_of(None).await? {
            let is_in_time = from.is_none_or(|from| media.created >= from)
                && until.is_none_or(|until| media.created <= until);
            if let Some(uploader) = media.uploader.filter(|_| is_in_time) {
                let (count, bytes) = usage.entry(uploader).or_default();
                *count += 1;
                *bytes += media.size;
            }
        }
        Ok(usage)
    }

    /// About how many bytes each room takes in the database, by its newest events; the largest
    /// first, at most `limit`.
    pub async fn largest_rooms(&self, limit: usize) -> Result<Vec<(String, u64)>, StorageError> {
        let mut sizes = Vec::new();
        for line in self.room_lines().await? {
            let page = TimelinePage {
                room_id: line.room_id.clone(),
                from: Seq(i64::MAX),
                until: None,
                up_to: Position(u64::MAX >> 1),
                direction: Direction::Backward,
                limit: CHUNK,
            };
            let newest = self.store.timeline(page).await?;
            let bytes: usize = newest.iter().map(|stored| stored.event.json.len()).sum();
            let count = newest
                .first()
                .and_then(|stored| stored.seq)
                .unwrap_or_default()
                .0;
            let mean = bytes as u64 / newest.len().max(1) as u64;
            sizes.push((line.room_id.to_string(), mean * count.max(0) as u64));
        }
        sizes.sort_by(|(a, a_size), (b, b_size)| b_size.cmp(a_size).then_with(|| a.cmp(b)));
        sizes.truncate(limit);
        Ok(sizes)
    }
}

/// The file of an `mxc:` address.
fn media_id_of(uri: &str) -> Option<MediaId> {
    let (server_name, media_id) = uri.strip_prefix("mxc://")?.split_once('/')?;
    let is_plain = !media_id.is_empty() && !media_id.contains('/');
    Some(MediaId {
        server_name: ServerName::parse(server_name).ok().filter(|_| is_plain)?,
        media_id: media_id.to_owned(),
    })
}
