-- What keeps many processes honest. `revision` is the position of the last event after which something
-- that was alive is dead: only those move it, so that issuing never makes another process read.
ALTER TABLE lanes ADD COLUMN revision bigint NOT NULL DEFAULT 0;

-- Processes that answer from memory. Whoever ends something waits until each has applied it, or cannot
-- answer any more (`lease`, milliseconds).
CREATE TABLE nodes (
    node    text PRIMARY KEY,
    lane    bigint NOT NULL,
    applied bigint NOT NULL,
    lease   bigint NOT NULL,
    beats   bigint NOT NULL
);
