//! What users report: events, other users, rooms (Client-Server API, "Reporting Content").

use lyceum_model::MatrixError;
use lyceum_storage::StorageError;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{AdministrationError, journal::Journal};
use crate::{Server, rooms::RoomError};

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 8 * 1024;

const EVENT_REPORTS: Journal = Journal {
    key: "admin.event_reports",
    entries_max: 10_000,
};
const USER_REPORTS: Journal = Journal {
    key: "admin.user_reports",
    entries_max: 10_000,
};
const ROOM_REPORTS: Journal = Journal {
    key: "admin.room_reports",
    entries_max: 10_000,
};

/// Somebody reported an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventReport {
    /// When.
    pub received_ts: u64,
    /// In which room.
    pub room_id: OwnedRoomId,
    /// Which.
    pub event_id: OwnedEventId,
    /// Whose it is.
    pub sender: OwnedUserId,
    /// Who reported it.
    pub user_id: OwnedUserId,
    /// Why.
    pub reason: Option<String>,
    /// How bad it is: from -100 to 0.
    pub score: Option<i64>,
}

/// Somebody reported a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserReport {
    /// When.
    pub received_ts: u64,
    /// Whom.
    pub target_user_id: OwnedUserId,
    /// Who.
    pub user_id: OwnedUserId,
    /// Why.
    pub reason: String,
}

/// Somebody reported a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RoomReport {
    received_ts: u64,
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    reason: String,
}

impl Server {
    /// Reports an event that the user sees.
    pub async fn report_event(
        &self,
        by: &UserId,
        room_id: &RoomId,
        event_id: &EventId,
        reason: Option<String>,
        score: Option<i64>,
    ) -> Result<(), AdministrationError> {
        let not_found = |_: RoomError| {
            MatrixError::not_found(
                "Unable to report event: it does not exist or you aren't able to see it.",
            )
        };
        let reader = self.reader(by, room_id).await.map_err(not_found)?;
        let (stored, _) = self.event_for(&reader, event_id).await.map_err(not_found)?;
        let report = EventReport {
            received_ts: self.clock.now().0,
            room_id: room_id.to_owned(),
            event_id: event_id.to_owned(),
            sender: stored.event.sender.clone(),
            user_id: by.to_owned(),
            reason: reason.map(shortened),
            score,
        };
        EVENT_REPORTS.append(self, &report).await?;
        Ok(())
    }

    /// Reports a user; nothing happens for users who are not there.
    pub async fn report_user(
        &self,
        by: &UserId,
        target: &UserId,
        reason: String,
    ) -> Result<(), AdministrationError> {
        if self.is_local(target) && self.store.user(target).await?.is_none() {
            return Ok(());
        }
        let report = UserReport {
            received_ts: self.clock.now().0,
            target_user_id: target.to_owned(),
            user_id: by.to_owned(),
            reason: shortened(reason),
        };
        USER_REPORTS.append(self, &report).await?;
        Ok(())
    }

    /// Reports a room.
    pub async fn report_room(
        &self,
        by: &UserId,
        room_id: &RoomId,
        reason: String,
    ) -> Result<(), AdministrationError> {
        if self.rooms.room(room_id).await?.is_none() {
            return Err(MatrixError::not_found("The room was not found").into());
        }
        let report = RoomReport {
            received_ts: self.clock.now().0,
            room_id: room_id.to_owned(),
            user_id: by.to_owned(),
            reason: shortened(reason),
        };
        ROOM_REPORTS.append(self, &report).await?;
        Ok(())
    }

    /// All reported events, oldest first.
    pub async fn event_reports(&self) -> Result<Vec<(u64, EventReport)>, StorageError> {
        EVENT_REPORTS.entries(self).await
    }

    /// One report of an event.
    pub async fn event_report(&self, number: u64) -> Result<Option<EventReport>, StorageError> {
        EVENT_REPORTS.entry(self, number).await
    }

    /// Removes a report of an event; whether it was there.
    pub async fn remove_event_report(&self, number: u64) -> Result<bool, AdministrationError> {
        Ok(EVENT_REPORTS.remove(self, number).await?)
    }

    /// All reported users, oldest first.
    pub async fn user_reports(&self) -> Result<Vec<(u64, UserReport)>, StorageError> {
        USER_REPORTS.entries(self).await
    }

    /// One report of a user.
    pub async fn user_report(&self, number: u64) -> Result<Option<UserReport>, StorageError> {
        USER_REPORTS.entry(self, number).await
    }

    /// Removes a report of a user; whether it was there.
    pub async fn remove_user_report(&self, number: u64) -> Result<bool, AdministrationError> {
        Ok(USER_REPORTS.remove(self, number).await?)
    }
}

fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_BYTES_MAX {
        let mut end = REASON_BYTES_MAX;
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
    }
    reason
}
