//! Follow-ups: promises to call again, kept or taken back.
//!
//! A contact stands in the status `follow_up` while one of its follow-ups is pending, unless somebody concluded or judged
//! meanwhile; the last one to be closed takes it out of that status.
//!
//! Who leaves a campaign or opts out takes what was promised along. A follow-up is scheduled on the roster and the contact
//! as they are, so that none comes after that; one that came in the very moment before, and was not seen by whoever
//! recorded it, is cancelled by that event as the read model folds it, and is answered as cancelled here.

use docket_aggregates::follow_up::{FollowUp, FollowUpCommand, FollowUpError, FollowUpStatus};
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, FollowUpId};
use docket_aggregates::membership::{Membership, MembershipCommand, MembershipStatus, Stay};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::follow_ups::{self as rows, FollowUpRow, PendingFollowUp};
use docket_projections::memberships;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::calls::{Ground, Tries, WorkRefusal, active_agent};
use crate::ledger::{AppendError, Command, Guard, Lane, Stream};
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};
use crate::shapes::Instant;

/// A follow-up that is wanted.
#[derive(Clone, Debug)]
pub struct NewFollowUp {
    /// In which campaign.
    pub campaign_id: CampaignId,
    /// Whom to call.
    pub contact_id: ContactId,
    /// Who is to call.
    pub agent_id: AgentId,
    /// When.
    pub due_at: Timestamp,
    /// What for.
    pub note: Option<String>,
}

/// A follow-up as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowUpView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub follow_up_id: FollowUpId,
    /// In which campaign.
    #[schemars(with = "Uuid")]
    pub campaign_id: CampaignId,
    /// Whom to call.
    #[schemars(with = "Uuid")]
    pub contact_id: ContactId,
    /// Who is to call.
    #[schemars(with = "Uuid")]
    pub agent_id: AgentId,
    /// When.
    #[schemars(with = "Instant")]
    pub due_at: Timestamp,
    /// What for; null also once erased.
    pub note: Option<String>,
    /// `pending`, `overdue` (pending and due), `done` or `cancelled`.
    pub status: &'static str,
}

impl FollowUpView {
    fn of(row: FollowUpRow, status: FollowUpStatus, now: Timestamp) -> Self {
        Self {
            follow_up_id: row.follow_up_id,
            campaign_id: row.campaign_id,
            contact_id: row.contact_id,
            agent_id: row.agent_id,
            due_at: row.due_at,
            note: row.note,
            status: status_name(status, row.due_at, now),
        }
    }
}

fn status_name(status: FollowUpStatus, due_at: Timestamp, now: Timestamp) -> &'static str {
    match status {
        FollowUpStatus::Pending if due_at < now => "overdue",
        status => status.name(),
    }
}

/// How a follow-up ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was seen to.
    Done,
    /// It is not wanted any more.
    Cancelled,
}

/// Schedules a follow-up.
pub async fn schedule(
    app: &App,
    call: &Call,
    new: NewFollowUp,
) -> Result<Done<FollowUpView>, ServiceError<WorkRefusal>> {
    let follow_up_id: FollowUpId = app.clock.mint();
    let mut tries = Tries::begin();
    loop {
        let result = schedule_once(app, call, &new, follow_up_id, tries.consistency).await;
        if !tries.again(&result) {
            return result;
        }
    }
}

