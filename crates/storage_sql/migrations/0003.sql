-- Rooms that were purged, whose rows are removed bit by bit (see sweep.rs).
CREATE TABLE purged_rooms (
    room INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL
);

-- The newest sweep that had begun when it was written, or written again.
ALTER TABLE state_nodes ADD COLUMN sweep INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state_roots ADD COLUMN sweep INTEGER NOT NULL DEFAULT 0;

-- Which bytes are named by a file.
CREATE INDEX media_sha256 ON media (sha256);
