//! The handle that edges hold: what the server is made of, put together once at start.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use lyceum_media_store::MediaStore;
use lyceum_model::{
    AccountChange, Batch, Change, Device, Expect, MatrixError, Ticket, TicketKind, TokenKind, User,
};
use lyceum_room::Signer;
use lyceum_storage::{CommitError, Published, StorageError, Store, Swept};
use parking_lot::Mutex;
use ruma_common::{DeviceId, OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId};

use crate::{
    accounts::Accounts,
    administration::Administration,
    application_services::ApplicationService,
    attendance::Attendance,
    chance,
    clock::Clock,
    config::Config,
    feed::Feed,
    media::Files,
    rooms::{JoinedMembers, Rooms},
    sessions::{Session, Sessions},
    supervisor::Supervisor,
    sync::SyncDevices,
    unread::Unread,
};

/// The setting that holds this server's signing key: `version seed`, the seed in hex.
const SIGNING_KEY_SETTING: &str = "signing_key";
/// The setting that holds the server name the data was made with.
const SERVER_NAME_SETTING: &str = "server_name";
/// How precisely the last use of a device is remembered.
const DEVICE_SEEN_PRECISION_MS: u64 = 60_000;
/// Pause after each portion that a sweep took away, in which others write.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// How many devices' last uses wait to be written.
const DEVICES_SEEN_MAX: usize = 10_000;

/// The server, without its edges.
#[derive(Debug)]
pub struct Server {
    /// The configuration.
    pub config: Config,
    /// What time it is.
    pub clock: Clock,
    /// Everything that is stored.
    pub store: Arc<dyn Store>,
    /// The bytes of uploaded files.
    pub media: Arc<MediaStore>,
    /// What operations on files share.
    pub(crate) files: Arc<Files>,
    /// This server's signing key.
    pub signer: Arc<Signer>,
    /// Rooms in memory.
    pub rooms: Arc<Rooms>,
    /// Who is told what.
    pub feed: Arc<Feed>,
    /// Who is asking.
    pub sessions: Arc<Sessions>,
    /// Notifications that nobody has seen.
    pub unread: Arc<Unread>,
    /// What operations on accounts share.
    pub accounts: Accounts,
    /// Answers of `/joined_members` that are kept ready.
    pub(crate) joined_members: JoinedMembers,
    /// What operations of admins share.
    pub administration: Arc<Administration>,
    /// Tasks.
    pub supervisor: Supervisor,
    /// Rooms in which somebody types, as far as this node was told.
    pub(crate) typing_rooms: Mutex<BTreeSet<OwnedRoomId>>,
    /// When the last room was made here, in milliseconds.
    pub(crate) last_creation: AtomicU64,
    /// Who syncs with this node.
    pub(crate) attendance: Attendance,
    /// What is remembered of syncing devices.
    pub(crate) sync_devices: SyncDevices,
    application_services: Vec<Arc<ApplicationService>>,
    devices_seen: Mutex<BTreeMap<(OwnedUserId, OwnedDeviceId), DeviceUse>>,
}

#[derive(Debug)]
struct DeviceUse {
    at: lyceum_model::Timestamp,
    ip: String,
    user_agent: Option<String>,
    is_written: bool,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Storage is broken.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The first settings could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The data belongs to a server of another name.
    #[error(
        "the data in {data_dir} belongs to the server {stored}, but the configuration says \
         {configured}; a server's name cannot be changed"
    )]
    OtherServerName {
        /// The folder.
        data_dir: String,
        /// The name the data was made with.
        stored: String,
        /// The name in the configuration.
        configured: String,
    },
    /// The stored signing key is damaged.
    #[error("the stored signing key is damaged: {0}")]
    SigningKey(String),
}

