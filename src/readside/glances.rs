//! Rows that many calls want at once, read together.
//!
//! A change of a campaign shows counts beside its own decision. Asked one by one, these small reads cost the database
//! more than the changes themselves; so whoever asks while a read of the same organization is under way waits for it to
//! end and is answered by the next one, together with everybody else who came meanwhile. Nobody is answered by a read
//! that began before they asked.
//!
//! Counts are shown as of the head. Where nothing that waits to be folded can change a count, they are so already, and
//! nobody waits for the fold. All others are asked for at a second desk, whose reads wait, once for all whom they answer,
//! until the read models have reached the head. So everybody sees the contacts that had been recorded when they asked.
//! The campaign's own fields may be older than that: whoever changes it decides on its stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_projections::campaign_counters;
use docket_projections::campaigns::{self, CampaignListed};
use tokio::sync::oneshot;

use super::{CONNECTION_WITHIN, Consistency, ReadSide, ReadSideError, WAIT};

/// Rows of one read, at most.
const TOGETHER: usize = 256;
/// Events waiting to be folded that are looked at; a read behind more of them waits.
const PENDING: i64 = 1_000;
/// How long one waits at most: for the read that is under way, and for the one that answers.
const WITHIN: Duration = Duration::from_secs(2 * (CONNECTION_WITHIN.as_secs() + WAIT.as_secs()));

/// The campaign, and the position that its counts reflect at least.
type Glance = Result<(Option<CampaignListed>, i64), ReadSideError>;
type Asked = (CampaignId, oneshot::Sender<Glance>);

/// Where campaigns are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Glances {
    /// Reads what is there.
    at_once: Desk,
    /// Waits for the fold.
    folded: Desk,
}

/// Who waits for which campaign. An organization is in here while somebody reads for it.
type Desk = Arc<Mutex<HashMap<OrganizationId, Vec<Asked>>>>;

impl Glances {
    /// The campaign with its counts as of the head of this moment.
    pub async fn campaign(
        &self,
        readside: &ReadSide,
        organization: OrganizationId,
        campaign: CampaignId,
    ) -> Glance {
        let (answer, answered) = oneshot::channel();
        if ask(&self.at_once, organization, vec![(campaign, answer)]) {
            // In a task of its own: the others must not lose their reader when the first one goes away.
            tokio::spawn(self.clone().read(readside.clone(), organization));
        }
        match tokio::time::timeout(WITHIN, answered).await {
            Ok(Ok(glance)) => glance,
            Ok(Err(_)) | Err(_) => Err(ReadSideError::Unavailable),
        }
    }

    /// Reads what is there, until nobody waits.
    async fn read(self, readside: ReadSide, organization: OrganizationId) {
        let mut reading = Reading::of(&self.at_once, organization);
        while let Some(mut asked) = reading.next() {
            match counted(&readside, organization, &ids(&asked)).await {
                Ok(Some((rows, head))) => {
                    let (there, missing) = asked.into_iter().partition(|(id, _)| rows.contains_key(id));
                    answer(there, &Ok((rows, head)));
                    // It may have been created a moment ago.
                    asked = missing;
                }
                Ok(None) => (),
                Err(error) => {
                    answer(asked, &Err(error));
                    continue;
                }
            }
            if !asked.is_empty() && ask(&self.folded, organization, asked) {
                tokio::spawn(self.clone().read_folded(readside.clone(), organization));
            }
        }
    }

    /// Reads what is there once it has been folded, until nobody waits.
    async fn read_folded(self, readside: ReadSide, organization: OrganizationId) {
        let mut reading = Reading::of(&self.folded, organization);
        while let Some(asked) = reading.next() {
            let ids = ids(&asked);
            let found = async {
                let mut view = readside.view(organization, Consistency::STRONG).await?;
                let rows = campaigns::with_counts(&mut view, organization, &ids).await?;
                Ok((by_id(rows), view.position))
            };
            answer(asked, &found.await);
        }
    }
}

type Found = Result<(HashMap<CampaignId, CampaignListed>, i64), ReadSideError>;

/// The campaigns with their counts and the head that these reflect, if nothing that waits to be folded can change a count.
async fn counted(
    readside: &ReadSide,
    organization: OrganizationId,
    ids: &[CampaignId],
) -> Result<Option<(HashMap<CampaignId, CampaignListed>, i64)>, ReadSideError> {
    let mut peek = readside.peek().await?;
    let Some(head) = settled(&mut peek, organization).await? else { return Ok(None) };
    // What is folded between the two statements only makes the counts newer.
    let rows = campaigns::with_counts(&mut peek, organization, ids).await?;
    Ok(Some((by_id(rows), head)))
}

/// The head, if the counters are as they will be when everything up to it is folded.
async fn settled(
    connection: &mut sqlx::PgConnection,
    organization: OrganizationId,
) -> Result<Option<i64>, ReadSideError> {
    let (head, parked, near, pending): (i64, bool, bool, Vec<String>) = sqlx::query_as(
        "SELECT h.position, c.parked_position IS NOT NULL, h.position - coalesce(c.position, 0) <= $2, \
             ARRAY(SELECT DISTINCT e.event_type FROM ledger.events e WHERE e.organization_id = h.organization_id \
                 AND e.position > greatest(coalesce(c.position, 0), h.position - $2) AND e.position <= h.position) \
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

fn by_id(rows: Vec<CampaignListed>) -> HashMap<CampaignId, CampaignListed> {
    rows.into_iter().map(|row| (row.campaign.campaign_id, row)).collect()
}

fn answer(asked: Vec<Asked>, found: &Found) {
    for (campaign, answer) in asked {
        // Whoever has gone away needs no answer.
        let _ = answer.send(match found {
            Ok((rows, position)) => Ok((rows.get(&campaign).cloned(), *position)),
            Err(error) => Err(error.clone()),
        });
    }
}

fn lock(desk: &Desk) -> MutexGuard<'_, HashMap<OrganizationId, Vec<Asked>>> {
    // Every change is complete before the lock is let go, even if a holder panicked.
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines up at a desk; true if nobody reads there, so that whoever asks must see to a reader.
fn ask(desk: &Desk, organization: OrganizationId, asked: Vec<Asked>) -> bool {
    let mut waiting = lock(desk);
    let nobody_reads = !waiting.contains_key(&organization);
    waiting.entry(organization).or_default().extend(asked);
    nobody_reads
}

/// The one who reads for an organization at a desk.
struct Reading<'a> {
    desk: &'a Desk,
    organization: OrganizationId,
    over: bool,
}

impl<'a> Reading<'a> {
    fn of(desk: &'a Desk, organization: OrganizationId) -> Self {
        Self { desk, organization, over: false }
    }

    /// Who is to be answered next; none ends the reading.
    fn next(&mut self) -> Option<Vec<Asked>> {
        let mut waiting = lock(self.desk);
        match waiting.get_mut(&self.organization) {
            Some(asked) if !asked.is_empty() => Some(asked.drain(..asked.len().min(TOGETHER)).collect()),
            _ => {
                // From here on whoever asks begins a reading of their own.
                waiting.remove(&self.organization);
                self.over = true;
                None
            }
        }
    }
}

impl Drop for Reading<'_> {
    /// A reading that broke off leaves nobody waiting for it.
    fn drop(&mut self) {
        if !self.over {
            lock(self.desk).remove(&self.organization);
        }
    }
}
