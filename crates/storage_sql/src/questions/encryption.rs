//! Answers about keys, messages to devices and backups.

use std::collections::BTreeMap;

use lyceum_model::{
    BackupSession, BackupVersion, CrossSigningKey, CrossSigningUsage, DeviceKeys, KeySignature,
    OneTimeKey, Position, ToDevice,
};
use lyceum_storage::{ClaimableKey, KeyCounts, StorageError};
use ruma_common::{DeviceId, OwnedDeviceId, OwnedUserId, RoomId, UserId};

use super::accounts::of_users;
use crate::sql::{Row, Sql, params, texts};

pub(crate) fn device_keys(
    sql: &mut dyn Sql,
    user_ids: &[OwnedUserId],
) -> Result<Vec<DeviceKeys>, StorageError> {
    let rows = of_users(
        sql,
        "SELECT u.user_id, k.device_id, k.json FROM users u \
         JOIN device_keys k ON k.who = u.number WHERE u.user_id IN (?1[])",
        user_ids,
    )?;
    let mut keys = rows
        .into_iter()
        .map(|mut row| {
            Ok(DeviceKeys {
                user_id: row.take(0)?,
                device_id: row.take(1)?,
                json: row.take(2)?,
            })
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    keys.sort_by(|a, b| (&a.user_id, &a.device_id).cmp(&(&b.user_id, &b.device_id)));
    Ok(keys)
}

pub(crate) fn key_counts(
    sql: &mut dyn Sql,
    user_id: &UserId,
    device_id: &DeviceId,
) -> Result<KeyCounts, StorageError> {
    let mut counts = KeyCounts::default();
    let rows = sql.query(
        "SELECT k.algorithm, COUNT(*) FROM users u JOIN one_time_keys k ON k.who = u.number \
         WHERE u.user_id = ?1 AND k.device_id = ?2 GROUP BY k.algorithm",
        params![user_id, device_id],
    )?;
    for mut row in rows {
        counts.one_time.insert(row.take(0)?, row.take(1)?);
    }
    let rows = sql.query(
        "SELECT k.algorithm FROM users u JOIN fallback_keys k ON k.who = u.number \
         WHERE u.user_id = ?1 AND k.device_id = ?2 AND k.is_used = 0 ORDER BY k.algorithm",
        params![user_id, device_id],
    )?;
    for mut row in rows {
        counts.unused_fallback.push(row.take(0)?);
    }
    Ok(counts)
}

fn to_one_time_key(row: &mut Row) -> Result<OneTimeKey, StorageError> {
    Ok(OneTimeKey {
        key_id: row.take(0)?,
        json: row.take(1)?,
    })
}

pub(crate) fn one_time_keys(
    sql: &mut dyn Sql,
    user_id: &UserId,
    device_id: &DeviceId,
    key_ids: &[String],
) -> Result<Vec<OneTimeKey>, StorageError> {
    let rows = sql.query(
        "SELECT k.key_id, k.json FROM users u JOIN one_time_keys k ON k.who = u.number \
         WHERE u.user_id = ?1 AND k.device_id = ?2 AND k.key_id IN (?3[]) ORDER BY k.key_id",
        params![user_id, device_id, &texts(key_ids)],
    )?;
    rows.into_iter()
        .map(|mut row| to_one_time_key(&mut row))
        .collect()
}

pub(crate) fn claimable_keys(
    sql: &mut dyn Sql,
    wanted: &[(OwnedUserId, OwnedDeviceId, String)],
) -> Result<BTreeMap<(OwnedUserId, OwnedDeviceId, String), ClaimableKey>, StorageError> {
    let mut found = BTreeMap::new();
    for name in wanted {
        let (user_id, device_id, algorithm) = name;
        let values = params![user_id, device_id, algorithm];
        let oldest = sql.first(
            "SELECT k.key_id, k.json FROM users u JOIN one_time_keys k ON k.who = u.number \
             WHERE u.user_id = ?1 AND k.device_id = ?2 AND k.algorithm = ?3 \
             ORDER BY k.position, k.key_id LIMIT 1",
            values,
        )?;
        let (key, is_fallback) = match oldest {
            Some(row) => (Some(row), false),
            None => {
                let fallback = sql.first(
                    "SELECT k.key_id, k.json FROM users u \
                     JOIN fallback_keys k ON k.who = u.number \
                     WHERE u.user_id = ?1 AND k.device_id = ?2 AND k.algorithm = ?3",
                    values,
                )?;
                (fallback, true)
            }
        };
        if let Some(mut row) = key {
            let key = to_one_time_key(&mut row)?;
            found.insert(name.clone(), ClaimableKey { key, is_fallback });
        }
    }
    Ok(found)
}

pub(crate) fn cross_signing_keys(
    sql: &mut dyn Sql,
    user_ids: &[OwnedUserId],
) -> Result<Vec<CrossSigningKey>, StorageError> {
    let rows = of_users(
        sql,
        "SELECT u.user_id, k.usage, k.json FROM users u \
         JOIN cross_signing_keys k ON k.who = u.number WHERE u.user_id IN (?1[])",
        user_ids,
    )?;
    let mut keys = rows
        .into_iter()
        .map(|mut row| {
            let usage: i64 = row.take(1)?;
            Ok(CrossSigningKey {
                user_id: row.take(0)?,
                usage: match usage {
                    0 => CrossSigningUsage::Master,
                    1 => CrossSigningUsage::SelfSigning,
                    _ => CrossSigningUsage::UserSigning,
                },
                json: row.take(2)?,
            })
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    keys.sort_by(|a, b| (&a.user_id, a.usage).cmp(&(&b.user_id, b.usage)));
    Ok(keys)
}

pub(crate) fn signatures(
    sql: &mut dyn Sql,
    targets: &[OwnedUserId],
) -> Result<Vec<KeySignature>, StorageError> {
    let rows = of_users(
        sql,
        "SELECT s.user_id, g.signer_key_id, u.user_id, g.target_key, g.signature FROM users u \
         JOIN signatures g ON g.target = u.number JOIN users s ON s.number = g.signer \
         WHERE u.user_id IN (?1[])",
        targets,
    )?;
    let mut signatures = rows
        .into_iter()
        .map(|mut row| {
            Ok(KeySignature {
                signer: row.take(0)?,
                signer_key_id: row.take(1)?,
                target: row.take(2)?,
                target_key: row.take(3)?,
                signature: row.take(4)?,
            })
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    signatures.sort_by(|a, b| {
        (&a.target, &a.target_key, &a.signer, &a.signer_key_id).cmp(&(
            &b.target,
            &b.target_key,
            &b.signer,
            &b.signer_key_id,
        ))
    });
    Ok(signatures)
}

pub(crate) fn device_list_changes(
    sql: &mut dyn Sql,
    viewer: &UserId,
    from: Position,
    to: Position,
) -> Result<Vec<OwnedUserId>, StorageError> {
    let rows = sql.query(
        "SELECT u.user_id FROM device_lists d JOIN users u ON u.number = d.who \
         WHERE d.position > ?1 AND d.position <= ?2 \
         UNION SELECT u.user_id FROM keys_for k JOIN users u ON u.number = k.who \
         WHERE k.viewer = (SELECT v.number FROM users v WHERE v.user_id = ?3) \
         AND k.position > ?1 AND k.position <= ?2 ORDER BY 1",
        params![from, to, viewer],
    )?;
    rows.into_iter().map(|mut row| row.take(0)).collect()
}

pub(crate) fn to_device(
    sql: &mut dyn Sql,
    user_id: &UserId,
    device_id: &DeviceId,
    to: Position,
    limit: usize,
) -> Result<Vec<ToDevice>, StorageError> {
    let rows = sql.query(
        "SELECT m.position, m.place, m.json FROM to_device m \
         WHERE m.who = (SELECT number FROM users WHERE user_id = ?1) AND m.device_id = ?2 \
         AND m.position <= ?3 ORDER BY m.position, m.place LIMIT ?4",
        params![user_id, device_id, to, limit],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let place: u64 = row.take(1)?;
            Ok(ToDevice {
                user_id: user_id.to_owned(),
                device_id: device_id.to_owned(),
                position: row.take(0)?,
                index: u32::try_from(place).unwrap_or(u32::MAX),
                json: row.take(2)?,
            })
        })
        .collect()
}

pub(crate) fn to_device_count(
    sql: &mut dyn Sql,
    user_id: &UserId,
    device_id: &DeviceId,
) -> Result<u64, StorageError> {
    let count = sql.number(
        "SELECT COUNT(*) FROM to_device \
         WHERE who = (SELECT number FROM users WHERE user_id = ?1) AND device_id = ?2",
        params![user_id, device_id],
    )?;
    Ok(count.cast_unsigned())
}

pub(crate) fn backup(
    sql: &mut dyn Sql,
    user_id: &UserId,
    version: Option<u64>,
) -> Result<Option<BackupVersion>, StorageError> {
    let row = sql.first(
        "SELECT version, algorithm, auth_data, etag, count FROM backups \
         WHERE who = (SELECT number FROM users WHERE user_id = ?1) AND is_removed = 0 \
         AND (CAST(?2 AS BIGINT) IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1",
        params![user_id, version.map(u64::cast_signed)],
    )?;
    row.map(|mut row| {
        Ok(BackupVersion {
            user_id: user_id.to_owned(),
            version: row.take(0)?,
            algorithm: row.take(1)?,
            auth_data: row.take(2)?,
            etag: row.take(3)?,
            count: row.take(4)?,
        })
    })
    .transpose()
}

pub(crate) fn newest_backup_number(
    sql: &mut dyn Sql,
    user_id: &UserId,
) -> Result<u64, StorageError> {
    let newest = sql.number(
        "SELECT COALESCE(MAX(version), 0) FROM backups \
         WHERE who = (SELECT number FROM users WHERE user_id = ?1)",
        params![user_id],
    )?;
    Ok(newest.cast_unsigned())
}

pub(crate) fn backup_sessions(
    sql: &mut dyn Sql,
    user_id: &UserId,
    version: u64,
    room_id: Option<&RoomId>,
    session_id: Option<&str>,
) -> Result<Vec<BackupSession>, StorageError> {
    let rows = sql.query(
        "SELECT room, session_id, first_message_index, forwarded_count, is_verified, \
         session_data FROM backup_sessions \
         WHERE who = (SELECT number FROM users WHERE user_id = ?1) AND version = ?2 \
         AND (CAST(?3 AS TEXT) IS NULL OR room = ?3) \
         AND (CAST(?4 AS TEXT) IS NULL OR session_id = ?4) ORDER BY room, session_id",
        params![user_id, version.cast_signed(), room_id, session_id],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(BackupSession {
                room_id: row.take(0)?,
                session_id: row.take(1)?,
                first_message_index: row.take(2)?,
                forwarded_count: row.take(3)?,
                is_verified: row.take(4)?,
                session_data: row.take(5)?,
            })
        })
        .collect()
}
