//! Handing over: look at everything, decide, and append it all at once.
//!
//! The append is the fence. It guards everything that was looked at, so that what was acknowledged before it (an
//! unsubscribe, a shorter allowlist, a lower cap, a pause) holds, whichever process recorded it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::Timestamp;
use docket_aggregates::bucket::Bucket;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::correspondence::Correspondence;
use docket_aggregates::ids::{BucketId, MessageId};
use docket_aggregates::judgement::Leading;
use docket_aggregates::message::Message;
use docket_aggregates::sending_control::SendingControl;
use uuid::Uuid;

use super::Shared;
use super::candidate::{self, Candidate};
use super::ground::{Ground, LookError};
use super::plan::{self, Handing, Plan, Rest, Seen, Today};
use super::work::Lane;
use crate::channels::{self, Outgoing};
use crate::hearing;
use crate::ledger::{AppendError, Command, Lane as AppendLane, Ledger, Origin, TRIES, Versioned};
use crate::sequences::leading::{self, Led, StepOf};

/// How long an append of which it is not known whether it was recorded is asked for again.
const ASKED_FOR: Duration = Duration::from_secs(30);
/// Pause between two such questions, and before a busy ledger is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Messages whose hand-over is recorded.
pub struct HandedOver {
    pub messages: Vec<Handed>,
    /// Before the append began: no later than the moment at which it was recorded.
    pub since: Stopwatch,
    /// Messages that could not be decided on in so many tries: others were faster.
    pub left: Vec<MessageId>,
}

/// One of them.
pub struct Handed {
    pub id: MessageId,
    pub message: Versioned<Message>,
    /// Taken when it is called.
    pub outgoing: Option<Result<Outgoing, channels::Outcome>>,
}

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// Something cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The ledger refuses.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<sqlx::Error> for HandOverError {
    fn from(error: sqlx::Error) -> Self {
        Self::Look(error.into())
    }
}

