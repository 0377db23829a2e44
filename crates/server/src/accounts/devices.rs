//! A user's devices (Client-Server API, "Device management").

use lyceum_account::names::{self, NameError};
use lyceum_model::{AccountChange, Batch, Device, MatrixError};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{DeviceId, OwnedDeviceId, UserId};

use super::{interactive_auth::Passed, tokens::DEVICE_NAME_LENGTH_MAX};
use crate::Server;

/// Why nothing was done about a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no such device.
    #[error("no such device")]
    NotFound,
    /// Its name is too long.
    #[error("the name is too long")]
    NameTooLong,
    /// The user has as many devices as are allowed.
    #[error("too many devices")]
    TooManyDevices,
    /// The id is no device id.
    #[error(transparent)]
    DeviceId(#[from] NameError),
    /// It could not be stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<DeviceError> for MatrixError {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::not_found("No device found"),
            DeviceError::NameTooLong => Self::new(
                400,
                "M_TOO_LARGE",
                format!("Device display name is too long (max {DEVICE_NAME_LENGTH_MAX})"),
            ),
            DeviceError::TooManyDevices => Self::forbidden("This account has too many devices"),
            DeviceError::DeviceId(error) => error.into(),
            DeviceError::Commit(error) => error.into(),
            DeviceError::Storage(error) => error.into(),
        }
    }
}

/// Who may make devices this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayCreate {
    /// Application services.
    Yes,
    /// Everybody else: devices come from logging in.
    No,
}

/// What naming a device came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The device was there.
    Updated,
    /// It was made.
    Created,
}

/// A user's devices.
pub async fn devices(server: &Server, user_id: &UserId) -> Result<Vec<Device>, StorageError> {
    server.devices_of(&[user_id.to_owned()]).await
}

/// A user's device.
pub async fn device(
    server: &Server,
    user_id: &UserId,
    device_id: &DeviceId,
) -> Result<Option<Device>, StorageError> {
    let devices = devices(server, user_id).await?;
    Ok(devices
        .into_iter()
        .find(|device| device.device_id == device_id))
}

/// Names a device; application services may make new ones this way.
pub async fn put(
    server: &Server,
    user_id: &UserId,
    device_id: &DeviceId,
    display_name: Option<String>,
    may_create: MayCreate,
) -> Result<Put, DeviceError> {
    if display_name
        .as_ref()
        .is_some_and(|name| name.chars().count() > DEVICE_NAME_LENGTH_MAX)
    {
        return Err(DeviceError::NameTooLong);
    }
    let devices = server.store.devices(&[user_id.to_owned()]).await?;
    let count = devices.len();
    let existing = devices
        .into_iter()
        .find(|device| device.device_id == device_id);
    let (device, put) = match existing {
        Some(mut device) => {
            if display_name.is_none() || display_name == device.display_name {
                return Ok(Put::Updated);
            }
            device.display_name = display_name;
            (device, Put::Updated)
        }
        None if may_create == MayCreate::No => return Err(DeviceError::NotFound),
        None if count >= server.config.sessions.devices_max => {
            return Err(DeviceError::TooManyDevices);
        }
        None => {
            let device_id = names::check_device_id(device_id.as_str())?;
            let device = Device {
                user_id: user_id.to_owned(),
                device_id,
                display_name,
                created: server.clock.now(),
                last_seen: None,
                last_seen_ip: None,
                user_agent: None,
            };
            (device, Put::Created)
        }
    };
    let mut batch = Batch::new();
    batch.push(AccountChange::PutDevice(device));
    batch.push(AccountChange::DeviceListChanged(user_id.to_owned()));
    server.commit(batch).await?;
    Ok(put)
}

/// Removes devices, as far as they are there.
pub async fn remove(
    server: &Server,
    user_id: &UserId,
    device_ids: &[OwnedDeviceId],
    passed: &Passed,
) -> Result<(), DeviceError> {
    let devices = server.store.devices(&[user_id.to_owned()]).await?;
    let mut batch = Batch::new();
    passed.close(&mut batch);
    let mut is_any_removed = false;
    for device in devices {
        if device_ids.contains(&device.device_id) {
            let user_id = user_id.to_owned();
            batch.push(AccountChange::RemoveDevice {
                user_id,
                device_id: device.device_id,
            });
            is_any_removed = true;
        }
    }
    if is_any_removed {
        batch.push(AccountChange::DeviceListChanged(user_id.to_owned()));
    }
    if !batch.changes.is_empty() {
        server.commit(batch).await?;
    }
    Ok(())
}
