//! Recording what became of hand-overs.
//!
//! Only what names the number of the current hand-over is recorded, and in one append with what it gives back. What
//! gives nothing back is appended apart, so that it contends with nobody on a bucket. What cannot be recorded at all stays
//! a hand-over without an outcome, which is found abandoned later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::bucket::{Bucket, BucketCommand};
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand};
use docket_aggregates::ids::{BucketId, OrganizationId};
use docket_aggregates::message::{self, ChannelAnswer, Message, MessageCommand, MessageEvent};
use docket_aggregates::{Decides, Timestamp};
use rand::Rng;
use uuid::Uuid;

use super::Shared;
use super::call::Called;
use super::ground::LookError;
use super::hand_over::{Handed, append};
use crate::channels::Outcome;
use crate::hearing::provider_hash;
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::{AppendError, Command, Lane, Origin, Versioned, Write};
use crate::sending::recipient::counted_for;

/// How long it is tried to record an outcome.
const RECORDED_WITHIN: Duration = Duration::from_secs(40);
/// Pause before a ledger that is busy or away is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// What a message that was taken back is told.
const TOO_LATE: &str = "too_late";

/// A message that was handed over, and what is known of it now.
pub struct Known {
    pub message: Handed,
    pub called: Called,
}

/// What is to be recorded of one message.
struct Record {
    message: Versioned<Message>,
    id: Uuid,
    command: MessageCommand,
}

impl Record {
    /// Whether it may give something back.
    fn gives_back(&self) -> bool {
        match &self.command {
            MessageCommand::Record { outcome, .. } => {
                matches!(outcome, message::Outcome::Rejected { .. } | message::Outcome::Retry { .. })
            }
            _ => true,
        }
    }

    /// Leaves out what the channel answered: its recipient was erased.
    fn without_answer(&mut self) {
        let MessageCommand::Record { outcome, .. } = &mut self.command else { return };
        match outcome {
            message::Outcome::Accepted { answer, .. }
            | message::Outcome::Rejected { answer, .. }
            | message::Outcome::Retry { answer, .. }
            | message::Outcome::Unknown { answer, .. } => *answer = None,
        }
    }
}

/// Records all of it.
pub async fn record(shared: &Shared, organization: OrganizationId, known: Vec<Known>) {
    let keys = match shared.app.ledger.keys().organization(organization).await {
        Ok(keys) => keys,
        Err(error) => {
            tracing::error!(error = %error, "outcomes cannot be recorded");
            return;
        }
    };
    let now = shared.app.clock.now();
    let records: Vec<Record> = known.into_iter().map(|known| to_record(&keys, known, now)).collect();
    let (giving_back, plain): (Vec<_>, Vec<_>) = records.into_iter().partition(Record::gives_back);
    for records in [plain, giving_back] {
        let mut parts = vec![records];
        while let Some(part) = parts.pop() {
            parts.extend(record_part(shared, organization, part).await);
        }
    }
}

/// Records a part, or gives it back in smaller ones.
async fn record_part(
    shared: &Shared,
    organization: OrganizationId,
    mut part: Vec<Record>,
) -> Vec<Vec<Record>> {
    let ledger = &shared.app.ledger;
    let began = Stopwatch::now();
    let mut tries = 0_u32;
    while !part.is_empty() && began.elapsed() < RECORDED_WITHIN {
        let tried = match writes(shared, organization, &part).await {
            Ok(writes) if writes.is_empty() => return vec![],
            Ok(writes) => {
                let command = Command {
                    id: shared.app.clock.mint(),
                    organization,
                    at: shared.app.clock.now(),
                    origin: Origin::system("dispatch"),
                    writes,
                    guards: vec![],
                    absent: vec![],
                    counted_at: None,
                    request: None,
                    lane: Lane::Normal,
                };
                append(ledger, command).await.map_err(Some)
            }
            Err(error) => {
                tracing::warn!(error = %error, "outcomes cannot be recorded yet");
                Err(None)
            }
        };
        match tried {
            Ok(()) => {
                for record in &part {
                    metrics::counter!("docket_dispatch_outcomes_total", "outcome" => name(&record.command))
                        .increment(1);
                }
                return vec![];
            }
            Err(Some(AppendError::Conflict)) => {
                tries += 1;
                // Other hand-overs write to the same bucket all the time.
                let most = u64::from(tries.min(10)) * 10;
                let pause = Duration::from_millis(rand::thread_rng().gen_range(0..=most));
                tokio::time::sleep(pause).await;
                if let Err(error) = reload(shared, organization, &mut part).await {
                    tracing::warn!(error = %error, "outcomes cannot be recorded yet");
                }
            }
            Err(
                None
                | Some(
                    AppendError::OrganizationBusy { .. }
                    | AppendError::Overloaded { .. }
                    | AppendError::Unavailable,
                ),
            ) => tokio::time::sleep(PAUSE).await,
            Err(Some(_)) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                return vec![part, second];
            }
            Err(Some(AppendError::SubjectErased)) => {
                part.iter_mut().for_each(Record::without_answer);
                tries += 1;
                if tries > 1 {
                    break;
                }
            }
            Err(Some(error)) => {
                tracing::error!(error = %error, "an outcome cannot be recorded");
                break;
            }
        }
    }
    if !part.is_empty() {
        tracing::error!(
            messages = part.len(),
            "outcomes were not recorded; the messages are found abandoned later"
        );
    }
    vec![]
}

