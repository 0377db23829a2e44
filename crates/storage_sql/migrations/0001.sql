-- The first schema. Written in the dialect of SQLite; for PostgreSQL, types and table options are
-- translated (see migrations.rs). Users, rooms and state roots are named by numbers.

CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE users (
    number INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE
);

CREATE TABLE rooms (
    number INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE
);

-- Rooms that this server knows, with what changes at every event.
CREATE TABLE room_heads (
    room INTEGER PRIMARY KEY,
    version TEXT NOT NULL,
    revision INTEGER NOT NULL,
    heads BLOB NOT NULL,
    state INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    aside INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    is_published INTEGER NOT NULL
);
CREATE INDEX room_heads_published ON room_heads (room) WHERE is_published = 1;

-- number: see event_number.rs. hash: of the event id, NULL for stubs. placement: its code, plus 16
-- if redacted. link: between an event that was promoted and its stub in the timeline.
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    hash INTEGER,
    position INTEGER NOT NULL,
    placement INTEGER NOT NULL,
    state_before INTEGER,
    state_after INTEGER,
    link INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX events_hash ON events (hash);

CREATE TABLE redactions (
    number INTEGER PRIMARY KEY,
    because TEXT NOT NULL
);

CREATE TABLE relations (
    parent INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (parent, seq, number)
) WITHOUT ROWID;

