//! One row per contact and sequence: how far it was led, and why no further. Beside it, how many stand where, kept and
//! not counted.
//!
//! Nothing here says when the next step is due: that follows from the streams, and is worked out where it is taken.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::contact::ContactProfile;
use docket_aggregates::enrollment::{EnrollmentEvent, EnrollmentStatus};
use docket_aggregates::ids::{CampaignId, ContactId, MessageId, OrganizationId, SequenceId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::columns::{Columns, uuids};
use crate::memberships::status_codes;
use crate::recordset::{self, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel =
    ReadModel { name: "enrollments", tables: &["enrollments", "enrollment_counters"] };

/// A step by its number, and the version of its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepOfVersion(pub u32, pub u32);

/// One contact's way through one sequence, as it is the latest time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollmentRow {
    /// Its stream.
    pub enrollment_id: Uuid,
    /// The sequence.
    pub sequence_id: SequenceId,
    /// The contact.
    pub contact_id: ContactId,
    /// For which campaign.
    pub campaign_id: Option<CampaignId>,
    /// Which time the contact is led through, from 1.
    pub round: u64,
    /// Where it stands.
    pub state: EnrollmentStatus,
    /// The last step that was taken; 0 before the first.
    pub step: u32,
    /// The message of that step.
    pub message_id: Option<MessageId>,
    /// The steps that were taken, each in the version that it was taken from; a step that was tried again under another one
    /// twice.
    pub taken: Vec<StepOfVersion>,
    /// When that step was taken.
    pub step_at: Option<Timestamp>,
    /// Why it was stopped.
    pub because: Option<String>,
    /// Events of its stream.
    pub version: u64,
    /// When the contact was enrolled.
    pub enrolled_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Recordset for EnrollmentRow {
    const TABLE: &'static str = "enrollments";
    const KEY: &'static str = "enrollment_id";
}

/// How many contacts of a sequence stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps are to come.
    pub active: u64,
    /// No step is taken any more.
    pub stopped: u64,
    /// Every step was taken.
    pub finished: u64,
}

/// One enrollment.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    enrollment: Uuid,
) -> sqlx::Result<Option<EnrollmentRow>> {
    Ok(recordset::by_ids(conn, organization, &[enrollment]).await?.pop())
}

/// The enrollments of a sequence, by contact; `after` names the last contact that was seen.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sequence: SequenceId,
    state: Option<EnrollmentStatus>,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<EnrollmentRow>> {
    let mut query = recordset::of::<EnrollmentRow>(organization);
    query.push(" AND t.sequence_id = ").push_bind(sequence.uuid());
    if let Some(state) = state {
        query.push(" AND t.state = ").push_bind(state.name());
    }
    if let Some(after) = after {
        query.push(" AND t.contact_id > ").push_bind(after.id);
    }
    query.push(" ORDER BY t.contact_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &EnrollmentRow| Keyset::id(row.contact_id)))
}

/// The counts of these sequences; one that nobody was ever enrolled in is left out.
pub async fn counts(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sequences: &[SequenceId],
) -> sqlx::Result<BTreeMap<SequenceId, Counts>> {
    let rows = sqlx::query(
        "SELECT sequence_id, active, stopped, finished FROM enrollment_counters \
         WHERE organization_id = $1 AND sequence_id = ANY($2)",
    )
    .bind(organization.uuid())
    .bind(uuids(sequences))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let counts = Counts {
                active: row.count("active")?,
                stopped: row.count("stopped")?,
                finished: row.count("finished")?,
            };
            Ok((row.id("sequence_id")?, counts))
        })
        .collect()
}

/// Where some of those stand who are in a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many steps they took.
    pub step: i64,
    /// Which, each in its version.
    pub taken: Vec<StepOfVersion>,
}

/// Where those stand who are in a sequence, each place once; without those who took no step.
pub async fn places(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sequence: SequenceId,
) -> sqlx::Result<Vec<Place>> {
    let rows = sqlx::query(
        "SELECT DISTINCT step, taken FROM enrollments \
         WHERE organization_id = $1 AND sequence_id = $2 AND state = $3 AND step > 0 ORDER BY step, taken",
    )
    .bind(organization.uuid())
    .bind(sequence.uuid())
    .bind(EnrollmentStatus::Active.name())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let Json(taken) = row.try_get("taken")?;
            Ok(Place { step: row.try_get("step")?, taken })
        })
        .collect()
}

/// A contact of a campaign that may be enrolled.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The contact.
    pub contact_id: ContactId,
    /// It is or was in the sequence.
    pub known_to_sequence: bool,
    /// It asked not to be contacted.
    pub do_not_contact: bool,
    /// Nothing is known of it any more.
    pub erased: bool,
    /// What is known of it, without tags and sources.
    pub profile: ContactProfile,
}

