//! One row per follow-up.
//!
//! `overdue` is no state of a row: it is `pending` seen after the time it was due, so whoever asks brings the time.
//!
//! A follow-up is closed by an event of its own, or by its contact leaving: whoever is taken out of a campaign together with
//! what is promised there, or is not to be contacted any more, takes along whatever is pending at that position of the
//! ledger. Whoever records that cancels the follow-ups that it sees by their own events too, for those who listen; it
//! cannot see one that is scheduled in the same moment.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use docket_aggregates::contact::ContactEvent;
use docket_aggregates::follow_up::{FollowUpEvent, FollowUpStatus};
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, FollowUpId, OrganizationId};
use docket_aggregates::roster::RosterEvent;
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::columns::{At, Columns, unreadable, uuids};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "follow_ups", tables: &["follow_ups"] };

/// A follow-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUpRow {
    /// The follow-up.
    pub follow_up_id: FollowUpId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The contact.
    pub contact_id: ContactId,
    /// Who is to call.
    pub agent_id: AgentId,
    /// When.
    pub due_at: Timestamp,
    /// Where it stands.
    pub status: FollowUpStatus,
    /// Why it was cancelled.
    pub because: Option<String>,
    /// What for; none also once erased.
    pub note: Option<String>,
    /// Events of its stream.
    pub version: u64,
    /// When it was scheduled.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl FollowUpRow {
    /// Whether it was to be seen to before `now`.
    pub fn overdue(&self, now: Timestamp) -> bool {
        self.status == FollowUpStatus::Pending && self.due_at < now
    }
}

/// A follow-up that is still to be seen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingFollowUp {
    /// The follow-up.
    pub follow_up_id: FollowUpId,
    /// The contact.
    pub contact_id: ContactId,
    /// Who is to call.
    pub agent_id: AgentId,
    /// When; overdue once this has passed.
    pub due_at: Timestamp,
    /// Events of its stream.
    pub version: u64,
}

/// Follow-ups still to be seen to, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowUpCounts {
    /// Not due yet.
    pub pending: u64,
    /// Due before now.
    pub overdue: u64,
}

/// One follow-up.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    follow_up: FollowUpId,
) -> sqlx::Result<Option<FollowUpRow>> {
    Ok(by_ids(conn, organization, &[follow_up]).await?.pop())
}

/// Those of `follow_ups` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    follow_ups: &[FollowUpId],
) -> sqlx::Result<Vec<FollowUpRow>> {
    let rows = by_id::rows(conn, organization, ("follow_ups", "follow_up_id"), uuids(follow_ups)).await?;
    rows.iter().map(row).collect()
}

/// The pending follow-ups of some contacts in a campaign, by contact and time.
pub async fn pending(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contacts: &[ContactId],
) -> sqlx::Result<Vec<PendingFollowUp>> {
    let rows = sqlx::query(
        "SELECT f.follow_up_id, f.contact_id, f.agent_id, f.due_at, f.version
         FROM UNNEST($3::uuid[]) AS wanted (contact_id)
         JOIN follow_ups f ON f.organization_id = $1 AND f.contact_id = wanted.contact_id
              AND f.campaign_id = $2 AND f.status = 'pending'
         ORDER BY f.contact_id, f.due_at, f.follow_up_id",
    )
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(uuids(contacts))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(PendingFollowUp {
                follow_up_id: row.id("follow_up_id")?,
                contact_id: row.id("contact_id")?,
                agent_id: row.id("agent_id")?,
                due_at: row.at("due_at")?,
                version: row.count("version")?,
            })
        })
        .collect()
}

/// All that are still to be seen to, counted at `now`.
pub async fn count(
    conn: &mut PgConnection,
    organization: OrganizationId,
    now: Timestamp,
) -> sqlx::Result<FollowUpCounts> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE due_at >= $2) AS pending, count(*) FILTER (WHERE due_at < $2) AS overdue
         FROM follow_ups WHERE organization_id = $1 AND status = 'pending'",
    )
    .bind(organization.uuid())
    .bind(At(now))
    .fetch_one(conn)
    .await?;
    Ok(FollowUpCounts { pending: row.count("pending")?, overdue: row.count("overdue")? })
}