CREATE TABLE state_nodes (
    hash BLOB NOT NULL PRIMARY KEY,
    node BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE state_roots (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE
);

CREATE TABLE memberships (
    who INTEGER NOT NULL,
    room INTEGER NOT NULL,
    membership INTEGER NOT NULL,
    event INTEGER NOT NULL,
    position INTEGER NOT NULL,
    is_forgotten INTEGER NOT NULL,
    PRIMARY KEY (who, room)
) WITHOUT ROWID;
CREATE INDEX memberships_room ON memberships (room);

CREATE TABLE aliases (
    alias TEXT NOT NULL PRIMARY KEY,
    room INTEGER NOT NULL,
    creator INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX aliases_room ON aliases (room);

CREATE TABLE typing (
    room INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    users TEXT NOT NULL
);

CREATE TABLE receipts (
    room INTEGER NOT NULL,
    who INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    thread TEXT NOT NULL,
    event TEXT NOT NULL,
    at INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (room, who, kind, thread)
) WITHOUT ROWID;
CREATE INDEX receipts_position ON receipts (room, position);

-- bucket: the time in units of some hours, so that writes and expiry stay local.
CREATE TABLE transactions (
    bucket INTEGER NOT NULL,
    key BLOB NOT NULL,
    at INTEGER NOT NULL,
    outcome BLOB,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;

CREATE TABLE accounts (
    who INTEGER PRIMARY KEY,
    password_hash TEXT,
    created INTEGER NOT NULL,
    is_admin INTEGER NOT NULL,
    is_deactivated INTEGER NOT NULL,
    is_erased INTEGER NOT NULL,
    is_locked INTEGER NOT NULL,
    is_suspended INTEGER NOT NULL,
    is_shadow_banned INTEGER NOT NULL,
    kind TEXT,
    application_service TEXT,
    origin TEXT NOT NULL,
    id_folded TEXT NOT NULL
);

CREATE TABLE profiles (
    who INTEGER NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    folded TEXT,
    PRIMARY KEY (who, field)
) WITHOUT ROWID;

CREATE TABLE devices (
    who INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created INTEGER NOT NULL,
    last_seen INTEGER,
    last_seen_ip TEXT,
    user_agent TEXT,
    PRIMARY KEY (who, device_id)
) WITHOUT ROWID;

CREATE TABLE tokens (
    hash BLOB NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    who INTEGER NOT NULL,
    device_id TEXT,
    expires INTEGER,
    puppeted_by TEXT
) WITHOUT ROWID;
CREATE INDEX tokens_user ON tokens (who);

CREATE TABLE tickets (
    kind INTEGER NOT NULL,
    key TEXT NOT NULL,
    data TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- room: 0 for data of the whole account. content: NULL if deleted.
CREATE TABLE account_data (
    who INTEGER NOT NULL,
    room INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content TEXT,
    position INTEGER NOT NULL,
    PRIMARY KEY (who, room, kind)
) WITHOUT ROWID;
CREATE INDEX account_data_position ON account_data (who, position);

CREATE TABLE filters (
    who INTEGER NOT NULL,
    filter_id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (who, filter_id)
) WITHOUT ROWID;

CREATE TABLE unread (
    who INTEGER NOT NULL,
    room INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (who, room)
) WITHOUT ROWID;
CREATE INDEX unread_room ON unread (room);

CREATE TABLE presence (
    who INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    status TEXT,
    last_active INTEGER NOT NULL,
    position INTEGER NOT NULL
);
CREATE INDEX presence_position ON presence (position);

CREATE TABLE registration_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    uses_allowed INTEGER,
    pending INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    expires INTEGER
) WITHOUT ROWID;

CREATE TABLE threepids (
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    who INTEGER NOT NULL,
    added INTEGER NOT NULL,
    validated INTEGER NOT NULL,
    PRIMARY KEY (medium, address)
) WITHOUT ROWID;
CREATE INDEX threepids_user ON threepids (who);

CREATE TABLE device_keys (
    who INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (who, device_id)
) WITHOUT ROWID;

CREATE TABLE one_time_keys (
    who INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    position INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (who, device_id, algorithm, position, key_id)
) WITHOUT ROWID;

CREATE TABLE fallback_keys (
    who INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    json TEXT NOT NULL,
    is_used INTEGER NOT NULL,
    PRIMARY KEY (who, device_id, algorithm)
) WITHOUT ROWID;

CREATE TABLE cross_signing_keys (
    who INTEGER NOT NULL,
    usage INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (who, usage)
) WITHOUT ROWID;

CREATE TABLE signatures (
    target INTEGER NOT NULL,
    target_key TEXT NOT NULL,
    signer INTEGER NOT NULL,
    signer_key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (target, target_key, signer, signer_key_id)
) WITHOUT ROWID;

CREATE TABLE device_lists (
    who INTEGER PRIMARY KEY,
    position INTEGER NOT NULL
);
CREATE INDEX device_lists_position ON device_lists (position);

CREATE TABLE to_device (
    who INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    place INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (who, device_id, position, place)
) WITHOUT ROWID;

-- Removed versions stay, so that their numbers are not given again.
CREATE TABLE backups (
    who INTEGER NOT NULL,
    version INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,
    etag INTEGER NOT NULL,
    count INTEGER NOT NULL,
    is_removed INTEGER NOT NULL,
    PRIMARY KEY (who, version)
) WITHOUT ROWID;

CREATE TABLE backup_sessions (
    who INTEGER NOT NULL,
    version INTEGER NOT NULL,
    room TEXT NOT NULL,
    session_id TEXT NOT NULL,
    first_message_index INTEGER NOT NULL,
    forwarded_count INTEGER NOT NULL,
    is_verified INTEGER NOT NULL,
    session_data TEXT NOT NULL,
    PRIMARY KEY (who, version, room, session_id)
) WITHOUT ROWID;

CREATE TABLE media (
    server_name TEXT NOT NULL,
    media_id TEXT NOT NULL,
    uploader INTEGER,
    created INTEGER NOT NULL,
    sha256 BLOB,
    size INTEGER NOT NULL,
    content_type TEXT,
    file_name TEXT,
    upload_until INTEGER,
    last_access INTEGER,
    quarantined_by TEXT,
    is_safe INTEGER NOT NULL,
    PRIMARY KEY (server_name, media_id)
) WITHOUT ROWID;
CREATE INDEX media_uploader ON media (uploader);

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What each commit touched, for the other nodes of one database. SQLite leaves it empty.
CREATE TABLE commit_log (
    position INTEGER PRIMARY KEY,
    node INTEGER NOT NULL,
    written INTEGER NOT NULL,
    touches TEXT NOT NULL
);
