//! Counts that many calls want at once, read together.
//!
//! A change of a campaign shows how many contacts it has beside its own decision. Asked one by one, these small reads cost
//! the database more than the changes themselves; so they are read in turns, each for everybody who waits (`desk`).
//!
//! Counts are shown as of the head. Where nothing that waits to be folded can change a count, they are so already, and
//! nobody waits for the fold, not even for that of the campaign itself. All others are asked for in a view (`questions`),
//! which waits until the read models have reached the head. So everybody sees the contacts that had been recorded when
//! they asked.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_projections::campaign_counters::{self, Totals};
use lru::LruCache;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::oneshot;

use super::desk::{Desk, Reading};
use super::questions::Question;
use super::{ReadSide, ReadSideError};

/// Events waiting to be folded that are looked at; a read behind more of them waits.
const PENDING: i64 = 1_000;
/// Turns that one connection serves before others may have it.
const TURNS: usize = 16;
/// Campaigns whose counts are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// How many contacts the campaign has, and the position that this reflects at least.
type Glance = Result<(Totals, i64), ReadSideError>;
type Asked = (CampaignId, oneshot::Sender<Option<Glance>>);

/// What campaigns' counts were, and the position as of which.
type Memory = LruCache<(OrganizationId, CampaignId), (Totals, i64)>;

/// Where campaigns are asked about.
#[derive(Clone, Debug)]
pub(super) struct Glances {
    desk: Desk<Asked>,
    memory: Arc<Mutex<Memory>>,
}

impl Default for Glances {
    fn default() -> Self {
        Self { desk: Desk::default(), memory: Arc::new(Mutex::new(LruCache::new(REMEMBERED))) }
    }
}

impl Glances {
    /// What was found last, and the position as of which.
    pub fn remembered(&self, organization: OrganizationId, campaign: CampaignId) -> Option<(Totals, i64)> {
        self.memory().get(&(organization, campaign)).copied()
    }

    /// Remembers how many contacts a campaign has as of a position.
    pub fn remember(
        &self,
        organization: OrganizationId,
        campaign: CampaignId,
        totals: Totals,
        position: i64,
    ) {
        self.memory().put((organization, campaign), (totals, position));
    }

    /// Forgets every count.
    pub fn forget(&self) {
        self.memory().clear();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // An entry is put in whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many contacts the campaign has as of the head of this moment.
    pub async fn totals(
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
            Ok(Ok(Some(glance))) => {
                if let Ok((totals, position)) = glance {
                    self.remember(organization, campaign, totals, position);
                }
                glance
            }
            // What is there does not say it: something that waits to be folded may.
            Ok(Ok(None)) => {
                readside
                    .questions
                    .ask(readside, organization, |answer| Question::Totals(campaign, answer))
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
                Ok(Some((totals, head))) => totals.get(&campaign).map(|totals| Ok((*totals, *head))),
                Ok(None) => None,
                Err(error) => Some(Err(error.clone())),
            });
        }
    }
}

type Found = (HashMap<CampaignId, Totals>, i64);

/// The counts and the head that they reflect, if nothing that waits to be folded can change one.
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
    let found = settled(&mut peek, organization, ids).await?;
    *held = (turns + 1 < TURNS).then_some((peek, turns + 1));
    Ok(found)
}

/// One statement, because changes of campaigns ask it with every call. The events that wait are looked at in the key's
/// order, so that it is the key that is gone by: while a ledger is small any index that begins with the organization is as
/// good to the planner, and its plan is kept.
static SETTLED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT h.position, c.parked_position IS NOT NULL, h.position - coalesce(c.position, 0) <= $3, \
             ARRAY(SELECT DISTINCT pending.event_type FROM ( \
                 SELECT e.event_type FROM ledger.events e WHERE e.organization_id = h.organization_id \
                     AND e.position > greatest(coalesce(c.position, 0), h.position - $3) AND e.position <= h.position \
                 ORDER BY e.position LIMIT $3) pending), {} \
         FROM ledger.heads h LEFT JOIN cursors c USING (organization_id) WHERE organization_id = $1",
        campaign_counters::TOTALS
    )
});

/// The counts and the head, if they are as they will be when everything up to it is folded.
async fn settled(
    connection: &mut PgConnection,
    organization: OrganizationId,
    ids: &[CampaignId],
) -> Result<Option<Found>, ReadSideError> {
    let (head, parked, near, pending, contacts, assigned): (
        i64,
        bool,
        bool,
        Vec<String>,
        Vec<i64>,
        Vec<i64>,
    ) = sqlx::query_as(&SETTLED)
        .bind(organization.uuid())
        .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind(PENDING)
        .fetch_optional(connection)
        .await?
        .ok_or(ReadSideError::UnknownOrganization)?;
    let changed = pending.iter().any(|event_type| campaign_counters::changed_by(event_type));
    let totals = campaign_counters::totals_of(&contacts, &assigned);
    Ok((near && !parked && !changed).then(|| (ids.iter().copied().zip(totals).collect(), head)))
}

fn ids(asked: &[Asked]) -> Vec<CampaignId> {
    let mut ids: Vec<CampaignId> = asked.iter().map(|(campaign, _)| *campaign).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
