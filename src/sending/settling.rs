//! A person's word for what nobody could tell: whether a channel has a message.
//!
//! That it was sent keeps its charge. That it was not gives the charge back to the bucket that holds it, and the
//! recipient's count, in the same append; the deduplication key is free again then.

use docket_aggregates::Decides;
use docket_aggregates::bucket::{Bucket, BucketCommand};
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand};
use docket_aggregates::ids::MessageId;
use docket_aggregates::message::{Message, MessageCommand, SettledBy};

use super::activity::{self, Activity};
use super::drafting::{Result, decide, foreseen};
use super::recipient::counted_for;
use super::refusal::SendRefusal;
use crate::app::App;
use crate::ledger::{AppendError, TRIES};
use crate::service::{Call, Done, ServiceError};

/// Records what somebody found out about a message of which nobody knew whether its channel has it.
pub async fn settle(
    app: &App,
    call: &Call,
    message_id: MessageId,
    sent: bool,
    evidence: &str,
) -> Result<Done<Activity>> {
    let mut evidence = Some(evidence.to_owned());
    let mut turn = None;
    for _ in 0..TRIES {
        match attempt(app, call, message_id, sent, evidence.clone()).await {
            Err(ServiceError::Append(AppendError::Conflict)) => {
                // The bucket is written by every hand-over of the day.
                if turn.is_none() {
                    turn = app.ledger.turn(message_id.uuid()).await;
                }
            }
            // Nothing is kept about who was erased, and what became of the message is to be known all the same.
            Err(ServiceError::Append(AppendError::SubjectErased)) if evidence.is_some() => evidence = None,
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

async fn attempt(
    app: &App,
    call: &Call,
    message_id: MessageId,
    sent: bool,
    evidence: Option<String>,
) -> Result<Done<Activity>> {
    let organization = call.organization;
    let message = app.ledger.load::<Message>(organization, message_id).await?;
    let settle = MessageCommand::Settle { sent, by: SettledBy::Person, evidence };
    let events = decide(&mut (*message.state).clone(), settle)?;
    let history = activity::history(app, organization, message_id).await?;
    if history.len() as u64 != message.version {
        return Err(AppendError::Conflict.into());
    }
    let entity = foreseen(call, message_id, history, &events)?;

    let mut writes = vec![message.write(events)];
    if !sent {
        if let Some(bucket) = message.state.bucket_id() {
            let bucket = app.ledger.load::<Bucket>(organization, bucket).await?;
            let refund = BucketCommand::Refund { message_ids: vec![message_id], because: "not_sent" };
            writes.push(bucket.write(refused(bucket.state.decide(refund))?));
        }
        let keys = app.ledger.keys().organization(organization).await?;
        let counted = counted_for(organization, &keys, &message.state);
        for counted in app.ledger.load_many::<Correspondence>(organization, &counted).await? {
            let uncount = CorrespondenceCommand::Uncount { message_id };
            writes.push(counted.write(refused(counted.state.decide(uncount))?));
        }
    }
    let command = call.command(writes, vec![], call.request(&entity)?);
    let appended = app.ledger.append(command).await?;
    Ok(Done { entity, appended: Some(appended) })
}

fn refused<T, E>(decided: std::result::Result<T, E>) -> Result<T>
where
    SendRefusal: From<E>,
{
    decided.map_err(|error| ServiceError::Refused(error.into()))
}