async fn schedule_once(
    app: &App,
    call: &Call,
    new: &NewFollowUp,
    follow_up_id: FollowUpId,
    consistency: Consistency,
) -> Result<Done<FollowUpView>, ServiceError<WorkRefusal>> {
    let ground = Ground::read(app, call.organization, consistency, new.campaign_id, new.contact_id).await?;
    let agent = active_agent(app, call, consistency, new.agent_id).await?;
    let Ground { stay, membership, contact, mut guards, .. } = ground;
    if contact.state.opted_out() {
        return Err(ServiceError::Refused(WorkRefusal::DoNotContact));
    }
    guards.extend([agent.guard(), contact.guard()]);
    let moved = membership
        .state
        .decide(MembershipCommand::FollowUpScheduled { stay })
        .map_err(|error| ServiceError::Refused(error.into()))?;
    let follow_up = app.ledger.glance::<FollowUp>(call.organization, follow_up_id).await?;
    let scheduled = follow_up
        .state
        .decide(FollowUpCommand::Schedule {
            follow_up_id,
            campaign_id: new.campaign_id,
            contact_id: new.contact_id,
            agent_id: new.agent_id,
            due_at: new.due_at,
            note: new.note.clone(),
        })
        .map_err(|error| ServiceError::Refused(error.into()))?;
    let entity = FollowUpView {
        follow_up_id,
        campaign_id: new.campaign_id,
        contact_id: new.contact_id,
        agent_id: new.agent_id,
        due_at: new.due_at,
        note: new.note.clone(),
        status: status_name(FollowUpStatus::Pending, new.due_at, call.at),
    };
    if moved.is_empty() {
        guards.push(membership.guard());
    }
    let writes = vec![follow_up.write(scheduled), membership.write(moved.clone())];
    let request = call.request(&entity)?;
    let appended = app.ledger.append(call.command(writes, guards, request)).await?;
    Ok(Done { entity, appended: Some(appended) })
}

/// Closes a follow-up. Closing it again in the same way is harmless.
pub async fn close(
    app: &App,
    call: &Call,
    follow_up_id: FollowUpId,
    ending: Ending,
) -> Result<Done<FollowUpView>, ServiceError<WorkRefusal>> {
    let mut tries = Tries::begin();
    let done = loop {
        let result = close_once(app, call, follow_up_id, ending).await;
        if !tries.again(&result) {
            break result?;
        }
    };
    if done.appended.is_some() {
        restore(app, call, done.entity.campaign_id, done.entity.contact_id).await;
    }
    Ok(done)
}

/// What else is pending is only known for certain from a strong view, so that this one does not begin with less.
async fn close_once(
    app: &App,
    call: &Call,
    follow_up_id: FollowUpId,
    ending: Ending,
) -> Result<Done<FollowUpView>, ServiceError<WorkRefusal>> {
    let organization = call.organization;
    let follow_up = app.ledger.load::<FollowUp>(organization, follow_up_id).await?;
    let Some((campaign_id, contact_id)) = follow_up.state.of() else {
        return Err(ServiceError::Refused(WorkRefusal::UnknownFollowUp));
    };
    let membership_id = organization.membership(campaign_id, contact_id);
    let membership = app.ledger.load::<Membership>(organization, membership_id).await?;
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let row = rows::get(&mut view, organization, follow_up_id).await?;
    let row = row.ok_or(ServiceError::Refused(WorkRefusal::UnknownFollowUp))?;
    let (command, status) = match ending {
        Ending::Done => (FollowUpCommand::Finish, FollowUpStatus::Done),
        Ending::Cancelled => (FollowUpCommand::Cancel { because: "requested" }, FollowUpStatus::Cancelled),
    };
    let closed = match (follow_up.state.status(), row.status) {
        // Its contact took it along; its own stream does not say so.
        (FollowUpStatus::Pending, FollowUpStatus::Cancelled) => match ending {
            Ending::Cancelled => Ok(vec![]),
            Ending::Done => Err(FollowUpError::IllegalTransition { from: row.status, to: status }),
        },
        _ => follow_up.state.decide(command),
    };
    let closed = closed.map_err(|error| ServiceError::Refused(error.into()))?;
    let entity = FollowUpView::of(row, status, call.at);
    if closed.is_empty() {
        return Ok(Done { entity, appended: None });
    }
    let others: Vec<_> = rows::pending(&mut view, organization, campaign_id, &[contact_id])
        .await?
        .into_iter()
        .filter(|other| other.follow_up_id != follow_up_id)
        .collect();
    let stay = memberships::get(&mut view, organization, campaign_id, contact_id).await?;
    drop(view);

    let moved = match stay {
        // Where the stay is over or the contact stands elsewhere by now, there is nothing to move.
        Some(row) if others.is_empty() && row.status == MembershipStatus::FollowUp => {
            let stay = Stay { campaign_id, contact_id, epoch: row.epoch };
            membership.state.decide(MembershipCommand::FollowUpsClosed { stay }).unwrap_or_default()
        }
        _ => vec![],
    };
    // Two that are closed at once must not each take the other for pending.
    let guards = others.iter().map(unchanged).collect();
    let writes = vec![follow_up.write(closed), membership.write(moved.clone())];
    let request = call.request(&entity)?;
    let appended = app.ledger.append(call.command(writes, guards, request)).await?;
    Ok(Done { entity, appended: Some(appended) })
}

