//! What the configuration tells the server; the binary reads the file and the environment.

use std::path::PathBuf;

use lyceum_account::password::PasswordParameters;
use lyceum_room::RoomRules;
use ruma_common::{OwnedServerName, RoomVersionId, ServerName};
use serde::{Deserialize, Serialize};

/// The whole configuration. Every key has a default; `lyceum config --defaults` prints them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The part after the colon of every user id. It cannot be changed later.
    pub server_name: OwnedServerName,
    /// Where everything lies that the server writes.
    pub data_dir: PathBuf,
    /// Addresses to listen on.
    pub listeners: Vec<Listener>,
    /// Where events and accounts are stored.
    pub storage: Storage,
    /// Who may register.
    pub registration: Registration,
    /// Passwords.
    pub passwords: Passwords,
    /// Sessions.
    pub sessions: Sessions,
    /// Rooms.
    pub rooms: Rooms,
    /// Uploaded files.
    pub media: Media,
    /// Who is there.
    pub presence: Presence,
    /// How often somebody may ask.
    pub rate_limits: RateLimits,
    /// Other servers.
    pub federation: Federation,
    /// Application services.
    pub application_services: ApplicationServices,
    /// What `/.well-known/matrix/…` tells.
    pub well_known: WellKnown,
    /// What is logged.
    pub log: Log,
    /// Memory for caches.
    pub caches: Caches,
}

/// An address to listen on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, such as `127.0.0.1:8008` or `[::1]:8448`.
    pub bind: String,
    /// What it answers.
    #[serde(default = "Listener::everything")]
    pub serves: Vec<Serves>,
    /// A file with the certificate chain (PEM); with a key: TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// A file with the private key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_private_key: Option<PathBuf>,
    /// Whether to believe `X-Forwarded-For`: only behind a reverse proxy of your own.
    #[serde(default)]
    pub trust_forwarded_for: bool,
}

/// A part of the server that a listener can offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// The Client-Server API and media.
    Client,
    /// The Server-Server API.
    Federation,
    /// The admin API, and `/metrics`.
    Admin,
    /// The web client and the landing page.
    Web,
}

impl Listener {
    fn everything() -> Vec<Serves> {
        vec![
            Serves::Client,
            Serves::Federation,
            Serves::Admin,
            Serves::Web,
        ]
    }
}

/// Where events and accounts are stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// `sqlite` (a file in `data_dir`) or `postgres://user@host:port/database`, with `?sslmode=…`
    /// encrypted.
    pub url: String,
    /// Files with certificates (PEM) of authorities that PostgreSQL's certificate may come from,
    /// beside those that the system knows.
    pub tls_authorities: Vec<PathBuf>,
}

/// Who may register.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// `open`, `token` or `closed`.
    pub mode: RegistrationMode,
    /// Lets who knows it register users through `/_synapse/admin/v1/register`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_secret: Option<String>,
    /// A registration token that is always valid, besides those in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// How registration is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Anybody.
    Open,
    /// Whoever has a registration token.
    Token,
    /// Nobody.
    #[default]
    Closed,
}

/// Passwords: argon2id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Passwords {
    /// Whether people log in by password.
    pub enabled: bool,
    /// The shortest allowed one, in characters.
    pub length_min: usize,
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

/// Sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// How long an access token lives that can be refreshed.
    pub access_token_lifetime_ms: u64,
    /// How long `m.login.token` is valid.
    pub login_token_lifetime_ms: u64,
    /// How long somebody may take to prove who they are (interactive authentication).
    pub interactive_auth_lifetime_ms: u64,
    /// Most devices of one user.
    pub devices_max: usize,
}

/// Rooms.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// The version of new rooms.
    pub default_version: RoomVersionId,
    /// Whether the room directory may be read without logging in.
    pub public_directory_without_login: bool,
}

/// Uploaded files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The largest upload in bytes.
    pub upload_bytes_max: u64,
    /// Whether files are also given out without a login, under `/_matrix/media` (legacy).
    pub legacy_endpoints: bool,
    /// How many uploads a user may promise at a time.
    pub pending_uploads_max: u64,
    /// How long a promised upload may take.
    pub pending_upload_lifetime_ms: u64,
    /// The largest picture of which thumbnails are made, in pixels.
    pub thumbnail_pixels_max: u64,
    /// How long thumbnails are kept before they are made again; 0: for ever.
    pub thumbnail_lifetime_ms: u64,
    /// How long bytes that no file names lie in `media/unnamed` before they go; 0: for ever.
    pub unnamed_lifetime_ms: u64,
}

/// Who is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Whether users are told who is online. Without it, all are offline and what clients say of
    /// it is not kept.
    pub enabled: bool,
}

/// How often somebody may ask. Each is a bucket: `burst` at once, `per_second` in the long run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Whether there are limits at all.
    pub enabled: bool,
    /// Sending events, by user.
    pub message: Bucket,
    /// Logging in, by address and by account.
    pub login: Bucket,
    /// Registering, by address.
    pub registration: Bucket,
    /// Joining, inviting, making rooms, by user.
    pub membership: Bucket,
    /// Everything else that the specification marks as limited, by user or address.
    pub request: Bucket,
    /// Users without limits, by user id.
    pub exempt_users: Vec<String>,
    /// Addresses without limits.
    pub exempt_addresses: Vec<std::net::IpAddr>,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// In the long run.
    pub per_second: f64,
    /// At once.
    pub burst: u32,
}

