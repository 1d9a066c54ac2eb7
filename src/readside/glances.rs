//! Rows that many calls want at once, read together.
//!
//! A change of a campaign shows counts beside its own decision. Asked one by one, these small reads cost the database
//! more than the changes themselves; so they are read in turns, each for everybody who waits (`desk`).
//!
//! Counts are shown as of the head. Where nothing that waits to be folded can change a count, they are so already, and
//! nobody waits for the fold. All others are asked for in a view (`questions`), which waits until the read models have
//! reached the head. So everybody sees the contacts that had been recorded when they asked. The campaign's own fields may
//! be older than that: whoever changes it decides on its stream.

use std::collections::HashMap;

use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_projections::campaign_counters;
use docket_projections::campaigns::{self, CampaignListed};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::oneshot;

use super::desk::{Desk, Reading};
use super::{ReadSide, ReadSideError};

/// Events waiting to be folded that are looked at; a read behind more of them waits.
const PENDING: i64 = 1_000;
/// Turns that one connection serves before others may have it.
const TURNS: usize = 16;

/// The campaign, and the position that its counts reflect at least.
type Glance = Result<(Option<CampaignListed>, i64), ReadSideError>;
type Asked = (CampaignId, oneshot::Sender<Option<Glance>>);

/// Where campaigns are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Glances {
    desk: Desk<Asked>,
}

impl Glances {
    /// The campaign with its counts as of the head of this moment.
    pub async fn campaign(
        &self,
        readside: &ReadSide,
        organization: OrganizationId,
        campaign: CampaignId,
    ) -> Glance {
        let (answer, answered) = oneshot::channel();
        if let Some(reading) = self.desk.line_up(organization, vec![(campaign, answer)]) {
            tokio::spawn(read(readside.clone(), organization, reading));
        }
        match tokio::time::timeout(readside.shared_within(), answered).await {
            Ok(Ok(Some(glance))) => glance,
            // What is there does not say it: something that waits to be folded may.
            Ok(Ok(None)) => {
                readside
                    .ask(organization, move |view| Box::pin(campaigns::get(view, organization, campaign)))
                    .await
            }
            Ok(Err(_)) | Err(_) => Err(ReadSideError::Unavailable),
        }
    }
}

/// Reads what is there, until nobody waits.
async fn read(readside: ReadSide, organization: OrganizationId, mut reading: Reading<Asked>) {
    let mut held: Option<(PoolConnection<Postgres>, usize)> = None;
    while let Some(asked) = reading.next() {
        let found = counted(&readside, &mut held, organization, &ids(&asked)).await;
        for (campaign, answer) in asked {
            // Whoever has gone away needs no answer.
            let _ = answer.send(match &found {
                Ok(Some((rows, head))) => rows.get(&campaign).map(|row| Ok((Some(row.clone()), *head))),
                Ok(None) => None,
                Err(error) => Some(Err(error.clone())),
            });
        }
    }
}

type Found = (HashMap<CampaignId, CampaignListed>, i64);

/// The campaigns with their counts and the head that these reflect, if nothing that waits to be folded can change a count.
async fn counted(
    readside: &ReadSide,
    held: &mut Option<(PoolConnection<Postgres>, usize)>,
    organization: OrganizationId,
    ids: &[CampaignId],
) -> Result<Option<Found>, ReadSideError> {
    let (mut peek, turns) = match held.take() {
        Some(held) => held,
        None => (readside.peek().await?, 0),
    };
    let found = match settled(&mut peek, organization).await? {
        Some(head) => {
            // What is folded between the two statements only makes the counts newer.
            let rows = campaigns::with_counts(&mut peek, organization, ids).await?;
            Some((rows.into_iter().map(|row| (row.campaign.campaign_id, row)).collect(), head))
        }
        None => None,
    };
    *held = (turns + 1 < TURNS).then_some((peek, turns + 1));
    Ok(found)
}

/// The head, if the counters are as they will be when everything up to it is folded.
async fn settled(
    connection: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Option<i64>, ReadSideError> {
    // In the key's order, so that it is the key that is gone by: while a ledger is small any index that begins with the
    // organization is as good to the planner, and its plan is kept.
    let (head, parked, near, pending): (i64, bool, bool, Vec<String>) = sqlx::query_as(
        "SELECT h.position, c.parked_position IS NOT NULL, h.position - coalesce(c.position, 0) <= $2, \
             ARRAY(SELECT DISTINCT pending.event_type FROM ( \
                 SELECT e.event_type FROM ledger.events e WHERE e.organization_id = h.organization_id \
                     AND e.position > greatest(coalesce(c.position, 0), h.position - $2) AND e.position <= h.position \
                 ORDER BY e.position LIMIT $2) pending) \
         FROM ledger.heads h LEFT JOIN cursors c USING (organization_id) WHERE organization_id = $1",
    )
    .bind(organization.uuid())
    .bind(PENDING)
    .fetch_optional(connection)
    .await?
    .ok_or(ReadSideError::UnknownOrganization)?;
    let changed = pending.iter().any(|event_type| campaign_counters::changed_by(event_type));
    Ok((near && !parked && !changed).then_some(head))
}

fn ids(asked: &[Asked]) -> Vec<CampaignId> {
    let mut ids: Vec<CampaignId> = asked.iter().map(|(campaign, _)| *campaign).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
