-- Finished analyses of imports, for a day: which rows and contacts are one. Rows are numbers and contacts are ids, so that nothing
-- here is personal. Part 0 says what was analysed and what came of it; the others hold the groups, in their order.
CREATE TABLE ledger.analyses (
    organization_id uuid           NOT NULL,
    analysis_id     uuid           NOT NULL,
    part            integer        NOT NULL CHECK (part >= 0),
    fingerprint     bytea,
    position        bigint,
    body            bytea          NOT NULL,
    finished_at     timestamptz(3) NOT NULL,
    expires_at      timestamptz(3) NOT NULL,
    PRIMARY KEY (organization_id, analysis_id, part)
);
CREATE INDEX analyses_by_input ON ledger.analyses (organization_id, fingerprint) WHERE part = 0;
