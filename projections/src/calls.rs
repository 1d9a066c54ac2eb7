//! One row per call, for ever: the history of a contact outlives its stay in a campaign.
//!
//! A contact may be taken out of a campaign with its calls detached: they stay, and no longer count to the campaign.
//! A call of an earlier stay is kept like any other.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::ids::{AgentId, CallId, CampaignId, ContactId, OrganizationId};
use docket_aggregates::membership::{CallOutcome, MembershipEvent};
use docket_aggregates::roster::RosterEvent;
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::columns::{Columns, signed, uuids};
use crate::copy::Copy;
use crate::memberships::Pair;
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "calls", tables: &["calls"] };

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRow {
    /// The call.
    pub call_id: CallId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The contact.
    pub contact_id: ContactId,
    /// Who called.
    pub agent_id: AgentId,
    /// Of which stay it was.
    pub epoch: u64,
    /// How it went.
    pub outcome: CallOutcome,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was recorded.
    pub logged_at: Timestamp,
    /// How long it lasted, in seconds.
    pub duration_seconds: Option<u32>,
    /// What the caller wrote down; none also once erased.
    pub note: Option<String>,
    /// Which attempt of its stay it was, from 1.
    pub attempt: u32,
    /// Whether it no longer counts to the campaign.
    pub detached: bool,
}

/// The calls to a contact, in all campaigns or one, the latest first, `limit` at most.
pub async fn of_contact(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contact: ContactId,
    campaign: Option<CampaignId>,
    limit: i64,
) -> sqlx::Result<Vec<CallRow>> {
    let rows = sqlx::query(
        "SELECT * FROM calls
         WHERE organization_id = $1 AND contact_id = $2 AND ($3::uuid IS NULL OR campaign_id = $3)
         ORDER BY started_at DESC, call_id LIMIT $4",
    )
    .bind(organization.uuid())
    .bind(contact.uuid())
    .bind(campaign.map(CampaignId::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// One call to a contact in a campaign.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contact: ContactId,
    call: CallId,
) -> sqlx::Result<Option<CallRow>> {
    let found = sqlx::query(
        "SELECT * FROM calls
         WHERE organization_id = $1 AND contact_id = $2 AND campaign_id = $3 AND call_id = $4",
    )
    .bind(organization.uuid())
    .bind(contact.uuid())
    .bind(campaign.uuid())
    .bind(call.uuid())
    .fetch_optional(conn)
    .await?;
    found.as_ref().map(row).transpose()
}

/// How many calls to these contacts count to the campaign.
pub async fn count(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contacts: &[ContactId],
) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM UNNEST($3::uuid[]) AS wanted (contact_id)
         JOIN calls ON calls.organization_id = $1 AND calls.contact_id = wanted.contact_id
              AND calls.campaign_id = $2 AND NOT calls.detached",
    )
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(uuids(contacts))
    .fetch_one(conn)
    .await?;
    Ok(count.max(0).cast_unsigned())
}

/// How many each of the contacts has; those without any are left out.
pub async fn count_each(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contacts: &[ContactId],
) -> sqlx::Result<Vec<(ContactId, u64)>> {
    let rows = sqlx::query(
        "SELECT contact_id, count(*) AS calls FROM UNNEST($3::uuid[]) AS wanted (contact_id)
         JOIN calls USING (contact_id)
         WHERE calls.organization_id = $1 AND calls.campaign_id = $2 AND NOT calls.detached GROUP BY contact_id",
    )
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(uuids(contacts))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.id("contact_id")?, row.count("calls")?))).collect()
}

fn row(row: &PgRow) -> sqlx::Result<CallRow> {
    let small = |column: &str| -> sqlx::Result<Option<u32>> {
        Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|n| u32::try_from(n).ok()))
    };
    Ok(CallRow {
        call_id: row.id("call_id")?,
        campaign_id: row.id("campaign_id")?,
        contact_id: row.id("contact_id")?,
        agent_id: row.id("agent_id")?,
        epoch: row.count("epoch")?,
        outcome: row.named("outcome")?,
        started_at: row.at("started_at")?,
        logged_at: row.at("logged_at")?,
        duration_seconds: small("duration_seconds")?,
        note: row.try_get("note")?,
        attempt: small("attempt")?.unwrap_or(0),
        detached: row.try_get("detached")?,
    })
}

