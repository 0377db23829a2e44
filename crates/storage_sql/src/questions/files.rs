//! Answers about files and settings.

use lyceum_model::{Media, MediaId, Timestamp};
use lyceum_storage::{MediaPage, StorageError};
use ruma_common::{OwnedUserId, UserId};

use crate::{
    event_rows::ROWS_MAX,
    sql::{Param, Row, Sql, params},
};

macro_rules! media_columns {
    () => {
        "m.server_name, m.media_id, u.user_id, m.created, m.sha256, m.size, m.content_type, \
         m.file_name, m.upload_until, m.last_access, m.quarantined_by, m.is_safe \
         FROM media m LEFT JOIN users u ON u.number = m.uploader "
    };
}

fn to_media(mut row: Row) -> Result<Media, StorageError> {
    Ok(Media {
        id: MediaId {
            server_name: row.take(0)?,
            media_id: row.take(1)?,
        },
        uploader: row.take(2)?,
        created: row.take(3)?,
        sha256: row.take(4)?,
        size: row.take(5)?,
        content_type: row.take(6)?,
        file_name: row.take(7)?,
        upload_until: row.take(8)?,
        last_access: row.take(9)?,
        quarantined_by: row.take(10)?,
        is_safe_from_quarantine: row.take(11)?,
    })
}

pub(crate) fn media(sql: &mut dyn Sql, id: &MediaId) -> Result<Option<Media>, StorageError> {
    let row = sql.first(
        concat!(
            "SELECT ",
            media_columns!(),
            "WHERE m.server_name = ?1 AND m.media_id = ?2"
        ),
        params![&id.server_name, &id.media_id],
    )?;
    row.map(to_media).transpose()
}

pub(crate) fn media_list(sql: &mut dyn Sql, page: &MediaPage) -> Result<Vec<Media>, StorageError> {
    let (server_name, media_id) = match &page.after {
        Some(after) => (after.server_name.as_str(), after.media_id.as_str()),
        None => ("", ""),
    };
    let rows = match &page.uploader {
        Some(uploader) => sql.query(
            concat!(
                "SELECT ",
                media_columns!(),
                "WHERE m.uploader = (SELECT number FROM users WHERE user_id = ?4) \
                 AND (m.server_name, m.media_id) > (?1, ?2) \
                 ORDER BY m.server_name, m.media_id LIMIT ?3"
            ),
            params![server_name, media_id, page.limit, uploader],
        )?,
        None => sql.query(
            concat!(
                "SELECT ",
                media_columns!(),
                "WHERE (m.server_name, m.media_id) > (?1, ?2) \
                 ORDER BY m.server_name, m.media_id LIMIT ?3"
            ),
            params![server_name, media_id, page.limit],
        )?,
    };
    rows.into_iter().map(to_media).collect()
}

pub(crate) fn named_bytes(
    sql: &mut dyn Sql,
    hashes: &[[u8; 32]],
) -> Result<Vec<[u8; 32]>, StorageError> {
    let mut named = Vec::new();
    for hashes in hashes.chunks(ROWS_MAX) {
        let names: Vec<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
        let rows = sql.query(
            "SELECT DISTINCT sha256 FROM media WHERE sha256 IN (?1[x])",
            &[Param::Blobs(&names)],
        )?;
        for mut row in rows {
            named.push(row.take(0)?);
        }
    }
    named.sort_unstable();
    named.dedup();
    Ok(named)
}

pub(crate) fn quarantine_of(
    sql: &mut dyn Sql,
    sha256: &[u8; 32],
) -> Result<Option<OwnedUserId>, StorageError> {
    let row = sql.first(
        "SELECT MIN(quarantined_by) FROM media WHERE sha256 = ?1",
        params![sha256],
    )?;
    match row {
        Some(mut row) => row.take(0),
        None => Ok(None),
    }
}

pub(crate) fn pending_uploads(
    sql: &mut dyn Sql,
    user_id: &UserId,
    now: Timestamp,
) -> Result<u64, StorageError> {
    let count = sql.number(
        "SELECT COUNT(*) FROM media \
         WHERE uploader = (SELECT number FROM users WHERE user_id = ?1) \
         AND sha256 IS NULL AND upload_until >= ?2",
        params![user_id, now],
    )?;
    Ok(count.cast_unsigned())
}

pub(crate) fn setting(sql: &mut dyn Sql, key: &str) -> Result<Option<String>, StorageError> {
    let row = sql.first("SELECT value FROM settings WHERE key = ?1", params![key])?;
    row.map(|mut row| row.take(0)).transpose()
}
