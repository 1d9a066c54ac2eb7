-- The values of secrets, sealed. A row is written before the command that stores it is appended, and counts only
-- once that command is in the ledger: what a lost race or a crash leaves behind means nothing and opens for nobody.
CREATE TABLE ledger.secrets (
    organization_id uuid    NOT NULL,
    command_id      uuid    NOT NULL,
    credential_id   uuid    NOT NULL,
    version         bigint  NOT NULL CHECK (version > 0),
    sealed          bytea   NOT NULL,
    PRIMARY KEY (organization_id, command_id)
);
CREATE INDEX secrets_by_version ON ledger.secrets (organization_id, credential_id, version);
