-- The read models: what the tables of `projections/` are, column by column, in their order.
-- Text and 64-bit integers only: truth values are 0 and 1, times are milliseconds since 1970, lists and
-- settings are JSON. Everything here can be dropped and rebuilt from the events.

-- Which client is this, and what may it do? Kept after deletion.
CREATE TABLE applications (
    client_id     text COLLATE "C" NOT NULL,
    owner         text COLLATE "C",
    name          text COLLATE "C" NOT NULL,
    client_type   text COLLATE "C" NOT NULL,
    settings      text COLLATE "C" NOT NULL,
    secret_id     text COLLATE "C",
    secret_kind   text COLLATE "C",
    provenance    text COLLATE "C" NOT NULL,
    disabled      bigint NOT NULL,
    deleted       bigint NOT NULL,
    grants_valid_from bigint,
    registered_at bigint NOT NULL,
    updated_at    bigint NOT NULL,
    PRIMARY KEY (client_id)
);
CREATE INDEX applications_owner ON applications (owner);

-- Who is this, and may they log in? Name and address are sealed, the keys are HMACs of them.
CREATE TABLE users (
    subject             text COLLATE "C" NOT NULL,
    username            text COLLATE "C" NOT NULL,
    username_key        text COLLATE "C" NOT NULL,
    email               text COLLATE "C",
    email_key           text COLLATE "C",
    secret_id           text COLLATE "C",
    secret_kind         text COLLATE "C",
    superuser           bigint NOT NULL,
    locked              bigint NOT NULL,
    sessions_valid_from bigint,
    kept_session        text COLLATE "C",
    grants_valid_from   bigint,
    registered_at       bigint NOT NULL,
    PRIMARY KEY (subject)
);
CREATE UNIQUE INDEX users_username_key ON users (username_key);
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key IS NOT NULL;

-- Is this browser logged in, as whom, since when?
CREATE TABLE sessions (
    session_id      text COLLATE "C" NOT NULL,
    subject         text COLLATE "C" NOT NULL,
    methods         text COLLATE "C" NOT NULL,
    auth_time       bigint NOT NULL,
    started_at      bigint NOT NULL,
    idle_expires_at bigint NOT NULL,
    ended_at        bigint,
    expires_at      bigint NOT NULL,
    PRIMARY KEY (session_id)
);
CREATE INDEX sessions_subject ON sessions (subject);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- What did a person allow a client, and does it still stand?
CREATE TABLE authorizations (
    authorization_id text COLLATE "C" NOT NULL,
    client_id        text COLLATE "C" NOT NULL,
    subject          text COLLATE "C" NOT NULL,
    session_id       text COLLATE "C" NOT NULL,
    scope            text COLLATE "C" NOT NULL,
    resource         text COLLATE "C" NOT NULL,
    status           text COLLATE "C" NOT NULL,
    redirect_uri     text COLLATE "C" NOT NULL,
    granted_at       bigint NOT NULL,
    redeemed_at      bigint,
    revoked_at       bigint,
    revocation       text COLLATE "C",
    generation       bigint,
    refreshed_at     bigint,
    keep_until       bigint NOT NULL,
    PRIMARY KEY (authorization_id)
);
CREATE INDEX authorizations_subject ON authorizations (subject);
CREATE INDEX authorizations_client_id ON authorizations (client_id);
CREATE INDEX authorizations_keep_until ON authorizations (keep_until);

-- Is this access token alive, and for what? Its id, never the token.
CREATE TABLE tokens (
    token_id         text COLLATE "C" NOT NULL,
    authorization_id text COLLATE "C",
    client_id        text COLLATE "C" NOT NULL,
    subject          text COLLATE "C",
    grant_type       text COLLATE "C" NOT NULL,
    scope            text COLLATE "C" NOT NULL,
    resource         text COLLATE "C" NOT NULL,
    confirmation     text COLLATE "C" NOT NULL,
    issued_at        bigint NOT NULL,
    expires_at       bigint NOT NULL,
    revoked_at       bigint,
    PRIMARY KEY (token_id)
);
CREATE INDEX tokens_client_id ON tokens (client_id);
CREATE INDEX tokens_authorization_id ON tokens (authorization_id);
CREATE INDEX tokens_expires_at ON tokens (expires_at);

-- Need the person be asked again? remembered_at is null once forgotten.
CREATE TABLE consents (
    consent_id    text COLLATE "C" NOT NULL,
    subject       text COLLATE "C" NOT NULL,
    client_id     text COLLATE "C" NOT NULL,
    scope         text COLLATE "C" NOT NULL,
    remembered_at bigint,
    PRIMARY KEY (consent_id)
);

-- What happened to this thing, in order?
CREATE TABLE timeline (
    about          text COLLATE "C" NOT NULL,
    position       bigint NOT NULL,
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id   text COLLATE "C" NOT NULL,
    sequence       bigint NOT NULL,
    at             bigint NOT NULL,
    PRIMARY KEY (about, position)
);
