-- What a change was answered that was applied by the token of its preview: whoever shows the token again finds it by the
-- command, which follows from the preview, whatever the request was called.
CREATE INDEX requests_by_command ON ledger.requests (organization_id, command_id);
