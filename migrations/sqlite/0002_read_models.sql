-- The read models: what the tables of `projections/` are, column by column, in their order.
-- Text and 64-bit integers only: truth values are 0 and 1, times are milliseconds since 1970, lists and
-- settings are JSON. Everything here can be dropped and rebuilt from the events.

-- Which client is this, and what may it do? Kept after deletion.
CREATE TABLE applications (
    client_id     TEXT NOT NULL,
    owner         TEXT,
    name          TEXT NOT NULL,
    client_type   TEXT NOT NULL,
    settings      TEXT NOT NULL,
    secret_id     TEXT,
    secret_kind   TEXT,
    provenance    TEXT NOT NULL,
    disabled      INTEGER NOT NULL,
    deleted       INTEGER NOT NULL,
    grants_valid_from INTEGER,
    registered_at INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (client_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX applications_owner ON applications (owner);

-- Who is this, and may they log in? Name and address are sealed, the keys are HMACs of them.
CREATE TABLE users (
    subject             TEXT NOT NULL,
    username            TEXT NOT NULL,
    username_key        TEXT NOT NULL,
    email               TEXT,
    email_key           TEXT,
    secret_id           TEXT,
    secret_kind         TEXT,
    superuser           INTEGER NOT NULL,
    locked              INTEGER NOT NULL,
    sessions_valid_from INTEGER,
    kept_session        TEXT,
    grants_valid_from   INTEGER,
    registered_at       INTEGER NOT NULL,
    PRIMARY KEY (subject)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users_username_key ON users (username_key);
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key IS NOT NULL;

-- Is this browser logged in, as whom, since when?
CREATE TABLE sessions (
    session_id      TEXT NOT NULL,
    subject         TEXT NOT NULL,
    methods         TEXT NOT NULL,
    auth_time       INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    ended_at        INTEGER,
    expires_at      INTEGER NOT NULL,
    PRIMARY KEY (session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_subject ON sessions (subject);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- What did a person allow a client, and does it still stand?
CREATE TABLE authorizations (
    authorization_id TEXT NOT NULL,
    client_id        TEXT NOT NULL,
    subject          TEXT NOT NULL,
    session_id       TEXT NOT NULL,
    scope            TEXT NOT NULL,
    resource         TEXT NOT NULL,
    status           TEXT NOT NULL,
    redirect_uri     TEXT NOT NULL,
    granted_at       INTEGER NOT NULL,
    redeemed_at      INTEGER,
    revoked_at       INTEGER,
    revocation       TEXT,
    generation       INTEGER,
    refreshed_at     INTEGER,
    keep_until       INTEGER NOT NULL,
    PRIMARY KEY (authorization_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX authorizations_subject ON authorizations (subject);
CREATE INDEX authorizations_client_id ON authorizations (client_id);
CREATE INDEX authorizations_keep_until ON authorizations (keep_until);

-- Is this access token alive, and for what? Its id, never the token.
CREATE TABLE tokens (
    token_id         TEXT NOT NULL,
    authorization_id TEXT,
    client_id        TEXT NOT NULL,
    subject          TEXT,
    grant_type       TEXT NOT NULL,
    scope            TEXT NOT NULL,
    resource         TEXT NOT NULL,
    confirmation     TEXT NOT NULL,
    issued_at        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    revoked_at       INTEGER,
    PRIMARY KEY (token_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_client_id ON tokens (client_id);
CREATE INDEX tokens_authorization_id ON tokens (authorization_id);
CREATE INDEX tokens_expires_at ON tokens (expires_at);

-- Need the person be asked again? remembered_at is null once forgotten.
CREATE TABLE consents (
    consent_id    TEXT NOT NULL,
    subject       TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    scope         TEXT NOT NULL,
    remembered_at INTEGER,
    PRIMARY KEY (consent_id)
) STRICT, WITHOUT ROWID;

-- What happened to this thing, in order?
CREATE TABLE timeline (
    about          TEXT NOT NULL,
    position       INTEGER NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id   TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    PRIMARY KEY (about, position)
) STRICT, WITHOUT ROWID;
