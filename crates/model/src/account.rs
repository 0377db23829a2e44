//! Users and all that belongs to them, and what may change about it.

use ruma_common::{OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId};

use crate::{Position, Timestamp};

/// An account on this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub user_id: OwnedUserId,
    /// The password's argon2id hash in PHC form; `None`: no password login.
    pub password_hash: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it may use the admin API.
    pub is_admin: bool,
    /// Whether it was closed for good; its name is never given to anybody else.
    pub is_deactivated: bool,
    /// Whether its owner asked to be forgotten when closing it.
    pub is_erased: bool,
    /// Whether it is locked (`M_USER_LOCKED`).
    pub is_locked: bool,
    /// Whether it is suspended (`M_USER_SUSPENDED`).
    pub is_suspended: bool,
    /// Whether what it sends is shown to itself only.
    pub is_shadow_banned: bool,
    /// `user_type` of Synapse's admin API, such as `bot` or `support`.
    pub kind: Option<String>,
    /// The application service that made it.
    pub application_service: Option<String>,
    /// What made it: `registration`, `admin`, `moodle`, `application_service`, `sso`…
    pub origin: String,
}

/// A device: one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Whose.
    pub user_id: OwnedUserId,
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// The name its owner gave it.
    pub display_name: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last asked for something (to the minute).
    pub last_seen: Option<Timestamp>,
    /// From which address.
    pub last_seen_ip: Option<String>,
    /// With which `User-Agent`.
    pub user_agent: Option<String>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// A client's access token.
    Access,
    /// Renews an access token; used once.
    Refresh,
    /// An admin acting as a user, without a device.
    Impersonation,
    /// Limited to what a learning platform's provisioning needs.
    Provisioning,
}

impl TokenKind {
    /// Its stored number.
    pub fn code(self) -> i64 {
        match self {
            Self::Access => 0,
            Self::Refresh => 1,
            Self::Impersonation => 2,
            Self::Provisioning => 3,
        }
    }

    /// The kind with this stored number.
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Access,
            1 => Self::Refresh,
            2 => Self::Impersonation,
            3 => Self::Provisioning,
            _ => return None,
        })
    }
}

/// A token; only its SHA-256 is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it allows.
    pub kind: TokenKind,
    /// For whom.
    pub user_id: OwnedUserId,
    /// For which device.
    pub device_id: Option<OwnedDeviceId>,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// The admin behind an impersonation.
    pub puppeted_by: Option<OwnedUserId>,
}

/// What a short-lived secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TicketKind {
    /// `m.login.token`.
    Login,
    /// A session of user-interactive authentication.
    InteractiveAuth,
    /// An OpenID token for third parties.
    OpenId,
    /// The nonce of registration by shared secret.
    RegistrationNonce,
    /// The account that was made in a session of user-interactive authentication.
    Registered,
}

impl TicketKind {
    /// Its stored number.
    pub fn code(self) -> i64 {
        match self {
            Self::Login => 0,
            Self::InteractiveAuth => 1,
            Self::OpenId => 2,
            Self::RegistrationNonce => 3,
            Self::Registered => 4,
        }
    }
}

/// A short-lived secret with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What it is for.
    pub kind: TicketKind,
    /// Its name: a session id, or the hex SHA-256 of a secret.
    pub key: String,
    /// What it stands for, as JSON.
    pub data: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// A piece of account data (Client-Server API, "Client Config"); push rules, tags, direct chats
/// and ignored users are such pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDataEntry {
    /// The room it is about; `None`: the whole account.
    pub room_id: Option<OwnedRoomId>,
    /// Its type.
    pub kind: String,
    /// Its content as JSON; `None` if it was deleted.
    pub content: Option<String>,
    /// The commit that set it.
    pub position: Position,
}

/// A device's identity keys (`/keys/upload`), without the signatures that others added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// Whose.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The signed JSON as uploaded.
    pub json: String,
}

/// A one-time or fallback key of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeKey {
    /// `algorithm:key_id`, such as `signed_curve25519:AAAAHg`.
    pub key_id: String,
    /// The key as uploaded: a JSON string or object.
    pub json: String,
}

impl OneTimeKey {
    /// The algorithm: what stands before the colon.
    pub fn algorithm(&self) -> &str {
        self.key_id.split(':').next().unwrap_or_default()
    }
}

/// What a cross-signing key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrossSigningUsage {
    /// `master`.
    Master,
    /// `self_signing`.
    SelfSigning,
    /// `user_signing`; shown to its owner only.
    UserSigning,
}

impl CrossSigningUsage {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }

    /// The usage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "master" => Self::Master,
            "self_signing" => Self::SelfSigning,
            "user_signing" => Self::UserSigning,
            _ => return None,
        })
    }
}

/// A user's cross-signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossSigningKey {
    /// Whose.
    pub user_id: OwnedUserId,
    /// What it is for.
    pub usage: CrossSigningUsage,
    /// The JSON as uploaded.
    pub json: String,
}