/// Hands over what may be, and does with the others what is to be done with them.
pub async fn hand_over(
    shared: &Shared,
    lane: Lane,
    holder: Uuid,
    ids: &[MessageId],
) -> Result<HandedOver, HandOverError> {
    let nothing =
        |left: &[MessageId]| HandedOver { messages: vec![], since: Stopwatch::now(), left: left.to_vec() };
    let mut turn = None;
    let mut fresh = false;
    for _ in 0..TRIES {
        if shared.stopping.is_cancelled() {
            return Ok(nothing(ids));
        }
        let now = shared.app.clock.now();
        let Decided { plan, bucket_id, by_glances } = look_and_decide(shared, lane, ids, now, fresh).await?;
        let Plan { writes, guards, absent, handing, rest } = plan;
        if writes.is_empty() {
            if by_glances {
                // Nothing is appended, and so nothing would tell that what was seen lately is not so any more.
                fresh = true;
                continue;
            }
            set_aside(shared, lane, holder, rest).await?;
            return Ok(nothing(&[]));
        }
        let command = Command {
            id: shared.app.clock.mint(),
            organization: lane.organization,
            at: now,
            origin: Origin::system("dispatch"),
            writes,
            guards,
            absent,
            counted_at: None,
            request: None,
            lane: AppendLane::Normal,
        };
        let since = Stopwatch::now();
        match append(&shared.app.ledger, command).await {
            Ok(()) => {
                metrics::counter!("docket_dispatch_handed_over_total").increment(handing.len() as u64);
                let messages =
                    handing.into_iter().map(|handing| handed(shared, lane, now, handing)).collect();
                // The others come up again where this fails; what was handed over is to be called in time.
                if let Err(error) = set_aside(shared, lane, holder, rest).await {
                    tracing::warn!(error = %error, "messages that have to wait could not be set aside");
                }
                return Ok(HandedOver { messages, since, left: vec![] });
            }
            Err(AppendError::Conflict | AppendError::Present(_) | AppendError::Taken(_)) => {
                metrics::counter!("docket_dispatch_conflicts_total").increment(1);
                fresh = true;
                if let Some(bucket_id) = bucket_id.filter(|_| turn.is_none()) {
                    turn = shared.app.ledger.turn(bucket_id.uuid()).await;
                }
            }
            Err(AppendError::OrganizationBusy { .. } | AppendError::Overloaded { .. }) => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(nothing(ids))
}

/// Writes down what becomes of the messages that the append has nothing of. Only now, because it may have been decided on what
/// was seen lately, and it is the append that tells whether that is still so.
async fn set_aside(shared: &Shared, lane: Lane, holder: Uuid, rest: Rest) -> Result<(), HandOverError> {
    let Rest { let_go, put_off, held_back, resting, held_until, control } = rest;
    let work = &shared.work;
    work.let_go(lane.organization, holder, &let_go).await?;
    work.put_off(lane.organization, holder, &put_off).await?;
    if !held_back.is_empty() {
        work.give_up(lane.organization, holder, &held_back, held_until).await?;
        resumed_meanwhile(shared, lane, control, &resting).await?;
    }
    Ok(())
}

/// What was held back on a pause that was over by the time it was written down is ready again: the feed may have looked
/// before it was written.
async fn resumed_meanwhile(
    shared: &Shared,
    lane: Lane,
    seen: u64,
    resting: &[StepOf],
) -> Result<(), HandOverError> {
    let organization = lane.organization;
    let control = shared.app.ledger.load::<SendingControl>(organization, organization.sending_control());
    let resumed = control.await.map_err(LookError::from)?.version != seen;
    let led = leading::look(&shared.app, organization, resting).await.map_err(LookError::from)?;
    let goes_on = |led: &Led| !matches!(led.leading, Leading::SequencePaused | Leading::CampaignPaused);
    if resumed || led.values().any(goes_on) {
        shared.work.resume(organization).await?;
        shared.fed.notify_one();
    }
    Ok(())
}

fn handed(shared: &Shared, lane: Lane, at: Timestamp, handing: Handing) -> Handed {
    let Handing { id, before, events, outgoing } = handing;
    let message = shared.app.ledger.after(lane.organization, &before, at, events);
    Handed { id, message, outgoing: Some(outgoing) }
}

/// Appends, and asks again under the same id while it is not known whether it was recorded: never a new decision.
pub async fn append(ledger: &Ledger, command: Command) -> Result<(), AppendError> {
    let asked = Stopwatch::now();
    loop {
        match ledger.append(command.clone()).await {
            Err(AppendError::OutcomeUnknown(_)) if asked.elapsed() < ASKED_FOR => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer.map(drop),
        }
    }
}

/// A plan, and what it rests on.
struct Decided {
    plan: Plan,
    /// The bucket of today.
    bucket_id: Option<BucketId>,
    /// Whether it rests on what was seen lately and not read anew.
    by_glances: bool,
}

async fn look_and_decide(
    shared: &Shared,
    lane: Lane,
    ids: &[MessageId],
    now: Timestamp,
    fresh: bool,
) -> Result<Decided, LookError> {
    let ledger = &shared.app.ledger;
    let organization = lane.organization;
    let streams: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let found = ledger.load_many::<Message>(organization, &streams).await?;
    let mut plan = Plan::default();
    let found = plan::triage(ids.iter().copied().zip(found).collect(), now, &mut plan);
    if found.is_empty() {
        return Ok(Decided { plan, bucket_id: None, by_glances: false });
    }
    let ground = Ground::look(shared, lane, fresh).await?;
    if !ground.module_on {
        // The lane has no turn until it is on again.
        plan.rest.held_back.extend(found.into_iter().map(|(id, _)| id));
        (plan.rest.held_until, plan.rest.control) = (now, ground.control.version);
        return Ok(Decided { plan, bucket_id: None, by_glances: false });
    }
    let candidates = candidate::look(shared, lane, &ground, found).await?;

    let against: BTreeSet<ClaimKey> = candidates.iter().flat_map(Candidate::against).collect();
    let suppressed = ledger.present(organization, &against).await?;
    let channel = ground.outbox.state.channel();
    let today = channel.and_then(|channel| Today::of(lane, &ground, channel, now));
    let charged_in = candidates.iter().filter_map(|candidate| candidate.message.state.bucket_id());
    let bucket_ids: BTreeSet<BucketId> =
        charged_in.chain(today.as_ref().map(|today| today.bucket_id)).collect();
    let buckets = ledger.load_each::<Bucket, _>(organization, bucket_ids, |id| id.uuid()).await?;
    let windowed = channel.is_some_and(|channel| hearing::hears(channel, &ground.sender.config));
    let heard = candidates
        .iter()
        .filter(|_| windowed)
        .map(|candidate| organization.correspondence(&candidate.keys.address));
    let counted = candidates.iter().flat_map(|candidate| candidate.counted_in.iter().copied());
    let words: BTreeSet<Uuid> = counted.chain(heard).collect();
    let correspondences = ledger.load_each::<Correspondence, _>(organization, words, |id| *id).await?;

    let bucket_id = today.as_ref().map(|today| today.bucket_id);
    let seen = Seen { shared, lane, ground: &ground, now, buckets, correspondences, suppressed };
    plan::decide(&seen, today, candidates, &mut plan);
    Ok(Decided { plan, bucket_id, by_glances: !fresh })
}