/// Other servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Federation {
    /// Whether to talk to them.
    pub enabled: bool,
    /// Files with further CA certificates.
    pub trusted_authorities: Vec<PathBuf>,
    /// Test networks only.
    pub allow_private_addresses: bool,
}

/// Application services.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationServices {
    /// Registration files (YAML).
    pub files: Vec<PathBuf>,
}

/// What `/.well-known/matrix/…` tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WellKnown {
    /// The address at which clients find this server, such as `https://matrix.example.org`.
    /// Without it, `/.well-known/matrix/client` answers with the address that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Where other servers find this one, such as `matrix.example.org:443`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// An address for administrative contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_email: Option<String>,
    /// A page for help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_page: Option<String>,
}

/// What is logged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or directives such as
    /// `info,lyceum_server=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Memory for caches.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caches {
    /// Rooms with their state and newest events.
    pub rooms_bytes_max: usize,
}

/// A value that is of the right kind, but with which nothing would work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct WrongValue {
    key: &'static str,
    why: String,
}

impl Config {
    /// Checks what its types do not. An empty secret counts as none, for whoever passes on a
    /// variable of the environment that is not set.
    pub fn checked(mut self) -> Result<Self, WrongValue> {
        let registration = &mut self.registration;
        for secret in [&mut registration.shared_secret, &mut registration.token] {
            secret.take_if(|secret| secret.trim().is_empty());
        }
        let wrong = |key, why: &str| {
            let why = why.to_owned();
            Err(WrongValue { key, why })
        };
        let version = &self.rooms.default_version;
        if !RoomRules::supported().contains(version) {
            return wrong("rooms.default_version", "there are versions 1 to 12");
        }
        if let Err(error) = self.passwords.parameters().check() {
            return wrong("passwords", &error.to_string());
        }
        let limits = &self.rate_limits;
        for (key, bucket) in [
            ("rate_limits.message", limits.message),
            ("rate_limits.login", limits.login),
            ("rate_limits.registration", limits.registration),
            ("rate_limits.membership", limits.membership),
            ("rate_limits.request", limits.request),
        ] {
            if !(bucket.per_second.is_finite() && bucket.per_second > 0.0 && bucket.burst > 0) {
                return wrong(key, "per_second and burst must be more than 0");
            }
        }
        Ok(self)
    }
}

impl Passwords {
    /// What a hash costs.
    pub fn parameters(&self) -> PasswordParameters {
        PasswordParameters {
            memory_kib: self.memory_kib,
            iterations: self.iterations,
            parallelism: self.parallelism,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: ServerName::parse("localhost:8008").expect("a valid server name"),
            data_dir: PathBuf::from("data"),
            listeners: vec![Listener {
                bind: "127.0.0.1:8008".to_owned(),
                serves: Listener::everything(),
                tls_certificate: None,
                tls_private_key: None,
                trust_forwarded_for: false,
            }],
            storage: Storage::default(),
            registration: Registration::default(),
            passwords: Passwords::default(),
            sessions: Sessions::default(),
            rooms: Rooms::default(),
            media: Media::default(),
            presence: Presence::default(),
            rate_limits: RateLimits::default(),
            federation: Federation::default(),
            application_services: ApplicationServices::default(),
            well_known: WellKnown::default(),
            log: Log::default(),
            caches: Caches::default(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: "sqlite".to_owned(),
            tls_authorities: Vec::new(),
        }
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            enabled: true,
            length_min: 8,
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_lifetime_ms: 60 * 60 * 1000,
            login_token_lifetime_ms: 2 * 60 * 1000,
            interactive_auth_lifetime_ms: 15 * 60 * 1000,
            devices_max: 1_000,
        }
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            default_version: RoomVersionId::V12,
            public_directory_without_login: false,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            upload_bytes_max: 100 * 1024 * 1024,
            legacy_endpoints: true,
            pending_uploads_max: 5,
            pending_upload_lifetime_ms: 24 * 60 * 60 * 1000,
            thumbnail_pixels_max: 32_000_000,
            thumbnail_lifetime_ms: 30 * 24 * 60 * 60 * 1000,
            unnamed_lifetime_ms: 7 * 24 * 60 * 60 * 1000,
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            message: Bucket {
                per_second: 10.0,
                burst: 100,
            },
            login: Bucket {
                per_second: 0.5,
                burst: 20,
            },
            registration: Bucket {
                per_second: 0.2,
                burst: 10,
            },
            membership: Bucket {
                per_second: 2.0,
                burst: 50,
            },
            request: Bucket {
                per_second: 50.0,
                burst: 500,
            },
            exempt_users: Vec::new(),
            exempt_addresses: Vec::new(),
        }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: true,
            trusted_authorities: Vec::new(),
            allow_private_addresses: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            rooms_bytes_max: 24 * 1024 * 1024,
        }
    }
}
