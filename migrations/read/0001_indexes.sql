-- The secondary indexes of the read models. A rebuild makes them after it has loaded the rows, which is
-- several times cheaper than keeping them up to date meanwhile; nothing that folds events relies on them
-- for more than speed.

CREATE INDEX contacts_created ON contacts (organization_id, created_at, contact_id);
CREATE INDEX contacts_name ON contacts (organization_id, name_key, contact_id);
CREATE INDEX contacts_email ON contacts (organization_id, email_key) WHERE email_key IS NOT NULL;
CREATE INDEX contacts_phone ON contacts (organization_id, phone_key) WHERE phone_key IS NOT NULL;
-- Names by their sound and tagged addresses by their mailbox: what an import is compared with. Each key holds its organization.
CREATE INDEX contacts_match ON contacts USING gin (match_keys);
CREATE INDEX contacts_external ON contacts (organization_id, external_key) WHERE external_key IS NOT NULL;

CREATE INDEX campaigns_name ON campaigns (organization_id, name_key);

CREATE INDEX memberships_agent ON memberships (organization_id, agent_id, contact_id) WHERE agent_id IS NOT NULL;
CREATE INDEX campaign_counters_agent ON campaign_counters (organization_id, agent_id);

-- Contacts in several campaigns are listed set by set.
CREATE INDEX contact_sets_several ON contact_sets (organization_id, set_id, contact_id) WHERE size >= 2;

CREATE INDEX follow_ups_pending ON follow_ups (organization_id, contact_id, campaign_id, due_at) WHERE status = 'pending';
CREATE INDEX follow_ups_due ON follow_ups (organization_id, agent_id, due_at) WHERE status = 'pending';

CREATE INDEX script_executions_contact ON script_executions (organization_id, campaign_id, contact_id, started_at);
CREATE INDEX script_executions_open ON script_executions (organization_id, campaign_id, contact_id) WHERE status = 'in_progress';
CREATE INDEX script_executions_template ON script_executions (organization_id, script_template_id);
CREATE INDEX qualifications_created ON qualifications (organization_id, created_at, qualification_id);
CREATE INDEX qualifications_contact ON qualifications (organization_id, contact_id, campaign_id);
CREATE INDEX qualifications_campaign ON qualifications (organization_id, campaign_id, created_at, qualification_id);

CREATE INDEX messages_by_time ON messages (organization_id, created_at, message_id);
CREATE INDEX messages_open ON messages (organization_id, dispatch_state, created_at, message_id) WHERE dispatch_state <> 'done';
CREATE INDEX messages_by_provider ON messages (organization_id, provider_hash) WHERE provider_hash IS NOT NULL;
CREATE INDEX messages_by_recipient ON messages (organization_id, recipient_hash, handed_over_at);
CREATE INDEX messages_in_flight ON messages (organization_id, outbox_id) WHERE dispatch_state = 'in_flight';
CREATE INDEX messages_by_contact ON messages (organization_id, contact_id, message_id) WHERE contact_id IS NOT NULL;
CREATE INDEX decisions_by_time ON decisions (organization_id, at, position);
CREATE INDEX approvals_by_status ON approvals (organization_id, status, approval_id);
CREATE INDEX approvals_open ON approvals (organization_id, approval_id, expires_at) WHERE status IN ('pending', 'revision_requested');
CREATE INDEX content_pieces_by_path ON content_pieces (organization_id, source_path) WHERE deleted_at IS NULL;
CREATE INDEX enrollments_by_contact ON enrollments (organization_id, sequence_id, contact_id);
CREATE INDEX enrollments_by_state ON enrollments (organization_id, sequence_id, state, contact_id);
CREATE INDEX enrollments_of_campaign ON enrollments (organization_id, campaign_id, sequence_id) WHERE state = 'active';