/// The contacts of a campaign that stand where `status_in` says (anywhere, if it is empty) after `after`, by id, `limit`
/// at most, each with what is in its way.
pub async fn candidates(
    conn: &mut PgConnection,
    organization: OrganizationId,
    (sequence, campaign): (SequenceId, CampaignId),
    status_in: &[MembershipStatus],
    after: Option<ContactId>,
    limit: i64,
) -> sqlx::Result<Vec<Candidate>> {
    // Each contact is looked up by itself: statistics are always older than a large import.
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT m.contact_id, e.known, c.do_not_contact, c.erased, c.first_name, c.last_name, c.email, \
             c.phone, c.company, c.city, c.country, c.job_title, c.custom \
         FROM (SELECT organization_id, contact_id FROM memberships WHERE organization_id = ",
    );
    query.push_bind(organization.uuid()).push(" AND campaign_id = ").push_bind(campaign.uuid());
    if let Some(after) = after {
        query.push(" AND contact_id > ").push_bind(after.uuid());
    }
    if !status_in.is_empty() {
        query.push(" AND status = ANY(").push_bind(status_codes(status_in)).push(")");
    }
    query.push(" ORDER BY contact_id LIMIT ").push_bind(limit);
    query.push(
        ") AS m CROSS JOIN LATERAL (SELECT * FROM contacts WHERE organization_id = m.organization_id \
               AND contact_id = m.contact_id LIMIT 1) AS c \
           CROSS JOIN LATERAL (SELECT EXISTS (SELECT 1 FROM enrollments \
               WHERE organization_id = m.organization_id AND contact_id = m.contact_id AND sequence_id = ",
    );
    query.push_bind(sequence.uuid()).push(") AS known) AS e ORDER BY m.contact_id");
    let rows = query.build().persistent(false).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let Json(custom) = row.try_get("custom")?;
            Ok(Candidate {
                contact_id: row.id("contact_id")?,
                known_to_sequence: row.try_get("known")?,
                do_not_contact: row.try_get("do_not_contact")?,
                erased: row.try_get("erased")?,
                profile: ContactProfile {
                    first_name: row.try_get("first_name")?,
                    last_name: row.try_get("last_name")?,
                    email: row.try_get("email")?,
                    phone: row.try_get("phone")?,
                    company: row.try_get("company")?,
                    city: row.try_get("city")?,
                    country: row.try_get("country")?,
                    job_title: row.try_get("job_title")?,
                    custom,
                    ..ContactProfile::default()
                },
            })
        })
        .collect()
}

/// Folds the batch into enrollments and counts.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: BTreeSet<Uuid> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::Enrollment(_)))
        .map(|recorded| recorded.aggregate_id)
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let touched: Vec<Uuid> = touched.into_iter().collect();
    let before: Vec<EnrollmentRow> = recordset::by_ids(conn, organization, &touched).await?;
    let (rows, moves) = plan(batch, before)?;
    recordset::write(conn, organization, rows.into_values()).await?;
    count(conn, organization, moves).await
}

/// By how much the counts of a sequence change: active, stopped, finished.
type Moves = BTreeMap<SequenceId, [i64; 3]>;

fn place(state: EnrollmentStatus) -> Option<usize> {
    match state {
        EnrollmentStatus::None => None,
        EnrollmentStatus::Active => Some(0),
        EnrollmentStatus::Stopped => Some(1),
        EnrollmentStatus::Finished => Some(2),
    }
}

fn plan(
    batch: &[Recorded],
    before: Vec<EnrollmentRow>,
) -> Result<(BTreeMap<Uuid, EnrollmentRow>, Moves), FoldError> {
    let mut moves = Moves::new();
    let mut tell = |row: &EnrollmentRow, by: i64| {
        if let Some(place) = place(row.state) {
            moves.entry(row.sequence_id).or_default()[place] += by;
        }
    };
    before.iter().for_each(|row| tell(row, -1));
    let mut rows: BTreeMap<Uuid, EnrollmentRow> =
        before.into_iter().map(|row| (row.enrollment_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Enrollment(event) = &recorded.event else { continue };
        if let EnrollmentEvent::ContactEnrolled { sequence_id, contact_id, campaign_id, round, at } = event {
            let row = EnrollmentRow {
                enrollment_id: recorded.aggregate_id,
                sequence_id: *sequence_id,
                contact_id: *contact_id,
                campaign_id: *campaign_id,
                round: *round,
                state: EnrollmentStatus::Active,
                step: 0,
                message_id: None,
                taken: vec![],
                step_at: None,
                because: None,
                version: recorded.version(),
                enrolled_at: *at,
                updated_at: recorded.occurred_at,
            };
            rows.insert(recorded.aggregate_id, row);
            continue;
        }
        let row = rows.get_mut(&recorded.aggregate_id).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            EnrollmentEvent::ContactEnrolled { .. } => (),
            EnrollmentEvent::StepTaken { step, message_id, at, sequence_version, .. } => {
                let taken = StepOfVersion(*step, *sequence_version);
                if row.taken.last() != Some(&taken) {
                    row.taken.push(taken);
                }
                row.step = *step;
                row.message_id = Some(*message_id);
                row.step_at = Some(*at);
            }
            EnrollmentEvent::EnrollmentStopped { because } => {
                row.state = EnrollmentStatus::Stopped;
                row.because = Some(because.clone());
            }
            EnrollmentEvent::EnrollmentFinished {} => row.state = EnrollmentStatus::Finished,
        }
    }
    rows.values().for_each(|row| tell(row, 1));
    moves.retain(|_, by| *by != [0; 3]);
    Ok((rows, moves))
}

