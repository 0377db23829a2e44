-- One-time keys that were handed out: a device that repeats an upload must not bring them again.
CREATE TABLE taken_keys (
    who INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    PRIMARY KEY (who, device_id, fingerprint)
) WITHOUT ROWID;
