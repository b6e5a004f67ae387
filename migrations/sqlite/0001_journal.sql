-- The log and what is written with it. `events` keeps the seven columns of postgres-es first; `lane`,
-- `batch` and `batch_index` give an event its place. Events are append-only: no statement of the
-- program updates or deletes one.
CREATE TABLE events (
    aggregate_type TEXT NOT NULL,
    aggregate_id   TEXT NOT NULL,
    sequence       INTEGER NOT NULL CHECK (sequence >= 1),
    event_type     TEXT NOT NULL,
    event_version  TEXT NOT NULL,
    payload        TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    lane           INTEGER NOT NULL,
    batch          INTEGER NOT NULL,
    batch_index    INTEGER NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) STRICT;
CREATE UNIQUE INDEX events_place ON events (lane, batch, batch_index);

-- One row a transaction: position of an event = first_position + batch_index.
CREATE TABLE batches (
    lane           INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    batch          INTEGER NOT NULL,
    event_count    INTEGER NOT NULL,
    chain          BLOB NOT NULL,
    PRIMARY KEY (lane, first_position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX batches_id ON batches (lane, batch);

-- The head of the log. Moving it is the last statement of every batch.
CREATE TABLE lanes (
    lane             INTEGER PRIMARY KEY,
    head             INTEGER NOT NULL,
    chain            BLOB NOT NULL,
    projection_epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO lanes (lane, head, chain, projection_epoch) VALUES (0, 0, zeroblob(32), 1);

-- Names that at most one stream may hold; values are keyed hashes.
CREATE TABLE claims (
    kind           TEXT NOT NULL,
    value          TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id   TEXT NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

-- Verifiers of passwords and client secrets. Deleting a row is real deletion.
CREATE TABLE secrets (
    id       TEXT PRIMARY KEY,
    verifier TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Keys under which personal data is sealed, wrapped under the server's. Destroying one erases a person.
CREATE TABLE subject_keys (
    subject TEXT PRIMARY KEY,
    wrapped TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest state of long streams: a copy, safe to delete.
CREATE TABLE stream_states (
    aggregate_type TEXT NOT NULL,
    aggregate_id   TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    state          TEXT NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
) STRICT, WITHOUT ROWID;

-- How far each eventual projection has come.
CREATE TABLE checkpoints (
    projection TEXT PRIMARY KEY,
    lane       INTEGER NOT NULL,
    position   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
