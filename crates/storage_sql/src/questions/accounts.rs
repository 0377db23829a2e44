//! Answers about accounts.

use std::collections::BTreeMap;

use lyceum_model::{
    AccessToken, AccountDataEntry, Device, Position, Presence, PresenceState, RegistrationToken,
    Threepid, Ticket, TicketKind, TokenKind, UnreadCounts, User,
};
use lyceum_storage::{StorageError, UserPage, UserSelection};
use ruma_common::{OwnedUserId, RoomId, UserId};

use crate::{
    event_rows::ROWS_MAX,
    sql::{Param, Row, Sql, params, pattern_containing, texts},
};

macro_rules! user_columns {
    () => {
        "u.user_id, a.password_hash, a.created, a.is_admin, a.is_deactivated, a.is_erased, \
         a.is_locked, a.is_suspended, a.is_shadow_banned, a.kind, a.application_service, a.origin"
    };
}

fn to_user(mut row: Row) -> Result<User, StorageError> {
    Ok(User {
        user_id: row.take(0)?,
        password_hash: row.take(1)?,
        created: row.take(2)?,
        is_admin: row.take(3)?,
        is_deactivated: row.take(4)?,
        is_erased: row.take(5)?,
        is_locked: row.take(6)?,
        is_suspended: row.take(7)?,
        is_shadow_banned: row.take(8)?,
        kind: row.take(9)?,
        application_service: row.take(10)?,
        origin: row.take(11)?,
    })
}

pub(crate) fn user(sql: &mut dyn Sql, user_id: &UserId) -> Result<Option<User>, StorageError> {
    let row = sql.first(
        concat!(
            "SELECT ",
            user_columns!(),
            " FROM users u JOIN accounts a ON a.who = u.number WHERE u.user_id = ?1"
        ),
        params![user_id],
    )?;
    row.map(to_user).transpose()
}

/// The accounts of a selection: ?1 deactivated ones too, ?2 admins or not, ?3 part of the name, ?4
/// locked or not.
macro_rules! selected {
    () => {
        " FROM users u JOIN accounts a ON a.who = u.number \
         WHERE (CAST(?1 AS BIGINT) = 1 OR a.is_deactivated = 0) \
         AND (CAST(?2 AS BIGINT) IS NULL OR a.is_admin = ?2) \
         AND (CAST(?4 AS BIGINT) IS NULL OR a.is_locked = ?4) \
         AND (CAST(?3 AS TEXT) IS NULL OR a.id_folded LIKE ?3 ESCAPE '\\' OR EXISTS \
         (SELECT 1 FROM profiles p WHERE p.who = a.who AND p.field = 'displayname' \
         AND p.folded LIKE ?3 ESCAPE '\\'))"
    };
}

pub(crate) fn users(sql: &mut dyn Sql, page: &UserPage) -> Result<Vec<User>, StorageError> {
    let selection = &page.selection;
    let part = selection
        .name_contains
        .as_ref()
        .map(|part| pattern_containing(&part.to_lowercase()));
    let after = page.after.as_ref().map_or("", |user_id| user_id.as_str());
    let rows = sql.query(
        concat!(
            "SELECT ",
            user_columns!(),
            selected!(),
            " AND u.user_id > ?5 ORDER BY u.user_id LIMIT ?6"
        ),
        params![
            selection.with_deactivated,
            selection.is_admin,
            part.as_ref(),
            selection.is_locked,
            after,
            page.limit
        ],
    )?;
    rows.into_iter().map(to_user).collect()
}

pub(crate) fn user_count(
    sql: &mut dyn Sql,
    selection: &UserSelection,
) -> Result<u64, StorageError> {
    let part = selection
        .name_contains
        .as_ref()
        .map(|part| pattern_containing(&part.to_lowercase()));
    let count = sql.number(
        concat!("SELECT COUNT(*)", selected!()),
        params![
            selection.with_deactivated,
            selection.is_admin,
            part.as_ref(),
            selection.is_locked
        ],
    )?;
    Ok(count.cast_unsigned())
}