async fn count(conn: &mut PgConnection, organization: OrganizationId, moves: Moves) -> Result<(), FoldError> {
    if moves.is_empty() {
        return Ok(());
    }
    let column = |place: usize| -> Vec<i64> { moves.values().map(|by| by[place]).collect() };
    let sequences: Vec<SequenceId> = moves.keys().copied().collect();
    sqlx::query(
        "INSERT INTO enrollment_counters AS k (organization_id, sequence_id, active, stopped, finished) \
         SELECT $1, * FROM UNNEST($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[]) \
         ON CONFLICT (organization_id, sequence_id) DO UPDATE SET active = k.active + excluded.active, \
             stopped = k.stopped + excluded.stopped, finished = k.finished + excluded.finished",
    )
    .bind(organization.uuid())
    .bind(uuids(&sequences))
    .bind(column(0))
    .bind(column(1))
    .bind(column(2))
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: SequenceId = SequenceId(Uuid::from_u128(1));

    fn enrolled(contact: u128, round: u64) -> EnrollmentEvent {
        EnrollmentEvent::ContactEnrolled {
            sequence_id: SEQUENCE,
            contact_id: ContactId(Uuid::from_u128(contact)),
            campaign_id: None,
            round,
            at: Timestamp::from_millis(0),
        }
    }

    fn stopped() -> EnrollmentEvent {
        EnrollmentEvent::EnrollmentStopped { because: "replied".into() }
    }

    /// The rows and counts after these events of some streams, folded in batches of `size`.
    fn folded(events: &[(u128, EnrollmentEvent)], size: usize) -> (BTreeMap<Uuid, EnrollmentRow>, [i64; 3]) {
        let mut sequences: BTreeMap<u128, i64> = BTreeMap::new();
        let batch: Vec<Recorded> = (1..)
            .zip(events)
            .map(|(position, (stream, event))| {
                let sequence = sequences.entry(*stream).and_modify(|sequence| *sequence += 1).or_insert(1);
                Recorded::sample(position, Uuid::from_u128(*stream), *sequence, event.clone())
            })
            .collect();
        let (mut rows, mut counts) = (BTreeMap::new(), [0; 3]);
        for batch in batch.chunks(size) {
            let before = batch
                .iter()
                .map(|recorded| recorded.aggregate_id)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .filter_map(|id| rows.get(&id).cloned())
                .collect();
            let (changed, moves) = plan(batch, before).unwrap();
            rows.extend(changed);
            if let Some(by) = moves.get(&SEQUENCE) {
                (0..3).for_each(|place| counts[place] += by[place]);
            }
        }
        (rows, counts)
    }

    #[test]
    fn counts_follow_the_rows_whatever_the_batches() {
        let events = [
            (1, enrolled(1, 1)),
            (2, enrolled(2, 1)),
            (3, enrolled(3, 1)),
            (1, stopped()),
            (2, EnrollmentEvent::EnrollmentFinished {}),
            (1, enrolled(1, 2)),
        ];
        let whole = folded(&events, events.len());
        assert_eq!(whole.1, [2, 0, 1]);
        for size in 1..events.len() {
            assert_eq!(folded(&events, size), whole, "{size}");
        }
    }

    #[test]
    fn a_second_round_begins_afresh() {
        let events = [(1, enrolled(1, 1)), (1, stopped()), (1, enrolled(1, 2))];
        let (rows, _) = folded(&events, 3);
        let row = &rows[&Uuid::from_u128(1)];
        assert_eq!((row.round, row.state, row.because.as_deref()), (2, EnrollmentStatus::Active, None));
    }
}
