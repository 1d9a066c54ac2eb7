-- Who made a preview: a token keeps so many of them, the newest. Those from before this column go when their day is over.
ALTER TABLE ledger.previews ADD COLUMN token_id uuid;
CREATE INDEX previews_by_token ON ledger.previews (token_id, expires_at);
