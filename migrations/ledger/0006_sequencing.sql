-- Which enrollments are to be looked at, and when: one row for each that is active. It is filled from the events and can be
-- emptied at any time; nothing is decided from it but where to look, and what `ends` repeats of an event.

CREATE SCHEMA sequencing;

CREATE TABLE sequencing.due (
    organization_id uuid           NOT NULL,
    enrollment_id   uuid           NOT NULL,
    sequence_id     uuid           NOT NULL,
    contact_id      uuid           NOT NULL,
    campaign_id     uuid,
    -- Keyed hash of the address that its latest message is for.
    address_hash    text,
    -- When it is to be looked at; null while it waits for something to happen.
    due_at          timestamptz(3),
    -- Left alone until then, by this database's own clock, because something was in the way.
    left_until      timestamptz(3),
    -- Why it is to be stopped, if something happened that stops it and that its own streams do not tell.
    ends            text,
    PRIMARY KEY (organization_id, enrollment_id)
) WITH (fillfactor = 70);
CREATE INDEX due_by_time ON sequencing.due (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX due_by_sequence ON sequencing.due (organization_id, sequence_id);
CREATE INDEX due_by_contact ON sequencing.due (organization_id, contact_id);
CREATE INDEX due_by_campaign ON sequencing.due (organization_id, campaign_id, contact_id) WHERE campaign_id IS NOT NULL;
CREATE INDEX due_by_address ON sequencing.due (organization_id, address_hash) WHERE address_hash IS NOT NULL;

-- Up to which position the events of an organization are in the table.
CREATE TABLE sequencing.cursors (
    organization_id uuid   PRIMARY KEY,
    position        bigint NOT NULL
);
