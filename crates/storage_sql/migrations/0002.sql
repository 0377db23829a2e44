-- sent_as: the device that sent the event and its transaction id, with the byte 255 between them.
ALTER TABLE events ADD COLUMN sent_as BLOB;
