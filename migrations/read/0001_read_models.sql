-- The read models: folded from the ledger, disposable.
--
-- Table names are unqualified on purpose. The same file makes the live schema, the schema that a rebuild folds
-- into and the scratch schema that answers "as of"; the caller says which by its search_path.
--
-- Nothing here depends on when or in which batches events were folded: no default clock, no serial number, no
-- order of arrival. Two folds of one ledger are compared row for row.
--
-- Codes: memberships.status, campaign_counters.status are written by memberships.rs (0 new, 1 assigned,
-- 2 in_progress, 3 follow_up, 4 qualified, 5 not_interested, 6 unreachable, 7 do_not_contact, 8 done).
-- The nil UUID stands for "nobody" where an agent is part of a key.

CREATE TABLE cursors (
    organization_id uuid NOT NULL PRIMARY KEY,
    position        bigint NOT NULL,
    updated_at      timestamptz,
    failures        integer NOT NULL DEFAULT 0,
    parked_position bigint,
    parked_reason   text
);

CREATE TABLE organizations (
    organization_id uuid NOT NULL PRIMARY KEY,
    name            text,
    slug            text,
    owner_email     text,
    crm_enabled     boolean NOT NULL,
    name_key        text COLLATE "C" NOT NULL,
    email_key       text COLLATE "C" NOT NULL,
    trigrams        text[] COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE agents (
    organization_id uuid NOT NULL,
    agent_id        uuid NOT NULL,
    name            text,
    email           text,
    role            text,
    active          boolean NOT NULL,
    name_key        text COLLATE "C" NOT NULL,
    search          text COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, agent_id)
);

CREATE TABLE contacts (
    organization_id uuid NOT NULL,
    contact_id      uuid NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    do_not_contact  boolean NOT NULL,
    erased          boolean NOT NULL,
    import_id       uuid,
    legal_basis     text NOT NULL,
    email_key       uuid,
    phone_key       uuid,
    external_key    uuid,
    first_name      text,
    last_name       text,
    email           text,
    phone           text,
    company         text,
    city            text,
    country         text,
    job_title       text,
    external_id     text,
    source          text,
    tags            text[] COLLATE "C" NOT NULL,
    custom          jsonb NOT NULL,
    city_key        text COLLATE "C",
    name_key        text COLLATE "C" NOT NULL,
    search          text COLLATE "C" NOT NULL,
    match_keys      bigint[] NOT NULL,
    PRIMARY KEY (organization_id, contact_id)
);

CREATE TABLE imports (
    organization_id uuid NOT NULL,
    import_id       uuid NOT NULL,
    name            text,
    source          text,
    mapping         jsonb NOT NULL,
    legal_basis     text NOT NULL,
    encoding        text NOT NULL,
    separator       text NOT NULL,
    stage           text NOT NULL,
    chunks          bigint NOT NULL,
    rows            bigint NOT NULL,
    invalid         bigint NOT NULL,
    commit_id       uuid,
    on_duplicate    text,
    committed_chunks bigint NOT NULL,
    created         bigint NOT NULL,
    updated         bigint NOT NULL,
    skipped         bigint NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, import_id)
);

CREATE TABLE import_invalid_rows (
    organization_id uuid NOT NULL,
    import_id       uuid NOT NULL,
    line            bigint NOT NULL,
    errors          jsonb NOT NULL,
    cells           jsonb,
    PRIMARY KEY (organization_id, import_id, line)
);

CREATE TABLE import_members (
    organization_id uuid NOT NULL,
    import_id       uuid NOT NULL,
    contact_id      uuid NOT NULL,
    line            bigint NOT NULL,
    PRIMARY KEY (organization_id, import_id, contact_id)
);

CREATE TABLE campaigns (
    organization_id uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    name            text,
    description     text,
    goal            text,
    status          text NOT NULL,
    script_template_id uuid,
    qualification_template_id uuid,
    agent_ids       uuid[] NOT NULL,
    start_date      text,
    end_date        text,
    max_attempts    smallint,
    call_window_start text,
    call_window_end text,
    call_window_tz  text,
    name_key        text COLLATE "C" NOT NULL,
    search          text COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, campaign_id)
);

CREATE TABLE rosters (
    organization_id uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    version         bigint NOT NULL,
    PRIMARY KEY (organization_id, campaign_id)
) WITH (fillfactor = 50);

-- The largest table. It has no index on status or time, so that work on a contact rewrites no index
-- (heap-only updates, for which the pages keep room).
CREATE TABLE memberships (
    organization_id uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    contact_id      uuid NOT NULL,
    epoch           bigint NOT NULL,
    added_at        timestamptz NOT NULL,
    last_call_at    timestamptz,
    agent_id        uuid,
    attempts        integer NOT NULL,
    status          smallint NOT NULL,
    imported        boolean NOT NULL,
    PRIMARY KEY (organization_id, campaign_id, contact_id)
) WITH (fillfactor = 85);

