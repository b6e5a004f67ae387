-- What keeps many processes honest. `revision` is the position of the last event after which something
-- that was alive is dead: only those move it, so that issuing never makes another process read.
ALTER TABLE lanes ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

-- Processes that answer from memory. Whoever ends something waits until each has applied it, or cannot
-- answer any more (`lease`, milliseconds).
CREATE TABLE nodes (
    node    TEXT PRIMARY KEY,
    lane    INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    lease   INTEGER NOT NULL,
    beats   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
