-- Which version of each read model the tables hold. A program of another version neither writes nor
-- answers until they are rebuilt (`chancery replay`).
CREATE TABLE read_models (
    projection text PRIMARY KEY,
    version    bigint NOT NULL
);
INSERT INTO read_models (projection, version) VALUES
    ('applications', 1), ('users', 1), ('sessions', 1), ('authorizations', 1), ('tokens', 1), ('consents', 1),
    ('timeline', 1);