impl Server {
    /// Puts the server together over its storage: checks that the data is its own, loads or makes
    /// the signing key, and begins to follow the commits.
    pub async fn start(
        config: Config,
        clock: Clock,
        store: Arc<dyn Store>,
        media: Arc<MediaStore>,
        application_services: Vec<ApplicationService>,
    ) -> Result<Arc<Self>, StartError> {
        let feed = Arc::new(Feed::new(store.position()));
        let sessions = Arc::new(Sessions::default());
        let rooms = Arc::new(Rooms::new(store.clone(), config.caches.rooms_bytes_max));
        let unread = Arc::new(Unread::default());
        let files = Arc::new(Files::default());
        let administration = Arc::new(Administration::default());
        let listener = {
            let (feed, sessions, rooms) = (feed.clone(), sessions.clone(), rooms.clone());
            let (unread, files) = (unread.clone(), files.clone());
            let administration = administration.clone();
            move |published: Published| {
                sessions.publish(&published.touches);
                administration.publish(&published.touches);
                unread.publish(&published.touches);
                rooms.publish(&published);
                feed.publish(&published);
                files.publish(&published.touches);
            }
        };
        store.listen(Box::new(listener));
        own_the_data(&*store, &config).await?;
        let signer = Arc::new(load_signer(&*store, &config).await?);
        let server = Arc::new(Self {
            unread,
            accounts: Accounts::default(),
            joined_members: JoinedMembers::default(),
            administration,
            supervisor: Supervisor::default(),
            application_services: application_services.into_iter().map(Arc::new).collect(),
            devices_seen: Mutex::default(),
            typing_rooms: Mutex::default(),
            last_creation: AtomicU64::new(0),
            attendance: Attendance::default(),
            sync_devices: SyncDevices::default(),
            config,
            clock,
            store,
            media,
            files,
            signer,
            rooms,
            feed,
            sessions,
        });
        server.make_application_service_users().await?;
        server.start_ticks();
        server.resume_jobs().await;
        server.resume_profiles().await;
        Ok(server)
    }