/// A signature that a key of one user made over a key of another (or the same) one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySignature {
    /// Who signed.
    pub signer: OwnedUserId,
    /// With which key, such as `ed25519:DEVICE`.
    pub signer_key_id: String,
    /// Whose key was signed.
    pub target: OwnedUserId,
    /// Which: a device id, or the public key of a cross-signing key.
    pub target_key: String,
    /// The signature.
    pub signature: String,
}

/// A message to one device (Client-Server API, "Send-to-Device messaging").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToDevice {
    /// To whom.
    pub user_id: OwnedUserId,
    /// To which device.
    pub device_id: OwnedDeviceId,
    /// What the client gets: JSON with `sender`, `type` and `content`.
    pub json: String,
    /// The commit that brought it; ignored when written.
    pub position: Position,
    /// Its place among the messages of one commit; ignored when written.
    pub index: u32,
}

/// A version of a key backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupVersion {
    /// Whose.
    pub user_id: OwnedUserId,
    /// Its number; counts up by one for each user.
    pub version: u64,
    /// The algorithm.
    pub algorithm: String,
    /// `auth_data` as JSON.
    pub auth_data: String,
    /// Changes whenever the keys in it change.
    pub etag: u64,
    /// How many keys it holds; storage counts.
    pub count: u64,
}

/// A room key in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSession {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The Megolm session.
    pub session_id: String,
    /// Index of the first message it decrypts.
    pub first_message_index: u64,
    /// How often it was forwarded.
    pub forwarded_count: u64,
    /// Whether its sender was verified.
    pub is_verified: bool,
    /// The encrypted key, as JSON.
    pub session_data: String,
}

/// Who sees a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiptKind {
    /// `m.read`: everybody in the room.
    Read,
    /// `m.read.private`: only its owner.
    ReadPrivate,
}

impl ReceiptKind {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::ReadPrivate => "m.read.private",
        }
    }
}

/// How far somebody has read a room or a thread of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who.
    pub user_id: OwnedUserId,
    /// Who sees it.
    pub kind: ReceiptKind,
    /// `None`: unthreaded; `main`, or a thread's root.
    pub thread: Option<String>,
    /// The last event read.
    pub event_id: OwnedEventId,
    /// When.
    pub at: Timestamp,
    /// The commit that set it; ignored when written.
    pub position: Position,
}

/// Counted notifications of a user in a room, or in one thread of it, up to an event. Kept so
/// that counting need not start anew; it may lag behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadCounts {
    /// Who.
    pub user_id: OwnedUserId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// What was counted, as JSON of the counter.
    pub json: String,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceState {
    /// `online`.
    Online,
    /// `unavailable`: idle.
    Unavailable,
    /// `offline`.
    Offline,
}

impl PresenceState {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unavailable => "unavailable",
            Self::Offline => "offline",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "online" => Self::Online,
            "unavailable" => Self::Unavailable,
            "offline" => Self::Offline,
            _ => return None,
        })
    }
}

/// A user's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub user_id: OwnedUserId,
    /// Whether they are there.
    pub state: PresenceState,
    /// What they say about it.
    pub status: Option<String>,
    /// When they last did something.
    pub last_active: Timestamp,
    /// The commit that set it; ignored when written.
    pub position: Position,
}

/// A token that allows to register (Client-Server API, "Token-authenticated registration").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationToken {
    /// The token.
    pub token: String,
    /// How many registrations it allows; `None`: any number.
    pub uses_allowed: Option<u64>,
    /// Registrations that have begun with it.
    pub pending: u64,
    /// Registrations that were completed with it.
    pub completed: u64,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// An e-mail address or phone number bound to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threepid {
    /// Whose.
    pub user_id: OwnedUserId,
    /// `email` or `msisdn`.
    pub medium: String,
    /// The address, in lower case.
    pub address: String,
    /// When it was bound.
    pub added: Timestamp,
    /// When it was validated.
    pub validated: Timestamp,
}

