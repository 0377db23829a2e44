//! Accounts as admins see and change them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lyceum_account::{
    names::{self, Registrant},
    profile::{self, ProfileError},
};
use lyceum_model::{AccountChange, Batch, Expect, MatrixError, Threepid, Timestamp, User};
use lyceum_storage::StorageError;
use ruma_common::UserId;
use serde_json::{Value, json};

use super::{
    AdministrationError,
    external_ids::{self, ExternalId},
    provisioning,
};
use crate::{
    Server,
    accounts::{
        closing::{self, Remains},
        interactive_auth::Passed,
        passwords, profiles,
    },
    decide::decide,
};

/// The longest password an admin can set, in bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// The shortest e-mail address, in characters.
const EMAIL_LENGTH_MIN: usize = 3;
/// The longest e-mail address, in characters; as Synapse has it.
const EMAIL_LENGTH_MAX: usize = 500;

/// An account with what belongs to it.
#[derive(Debug, Clone)]
pub struct Person {
    /// The account.
    pub user: User,
    /// Its name.
    pub display_name: Option<String>,
    /// Its picture.
    pub avatar_url: Option<String>,
    /// Its addresses.
    pub threepids: Vec<Threepid>,
    /// Its ids at providers of single sign-on.
    pub external_ids: Vec<ExternalId>,
    /// When one of its devices last asked for something.
    pub last_seen: Option<Timestamp>,
}

/// What is to become of an account. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct PersonChange {
    /// The name; empty: none.
    pub display_name: Option<String>,
    /// The picture; empty: none.
    pub avatar_url: Option<String>,
    /// The addresses: medium and address.
    pub threepids: Option<Vec<(String, String)>>,
    /// The ids at providers of single sign-on.
    pub external_ids: Option<Vec<ExternalId>>,
    /// The password.
    pub password: Option<String>,
    /// Whether all devices stay logged in when the password changes.
    pub keeps_devices: bool,
    /// Whether it is an admin.
    pub is_admin: Option<bool>,
    /// Whether it is closed.
    pub is_deactivated: Option<bool>,
    /// Whether it is locked.
    pub is_locked: Option<bool>,
    /// Its `user_type`.
    pub kind: Option<Option<String>>,
}