/// The same within one campaign.
pub async fn count_of_campaign(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    now: Timestamp,
) -> sqlx::Result<FollowUpCounts> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE due_at >= $3) AS pending, count(*) FILTER (WHERE due_at < $3) AS overdue
         FROM follow_ups WHERE organization_id = $1 AND campaign_id = $2 AND status = 'pending'",
    )
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(At(now))
    .fetch_one(conn)
    .await?;
    Ok(FollowUpCounts { pending: row.count("pending")?, overdue: row.count("overdue")? })
}

/// The same by caller, in all campaigns or some; callers without any are left out.
pub async fn count_by_agent(
    conn: &mut PgConnection,
    organization: OrganizationId,
    agents: &[AgentId],
    campaigns: Option<&[CampaignId]>,
    now: Timestamp,
) -> sqlx::Result<HashMap<AgentId, FollowUpCounts>> {
    let rows = sqlx::query(
        "SELECT agent_id, count(*) FILTER (WHERE due_at >= $4) AS pending,
                count(*) FILTER (WHERE due_at < $4) AS overdue
         FROM follow_ups
         WHERE organization_id = $1 AND status = 'pending' AND agent_id = ANY($2)
           AND ($3::uuid[] IS NULL OR campaign_id = ANY($3))
         GROUP BY agent_id",
    )
    .bind(organization.uuid())
    .bind(uuids(agents))
    .bind(campaigns.map(uuids))
    .bind(At(now))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let counts = FollowUpCounts { pending: row.count("pending")?, overdue: row.count("overdue")? };
            Ok((row.id("agent_id")?, counts))
        })
        .collect()
}