async fn reload(shared: &Shared, organization: OrganizationId, part: &mut [Record]) -> Result<(), LookError> {
    let ids: Vec<Uuid> = part.iter().map(|record| record.id).collect();
    let found = shared.app.ledger.load_many::<Message>(organization, &ids).await?;
    for (record, message) in part.iter_mut().zip(found) {
        record.message = message;
    }
    Ok(())
}

/// What is appended. A message that refuses has an outcome by now, or another hand-over: it is let go.
async fn writes(
    shared: &Shared,
    organization: OrganizationId,
    part: &[Record],
) -> Result<Vec<Write>, LookError> {
    let ledger = &shared.app.ledger;
    let keys = ledger.keys().organization(organization).await?;
    let mut writes = Vec::new();
    let mut refunds: BTreeMap<BucketId, Vec<docket_aggregates::ids::MessageId>> = BTreeMap::new();
    let mut uncounts = BTreeSet::new();
    for record in part {
        let state = &record.message.state;
        let events = match state.decide(record.command.clone()) {
            Ok(events) => events,
            Err(refusal) => {
                tracing::info!(message.id = %record.id, refusal = %refusal, "an outcome came too late to be recorded");
                continue;
            }
        };
        let unsent = events.iter().any(|event| {
            matches!(
                event,
                MessageEvent::MessageRejected { .. }
                    | MessageEvent::MessageGivenUp { .. }
                    | MessageEvent::MessageTakenBack { .. }
            )
        });
        if let (true, Some(bucket_id)) = (unsent, state.bucket_id()) {
            let message_id = docket_aggregates::ids::MessageId(record.id);
            refunds.entry(bucket_id).or_default().push(message_id);
            let counted = counted_for(organization, &keys, state);
            uncounts.extend(counted.into_iter().map(|id| (id, message_id)));
        }
        if !events.is_empty() {
            writes.push(record.message.write(events));
        }
    }
    if !refunds.is_empty() {
        let ids: Vec<Uuid> = refunds.keys().map(|id| id.uuid()).collect();
        let buckets = ledger.load_many::<Bucket>(organization, &ids).await?;
        for (bucket, message_ids) in buckets.iter().zip(refunds.into_values()) {
            let refund = BucketCommand::Refund { message_ids, because: "not_sent" };
            writes.push(bucket.write(bucket.state.decide(refund).unwrap_or_default()));
        }
        let ids: BTreeSet<Uuid> = uncounts.iter().map(|(id, _)| *id).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let counted = ledger.load_many::<Correspondence>(organization, &ids).await?;
        for (correspondence, stream) in counted.iter().zip(ids) {
            let of_it = uncounts.iter().filter(|(id, _)| *id == stream);
            let uncount = |message_id| {
                let uncount = CorrespondenceCommand::Uncount { message_id };
                correspondence.state.decide(uncount).unwrap_or_default()
            };
            writes.push(correspondence.write(of_it.flat_map(|(_, id)| uncount(*id)).collect()));
        }
        writes.retain(|write| !write.events.is_empty());
    }
    Ok(writes)
}

fn to_record(keys: &OrganizationKeys, known: Known, now: Timestamp) -> Record {
    let Handed { id, message, .. } = known.message;
    let attempt = message.state.attempts();
    let command = match known.called {
        Called::TooLate => MessageCommand::TakeBack { attempt, code: TOO_LATE },
        Called::Said(outcome) => MessageCommand::Record {
            attempt,
            outcome: told(keys, &message.state, outcome, now),
            at: now,
            jitter: rand::thread_rng().gen_range(0..=1_000),
        },
    };
    Record { message, id: id.uuid(), command }
}

/// What a channel said, as the message takes it.
fn told(keys: &OrganizationKeys, message: &Message, outcome: Outcome, now: Timestamp) -> message::Outcome {
    let words = |reason: String| Some(ChannelAnswer { detail: Some(reason), provider_message_id: None });
    match outcome {
        Outcome::Accepted { provider_message_id } => {
            let channel = message.channel().unwrap_or(Channel::DryRun);
            message::Outcome::Accepted {
                provider_hash: provider_message_id.as_deref().map(|id| provider_hash(keys, channel, id)),
                answer: provider_message_id
                    .map(|id| ChannelAnswer { provider_message_id: Some(id), detail: None }),
            }
        }
        Outcome::Rejected { code, reason } => {
            message::Outcome::Rejected { code: code.name().to_owned(), answer: words(reason) }
        }
        Outcome::Retry { code, reason, after } => message::Outcome::Retry {
            code: code.name().to_owned(),
            answer: words(reason),
            not_before: after
                .map(|after| now.plus_millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))),
        },
        Outcome::Unknown { reason } => {
            message::Outcome::Unknown { code: "no_answer".to_owned(), answer: words(reason) }
        }
    }
}

fn name(command: &MessageCommand) -> &'static str {
    match command {
        MessageCommand::Record { outcome, .. } => match outcome {
            message::Outcome::Accepted { .. } => "accepted",
            message::Outcome::Rejected { .. } => "rejected",
            message::Outcome::Retry { .. } => "retry",
            message::Outcome::Unknown { .. } => "unknown",
        },
        _ => "taken_back",
    }
}
