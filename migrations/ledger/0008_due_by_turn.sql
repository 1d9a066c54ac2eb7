-- What is due of one organization, the longest due first: each organization has its share of every look.
CREATE INDEX due_by_turn ON sequencing.due (organization_id, due_at) WHERE due_at IS NOT NULL;