/// Folds the batch into calls.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let (new, detached) = plan(batch);
    // Earlier calls first: those of this batch already know whether they were detached.
    if !detached.is_empty() {
        let (campaigns, contacts): (Vec<Uuid>, Vec<Uuid>) =
            detached.iter().map(|(campaign, contact)| (campaign.uuid(), contact.uuid())).unzip();
        sqlx::query(
            "UPDATE calls SET detached = true
             FROM UNNEST($2::uuid[], $3::uuid[]) AS gone (campaign_id, contact_id)
             WHERE calls.organization_id = $1 AND calls.contact_id = gone.contact_id
               AND calls.campaign_id = gone.campaign_id AND NOT calls.detached",
        )
        .bind(organization.uuid())
        .bind(campaigns)
        .bind(contacts)
        .execute(&mut *conn)
        .await?;
    }
    let mut copy = Copy::into(
        MODEL.name,
        &[
            "organization_id",
            "contact_id",
            "campaign_id",
            "call_id",
            "agent_id",
            "epoch",
            "started_at",
            "logged_at",
            "duration_seconds",
            "attempt",
            "detached",
            "outcome",
            "note",
        ],
    );
    for call in new.values() {
        copy.row()
            .uuid(organization)
            .uuid(call.contact_id)
            .uuid(call.campaign_id)
            .uuid(call.call_id)
            .uuid(call.agent_id)
            .i64(signed(call.epoch))
            .at(call.started_at)
            .at(call.logged_at)
            .i64_opt(call.duration_seconds.map(i64::from))
            .i64(i64::from(call.attempt))
            .bool(call.detached)
            .text(call.outcome.name())
            .text_opt(call.note.as_deref());
    }
    copy.send(conn).await?;
    Ok(())
}

type CallKey = (ContactId, CampaignId, CallId);

/// The calls that the batch adds, and the pairs whose earlier calls it detaches.
fn plan(batch: &[Recorded]) -> (BTreeMap<CallKey, CallRow>, BTreeSet<Pair>) {
    let mut new: BTreeMap<CallKey, CallRow> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for recorded in batch {
        match &recorded.event {
            AnyEvent::Membership(MembershipEvent::CallLogged {
                call_id,
                campaign_id,
                contact_id,
                epoch,
                agent_id,
                outcome,
                started_at,
                duration_seconds,
                note,
                attempt,
                status: _,
            }) => {
                let call = CallRow {
                    call_id: *call_id,
                    campaign_id: *campaign_id,
                    contact_id: *contact_id,
                    agent_id: *agent_id,
                    epoch: *epoch,
                    outcome: *outcome,
                    started_at: *started_at,
                    logged_at: recorded.occurred_at,
                    duration_seconds: *duration_seconds,
                    note: note.as_ref().and_then(|note| note.value().cloned()),
                    attempt: *attempt,
                    detached: false,
                };
                new.insert((*contact_id, *campaign_id, *call_id), call);
            }
            AnyEvent::Membership(MembershipEvent::MembershipMoved { .. }) => (),
            AnyEvent::Roster(RosterEvent::ContactsRemoved {
                campaign_id,
                contact_ids,
                detach_calls: true,
                ..
            }) => {
                for contact in contact_ids {
                    gone.insert((*campaign_id, *contact));
                    let least = (*contact, *campaign_id, CallId(Uuid::nil()));
                    let most = (*contact, *campaign_id, CallId(Uuid::max()));
                    new.range_mut(least..=most).for_each(|(_, call)| call.detached = true);
                }
            }
            _ => (),
        }
    }
    (new, gone)
}