    /// Stops the tasks, writes what waits to be written, and closes storage.
    pub async fn stop(&self) {
        self.supervisor.begin_stop();
        self.feed.wake_all();
        self.supervisor.stop().await;
        self.write_devices_seen().await;
        self.write_accesses().await;
        self.unread.write(&*self.store).await;
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "storage could not be closed properly");
        }
    }

    /// Stores a batch.
    pub async fn commit(
        &self,
        batch: impl Into<Batch>,
    ) -> Result<lyceum_model::Committed, CommitError> {
        self.store.submit(batch.into()).await
    }

    /// A short-lived secret whose time has not passed.
    pub(crate) async fn valid_ticket(
        &self,
        kind: TicketKind,
        key: &str,
    ) -> Result<Option<Ticket>, StorageError> {
        let ticket = self.store.ticket(kind, key).await?;
        let now = self.clock.now();
        Ok(ticket.filter(|ticket| ticket.expires > now))
    }

    /// Whether a user belongs to this server.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.config.server_name
    }

    /// All application services.
    pub fn application_services(&self) -> &[Arc<ApplicationService>] {
        &self.application_services
    }

    /// The application service with this token.
    pub fn application_service_by_token(&self, token: &str) -> Option<Arc<ApplicationService>> {
        let services = &self.application_services;
        services
            .iter()
            .find(|service| service.as_token == token)
            .cloned()
    }

    /// A session for an application service that acts as one of its users.
    pub async fn application_service_session(
        &self,
        service: &ApplicationService,
        user_id: OwnedUserId,
        device_id: Option<OwnedDeviceId>,
    ) -> Result<Arc<Session>, MatrixError> {
        let Some(user) = self.store.user(&user_id).await? else {
            return Err(MatrixError::forbidden(
                "Application service has not registered this user",
            ));
        };
        if let Some(device_id) = &device_id {
            let devices = self.store.devices(std::slice::from_ref(&user_id)).await?;
            if !devices.iter().any(|device| device.device_id == *device_id) {
                return Err(MatrixError::new(
                    400,
                    "M_UNKNOWN_DEVICE",
                    "The application service's user has no such device",
                ));
            }
        }
        Ok(Arc::new(Session {
            token_hash: crate::sessions::hash_of(&service.as_token),
            kind: TokenKind::Access,
            user_id,
            device_id,
            expires: None,
            is_admin: user.is_admin,
            is_locked: user.is_locked,
            is_suspended: user.is_suspended,
            is_shadow_banned: user.is_shadow_banned,
            puppeted_by: None,
        }))
    }

    /// Remembers that a device was used; written to storage now and then.
    pub fn device_seen(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        address: IpAddr,
        user_agent: Option<&str>,
    ) {
        let now = self.clock.now();
        let mut devices = self.devices_seen.lock();
        let key = (user_id.to_owned(), device_id.to_owned());
        if let Some(last) = devices.get(&key)
            && now.ms_since(last.at) < DEVICE_SEEN_PRECISION_MS
        {
            return;
        }
        if devices.len() >= DEVICES_SEEN_MAX {
            devices.retain(|_, last| !last.is_written);
        }
        let user_agent = user_agent.map(|agent| agent.chars().take(200).collect());
        devices.insert(
            key,
            DeviceUse {
                at: now,
                ip: address.to_string(),
                user_agent,
                is_written: false,
            },
        );
    }

    /// Fills in the last uses that are not written yet.
    pub fn add_last_uses(&self, devices: &mut [Device]) {
        let seen = self.devices_seen.lock();
        for device in devices {
            let key = (device.user_id.clone(), device.device_id.clone());
            if let Some(last) = seen.get(&key)
                && device.last_seen.is_none_or(|written| written < last.at)
            {
                device.last_seen = Some(last.at);
                device.last_seen_ip = Some(last.ip.clone());
                device.user_agent.clone_from(&last.user_agent);
            }
        }
    }

    async fn write_devices_seen(&self) {
        let mut batch = Batch::new();
        {
            let mut devices = self.devices_seen.lock();
            for ((user_id, device_id), last) in devices.iter_mut() {
                if !last.is_written {
                    last.is_written = true;
                    batch.push(AccountChange::DeviceSeen {
                        user_id: user_id.clone(),
                        device_id: device_id.clone(),
                        at: last.at,
                        ip: Some(last.ip.clone()),
                        user_agent: last.user_agent.clone(),
                    });
                }
            }
        }
        if !batch.changes.is_empty()
            && let Err(error) = self.commit(batch).await
        {
            tracing::warn!(%error, "the last use of devices could not be written");
        }
    }

    /// Takes off the disk what nobody can see any more, in small portions.
    async fn sweep_storage(&self) {
        while !self.supervisor.is_stopping() {
            match self.store.sweep().await {
                Ok(Swept::Nothing) => return,
                Ok(Swept::Looked) => {}
                Ok(Swept::Removed) => tokio::time::sleep(SWEEP_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "what nobody can see any more stays on the disk");
                    return;
                }
            }
        }
    }

    fn start_ticks(self: &Arc<Self>) {
        let every = |name, seconds, tick: fn(Arc<Self>) -> TickFuture| {
            let server = Arc::downgrade(self);
            self.supervisor
                .every(name, Duration::from_secs(seconds), move || {
                    let server = server.upgrade();
                    async move {
                        if let Some(server) = server {
                            tick(server).await;
                        }
                    }
                });
        };
        every("write devices' last use", 60, |server| {
            Box::pin(async move { server.write_devices_seen().await })
        });
        every("write files' last use", 60, |server| {
            Box::pin(async move { server.write_accesses().await })
        });
        every("store counted notifications", 30, |server| {
            Box::pin(async move { server.unread.write(&*server.store).await })
        });
        every("take absent users offline", 15, |server| {
            Box::pin(async move { server.mark_absent().await })
        });
        let (feed, supervisor) = (self.feed.clone(), self.supervisor.clone());
        self.supervisor.spawn("wake crowds", async move {
            tokio::select! {
                () = supervisor.stopped() => {}
                () = feed.wake_the_rest() => {}
                () = feed.wake_crowds() => {}
            }
        });
        let server = Arc::downgrade(self);
        self.supervisor.spawn("forget who was online", async move {
            if let Some(server) = server.upgrade() {
                server.forget_attendance().await;
            }
        });
        if self.store.is_shared() {
            // Another node may end without a word.
            every("forget who was online elsewhere", 300, |server| {
                Box::pin(async move { server.forget_attendance().await })
            });
        }
        every("sweep caches", 5, |server| {
            Box::pin(async move {
                server.feed.sweep(server.clock.now());
                server.rooms.sweep();
            })
        });
        every("expire", 600, |server| {
            Box::pin(async move {
                let expire = AccountChange::Expire(server.clock.now());
                if let Err(error) = server.commit(expire).await {
                    tracing::warn!(%error, "what has expired could not be removed");
                }
            })
        });
        every("clean files", 60, |server| {
            Box::pin(async move { server.clean_files().await })
        });
        every("sweep storage", 60, |server| {
            Box::pin(async move { server.sweep_storage().await })
        });
        every("stop typing notices", 5, |server| {
            Box::pin(async move { server.expire_typing().await })
        });
    }

    async fn make_application_service_users(&self) -> Result<(), StartError> {
        for service in &self.application_services {
            if self.store.user(&service.sender).await?.is_some() {
                continue;
            }
            let mut batch = Batch::new();
            batch.expect(Expect::UserAbsent(service.sender.clone()));
            batch.push(AccountChange::PutUser(User {
                user_id: service.sender.clone(),
                password_hash: None,
                created: self.clock.now(),
                is_admin: false,
                is_deactivated: false,
                is_erased: false,
                is_locked: false,
                is_suspended: false,
                is_shadow_banned: false,
                kind: None,
                application_service: Some(service.id.clone()),
                origin: "application_service".to_owned(),
            }));
            match self.commit(batch).await {
                Ok(_) | Err(CommitError::Stale(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

type TickFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn own_the_data(store: &dyn Store, config: &Config) -> Result<(), StartError> {
    let configured = config.server_name.as_str();
    match store.setting(SERVER_NAME_SETTING).await? {
        Some(stored) if stored == configured => Ok(()),
        Some(stored) => Err(StartError::OtherServerName {
            data_dir: config.data_dir.display().to_string(),
            stored,
            configured: configured.to_owned(),
        }),
        None => set_once(store, SERVER_NAME_SETTING, configured.to_owned()).await,
    }
}

async fn load_signer(store: &dyn Store, config: &Config) -> Result<Signer, StartError> {
    if store.setting(SIGNING_KEY_SETTING).await?.is_none() {
        let version: [u8; 3] = chance::bytes();
        let seed: [u8; 32] = chance::bytes();
        let key = format!("{} {}", hex(&version), hex(&seed));
        set_once(store, SIGNING_KEY_SETTING, key).await?;
    }
    let key = store
        .setting(SIGNING_KEY_SETTING)
        .await?
        .ok_or_else(|| StartError::SigningKey("it is missing".to_owned()))?;
    let damaged = || StartError::SigningKey("it is not `version seed`".to_owned());
    let (version, seed) = key.split_once(' ').ok_or_else(damaged)?;
    let seed = unhex(seed).ok_or_else(damaged)?;
    Signer::from_seed(config.server_name.clone(), version, &seed)
        .map_err(|error| StartError::SigningKey(error.to_string()))
}

/// Sets a setting that nobody has set; another node may be first.
async fn set_once(store: &dyn Store, key: &str, value: String) -> Result<(), StartError> {
    let mut batch = Batch::new();
    batch.expect(Expect::Setting(key.to_owned(), None));
    batch.push(Change::Setting {
        key: key.to_owned(),
        value: Some(value),
    });
    match store.submit(batch).await {
        Ok(_) | Err(CommitError::Stale(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
