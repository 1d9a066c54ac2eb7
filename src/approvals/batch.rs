//! Many approvals in one go: all of them or none, in one append.

use std::collections::BTreeSet;

use docket_aggregates::approval::ApprovalError;
use docket_aggregates::ids::{ApprovalId, MessageId};
use docket_aggregates::message::{Message, MessageStatus};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{Answer, ApprovalRefusal, Asked};
use crate::app::App;
use crate::ledger::{AppendError, Lane, TRIES};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::OneOf;

/// From so many approvals on it is bulk work.
const BULK: usize = 100;

/// One approval that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovedView {
    /// The approval.
    #[schemars(with = "Uuid")]
    pub approval_id: ApprovalId,
    /// What it lets go.
    #[schemars(with = "Option<Uuid>")]
    pub activity_id: Option<MessageId>,
    /// Where the activity stands after it.
    #[schemars(with = "OneOf<MessageStatus>")]
    pub status: MessageStatus,
    /// Why, where it does not go out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchView {
    /// Those that were approved by this call.
    pub approved: Vec<ApprovedView>,
    /// How many these are.
    pub count: usize,
    /// Those that had been approved before.
    pub already_approved: Vec<ApprovedView>,
}

/// Why nothing of a batch was approved: every approval that stands against it, with its own refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of the approvals cannot be given; none was", .0.len())]
pub struct BatchRefusal(pub Vec<(ApprovalId, ApprovalRefusal)>);

/// Says yes to each of these approvals, to the content that its id names. What is named twice is one.
pub async fn approve_all(
    app: &App,
    call: &Call,
    approvals: Vec<ApprovalId>,
) -> Result<Done<BatchView>, ServiceError<BatchRefusal>> {
    let mut named = BTreeSet::new();
    let approvals: Vec<ApprovalId> =
        approvals.into_iter().filter(|approval| named.insert(approval.uuid())).collect();
    let by = call.origin.actor.principal;
    for _ in 0..TRIES {
        let asked = Asked::load(app, call.organization, &approvals).await?;
        let mut entity = BatchView { approved: vec![], count: 0, already_approved: vec![] };
        let (mut writes, mut guards, mut offences) = (vec![], vec![], vec![]);
        for one in &asked {
            match one.shown_hash().and_then(|content_hash| {
                one.answer(&Answer::Approve { content_hash, note: None }, by, call.at)
            }) {
                Ok(Some(outcome)) => {
                    entity.approved.push(approved(one.approval_id, &outcome.message, one.message_id()));
                    writes.extend(outcome.writes);
                    guards.extend(outcome.guards);
                }
                Ok(None) => entity.already_approved.extend(
                    one.loaded
                        .as_ref()
                        .map(|loaded| approved(one.approval_id, &loaded.message.state, one.message_id())),
                ),
                Err(refusal) => offences.push((one.approval_id, refusal)),
            }
        }
        if !offences.is_empty() {
            return Err(ServiceError::Refused(BatchRefusal(offences)));
        }
        entity.count = entity.approved.len();
        if writes.is_empty() {
            return Ok(Done { entity, appended: None });
        }
        guards.sort_by_key(|guard| guard.stream);
        guards.dedup();
        let mut command = call.command(writes, guards, call.request(&entity)?);
        if entity.count >= BULK {
            command.lane = Lane::Bulk;
        }
        match app.ledger.append(command).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

fn approved(approval_id: ApprovalId, message: &Message, activity_id: Option<MessageId>) -> ApprovedView {
    ApprovedView {
        approval_id,
        activity_id,
        status: message.status(),
        reason: message.reason().map(str::to_owned),
    }
}

impl Asked {
    fn message_id(&self) -> Option<MessageId> {
        self.loaded.as_ref().and_then(|loaded| loaded.approval.state.message_id())
    }

    /// The content that the approval's id names.
    fn shown_hash(&self) -> Result<String, ApprovalRefusal> {
        let loaded = self.loaded.as_ref().ok_or(ApprovalError::Unknown)?;
        Ok(loaded.approval.state.content_hash().ok_or(ApprovalError::Unknown)?.to_owned())
    }
}
