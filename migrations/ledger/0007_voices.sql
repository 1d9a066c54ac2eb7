-- Verdicts on drafts, sealed, for a month, under a keyed hash of checker and text; the text itself is not kept. A row
-- without a body is a turn: its holder asks the checker, until held_until by this database's clock.
CREATE TABLE ledger.brand_voice (
    organization_id uuid           NOT NULL,
    key_hash        bytea          NOT NULL,
    holder          uuid           NOT NULL,
    held_until      timestamptz    NOT NULL,
    body            bytea,
    checked_at      timestamptz(3),
    asked_at        timestamptz(3),
    expires_at      timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, key_hash)
);

-- How far what follows the ledger has come, for each handler of events.
CREATE TABLE ledger.followers (
    organization_id uuid   NOT NULL,
    handler         text   NOT NULL,
    position        bigint NOT NULL,
    PRIMARY KEY (organization_id, handler)
);

-- Runs of post-issue hooks: one for each hook and event. Work while it is due, a result afterwards. Neither texts nor
-- addresses stand here.
CREATE TABLE ledger.hook_runs (
    organization_id uuid           NOT NULL,
    hook_id         text           NOT NULL,
    position        bigint         NOT NULL,
    message_id      uuid           NOT NULL,
    occurred_at     timestamptz(3) NOT NULL,
    state           text           NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'done', 'failed', 'skipped')),
    attempts        integer        NOT NULL DEFAULT 0,
    due_at          timestamptz(3) NOT NULL,
    holder          uuid,
    held_until      timestamptz,
    result          jsonb,
    finished_at     timestamptz(3),
    expires_at      timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, hook_id, position)
);
CREATE INDEX hook_runs_due ON ledger.hook_runs (due_at) WHERE state = 'due';
CREATE INDEX hook_runs_by_time ON ledger.hook_runs (organization_id, occurred_at);

-- The signing secrets of outgoing webhooks, sealed. A row counts once its command is in the ledger.
CREATE TABLE ledger.webhook_secrets (
    organization_id uuid           NOT NULL,
    command_id      uuid           NOT NULL,
    endpoint_id     uuid           NOT NULL,
    version         bigint         NOT NULL CHECK (version > 0),
    sealed          bytea          NOT NULL,
    made_at         timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, command_id)
);
CREATE INDEX webhook_secrets_by_version ON ledger.webhook_secrets (organization_id, endpoint_id, version);

-- Which endpoints take what, at the position that the follower of the ledger has reached.
CREATE TABLE ledger.webhook_endpoints (
    organization_id uuid    NOT NULL,
    endpoint_id     uuid    NOT NULL,
    event_types     text[]  NOT NULL,
    enabled         boolean NOT NULL,
    PRIMARY KEY (organization_id, endpoint_id)
);

-- One row for each event and endpoint: work while it is due, a record of it for a month afterwards. The body is made
-- from the ledger at each try and is not kept.
CREATE TABLE ledger.webhook_deliveries (
    organization_id uuid           NOT NULL,
    endpoint_id     uuid           NOT NULL,
    event_id        uuid           NOT NULL,
    position        bigint         NOT NULL,
    event_type      text           NOT NULL,
    state           text           NOT NULL DEFAULT 'due'
                    CHECK (state IN ('due', 'delivered', 'failed', 'dropped')),
    attempts        integer        NOT NULL DEFAULT 0,
    due_at          timestamptz(3) NOT NULL,
    holder          uuid,
    held_until      timestamptz,
    last_status     integer,
    last_error      text,
    created_at      timestamptz(3) NOT NULL,
    finished_at     timestamptz(3),
    expires_at      timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, endpoint_id, event_id)
);
CREATE INDEX webhook_deliveries_due ON ledger.webhook_deliveries (due_at) WHERE state = 'due';
CREATE INDEX webhook_deliveries_waiting ON ledger.webhook_deliveries (organization_id, endpoint_id) WHERE state = 'due';
CREATE INDEX webhook_deliveries_by_place ON ledger.webhook_deliveries (organization_id, endpoint_id, position DESC);
