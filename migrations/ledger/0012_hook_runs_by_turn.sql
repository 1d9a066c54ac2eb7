-- Runs that are due of one organization, the longest due first, and which organizations have some: each has its share of every look.
CREATE INDEX hook_runs_by_turn ON ledger.hook_runs (organization_id, due_at) WHERE state = 'due';
DROP INDEX ledger.hook_runs_due;
