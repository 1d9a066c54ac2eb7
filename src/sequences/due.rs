//! The table of what is due: a hint, kept beside the ledger, that saves looking at every enrollment.

use std::collections::BTreeMap;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CampaignId, ContactId, OrganizationId, SequenceId};
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::ledger::instant::Instant;

/// What is known of an enrollment when it begins.
pub struct NewRow {
    /// The sequence.
    pub sequence_id: SequenceId,
    /// The contact.
    pub contact_id: ContactId,
    /// For which campaign.
    pub campaign_id: Option<CampaignId>,
    /// When it is to be looked at.
    pub due_at: Timestamp,
}

/// What events make of one row.
#[derive(Default)]
pub struct Change {
    /// It is new, or begins anew.
    pub new: Option<NewRow>,
    /// It is to be looked at then.
    pub due_at: Option<Timestamp>,
    /// Its latest message is for this address.
    pub address_hash: Option<String>,
    /// There is nothing to look at any more.
    pub gone: bool,
}

impl Change {
    /// It begins.
    pub fn enrolled(row: NewRow) -> Self {
        Self { new: Some(row), ..Self::default() }
    }

    /// It is to be looked at.
    pub fn due(at: Timestamp) -> Self {
        Self { due_at: Some(at), ..Self::default() }
    }

    /// It is over.
    pub fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }

    fn then(&mut self, later: Self) {
        if later.new.is_some() || later.gone {
            *self = later;
            return;
        }
        match (&mut self.new, later.due_at) {
            (Some(row), Some(at)) => row.due_at = at,
            (None, Some(at)) => self.due_at = Some(at),
            (_, None) => (),
        }
        self.address_hash = later.address_hash.or(self.address_hash.take());
    }
}

/// Several enrollments that one event is about.
pub enum Kin {
    /// Those of a sequence.
    Sequence(SequenceId),
    /// Those for a campaign.
    Campaign(CampaignId),
    /// Those of some contacts for a campaign.
    Contacts(CampaignId, Vec<ContactId>),
    /// Those of a contact.
    Contact(ContactId),
    /// Those whose latest message is for this address.
    Address(String),
}

/// What a portion of events makes of the table, in order: changes of single rows are gathered, and written before a change
/// of many.
pub struct Changes {
    organization: OrganizationId,
    rows: BTreeMap<Uuid, Change>,
}

impl Changes {
    /// None yet.
    pub fn new(organization: OrganizationId) -> Self {
        Self { organization, rows: BTreeMap::new() }
    }

    /// Changes one row.
    pub fn one(&mut self, enrollment: Uuid, change: Change) {
        self.rows.entry(enrollment).or_default().then(change);
    }

    /// Changes many rows: they are to be looked at, and to be stopped if `ends` says why.
    pub async fn kin(
        &mut self,
        connection: &mut PgConnection,
        kin: Kin,
        at: Timestamp,
        ends: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        self.write(connection).await?;
        let which = match kin {
            Kin::Sequence(_) => "sequence_id = $4",
            Kin::Campaign(_) => "campaign_id = $4",
            Kin::Contacts(..) => "campaign_id = $4 AND contact_id = ANY($5)",
            Kin::Contact(_) => "contact_id = $4",
            Kin::Address(_) => "address_hash = $4",
        };
        let update = format!(
            "UPDATE sequencing.due SET due_at = $2, left_until = NULL, \
                 ends = CASE WHEN ends IS NULL OR ends = 'suppressed' THEN coalesce($3, ends) ELSE ends END \
             WHERE organization_id = $1 AND {which}"
        );
        let query = sqlx::query(&update).bind(self.organization.uuid()).bind(Instant(at)).bind(ends);
        let query = match kin {
            Kin::Sequence(sequence) => query.bind(sequence.uuid()),
            Kin::Campaign(campaign) => query.bind(campaign.uuid()),
            Kin::Contacts(campaign, contacts) => {
                let contacts: Vec<Uuid> = contacts.into_iter().map(ContactId::uuid).collect();
                query.bind(campaign.uuid()).bind(contacts)
            }
            Kin::Contact(contact) => query.bind(contact.uuid()),
            Kin::Address(hash) => query.bind(hash),
        };
        query.execute(connection).await.map(drop)
    }

