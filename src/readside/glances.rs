//! Rows that many calls want at once, read together.
//!
//! A change of a campaign shows counts beside its own decision. Asked one by one, these small reads cost the database
//! more than the changes themselves; so whoever asks while a read of the same organization is under way waits for it to
//! end and is answered by the next one, together with everybody else who came meanwhile. Nobody is answered by a read
//! that began before they asked, and each read is a strong view: it waits, once for all whom it answers, until the read
//! models have reached the head. So everybody sees at least what had been recorded when they asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_projections::campaigns::{self, CampaignListed};
use tokio::sync::oneshot;

use super::{CONNECTION_WITHIN, Consistency, ReadSide, ReadSideError, WAIT};

/// Rows of one read, at most.
const TOGETHER: usize = 256;
/// How long one waits at most: for the read that is under way, and for the one that answers.
const WITHIN: Duration = Duration::from_secs(2 * (CONNECTION_WITHIN.as_secs() + WAIT.as_secs()));

/// The campaign, and the position that it reflects.
type Glance = Result<(Option<CampaignListed>, i64), ReadSideError>;
type Asked = (CampaignId, oneshot::Sender<Glance>);

/// Who waits for which campaign.
#[derive(Clone, Debug, Default)]
pub(super) struct Glances {
    /// An organization is in here while somebody reads for it.
    waiting: Arc<Mutex<HashMap<OrganizationId, Vec<Asked>>>>,
}

impl Glances {
    /// The campaign as the read models show it once they have reached the head of this moment.
    pub async fn campaign(
        &self,
        readside: &ReadSide,
        organization: OrganizationId,
        campaign: CampaignId,
    ) -> Glance {
        let (answer, answered) = oneshot::channel();
        let nobody_reads = {
            let mut waiting = self.lock();
            let nobody_reads = !waiting.contains_key(&organization);
            waiting.entry(organization).or_default().push((campaign, answer));
            nobody_reads
        };
        if nobody_reads {
            // In a task of its own: the others must not lose their reader when the first one goes away.
            tokio::spawn(self.clone().read(readside.clone(), organization));
        }
        match tokio::time::timeout(WITHIN, answered).await {
            Ok(Ok(glance)) => glance,
            Ok(Err(_)) | Err(_) => Err(ReadSideError::Unavailable),
        }
    }

    /// Reads for an organization until nobody waits.
    async fn read(self, readside: ReadSide, organization: OrganizationId) {
        let mut reading = Reading { glances: &self, organization, over: false };
        while let Some(asked) = reading.next() {
            let mut ids: Vec<CampaignId> = asked.iter().map(|(campaign, _)| *campaign).collect();
            ids.sort_unstable();
            ids.dedup();
            let found = async {
                let mut view = readside.view(organization, Consistency::STRONG).await?;
                let rows = campaigns::with_counts(&mut view, organization, &ids).await?;
                let rows = rows.into_iter().map(|row| (row.campaign.campaign_id, row));
                Ok::<_, ReadSideError>((rows.collect::<HashMap<_, _>>(), view.position))
            };
            let found = found.await;
            for (campaign, answer) in asked {
                // Whoever has gone away needs no answer.
                let _ = answer.send(match &found {
                    Ok((rows, position)) => Ok((rows.get(&campaign).cloned(), *position)),
                    Err(error) => Err(error.clone()),
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrganizationId, Vec<Asked>>> {
        // Every change is complete before the lock is let go, even if a holder panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who reads for an organization.
struct Reading<'a> {
    glances: &'a Glances,
    organization: OrganizationId,
    over: bool,
}

impl Reading<'_> {
    /// Who is to be answered next; none ends the reading.
    fn next(&mut self) -> Option<Vec<Asked>> {
        let mut waiting = self.glances.lock();
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
            self.glances.lock().remove(&self.organization);
        }
    }
}
