//! What admins do to single accounts beside changing them: act as them, lock them out, hide them.

use lyceum_account::token;
use lyceum_model::{
    AccessToken, AccountChange, Batch, Change, Device, Expect, MatrixError, Timestamp, TokenKind,
    User,
};
use lyceum_storage::StorageError;
use ruma_common::{DeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{AdministrationError, documents, people};
use crate::{Server, accounts::devices, chance, decide::decide};

/// How long cross-signing keys may be replaced without authentication once an admin allowed it.
const REPLACEMENT_MS: u64 = 10 * 60 * 1000;

/// How many of an admin's tokens for acting as others end with the admin's own.
const IMPERSONATIONS_MAX: usize = 1_000;

/// Until when something is allowed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Until(Option<u64>);

impl Server {
    /// Changes an account's record. `change` is called again when another node was faster.
    pub async fn change_user(
        &self,
        user_id: &UserId,
        change: impl Fn(&mut User) + Send + Sync,
    ) -> Result<(), AdministrationError> {
        let _turn = self.accounts.turn(user_id).await;
        decide(|| self.try_change_user(user_id, &change)).await
    }

    async fn try_change_user(
        &self,
        user_id: &UserId,
        change: &(impl Fn(&mut User) + Send + Sync),
    ) -> Result<(), AdministrationError> {
        let user = self.store.user(user_id).await?;
        let mut user = user.ok_or_else(|| MatrixError::not_found("User not found"))?;
        let before = user.clone();
        change(&mut user);
        if user != before {
            let mut batch = Batch::new();
            batch.expect(Expect::UserIs(Box::new(before)));
            batch.push(AccountChange::PutUser(user));
            self.commit(batch).await?;
        }
        Ok(())
    }

    /// Sets a password that an admin chose, and ends the user's sessions unless told otherwise.
    pub async fn set_password(
        &self,
        user_id: &UserId,
        password: String,
        ends_sessions: bool,
    ) -> Result<(), AdministrationError> {
        let hash = people::hashed(self, password).await?;
        let _turn = self.accounts.turn(user_id).await;
        decide(|| self.try_set_password(user_id, &hash, ends_sessions)).await
    }

    async fn try_set_password(
        &self,
        user_id: &UserId,
        hash: &str,
        ends_sessions: bool,
    ) -> Result<(), AdministrationError> {
        let user = self.store.user(user_id).await?;
        let mut user = user.ok_or_else(|| MatrixError::not_found("User not found"))?;
        let mut batch = Batch::new();
        batch.expect(Expect::UserIs(Box::new(user.clone())));
        user.password_hash = Some(hash.to_owned());
        batch.push(AccountChange::PutUser(user));
        if ends_sessions {
            people::end_sessions(self, user_id, &mut batch).await?;
        }
        self.commit(batch).await?;
        Ok(())
    }

    /// A token with which an admin acts as a user, without a device of the user's.
    pub async fn impersonate(
        &self,
        admin: &UserId,
        user_id: &UserId,
        until: Option<Timestamp>,
    ) -> Result<String, AdministrationError> {
        let new = token::access(&chance::bytes());
        // An admin's scripts ask for many of these at once, and all are noted in one list.
        let _turn = self.accounts.turn(admin).await;
        documents::update_with(
            self,
            &impersonations_key(admin),
            |hashes: &mut Vec<[u8; 32]>| {
                hashes.push(new.hash);
                let surplus = hashes.len().saturating_sub(IMPERSONATIONS_MAX);
                hashes.drain(..surplus);
            },
            |(), batch| {
                batch.expect(Expect::UserExists(user_id.to_owned()));
                batch.push(AccountChange::PutToken(AccessToken {
                    hash: new.hash,
                    kind: TokenKind::Impersonation,
                    user_id: user_id.to_owned(),
                    device_id: None,
                    expires: until,
                    puppeted_by: Some(admin.to_owned()),
                }));
            },
        )
        .await?;
        tracing::info!(%admin, %user_id, "an admin acts as a user");
        Ok(new.text)
    }

    /// Ends the tokens with which an admin acts as others, in a batch.
    pub(crate) async fn end_impersonations(
        &self,
        admin: &UserId,
        batch: &mut Batch,
    ) -> Result<(), StorageError> {
        let key = impersonations_key(admin);
        if self.store.setting(&key).await?.is_none() {
            return Ok(());
        }
        let hashes = documents::change_in(self, &key, batch, |hashes: &mut Vec<[u8; 32]>| {
            std::mem::take(hashes)
        })
        .await?;
        for hash in hashes {
            batch.push(AccountChange::RemoveToken(hash));
        }
        Ok(())
    }

    /// Makes a device, unless it is there.
    pub async fn make_device(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), AdministrationError> {
        let made = devices::put(self, user_id, device_id, None, devices::MayCreate::Yes).await;
        made.map_err(MatrixError::from)?;
        Ok(())
    }

    /// All devices of these users, with uses that are not written yet.
    pub async fn devices_of(&self, user_ids: &[OwnedUserId]) -> Result<Vec<Device>, StorageError> {
        let mut devices = self.store.devices(user_ids).await?;
        self.add_last_uses(&mut devices);
        Ok(devices)
    }

    /// Lets a user replace their cross-signing keys without authentication for a while; until
    /// when. `None`: they have none.
    pub async fn allow_key_replacement(
        &self,
        user_id: &UserId,
    ) -> Result<Option<Timestamp>, AdministrationError> {
        let keys = self.store.cross_signing_keys(&[user_id.to_owned()]).await?;
        if keys.is_empty() {
            return Ok(None);
        }
        let until = self.clock.now().plus_ms(REPLACEMENT_MS);
        documents::update(self, &replacement_key(user_id), |allowed: &mut Until| {
            allowed.0 = Some(until.0);
        })
        .await?;
        Ok(Some(until))
    }

    /// Whether a user may replace their cross-signing keys without authentication now.
    pub async fn may_replace_keys(&self, user_id: &UserId) -> Result<bool, StorageError> {
        let allowed: Until = documents::read(&*self.store, &replacement_key(user_id)).await?;
        Ok(allowed.0.is_some_and(|until| self.clock.now().0 < until))
    }

    /// Ends a user's leave to do so.
    pub(crate) fn end_key_replacement(&self, user_id: &UserId, batch: &mut Batch) {
        batch.push(Change::Setting {
            key: replacement_key(user_id),
            value: None,
        });
    }
}

fn impersonations_key(admin: &UserId) -> String {
    format!("admin.impersonations.{admin}")
}

fn replacement_key(user_id: &UserId) -> String {
    format!("admin.key_replacement.{user_id}")
}