CREATE TABLE campaign_counters (
    organization_id uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    agent_id        uuid NOT NULL,
    status          smallint NOT NULL,
    imported        boolean NOT NULL,
    n               bigint NOT NULL,
    PRIMARY KEY (organization_id, campaign_id, agent_id, status, imported)
) WITH (fillfactor = 50);

CREATE TABLE contact_sets (
    organization_id uuid NOT NULL,
    contact_id      uuid NOT NULL,
    set_id          uuid NOT NULL,
    size            smallint NOT NULL,
    PRIMARY KEY (organization_id, contact_id)
) WITH (fillfactor = 90);

CREATE TABLE campaign_sets (
    organization_id uuid NOT NULL,
    set_id          uuid NOT NULL,
    members         uuid[] NOT NULL,
    n               bigint NOT NULL,
    PRIMARY KEY (organization_id, set_id)
) WITH (fillfactor = 50);

CREATE TABLE calls (
    organization_id uuid NOT NULL,
    contact_id      uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    call_id         uuid NOT NULL,
    agent_id        uuid NOT NULL,
    epoch           bigint NOT NULL,
    started_at      timestamptz NOT NULL,
    logged_at       timestamptz NOT NULL,
    duration_seconds bigint,
    attempt         bigint NOT NULL,
    detached        boolean NOT NULL,
    outcome         text NOT NULL,
    note            text,
    PRIMARY KEY (organization_id, contact_id, campaign_id, call_id)
);

CREATE TABLE follow_ups (
    organization_id uuid NOT NULL,
    follow_up_id    uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    contact_id      uuid NOT NULL,
    agent_id        uuid NOT NULL,
    due_at          timestamptz NOT NULL,
    status          text NOT NULL,
    because         text,
    note            text,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, follow_up_id)
);

CREATE TABLE script_templates (
    organization_id uuid NOT NULL,
    template_id     uuid NOT NULL,
    name            text,
    description     text,
    language        text,
    nodes           integer NOT NULL,
    version         integer NOT NULL,
    status          text NOT NULL,
    name_key        text COLLATE "C" NOT NULL,
    search          text COLLATE "C" NOT NULL,
    revision        bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, template_id)
);

-- Every version there ever was; a row never changes.
CREATE TABLE script_template_versions (
    organization_id uuid NOT NULL,
    template_id     uuid NOT NULL,
    version         integer NOT NULL,
    content         jsonb,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, template_id, version)
);

CREATE TABLE script_executions (
    organization_id uuid NOT NULL,
    execution_id    uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    contact_id      uuid NOT NULL,
    epoch           bigint NOT NULL,
    agent_id        uuid,
    script_template_id uuid NOT NULL,
    script_template_version integer NOT NULL,
    status          text NOT NULL,
    answers         jsonb NOT NULL,
    version         bigint NOT NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, execution_id)
);

CREATE TABLE qualification_templates (
    organization_id uuid NOT NULL,
    template_id     uuid NOT NULL,
    name            text,
    fields          integer NOT NULL,
    scored          boolean NOT NULL,
    name_key        text COLLATE "C" NOT NULL,
    search          text COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, template_id)
);

CREATE TABLE qualification_template_versions (
    organization_id uuid NOT NULL,
    template_id     uuid NOT NULL,
    version         bigint NOT NULL,
    form            jsonb,
    made_at         timestamptz NOT NULL,
    PRIMARY KEY (organization_id, template_id, version)
);

CREATE TABLE qualifications (
    organization_id uuid NOT NULL,
    qualification_id uuid NOT NULL,
    campaign_id     uuid NOT NULL,
    contact_id      uuid NOT NULL,
    epoch           bigint NOT NULL,
    agent_id        uuid,
    template_id     uuid NOT NULL,
    template_version bigint NOT NULL,
    script_execution_id uuid,
    status          text NOT NULL,
    record          jsonb,
    answers         jsonb NOT NULL,
    by_model        jsonb,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, qualification_id)
);

-- A ring of 50 rows for each organization: slot is number modulo 50, so that rows are overwritten and not heaped up.
CREATE TABLE activity (
    organization_id uuid NOT NULL,
    slot            smallint NOT NULL,
    number          bigint NOT NULL,
    position        bigint NOT NULL,
    last_position   bigint NOT NULL,
    command_id      uuid NOT NULL,
    tool            text NOT NULL,
    actor_type      text NOT NULL,
    actor_id        text NOT NULL,
    events          jsonb NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (organization_id, slot)
) WITH (fillfactor = 50);

