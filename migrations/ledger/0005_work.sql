-- What the dispatcher has to do: one row for each message that is not final. It is filled from the events of messages and
-- can be emptied at any time; nothing is decided from it, it only says where to look and saves processes from looking at the same.

CREATE SCHEMA dispatch;

CREATE TABLE dispatch.work (
    organization_id uuid           NOT NULL,
    message_id      uuid           NOT NULL,
    outbox_id       uuid           NOT NULL,
    -- When something is to be done with it; null while a person is asked.
    due_at          timestamptz(3),
    -- Who is at it: one batch of one process. Null with a time after which to look again: it is held back by a pause.
    holder          uuid,
    held_until      timestamptz(3),
    ready_at        timestamptz(3) GENERATED ALWAYS AS
        (CASE WHEN due_at IS NOT NULL THEN greatest(due_at, held_until) END) STORED,
    PRIMARY KEY (organization_id, message_id)
) WITH (fillfactor = 70);
CREATE INDEX work_by_lane ON dispatch.work (organization_id, outbox_id, ready_at) WHERE due_at IS NOT NULL;

-- Up to which position the events of an organization are in the table.
CREATE TABLE dispatch.cursors (
    organization_id uuid   PRIMARY KEY,
    position        bigint NOT NULL
);
