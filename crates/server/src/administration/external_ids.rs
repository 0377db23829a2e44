//! Who somebody is at a provider of single sign-on. Kept as documents: the ids of a user, and the
//! user of each id.

use lyceum_model::{Batch, Change, Expect};
use lyceum_storage::StorageError;
use ruma_common::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{AdministrationError, documents};
use crate::Server;

/// An id at a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalId {
    /// The provider.
    pub auth_provider: String,
    /// The id that it knows the person by.
    pub external_id: String,
}

impl ExternalId {
    fn key(&self) -> String {
        format!(
            "admin.external_id.{}/{}",
            self.auth_provider, self.external_id
        )
    }
}

fn key_of(user_id: &UserId) -> String {
    format!("admin.external_ids.{user_id}")
}

impl Server {
    /// The ids of a user at providers.
    pub async fn external_ids(&self, user_id: &UserId) -> Result<Vec<ExternalId>, StorageError> {
        documents::read(&*self.store, &key_of(user_id)).await
    }

    /// The user of an id at a provider.
    pub async fn user_of_external_id(
        &self,
        id: &ExternalId,
    ) -> Result<Option<OwnedUserId>, StorageError> {
        let user_id = self.store.setting(&id.key()).await?;
        Ok(user_id.and_then(|user_id| UserId::parse(user_id).ok()))
    }
}

/// Replaces the ids of a user, in a batch.
pub(super) async fn replace(
    server: &Server,
    user_id: &UserId,
    mut ids: Vec<ExternalId>,
    batch: &mut Batch,
) -> Result<(), AdministrationError> {
    ids.sort();
    ids.dedup();
    let wanted = ids.clone();
    let before = documents::change_in(
        server,
        &key_of(user_id),
        batch,
        |present: &mut Vec<ExternalId>| std::mem::replace(present, ids),
    )
    .await?;
    for id in &wanted {
        if before.contains(id) {
            continue;
        }
        match server.user_of_external_id(id).await? {
            Some(owner) if owner != *user_id => {
                let why = "External id is already in use.";
                return Err(lyceum_model::MatrixError::new(409, "M_UNKNOWN", why).into());
            }
            // Another node has just given it to them; what was read before is stale.
            Some(_) => continue,
            None => {}
        }
        batch.expect(Expect::Setting(id.key(), None));
        batch.push(Change::Setting {
            key: id.key(),
            value: Some(user_id.as_str().to_owned()),
        });
    }
    for id in before.iter().filter(|id| !wanted.contains(id)) {
        batch.push(Change::Setting {
            key: id.key(),
            value: None,
        });
    }
    Ok(())
}