/// That a follow-up is still the one that was seen pending.
pub(crate) fn unchanged(promised: &PendingFollowUp) -> Guard {
    Guard { stream: Stream::of::<FollowUp>(promised.follow_up_id), version: promised.version }
}

/// A follow-up that was scheduled in the very moment in which the last one was closed may have found the contact in
/// the status that it needs, and left it there. Then the contact is put back into it.
async fn restore(app: &App, call: &Call, campaign_id: CampaignId, contact_id: ContactId) {
    let organization = call.organization;
    let once = async || -> Result<(), ServiceError<WorkRefusal>> {
        let mut view = app.readside.view(organization, Consistency::STRONG).await?;
        let pending = rows::pending(&mut view, organization, campaign_id, &[contact_id]).await?;
        let stay = memberships::get(&mut view, organization, campaign_id, contact_id).await?;
        drop(view);
        let (Some(row), Some(promised)) = (stay, pending.first()) else { return Ok(()) };
        let stay = Stay { campaign_id, contact_id, epoch: row.epoch };
        let id = organization.membership(campaign_id, contact_id);
        let membership = app.ledger.load::<Membership>(organization, id).await?;
        let restore = MembershipCommand::FollowUpScheduled { stay };
        let events = membership.state.decide(restore).map_err(|error| ServiceError::Refused(error.into()))?;
        if events.is_empty() {
            return Ok(());
        }
        // Only while that promise stands: it may be closed in this very moment, and the status with it.
        let guard = unchanged(promised);
        let mut origin = call.origin.clone();
        (origin.request_id, origin.causation) = (None, Some(call.command_id));
        let command = Command {
            id: app.clock.mint(),
            organization,
            at: app.clock.now(),
            origin,
            writes: vec![membership.write(events)],
            guards: vec![guard],
            absent: vec![],
            counted_at: None,
            request: None,
            lane: Lane::Normal,
        };
        app.ledger.append(command).await?;
        Ok(())
    };
    let mut tries = Tries::begin();
    let restored = loop {
        let result = once().await;
        if !tries.again(&result) {
            break result;
        }
    };
    match restored {
        Ok(()) | Err(ServiceError::Append(AppendError::Conflict) | ServiceError::Refused(_)) => (),
        Err(error) => tracing::warn!(error = %error, "a contact's follow-up status was not looked at again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overdue_is_derived_and_never_stored() {
        let at = Timestamp::from_millis;
        for (status, due, now, shown) in [
            (FollowUpStatus::Pending, 10, 9, "pending"),
            (FollowUpStatus::Pending, 10, 10, "pending"),
            (FollowUpStatus::Pending, 10, 11, "overdue"),
            (FollowUpStatus::Done, 10, 11, "done"),
            (FollowUpStatus::Cancelled, 10, 11, "cancelled"),
        ] {
            assert_eq!(status_name(status, at(due), at(now)), shown);
        }
    }
}
