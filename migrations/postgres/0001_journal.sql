-- The log and what is written with it. `events` keeps the seven columns of postgres-es first; `lane`,
-- `batch` and `batch_index` give an event its place. Events are append-only: no statement of the
-- program updates or deletes one.
CREATE TABLE events (
    aggregate_type text NOT NULL,
    aggregate_id   text NOT NULL,
    sequence       bigint NOT NULL CHECK (sequence >= 1),
    event_type     text NOT NULL,
    event_version  text NOT NULL,
    payload        json NOT NULL,
    metadata       json NOT NULL,
    lane           bigint NOT NULL,
    batch          bigint NOT NULL,
    batch_index    bigint NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
CREATE UNIQUE INDEX events_place ON events (lane, batch, batch_index);

-- One row a transaction: position of an event = first_position + batch_index.
CREATE TABLE batches (
    lane           bigint NOT NULL,
    first_position bigint NOT NULL,
    batch          bigint NOT NULL,
    event_count    bigint NOT NULL,
    chain          bytea NOT NULL,
    PRIMARY KEY (lane, first_position)
);
CREATE UNIQUE INDEX batches_id ON batches (lane, batch);

-- The head of the log. Moving it is the last statement of every batch.
CREATE TABLE lanes (
    lane             bigint PRIMARY KEY,
    head             bigint NOT NULL,
    chain            bytea NOT NULL,
    projection_epoch bigint NOT NULL
);
INSERT INTO lanes (lane, head, chain, projection_epoch) VALUES (0, 0, decode(repeat('00', 32), 'hex'), 1);

-- The per-event fold of src/journal/chain.rs, run where the head is locked.
CREATE FUNCTION chain_fold(chain bytea, leaves bytea[]) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    leaf bytea;
BEGIN
    FOREACH leaf IN ARRAY leaves LOOP
        chain := sha256('\x01'::bytea || chain || leaf);
    END LOOP;
    RETURN chain;
END
$$;

-- Names that at most one stream may hold; values are keyed hashes.
CREATE TABLE claims (
    kind           text NOT NULL,
    value          text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id   text NOT NULL,
    PRIMARY KEY (kind, value)
);

-- Verifiers of passwords and client secrets. Deleting a row is real deletion.
CREATE TABLE secrets (
    id       text PRIMARY KEY,
    verifier text NOT NULL
);

-- Keys under which personal data is sealed, wrapped under the server's. Destroying one erases a person.
CREATE TABLE subject_keys (
    subject text PRIMARY KEY,
    wrapped text NOT NULL
);

-- The latest state of long streams: a copy, safe to delete.
CREATE TABLE stream_states (
    aggregate_type text NOT NULL,
    aggregate_id   text NOT NULL,
    sequence       bigint NOT NULL,
    state          text NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
);

-- How far each eventual projection has come.
CREATE TABLE checkpoints (
    projection text PRIMARY KEY,
    lane       bigint NOT NULL,
    position   bigint NOT NULL
);