    /// Writes the changes of single rows.
    pub async fn write(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let rows = std::mem::take(&mut self.rows);
        self.insert(connection, &rows).await?;
        self.update(connection, &rows).await?;
        let gone: Vec<Uuid> = rows.iter().filter(|(_, change)| change.gone).map(|(id, _)| *id).collect();
        if !gone.is_empty() {
            sqlx::query("DELETE FROM sequencing.due WHERE organization_id = $1 AND enrollment_id = ANY($2)")
                .bind(self.organization.uuid())
                .bind(gone)
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        rows: &BTreeMap<Uuid, Change>,
    ) -> Result<(), sqlx::Error> {
        let new: Vec<(Uuid, &NewRow, Option<&str>)> = rows
            .iter()
            .filter_map(|(id, change)| Some((*id, change.new.as_ref()?, change.address_hash.as_deref())))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO sequencing.due \
                 (organization_id, enrollment_id, sequence_id, contact_id, campaign_id, due_at, address_hash) \
             SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::text[]) \
             ON CONFLICT (organization_id, enrollment_id) DO UPDATE SET campaign_id = excluded.campaign_id, \
                 due_at = excluded.due_at, address_hash = excluded.address_hash, left_until = NULL, ends = NULL",
        )
        .bind(self.organization.uuid())
        .bind(new.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, row, _)| row.sequence_id.uuid()).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, row, _)| row.contact_id.uuid()).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, row, _)| row.campaign_id.map(CampaignId::uuid)).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, row, _)| Instant(row.due_at)).collect::<Vec<_>>())
        .bind(new.iter().map(|(.., hash)| *hash).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
    }

    async fn update(
        &self,
        connection: &mut PgConnection,
        rows: &BTreeMap<Uuid, Change>,
    ) -> Result<(), sqlx::Error> {
        let changed: Vec<(&Uuid, &Change)> = rows
            .iter()
            .filter(|(_, change)| change.new.is_none() && !change.gone)
            .filter(|(_, change)| change.due_at.is_some() || change.address_hash.is_some())
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE sequencing.due AS d SET due_at = coalesce(c.due_at, d.due_at), \
                 address_hash = coalesce(c.address_hash, d.address_hash), \
                 left_until = CASE WHEN c.due_at IS NULL THEN d.left_until END \
             FROM unnest($2::uuid[], $3::timestamptz[], $4::text[]) AS c (enrollment_id, due_at, address_hash) \
             WHERE d.organization_id = $1 AND d.enrollment_id = c.enrollment_id",
        )
        .bind(self.organization.uuid())
        .bind(changed.iter().map(|(id, _)| **id).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, change)| change.due_at.map(Instant)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, change)| change.address_hash.as_deref()).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
    }
}

/// An enrollment that is to be looked at.
#[derive(Clone, Debug)]
pub struct DueRow {
    /// Its organization.
    pub organization: OrganizationId,
    /// Its stream.
    pub enrollment: Uuid,
    /// For which campaign.
    pub campaign_id: Option<CampaignId>,
    /// Why it is to be stopped.
    pub ends: Option<String>,
}

/// Organizations of which something is due at `now`, each once, in the order of their ids. What another process holds is
/// due here, too.
pub async fn organizations(pool: &PgPool, now: Timestamp) -> Result<Vec<OrganizationId>, sqlx::Error> {
    // From one organization to the next by the index, so that it costs as much as there are organizations, and not as
    // there are enrollments; and nothing where nothing is due.
    let rows: Vec<Uuid> = sqlx::query_scalar(
        "WITH RECURSIVE o (id) AS ( \
             SELECT (SELECT organization_id FROM sequencing.due WHERE due_at IS NOT NULL \
                     ORDER BY organization_id LIMIT 1) \
                 WHERE EXISTS (SELECT FROM sequencing.due WHERE due_at <= $1) \
             UNION ALL \
             SELECT (SELECT organization_id FROM sequencing.due WHERE due_at IS NOT NULL AND organization_id > o.id \
                     ORDER BY organization_id LIMIT 1) FROM o WHERE o.id IS NOT NULL) \
         SELECT id FROM o WHERE id IS NOT NULL AND EXISTS ( \
             SELECT FROM sequencing.due WHERE organization_id = o.id AND due_at <= $1 \
                 AND (left_until IS NULL OR left_until <= clock_timestamp())) ORDER BY id",
    )
    .bind(Instant(now))
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(OrganizationId).collect())
}

/// Takes up to `share` enrollments of each of these organizations that are due at `now`, the longest due first, for as
/// long as the transaction lasts: a process that ends gives them back.
pub async fn take(
    connection: &mut PgConnection,
    organizations: &[OrganizationId],
    now: Timestamp,
    share: usize,
) -> Result<Vec<DueRow>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT d.* FROM unnest($1::uuid[]) AS o (id) CROSS JOIN LATERAL ( \
             SELECT organization_id, enrollment_id, campaign_id, ends FROM sequencing.due \
             WHERE organization_id = o.id AND due_at <= $2 \
                 AND (left_until IS NULL OR left_until <= clock_timestamp()) \
             ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS d",
    )
    .bind(organizations.iter().map(|organization| organization.uuid()).collect::<Vec<_>>())
    .bind(Instant(now))
    .bind(i64::try_from(share).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(DueRow {
                organization: OrganizationId(row.try_get(0)?),
                enrollment: row.try_get(1)?,
                campaign_id: row.try_get::<Option<Uuid>, _>(2)?.map(CampaignId),
                ends: row.try_get(3)?,
            })
        })
        .collect()
}

