-- Whose turn it is to do what is done once for all processes, such as asking a model about a conversation: until the holder has
-- done it, or until expires_at by this database's clock. No decision rests on it, and it can be emptied at any time.
CREATE TABLE ledger.turns (
    organization_id uuid        NOT NULL,
    key_hash        bytea       NOT NULL,
    holder          uuid        NOT NULL,
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, key_hash)
);
