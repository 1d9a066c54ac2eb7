-- The ledger: what is stored for ever, and what the append needs beside it.
-- Every key starts with the organization (the shard key later), except credentials and the vault.

CREATE SCHEMA ledger;

-- One row per event. docs/auditing.md defines every byte of it.
CREATE TABLE ledger.events (
    organization_id uuid           NOT NULL,
    position        bigint         NOT NULL CHECK (position > 0),
    event_id        uuid           NOT NULL,
    command_id      uuid           NOT NULL,
    aggregate_type  text           NOT NULL,
    aggregate_id    text           NOT NULL,
    sequence        bigint         NOT NULL CHECK (sequence > 0),
    event_type      text           NOT NULL,
    event_version   text           NOT NULL,
    payload         jsonb          NOT NULL,
    metadata        jsonb          NOT NULL,
    occurred_at     timestamptz(3) NOT NULL,
    recorded_at     timestamptz(3) NOT NULL,
    leaf            bytea          NOT NULL,
    chain           bytea          NOT NULL,
    PRIMARY KEY (organization_id, position),
    UNIQUE (organization_id, aggregate_type, aggregate_id, sequence)
);
CREATE INDEX events_by_command ON ledger.events (organization_id, command_id);

-- Lists of ids compress well and fast with lz4; a server built without it keeps its default.
DO $$
BEGIN
    ALTER TABLE ledger.events ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

-- Nobody changes what happened. (A superuser still can: that is what the chain is for.)
CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are for ever: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER events_are_for_ever BEFORE UPDATE OR DELETE ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER events_are_not_truncated BEFORE TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- The end of each organization's chain; its row lock is what makes positions dense.
CREATE TABLE ledger.heads (
    organization_id uuid           PRIMARY KEY,
    position        bigint         NOT NULL,
    chain           bytea          NOT NULL,
    recorded_at     timestamptz(3) NOT NULL
) WITH (fillfactor = 50);

-- What must be unique or known without the read side. Changed only by the append, rebuilt from the events.
CREATE TABLE ledger.claims (
    organization_id uuid  NOT NULL,
    scope           text  NOT NULL,
    key_hash        bytea NOT NULL,
    owner           uuid  NOT NULL,
    PRIMARY KEY (organization_id, scope, key_hash)
);

-- Answers to idempotent requests, sealed, for seven days.
CREATE TABLE ledger.requests (
    organization_id uuid           NOT NULL,
    key_hash        bytea          NOT NULL,
    fingerprint     bytea          NOT NULL,
    command_id      uuid           NOT NULL,
    position        bigint         NOT NULL,
    answer          bytea          NOT NULL,
    expires_at      timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, key_hash)
);

-- Shown previews, sealed, for a day.
CREATE TABLE ledger.previews (
    organization_id uuid           NOT NULL,
    token_hash      bytea          NOT NULL,
    body            bytea          NOT NULL,
    expires_at      timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, token_hash)
);

-- One key per organization, wrapped by the master key; one per data subject, wrapped by its organization's.
-- An erased subject keeps its row without the key.
CREATE TABLE ledger.organization_keys (
    organization_id uuid  PRIMARY KEY,
    wrapped         bytea NOT NULL
);
CREATE TABLE ledger.subject_keys (
    organization_id uuid  NOT NULL,
    subject_id      uuid  NOT NULL,
    wrapped         bytea,
    PRIMARY KEY (organization_id, subject_id)
);

-- A known text sealed with the master key: a process with another key sees that before it does anything.
CREATE TABLE ledger.vault (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    proof  bytea   NOT NULL
);

-- What access is decided from; written in the append that issued or revoked the token.
CREATE TABLE ledger.credentials (
    token_id        uuid  PRIMARY KEY,
    secret_sha256   bytea NOT NULL,
    principal_id    uuid  NOT NULL,
    role            text  NOT NULL,
    organization_id uuid,
    agent_id        uuid,
    tools           text[] NOT NULL,
    expires_at      timestamptz(3),
    revoked         boolean NOT NULL DEFAULT false
);

-- Every call, also refused, read and dry. Holds no personal values.
CREATE TABLE ledger.access_log (
    organization_id uuid           NOT NULL,
    audit_id        uuid           NOT NULL,
    at              timestamptz(3) NOT NULL,
    principal_id    uuid,
    token_id        uuid,
    tool            text           NOT NULL,
    outcome         text           NOT NULL,
    position        bigint,
    duration_ms     integer        NOT NULL,
    PRIMARY KEY (organization_id, audit_id)
);