/// Who changes accounts.
#[derive(Debug, Clone, Copy)]
pub enum Changer<'a> {
    /// An admin: an address goes over to the account that they name.
    Admin(&'a UserId),
    /// A learning platform: an address stays with whom it belongs to.
    Platform,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Put {
    /// The account was made.
    Created(Box<Person>),
    /// It was changed, or is as it should be.
    Changed,
    /// It is none that this changer may touch, and why.
    Protected(&'static str),
}

impl Server {
    /// An account with what belongs to it.
    pub async fn person(&self, user_id: &UserId) -> Result<Option<Person>, StorageError> {
        let Some(user) = self.store.user(user_id).await? else {
            return Ok(None);
        };
        let owned = [user_id.to_owned()];
        let (mut profiles, devices, threepids, external_ids) = tokio::try_join!(
            self.store.profiles(&owned),
            self.devices_of(&owned),
            self.store.threepids(user_id),
            self.external_ids(user_id),
        )?;
        let fields = profiles.remove(user_id).unwrap_or_default();
        Ok(Some(Person {
            display_name: text_of(&fields, "displayname"),
            avatar_url: text_of(&fields, "avatar_url"),
            threepids,
            external_ids,
            last_seen: devices.iter().filter_map(|device| device.last_seen).max(),
            user,
        }))
    }

    /// Makes an account, or changes the one that is there.
    pub async fn put_person(
        self: &Arc<Self>,
        user_id: &UserId,
        change: PersonChange,
        by: Changer<'_>,
    ) -> Result<Put, AdministrationError> {
        for (key, value) in [
            ("displayname", &change.display_name),
            ("avatar_url", &change.avatar_url),
        ] {
            if let Some(value) = value {
                check_profile(key, value)?;
            }
        }
        let password_hash = match &change.password {
            Some(password) if password.len() > PASSWORD_BYTES_MAX || password.is_empty() => {
                return Err(MatrixError::unknown("Invalid password").into());
            }
            Some(password) => Some(hashed(self, password.clone()).await?),
            None => None,
        };
        decide(|| self.try_put_person(user_id, &change, password_hash.as_deref(), by)).await
    }

    async fn try_put_person(
        self: &Arc<Self>,
        user_id: &UserId,
        change: &PersonChange,
        password_hash: Option<&str>,
        by: Changer<'_>,
    ) -> Result<Put, AdministrationError> {
        match self.store.user(user_id).await? {
            None => create(self, user_id, change, password_hash, by).await,
            Some(_) => self.modify(user_id, change, password_hash, by).await,
        }
    }

    async fn modify(
        self: &Arc<Self>,
        user_id: &UserId,
        change: &PersonChange,
        password_hash: Option<&str>,
        by: Changer<'_>,
    ) -> Result<Put, AdministrationError> {
        let turn = self.accounts.turn(user_id).await;
        let not_found = || MatrixError::not_found("User not found");
        let mut user = self.store.user(user_id).await?.ok_or_else(not_found)?;
        if matches!(by, Changer::Platform)
            && let Some(why) = provisioning::protection(&user)
        {
            return Ok(Put::Protected(why));
        }
        if password_hash.is_some() && !self.config.passwords.enabled {
            return Err(MatrixError::forbidden("Password change disabled").into());
        }
        let before = user.clone();
        let mut batch = Batch::new();
        if let Some(is_admin) = change.is_admin {
            let is_self = matches!(by, Changer::Admin(admin) if admin == user_id);
            if is_self && !is_admin {
                return Err(MatrixError::unknown("You may not demote yourself.").into());
            }
            user.is_admin = is_admin;
        }
        if let Some(is_locked) = change.is_locked {
            user.is_locked = is_locked;
        }
        if let Some(kind) = &change.kind {
            user.kind.clone_from(kind);
        }
        if change.is_deactivated == Some(false) && user.is_deactivated {
            user.is_deactivated = false;
            user.is_erased = false;
        }
        if let Some(hash) = password_hash {
            user.password_hash = Some(hash.to_owned());
            if !change.keeps_devices {
                end_sessions(self, user_id, &mut batch).await?;
            }
        }
        if user != before {
            batch.expect(Expect::UserIs(Box::new(before.clone())));
            batch.push(AccountChange::PutUser(user));
        }
        if let Some(threepids) = &change.threepids {
            let present = self.store.threepids(user_id).await?;
            replace_threepids(self, user_id, (&present, threepids), by, &mut batch).await?;
        }
        if let Some(ids) = &change.external_ids {
            external_ids::replace(self, user_id, ids.clone(), &mut batch).await?;
        }
        if !batch.changes.is_empty() {
            self.commit(batch).await?;
        }
        drop(turn);
        set_profile(self, user_id, "displayname", change.display_name.as_deref()).await?;
        set_profile(self, user_id, "avatar_url", change.avatar_url.as_deref()).await?;
        if change.is_deactivated == Some(true) && !before.is_deactivated {
            closing::close(self, user_id, Remains::Kept, &Passed::not_needed())
                .await
                .map_err(MatrixError::from)?;
        }
        Ok(Put::Changed)
    }
}

async fn create(
    server: &Arc<Server>,
    user_id: &UserId,
    change: &PersonChange,
    password_hash: Option<&str>,
    by: Changer<'_>,
) -> Result<Put, AdministrationError> {
    let server_name = &server.config.server_name;
    let new = names::new_user_id(user_id.localpart(), server_name, Registrant::Person);
    let user_id = new.map_err(MatrixError::from)?;
    if let Some(why) = server.reservation(&user_id) {
        return Err(MatrixError::new(400, "M_EXCLUSIVE", why).into());
    }
    let origin = match by {
        Changer::Admin(_) => "admin",
        Changer::Platform => provisioning::ORIGIN,
    };
    let mut batch = Batch::new();
    batch.expect(Expect::UserAbsent(user_id.clone()));
    let user = User {
        user_id: user_id.clone(),
        password_hash: password_hash.map(str::to_owned),
        created: server.clock.now(),
        is_admin: change.is_admin.unwrap_or(false),
        is_deactivated: change.is_deactivated.unwrap_or(false),
        is_erased: false,
        is_locked: change.is_locked.unwrap_or(false),
        is_suspended: false,
        is_shadow_banned: false,
        kind: change.kind.clone().flatten(),
        application_service: None,
        origin: origin.to_owned(),
    };
    batch.push(AccountChange::PutUser(user.clone()));
    let name = change.display_name.clone();
    let name = name.unwrap_or_else(|| user_id.localpart().to_owned());
    for (key, value) in [
        ("displayname", Some(name.as_str())),
        ("avatar_url", change.avatar_url.as_deref()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            batch.push(AccountChange::ProfileField {
                user_id: user_id.clone(),
                key: key.to_owned(),
                value: check_profile(key, value)?,
            });
        }
    }
    let threepids = match &change.threepids {
        Some(wanted) => replace_threepids(server, &user_id, (&[], wanted), by, &mut batch).await?,
        None => Vec::new(),
    };
    let mut external_ids = change.external_ids.clone().unwrap_or_default();
    external_ids.sort();
    external_ids.dedup();
    if !external_ids.is_empty() {
        external_ids::replace(server, &user_id, external_ids.clone(), &mut batch).await?;
    }
    server.commit(batch).await?;
    Ok(Put::Created(Box::new(Person {
        user,
        display_name: Some(name).filter(|name| !name.is_empty()),
        avatar_url: change.avatar_url.clone().filter(|url| !url.is_empty()),
        threepids,
        external_ids,
        last_seen: None,
    })))
}

/// What a profile field is to hold; what is wrong with it, with Synapse's code.
fn check_profile(key: &str, value: &str) -> Result<Option<String>, MatrixError> {
    let field = profile::field_from_body(key, &json!({ key: value }));
    field.map_err(|error| match error {
        ProfileError::DisplayNameTooLong => MatrixError::unknown(error.to_string()),
        error => error.into(),
    })
}

/// Hashes a password that an admin chose; no policy binds them.
pub(super) async fn hashed(
    server: &Server,
    password: String,
) -> Result<String, AdministrationError> {
    let hash = passwords::hash_unchecked(server, password).await;
    Ok(hash.map_err(MatrixError::from)?)
}

/// Ends all sessions of a user, in a batch.
pub(super) async fn end_sessions(
    server: &Server,
    user_id: &UserId,
    batch: &mut Batch,
) -> Result<(), StorageError> {
    let devices = server.store.devices(&[user_id.to_owned()]).await?;
    for device in devices {
        batch.push(AccountChange::RemoveDevice {
            user_id: user_id.to_owned(),
            device_id: device.device_id,
        });
    }
    batch.push(AccountChange::DeviceListChanged(user_id.to_owned()));
    Ok(())
}

/// Adds to a batch what makes the present addresses the wanted ones; the new ones among them.
async fn replace_threepids(
    server: &Server,
    user_id: &UserId,
    (present, wanted): (&[Threepid], &[(String, String)]),
    by: Changer<'_>,
    batch: &mut Batch,
) -> Result<Vec<Threepid>, AdministrationError> {
    let now = server.clock.now();
    let wanted = valid_threepids(user_id, (present, wanted), by)?;
    let mut added = Vec::new();
    for threepid in present {
        let is_wanted = wanted
            .iter()
            .any(|(medium, address)| threepid.medium == *medium && threepid.address == *address);
        if !is_wanted {
            batch.push(AccountChange::RemoveThreepid {
                medium: threepid.medium.clone(),
                address: threepid.address.clone(),
            });
        }
    }
    for (medium, address) in wanted {
        let is_present = present
            .iter()
            .any(|threepid| threepid.medium == medium && threepid.address == address);
        let owner = server.store.threepid(&medium, &address).await?;
        if is_present || (owner.is_some() && matches!(by, Changer::Platform)) {
            continue;
        }
        added.push(Threepid {
            user_id: user_id.to_owned(),
            medium,
            address,
            added: now,
            validated: now,
        });
    }
    for threepid in &added {
        batch.push(AccountChange::PutThreepid(threepid.clone()));
    }
    Ok(added)
}

/// The addresses as they are kept, each once. What is there may stay. What is no address is left
/// out for a platform, which would go no further than an error.
fn valid_threepids(
    user_id: &UserId,
    (present, wanted): (&[Threepid], &[(String, String)]),
    by: Changer<'_>,
) -> Result<BTreeSet<(String, String)>, MatrixError> {
    let mut valid = BTreeSet::new();
    for (medium, address) in wanted {
        let address = canonical_address(medium, address);
        let is_present = present
            .iter()
            .any(|threepid| threepid.medium == *medium && threepid.address == address);
        let is_valid = match medium.as_str() {
            "email" => is_present || is_email_address(&address),
            _ => !address.is_empty(),
        };
        match by {
            _ if is_valid => {
                valid.insert((medium.clone(), address));
            }
            Changer::Admin(_) if medium == "email" => {
                return Err(MatrixError::unknown("Unable to parse email address"));
            }
            Changer::Admin(_) => {}
            Changer::Platform => {
                tracing::info!(user = %user_id, "what is no address was left out");
            }
        }
    }
    Ok(valid)
}

/// Whether mail may be sent to this, as far as can be told from looking at it.
fn is_email_address(address: &str) -> bool {
    let length = address.chars().count();
    (EMAIL_LENGTH_MIN..=EMAIL_LENGTH_MAX).contains(&length) && address.split('@').count() == 2
}

/// An address as it is kept.
pub fn canonical_address(medium: &str, address: &str) -> String {
    if medium == "email" {
        address.trim().to_lowercase()
    } else {
        address.chars().filter(char::is_ascii_digit).collect()
    }
}

async fn set_profile(
    server: &Arc<Server>,
    user_id: &UserId,
    key: &str,
    value: Option<&str>,
) -> Result<(), AdministrationError> {
    let Some(value) = value else { return Ok(()) };
    let done = if value.is_empty() {
        profiles::remove_field(server, user_id, key).await
    } else {
        profiles::set_field(server, user_id, key, &json!({ key: value })).await
    };
    Ok(done.map_err(MatrixError::from)?)
}

/// A text among profile fields.
pub fn text_of(fields: &BTreeMap<String, String>, key: &str) -> Option<String> {
    match serde_json::from_str(fields.get(key)?) {
        Ok(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The user of this server with an id; told apart from users of other servers and unknown ones.
pub async fn local_user(
    server: &Server,
    user_id: &UserId,
    other_server: &'static str,
) -> Result<User, AdministrationError> {
    if !server.is_local(user_id) {
        return Err(MatrixError::unknown(other_server).into());
    }
    let user = server.store.user(user_id).await?;
    Ok(user.ok_or_else(|| MatrixError::not_found("User not found"))?)
}