/// How far a campaign's roster had come when the rows that are held were last fed: whoever was taken out of it by then is
/// marked, and a later version says that somebody may have been taken out since.
pub async fn rosters(
    connection: &mut PgConnection,
    rows: &[DueRow],
) -> Result<BTreeMap<(OrganizationId, CampaignId), u64>, sqlx::Error> {
    let mut campaigns: Vec<(OrganizationId, CampaignId)> =
        rows.iter().filter_map(|row| Some((row.organization, row.campaign_id?))).collect();
    campaigns.sort_unstable();
    campaigns.dedup();
    if campaigns.is_empty() {
        return Ok(BTreeMap::new());
    }
    let streams = campaigns.iter().map(|(organization, campaign)| organization.roster(*campaign).to_string());
    let versions: Vec<i64> = sqlx::query_scalar(
        "SELECT coalesce(e.sequence, 0) \
         FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS wanted (organization_id, id, i) \
         LEFT JOIN sequencing.cursors c ON c.organization_id = wanted.organization_id \
         LEFT JOIN LATERAL (SELECT sequence FROM ledger.events \
             WHERE organization_id = wanted.organization_id AND aggregate_type = 'Roster' \
                 AND aggregate_id = wanted.id AND position <= c.position \
             ORDER BY sequence DESC LIMIT 1) AS e ON true ORDER BY wanted.i",
    )
    .bind(campaigns.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
    .bind(streams.collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(campaigns.into_iter().zip(versions.into_iter().map(i64::unsigned_abs)).collect())
}

/// What becomes of a row that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is over.
    Gone,
    /// It waits for something to happen.
    Waits,
    /// It is to be looked at then.
    At(Timestamp),
    /// Something was in the way: again after so many milliseconds.
    Later(u32),
}

/// Writes what became of the rows that are held.
pub async fn put_back(connection: &mut PgConnection, looked: &[(DueRow, Next)]) -> Result<(), sqlx::Error> {
    let organizations: Vec<Uuid> = looked.iter().map(|(row, _)| row.organization.uuid()).collect();
    let enrollments: Vec<Uuid> = looked.iter().map(|(row, _)| row.enrollment).collect();
    let gone: Vec<bool> = looked.iter().map(|(_, next)| *next == Next::Gone).collect();
    let due: Vec<Option<Instant>> = looked
        .iter()
        .map(|(_, next)| match next {
            Next::At(at) => Some(Instant(*at)),
            Next::Gone | Next::Waits | Next::Later(_) => None,
        })
        .collect();
    let later: Vec<Option<i32>> = looked
        .iter()
        .map(|(_, next)| match next {
            Next::Later(millis) => Some(i32::try_from(*millis).unwrap_or(i32::MAX)),
            Next::Gone | Next::Waits | Next::At(_) => None,
        })
        .collect();
    const LOOKED: &str = "unnest($1::uuid[], $2::uuid[], $3::bool[], $4::timestamptz[], $5::int[]) \
                              AS l (organization_id, enrollment_id, gone, due_at, later)";
    for statement in [
        format!(
            "DELETE FROM sequencing.due AS d USING {LOOKED} \
             WHERE l.gone AND d.organization_id = l.organization_id AND d.enrollment_id = l.enrollment_id"
        ),
        format!(
            "UPDATE sequencing.due AS d SET \
                 due_at = CASE WHEN l.later IS NULL THEN l.due_at ELSE d.due_at END, \
                 left_until = clock_timestamp() + l.later * interval '1 millisecond' \
             FROM {LOOKED} \
             WHERE NOT l.gone AND d.organization_id = l.organization_id AND d.enrollment_id = l.enrollment_id"
        ),
    ] {
        sqlx::query(&statement)
            .bind(&organizations)
            .bind(&enrollments)
            .bind(&gone)
            .bind(&due)
            .bind(&later)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// When these enrollments are to be looked at next, as far as it is a matter of time.
pub async fn times(
    pool: &PgPool,
    organization: OrganizationId,
    enrollments: &[Uuid],
) -> Result<BTreeMap<Uuid, Timestamp>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT enrollment_id, due_at FROM sequencing.due \
         WHERE organization_id = $1 AND enrollment_id = ANY($2) AND due_at IS NOT NULL",
    )
    .bind(organization.uuid())
    .bind(enrollments)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<Instant, _>(1)?.0))).collect()
}
