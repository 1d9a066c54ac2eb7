-- What is due to one endpoint, the longest due first, and which organizations have something due: each has its share of every look.
CREATE INDEX webhook_deliveries_by_turn ON ledger.webhook_deliveries (organization_id, endpoint_id, due_at) WHERE state = 'due';
DROP INDEX ledger.webhook_deliveries_due;
DROP INDEX ledger.webhook_deliveries_waiting;