CREATE TABLE organization_counters (
    organization_id uuid NOT NULL PRIMARY KEY,
    contacts        bigint NOT NULL,
    calls           bigint NOT NULL,
    script_templates bigint NOT NULL,
    executions      bigint NOT NULL,
    qualification_templates bigint NOT NULL,
    qualifications  bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE outboxes (
    organization_id uuid NOT NULL,
    outbox_id       uuid NOT NULL,
    channel         text NOT NULL,
    niche           text,
    secret_id       text,
    secret_version  integer,
    config          text,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    PRIMARY KEY (organization_id, outbox_id)
);

CREATE TABLE messages (
    organization_id uuid NOT NULL,
    message_id      uuid NOT NULL,
    channel         text NOT NULL,
    outbox_id       uuid NOT NULL,
    recipient       text,
    recipient_hash  text NOT NULL,
    payload         text,
    niche           text,
    tags            text[] NOT NULL,
    content_hash    text NOT NULL,
    content_piece_id uuid,
    drafter         uuid NOT NULL,
    agent_id        uuid,
    contact_id      uuid,
    campaign_id     uuid,
    sequence_id     uuid,
    step            bigint,
    status          text NOT NULL,
    dispatch_state  text NOT NULL,
    delivery        text NOT NULL,
    reason          text,
    rule_id         uuid,
    rule_version    bigint,
    rules_version   bigint,
    allowlist_version bigint,
    approval_id     uuid,
    approved_at     timestamptz,
    approved_by     uuid,
    attempts        bigint NOT NULL,
    next_attempt_at timestamptz,
    bucket_id       uuid,
    handed_over_at  timestamptz,
    sent_at         timestamptz,
    provider_hash   text,
    provider_message_id text,
    detail          text,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, message_id)
) WITH (fillfactor = 70);

-- What the approval rules were asked, and what came of it: what a back-test replays.
CREATE TABLE decisions (
    organization_id uuid NOT NULL,
    position        bigint NOT NULL,
    message_id      uuid NOT NULL,
    channel         text NOT NULL,
    niche           text,
    tags            text[] NOT NULL,
    at              timestamptz NOT NULL,
    auto_approved   boolean NOT NULL,
    rule_id         uuid,
    rule_version    bigint,
    PRIMARY KEY (organization_id, position)
);

CREATE TABLE approvals (
    organization_id uuid NOT NULL,
    approval_id     uuid NOT NULL,
    message_id      uuid NOT NULL,
    content_hash    text NOT NULL,
    drafter         uuid NOT NULL,
    rule_id         uuid,
    rule_version    bigint,
    supersedes      uuid,
    status          text NOT NULL,
    answered_by     uuid,
    note            text,
    expires_at      timestamptz NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, approval_id)
);

CREATE TABLE allowlist_entries (
    organization_id uuid NOT NULL,
    hash            text COLLATE "C" NOT NULL,
    kind            text NOT NULL,
    entry           text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, hash)
);

CREATE TABLE suppressions (
    organization_id uuid NOT NULL,
    suppression_id  uuid NOT NULL,
    address_hash    text NOT NULL,
    address         text,
    reason          text NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, suppression_id)
);

CREATE TABLE content_pieces (
    organization_id uuid NOT NULL,
    piece_id        uuid NOT NULL,
    title           text,
    summary         text,
    source_path     text,
    tags            text[] NOT NULL,
    channel_intent  text,
    niche           text,
    frontmatter     text,
    source_sha256   text NOT NULL,
    text_sha256     text,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz,
    PRIMARY KEY (organization_id, piece_id)
);

CREATE TABLE sequences (
    organization_id uuid NOT NULL,
    sequence_id     uuid NOT NULL,
    name            text,
    steps           jsonb NOT NULL,
    payloads        text[],
    status          text NOT NULL,
    revision        bigint NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, sequence_id)
);

CREATE TABLE enrollments (
    organization_id uuid NOT NULL,
    enrollment_id   uuid NOT NULL,
    sequence_id     uuid NOT NULL,
    contact_id      uuid NOT NULL,
    campaign_id     uuid,
    round           bigint NOT NULL,
    state           text NOT NULL,
    step            bigint NOT NULL,
    message_id      uuid,
    taken           jsonb NOT NULL,
    step_at         timestamptz,
    because         text,
    version         bigint NOT NULL,
    enrolled_at     timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, enrollment_id)
) WITH (fillfactor = 70);

-- How many enrollments of a sequence stand where.
CREATE TABLE enrollment_counters (
    organization_id uuid NOT NULL,
    sequence_id     uuid NOT NULL,
    active          bigint NOT NULL,
    stopped         bigint NOT NULL,
    finished        bigint NOT NULL,
    PRIMARY KEY (organization_id, sequence_id)
) WITH (fillfactor = 50);