/// A change to accounts.
#[derive(Debug, Clone)]
pub enum AccountChange {
    /// An account is made, or its record replaced.
    PutUser(User),
    /// A profile field is set (JSON) or removed (MSC4133; `displayname` and `avatar_url` too).
    ProfileField {
        /// Whose.
        user_id: OwnedUserId,
        /// The field.
        key: String,
        /// Its value as JSON.
        value: Option<String>,
    },
    /// A device is made or its record replaced.
    PutDevice(Device),
    /// A device was used; may be dropped under load.
    DeviceSeen {
        /// Whose.
        user_id: OwnedUserId,
        /// The device.
        device_id: OwnedDeviceId,
        /// When.
        at: Timestamp,
        /// From where.
        ip: Option<String>,
        /// With which `User-Agent`.
        user_agent: Option<String>,
    },
    /// A device goes, with its tokens, keys and waiting messages.
    RemoveDevice {
        /// Whose.
        user_id: OwnedUserId,
        /// The device.
        device_id: OwnedDeviceId,
    },
    /// A token is valid from now on.
    PutToken(AccessToken),
    /// A token (its hash) is no longer valid.
    RemoveToken([u8; 32]),
    /// A device's tokens are no longer valid: access and refresh.
    RemoveDeviceTokens {
        /// Whose.
        user_id: OwnedUserId,
        /// The device.
        device_id: OwnedDeviceId,
    },
    /// A short-lived secret is made or replaced.
    PutTicket(Ticket),
    /// It is used up.
    RemoveTicket(TicketKind, String),
    /// Short-lived secrets and typing notices that ended before this time may go, and tokens that
    /// ended a week before it.
    Expire(Timestamp),
    /// Account data is set or deleted.
    AccountData {
        /// Whose.
        user_id: OwnedUserId,
        /// About which room.
        room_id: Option<OwnedRoomId>,
        /// Its type.
        kind: String,
        /// Its content as JSON.
        content: Option<String>,
    },
    /// A filter is kept for a user.
    PutFilter {
        /// Whose.
        user_id: OwnedUserId,
        /// Its id: the first 22 characters of the hash of its JSON.
        filter_id: String,
        /// The filter.
        json: String,
    },
    /// A device's identity keys.
    PutDeviceKeys(DeviceKeys),
    /// One-time keys are added, but for those that were handed out already.
    AddOneTimeKeys {
        /// Whose.
        user_id: OwnedUserId,
        /// Which device's.
        device_id: OwnedDeviceId,
        /// The keys.
        keys: Vec<OneTimeKey>,
    },
    /// A one-time key is handed out: it goes, and never comes again.
    TakeOneTimeKey {
        /// Whose.
        user_id: OwnedUserId,
        /// Which device's.
        device_id: OwnedDeviceId,
        /// Which.
        key_id: String,
    },
    /// Fallback keys replace those of the same algorithms, and are unused; one that is there
    /// already stays as it is.
    PutFallbackKeys {
        /// Whose.
        user_id: OwnedUserId,
        /// Which device's.
        device_id: OwnedDeviceId,
        /// The keys.
        keys: Vec<OneTimeKey>,
    },
    /// A fallback key was handed out.
    FallbackKeyUsed {
        /// Whose.
        user_id: OwnedUserId,
        /// Which device's.
        device_id: OwnedDeviceId,
        /// Which.
        key_id: String,
    },
    /// A cross-signing key replaces the one of the same usage.
    PutCrossSigningKey(CrossSigningKey),
    /// A signature over a key.
    PutSignature(KeySignature),
    /// Others must fetch the user's device list anew.
    DeviceListChanged(OwnedUserId),
    /// One user must fetch the keys of another (or their own) anew: nobody else sees what changed.
    KeysChangedFor {
        /// Who must.
        viewer: OwnedUserId,
        /// Whose keys.
        user_id: OwnedUserId,
    },
    /// A message waits for a device.
    SendToDevice(ToDevice),
    /// The device has everything up to this commit.
    ToDeviceReceived {
        /// Whose.
        user_id: OwnedUserId,
        /// The device.
        device_id: OwnedDeviceId,
        /// Up to where.
        to: Position,
    },
    /// A backup version is made or its `auth_data` replaced. `count` is ignored.
    PutBackup(BackupVersion),
    /// A backup version goes, with its keys; its number is not used again.
    RemoveBackup {
        /// Whose.
        user_id: OwnedUserId,
        /// Which.
        version: u64,
    },
    /// Keys are put into a backup.
    PutBackupSessions {
        /// Whose.
        user_id: OwnedUserId,
        /// Which backup.
        version: u64,
        /// The keys.
        sessions: Vec<BackupSession>,
        /// The backup's new etag.
        etag: u64,
    },
    /// Keys are taken from a backup: all, of one room, or one.
    RemoveBackupSessions {
        /// Whose.
        user_id: OwnedUserId,
        /// Which backup.
        version: u64,
        /// Of which room.
        room_id: Option<OwnedRoomId>,
        /// Which session.
        session_id: Option<String>,
        /// The backup's new etag.
        etag: u64,
    },
    /// A receipt replaces the one of the same room, user, kind and thread.
    PutReceipt(Receipt),
    /// Counted notifications, to be found again after a restart.
    PutUnread(UnreadCounts),
    /// A user's presence.
    PutPresence(Presence),
    /// A registration token is made or replaced.
    PutRegistrationToken(RegistrationToken),
    /// A registration token goes.
    RemoveRegistrationToken(String),
    /// An address is bound to an account (and taken from whom it was bound to before).
    PutThreepid(Threepid),
    /// An address is bound to nobody.
    RemoveThreepid {
        /// `email` or `msisdn`.
        medium: String,
        /// The address.
        address: String,
    },
    /// Account data, profile, keys, addresses and receipts of a closed account go; the record
    /// stays so that the name is not given away.
    EraseUserData(OwnedUserId),
}