fn row(row: &PgRow) -> sqlx::Result<FollowUpRow> {
    Ok(FollowUpRow {
        follow_up_id: row.id("follow_up_id")?,
        campaign_id: row.id("campaign_id")?,
        contact_id: row.id("contact_id")?,
        agent_id: row.id("agent_id")?,
        due_at: row.at("due_at")?,
        status: match row.try_get("status")? {
            "pending" => FollowUpStatus::Pending,
            "done" => FollowUpStatus::Done,
            "cancelled" => FollowUpStatus::Cancelled,
            _ => return Err(unreadable("status")),
        },
        because: row.try_get("because")?,
        note: row.try_get("note")?,
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into follow-ups.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched = touched(batch);
    let mut before =
        if touched.is_empty() { Vec::new() } else { by_ids(conn, organization, &touched).await? };
    before.extend(pending_of(conn, organization, batch.iter().filter_map(Leaving::of)).await?);
    let rows = plan(batch, before)?;
    write(conn, organization, &rows.into_values().collect::<Vec<_>>()).await?;
    Ok(())
}

/// The follow-ups that the batch changes without having scheduled them.
fn touched(batch: &[Recorded]) -> Vec<FollowUpId> {
    let mut scheduled = std::collections::HashSet::new();
    let mut touched = Vec::new();
    for recorded in batch {
        let id = FollowUpId(recorded.aggregate_id);
        match &recorded.event {
            AnyEvent::FollowUp(FollowUpEvent::FollowUpScheduled { follow_up_id, .. }) => {
                scheduled.insert(*follow_up_id);
            }
            AnyEvent::FollowUp(_) if !scheduled.contains(&id) => touched.push(id),
            _ => (),
        }
    }
    touched
}

/// Contacts that take what is promised to them along.
struct Leaving<'a> {
    contacts: Cow<'a, [ContactId]>,
    /// Where; none for everywhere.
    campaign: Option<CampaignId>,
    because: &'static str,
}

impl<'a> Leaving<'a> {
    fn of(recorded: &'a Recorded) -> Option<Self> {
        match &recorded.event {
            AnyEvent::Roster(RosterEvent::ContactsRemoved {
                campaign_id,
                contact_ids,
                cancel_follow_ups: true,
                ..
            }) => Some(Self {
                contacts: Cow::Borrowed(contact_ids),
                campaign: Some(*campaign_id),
                because: "contact_removed",
            }),
            AnyEvent::Contact(
                ContactEvent::ContactOptedOut { .. } | ContactEvent::ContactSuppressed { .. },
            ) => Some(Self {
                contacts: Cow::Owned(vec![ContactId(recorded.aggregate_id)]),
                campaign: None,
                because: "do_not_contact",
            }),
            _ => None,
        }
    }
}

/// What is promised to contacts that leave, as it is before the batch. Asked in the order of the index that begins with
/// the contact, so that it is the one that is taken (see [`by_id`]).
async fn pending_of(
    conn: &mut PgConnection,
    organization: OrganizationId,
    leaving: impl Iterator<Item = Leaving<'_>>,
) -> sqlx::Result<Vec<FollowUpRow>> {
    let (mut contacts, mut campaigns) = (Vec::new(), Vec::new());
    for Leaving { contacts: leave, campaign, .. } in leaving {
        contacts.extend(uuids(&leave));
        campaigns.resize(contacts.len(), campaign.map(|campaign| campaign.uuid()));
    }
    if contacts.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT f.* FROM UNNEST($2::uuid[], $3::uuid[]) AS leaving (contact_id, campaign_id)
         CROSS JOIN LATERAL (
             SELECT * FROM follow_ups WHERE organization_id = $1 AND status = 'pending'
                 AND contact_id BETWEEN leaving.contact_id AND leaving.contact_id
                 AND campaign_id = coalesce(leaving.campaign_id, campaign_id)
                 ORDER BY contact_id, campaign_id, due_at) AS f",
    )
    .bind(organization.uuid())
    .bind(contacts)
    .bind(campaigns)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

fn plan(
    batch: &[Recorded],
    before: Vec<FollowUpRow>,
) -> Result<BTreeMap<FollowUpId, FollowUpRow>, FoldError> {
    let mut rows: BTreeMap<FollowUpId, FollowUpRow> =
        before.into_iter().map(|row| (row.follow_up_id, row)).collect();
    let mut of_contact: HashMap<ContactId, Vec<FollowUpId>> = HashMap::new();
    for row in rows.values() {
        of_contact.entry(row.contact_id).or_default().push(row.follow_up_id);
    }
    for recorded in batch {
        if let Some(Leaving { contacts, campaign, because }) = Leaving::of(recorded) {
            for id in contacts.iter().filter_map(|contact| of_contact.get(contact)).flatten() {
                let taken_along = rows.get_mut(id).filter(|row| {
                    row.status == FollowUpStatus::Pending
                        && campaign.is_none_or(|left| left == row.campaign_id)
                });
                if let Some(row) = taken_along {
                    row.status = FollowUpStatus::Cancelled;
                    row.because = Some(because.to_owned());
                    row.updated_at = recorded.occurred_at;
                }
            }
            continue;
        }
        let AnyEvent::FollowUp(event) = &recorded.event else { continue };
        if let FollowUpEvent::FollowUpScheduled {
            follow_up_id,
            campaign_id,
            contact_id,
            agent_id,
            due_at,
            note,
        } = event
        {
            let scheduled = FollowUpRow {
                follow_up_id: *follow_up_id,
                campaign_id: *campaign_id,
                contact_id: *contact_id,
                agent_id: *agent_id,
                due_at: *due_at,
                status: FollowUpStatus::Pending,
                because: None,
                note: note.as_ref().and_then(|note| note.value().cloned()),
                version: recorded.version(),
                created_at: recorded.occurred_at,
                updated_at: recorded.occurred_at,
            };
            of_contact.entry(*contact_id).or_default().push(*follow_up_id);
            rows.insert(*follow_up_id, scheduled);
            continue;
        }
        let row = rows.get_mut(&FollowUpId(recorded.aggregate_id)).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            FollowUpEvent::FollowUpScheduled { .. } => (),
            FollowUpEvent::FollowUpDone {} => row.status = FollowUpStatus::Done,
            FollowUpEvent::FollowUpCancelled { because } => {
                row.status = FollowUpStatus::Cancelled;
                row.because = Some(because.clone());
            }
        }
    }
    Ok(rows)
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    rows: &[FollowUpRow],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    fn each<T>(rows: &[FollowUpRow], column: impl Fn(&FollowUpRow) -> T) -> Vec<T> {
        rows.iter().map(column).collect()
    }
    sqlx::query(
        "INSERT INTO follow_ups (organization_id, follow_up_id, campaign_id, contact_id, agent_id, due_at, status,
             because, note, version, created_at, updated_at)
         SELECT $1, * FROM UNNEST($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::text[],
             $8::text[], $9::text[], $10::bigint[], $11::timestamptz[], $12::timestamptz[])
         ON CONFLICT (organization_id, follow_up_id) DO UPDATE SET status = excluded.status,
             because = excluded.because, version = excluded.version, updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(each(rows, |row| row.follow_up_id.uuid()))
    .bind(each(rows, |row| row.campaign_id.uuid()))
    .bind(each(rows, |row| row.contact_id.uuid()))
    .bind(each(rows, |row| row.agent_id.uuid()))
    .bind(each(rows, |row| At(row.due_at)))
    .bind(each(rows, |row| row.status.name().to_owned()))
    .bind(each(rows, |row| row.because.clone()))
    .bind(each(rows, |row| row.note.clone()))
    .bind(each(rows, |row| row.version.cast_signed()))
    .bind(each(rows, |row| At(row.created_at)))
    .bind(each(rows, |row| At(row.updated_at)))
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const fn contact(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    const fn campaign(n: u128) -> CampaignId {
        CampaignId(Uuid::from_u128(100 + n))
    }

    /// The events with their places; a contact's own event is in its stream.
    fn ledger(events: Vec<(Uuid, AnyEvent)>) -> Vec<Recorded> {
        (1..)
            .zip(events)
            .map(|(position, (stream, event))| Recorded::sample(position, stream, 1, event))
            .collect()
    }

    fn scheduled(id: u128, of: u128, within: u128) -> (Uuid, AnyEvent) {
        let event = FollowUpEvent::FollowUpScheduled {
            follow_up_id: FollowUpId(Uuid::from_u128(id)),
            campaign_id: campaign(within),
            contact_id: contact(of),
            agent_id: AgentId(Uuid::from_u128(7)),
            due_at: Timestamp::from_millis(1_000),
            note: None,
        };
        (Uuid::from_u128(id), event.into())
    }

    fn removed(from: u128, contacts: &[u128], cancel_follow_ups: bool) -> (Uuid, AnyEvent) {
        let contact_ids = contacts.iter().map(|n| contact(*n)).collect();
        let campaign_id = campaign(from);
        let event =
            RosterEvent::ContactsRemoved { campaign_id, contact_ids, detach_calls: false, cancel_follow_ups };
        (Uuid::nil(), event.into())
    }

    /// What a fold makes of them, batch by batch as long as `size`.
    fn folded(events: &[Recorded], size: usize) -> BTreeMap<FollowUpId, FollowUpRow> {
        let mut table = BTreeMap::new();
        for batch in events.chunks(size) {
            // More than the fold would load does no harm.
            table.extend(plan(batch, table.values().cloned().collect()).unwrap());
        }
        table
    }

    #[test]
    fn who_leaves_takes_along_what_is_promised_there_and_then() {
        let opted_out = ContactEvent::ContactOptedOut { via: "import".into(), addresses: vec![] };
        let suppressed = ContactEvent::ContactSuppressed { address_hash: "a".into() };
        let events = ledger(vec![
            scheduled(1, 1, 1),
            scheduled(2, 1, 2),
            scheduled(3, 2, 1),
            scheduled(4, 3, 1),
            (Uuid::from_u128(4), FollowUpEvent::FollowUpDone {}.into()),
            removed(1, &[2], false),
            removed(1, &[1, 3], true),
            scheduled(5, 1, 1),
            (contact(2).uuid(), opted_out.into()),
            (contact(1).uuid(), suppressed.into()),
            scheduled(6, 1, 1),
        ]);
        let taken = folded(&events, events.len());
        let told: Vec<_> = taken.values().map(|row| (row.status.name(), row.because.as_deref())).collect();
        let expected = [
            ("cancelled", Some("contact_removed")),
            ("cancelled", Some("do_not_contact")),
            ("cancelled", Some("do_not_contact")),
            ("done", None),
            ("cancelled", Some("do_not_contact")),
            ("pending", None),
        ];
        assert_eq!(told, expected);
        for size in 1..events.len() {
            assert_eq!(folded(&events, size), taken, "in batches of {size}");
        }
    }
}
