//! Somebody asks for the keys of devices and users (`POST /keys/query`).

use std::collections::{BTreeMap, BTreeSet};

use lyceum_account::keys::{self, Queried, QueryAnswer};
use lyceum_storage::StorageError;
use ruma_common::{OwnedDeviceId, OwnedServerName, OwnedUserId, UserId};

use crate::Server;

/// The keys asked for, and the servers that could not be asked.
#[derive(Debug)]
pub struct Queries {
    /// What is known.
    pub answer: QueryAnswer,
    /// Servers that could not be asked.
    pub failures: BTreeSet<OwnedServerName>,
}

/// The keys of users (of all or of some of their devices), as `viewer` may see them.
pub async fn query(
    server: &Server,
    viewer: &UserId,
    wanted: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
) -> Result<Queries, StorageError> {
    let (local, remote): (BTreeMap<_, _>, BTreeMap<_, _>) = wanted
        .into_iter()
        .partition(|(user_id, _)| server.is_local(user_id));
    let user_ids: Vec<OwnedUserId> = local.keys().cloned().collect();
    let store = &server.store;
    let devices = store.device_keys(&user_ids).await?;
    let cross_signing = store.cross_signing_keys(&user_ids).await?;
    let signatures = store.signatures(&user_ids).await?;
    let display_names: BTreeMap<(OwnedUserId, OwnedDeviceId), String> = store
        .devices(&user_ids)
        .await?
        .into_iter()
        .filter_map(|device| Some(((device.user_id, device.device_id), device.display_name?)))
        .collect();
    let found = Queried {
        devices: &devices,
        display_names: &display_names,
        cross_signing: &cross_signing,
        signatures: &signatures,
    };
    Ok(Queries {
        answer: keys::query_answer(Some(viewer), &local, &found),
        failures: remote
            .into_keys()
            .map(|user_id| user_id.server_name().to_owned())
            .collect(),
    })
}
