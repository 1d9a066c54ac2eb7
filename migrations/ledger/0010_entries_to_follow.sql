-- Entries of the suppression list whose contacts are to be looked at once more: one row for each, made from its last event, until
-- all of them stand as the list says. No send is decided by it, and no address stands here.
CREATE TABLE ledger.suppression_entries (
    organization_id uuid           NOT NULL,
    entry_id        uuid           NOT NULL,
    position        bigint         NOT NULL,
    -- The last contact of a domain that was looked at since that event.
    reached         uuid,
    attempts        integer        NOT NULL DEFAULT 0,
    due_at          timestamptz(3) NOT NULL,
    holder          uuid,
    held_until      timestamptz,
    PRIMARY KEY (organization_id, entry_id)
);
CREATE INDEX suppression_entries_due ON ledger.suppression_entries (organization_id, due_at);