pub(crate) fn profiles(
    sql: &mut dyn Sql,
    user_ids: &[OwnedUserId],
) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, String>>, StorageError> {
    let mut profiles: BTreeMap<OwnedUserId, BTreeMap<String, String>> = BTreeMap::new();
    let rows = of_users(
        sql,
        "SELECT u.user_id, p.field, p.value FROM users u JOIN profiles p ON p.who = u.number \
         WHERE u.user_id IN (?1[])",
        user_ids,
    )?;
    for mut row in rows {
        profiles
            .entry(row.take(0)?)
            .or_default()
            .insert(row.take(1)?, row.take(2)?);
    }
    Ok(profiles)
}

pub(crate) fn devices(
    sql: &mut dyn Sql,
    user_ids: &[OwnedUserId],
) -> Result<Vec<Device>, StorageError> {
    let rows = of_users(
        sql,
        "SELECT u.user_id, d.device_id, d.display_name, d.created, d.last_seen, d.last_seen_ip, \
         d.user_agent FROM users u JOIN devices d ON d.who = u.number \
         WHERE u.user_id IN (?1[])",
        user_ids,
    )?;
    let mut devices = rows
        .into_iter()
        .map(|mut row| {
            Ok(Device {
                user_id: row.take(0)?,
                device_id: row.take(1)?,
                display_name: row.take(2)?,
                created: row.take(3)?,
                last_seen: row.take(4)?,
                last_seen_ip: row.take(5)?,
                user_agent: row.take(6)?,
            })
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    devices.sort_by(|a, b| (&a.user_id, &a.device_id).cmp(&(&b.user_id, &b.device_id)));
    Ok(devices)
}

/// Runs a question about a list of users, in pieces. Answers of the pieces follow each other.
pub(super) fn of_users(
    sql: &mut dyn Sql,
    question: &'static str,
    user_ids: &[OwnedUserId],
) -> Result<Vec<Row>, StorageError> {
    let mut names = texts(user_ids);
    names.sort_unstable();
    names.dedup();
    let mut rows = Vec::new();
    for names in names.chunks(ROWS_MAX) {
        rows.append(&mut sql.query(question, &[Param::Texts(names)])?);
    }
    Ok(rows)
}

fn to_token(mut row: Row) -> Result<AccessToken, StorageError> {
    let kind: i64 = row.take(1)?;
    Ok(AccessToken {
        hash: row.take(0)?,
        kind: TokenKind::from_code(kind)
            .ok_or_else(|| StorageError::Broken(format!("unknown kind of token {kind}")))?,
        user_id: row.take(2)?,
        device_id: row.take(3)?,
        expires: row.take(4)?,
        puppeted_by: row.take(5)?,
    })
}

pub(crate) fn token(
    sql: &mut dyn Sql,
    hash: &[u8; 32],
) -> Result<Option<AccessToken>, StorageError> {
    let row = sql.first(
        "SELECT t.hash, t.kind, u.user_id, t.device_id, t.expires, t.puppeted_by \
         FROM tokens t JOIN users u ON u.number = t.who WHERE t.hash = ?1",
        params![hash],
    )?;
    row.map(to_token).transpose()
}

pub(crate) fn tokens_of(
    sql: &mut dyn Sql,
    user_id: &UserId,
) -> Result<Vec<AccessToken>, StorageError> {
    let rows = sql.query(
        "SELECT t.hash, t.kind, u.user_id, t.device_id, t.expires, t.puppeted_by \
         FROM users u JOIN tokens t ON t.who = u.number WHERE u.user_id = ?1 ORDER BY t.hash",
        params![user_id],
    )?;
    rows.into_iter().map(to_token).collect()
}

pub(crate) fn ticket(
    sql: &mut dyn Sql,
    kind: TicketKind,
    key: &str,
) -> Result<Option<Ticket>, StorageError> {
    let row = sql.first(
        "SELECT data, expires FROM tickets WHERE kind = ?1 AND key = ?2",
        params![kind.code(), key],
    )?;
    row.map(|mut row| {
        Ok(Ticket {
            kind,
            key: key.to_owned(),
            data: row.take(0)?,
            expires: row.take(1)?,
        })
    })
    .transpose()
}

fn to_account_data(mut row: Row) -> Result<AccountDataEntry, StorageError> {
    Ok(AccountDataEntry {
        room_id: row.take(0)?,
        kind: row.take(1)?,
        content: row.take(2)?,
        position: row.take(3)?,
    })
}

pub(crate) fn account_data(
    sql: &mut dyn Sql,
    user_id: &UserId,
    from: Position,
    to: Position,
) -> Result<Vec<AccountDataEntry>, StorageError> {
    let rows = sql.query(
        "SELECT r.room_id, d.kind, d.content, d.position FROM account_data d \
         LEFT JOIN rooms r ON r.number = d.room \
         WHERE d.who = (SELECT number FROM users WHERE user_id = ?1) \
         AND d.position > ?2 AND d.position <= ?3 \
         AND (d.room = 0 OR r.number IS NOT NULL)",
        params![user_id, from, to],
    )?;
    let mut entries = rows
        .into_iter()
        .map(to_account_data)
        .collect::<Result<Vec<_>, StorageError>>()?;
    if from == Position(0) {
        entries.retain(|entry| entry.content.is_some());
    }
    entries.sort_by(|a, b| (&a.room_id, &a.kind).cmp(&(&b.room_id, &b.kind)));
    Ok(entries)
}

pub(crate) fn account_data_entry(
    sql: &mut dyn Sql,
    user_id: &UserId,
    room_id: Option<&RoomId>,
    kind: &str,
) -> Result<Option<AccountDataEntry>, StorageError> {
    let row = match room_id {
        Some(room_id) => sql.first(
            "SELECT r.room_id, d.kind, d.content, d.position FROM account_data d \
             JOIN rooms r ON r.number = d.room \
             WHERE d.who = (SELECT number FROM users WHERE user_id = ?1) \
             AND r.room_id = ?2 AND d.kind = ?3 AND d.content IS NOT NULL",
            params![user_id, room_id, kind],
        )?,
        None => sql.first(
            "SELECT NULL, d.kind, d.content, d.position FROM account_data d \
             WHERE d.who = (SELECT number FROM users WHERE user_id = ?1) \
             AND d.room = 0 AND d.kind = ?2 AND d.content IS NOT NULL",
            params![user_id, kind],
        )?,
    };
    row.map(to_account_data).transpose()
}

pub(crate) fn filter(
    sql: &mut dyn Sql,
    user_id: &UserId,
    filter_id: &str,
) -> Result<Option<String>, StorageError> {
    let row = sql.first(
        "SELECT f.json FROM users u JOIN filters f ON f.who = u.number \
         WHERE u.user_id = ?1 AND f.filter_id = ?2",
        params![user_id, filter_id],
    )?;
    row.map(|mut row| row.take(0)).transpose()
}

pub(crate) fn unread(
    sql: &mut dyn Sql,
    user_id: &UserId,
) -> Result<Vec<UnreadCounts>, StorageError> {
    let rows = sql.query(
        "SELECT r.room_id, c.json FROM users u JOIN unread c ON c.who = u.number \
         JOIN rooms r ON r.number = c.room WHERE u.user_id = ?1 ORDER BY r.room_id",
        params![user_id],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(UnreadCounts {
                user_id: user_id.to_owned(),
                room_id: row.take(0)?,
                json: row.take(1)?,
            })
        })
        .collect()
}

fn to_presence(mut row: Row) -> Result<Presence, StorageError> {
    let state: i64 = row.take(1)?;
    Ok(Presence {
        user_id: row.take(0)?,
        state: match state {
            0 => PresenceState::Online,
            1 => PresenceState::Unavailable,
            _ => PresenceState::Offline,
        },
        status: row.take(2)?,
        last_active: row.take(3)?,
        position: row.take(4)?,
    })
}

pub(crate) fn presence(
    sql: &mut dyn Sql,
    user_ids: &[OwnedUserId],
) -> Result<Vec<Presence>, StorageError> {
    let rows = of_users(
        sql,
        "SELECT u.user_id, p.state, p.status, p.last_active, p.position \
         FROM users u JOIN presence p ON p.who = u.number WHERE u.user_id IN (?1[])",
        user_ids,
    )?;
    let mut presence = rows
        .into_iter()
        .map(to_presence)
        .collect::<Result<Vec<_>, StorageError>>()?;
    presence.sort_by(|a, b| a.user_id.cmp(&b.user_id));
    Ok(presence)
}

pub(crate) fn presence_changes(
    sql: &mut dyn Sql,
    from: Position,
    to: Position,
    limit: usize,
) -> Result<Vec<Presence>, StorageError> {
    let rows = sql.query(
        "SELECT u.user_id, p.state, p.status, p.last_active, p.position \
         FROM presence p JOIN users u ON u.number = p.who \
         WHERE p.position > ?1 AND p.position <= ?2 ORDER BY p.position, u.user_id LIMIT ?3",
        params![from, to, limit],
    )?;
    rows.into_iter().map(to_presence).collect()
}

fn to_registration_token(mut row: Row) -> Result<RegistrationToken, StorageError> {
    Ok(RegistrationToken {
        token: row.take(0)?,
        uses_allowed: row.take(1)?,
        pending: row.take(2)?,
        completed: row.take(3)?,
        expires: row.take(4)?,
    })
}

pub(crate) fn registration_token(
    sql: &mut dyn Sql,
    token: &str,
) -> Result<Option<RegistrationToken>, StorageError> {
    let row = sql.first(
        "SELECT token, uses_allowed, pending, completed, expires FROM registration_tokens \
         WHERE token = ?1",
        params![token],
    )?;
    row.map(to_registration_token).transpose()
}

pub(crate) fn registration_tokens(
    sql: &mut dyn Sql,
) -> Result<Vec<RegistrationToken>, StorageError> {
    let rows = sql.query(
        "SELECT token, uses_allowed, pending, completed, expires FROM registration_tokens \
         ORDER BY token",
        params![],
    )?;
    rows.into_iter().map(to_registration_token).collect()
}

fn to_threepid(mut row: Row) -> Result<Threepid, StorageError> {
    Ok(Threepid {
        user_id: row.take(0)?,
        medium: row.take(1)?,
        address: row.take(2)?,
        added: row.take(3)?,
        validated: row.take(4)?,
    })
}

pub(crate) fn threepids(
    sql: &mut dyn Sql,
    user_id: &UserId,
) -> Result<Vec<Threepid>, StorageError> {
    let rows = sql.query(
        "SELECT u.user_id, t.medium, t.address, t.added, t.validated \
         FROM users u JOIN threepids t ON t.who = u.number \
         WHERE u.user_id = ?1 ORDER BY t.medium, t.address",
        params![user_id],
    )?;
    rows.into_iter().map(to_threepid).collect()
}

pub(crate) fn threepid(
    sql: &mut dyn Sql,
    medium: &str,
    address: &str,
) -> Result<Option<Threepid>, StorageError> {
    let row = sql.first(
        "SELECT u.user_id, t.medium, t.address, t.added, t.validated \
         FROM threepids t JOIN users u ON u.number = t.who \
         WHERE t.medium = ?1 AND t.address = ?2",
        params![medium, address],
    )?;
    row.map(to_threepid).transpose()
}
