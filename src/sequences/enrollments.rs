//! Where contacts are in a sequence, and taking one out of it.

use docket_aggregates::Decides;
use docket_aggregates::Timestamp;
use docket_aggregates::enrollment::{
    Enrollment, EnrollmentCommand, EnrollmentError, EnrollmentStatus, StopReason,
};
use docket_aggregates::ids::{CampaignId, ContactId, MessageId, OrganizationId, SequenceId};
use docket_projections::enrollments::{self as rows, EnrollmentRow};
use docket_projections::{Keyset, Page};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::withdrawing::withdrawing;
use super::{SequenceRefusal, due};
use crate::app::App;
use crate::ledger::{AppendError, TRIES};
use crate::readside::{Consistency, ReadSideError};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};

/// One contact's way through a sequence, as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentView {
    /// Its id.
    pub id: Uuid,
    /// The sequence.
    #[schemars(with = "Uuid")]
    pub sequence_id: SequenceId,
    /// The contact.
    #[schemars(with = "Uuid")]
    pub contact_id: ContactId,
    /// For which campaign.
    #[schemars(with = "Option<Uuid>")]
    pub campaign_id: Option<CampaignId>,
    /// Where it stands.
    #[schemars(with = "OneOf<EnrollmentStatus>")]
    pub state: EnrollmentStatus,
    /// The last step that was taken; 0 before the first.
    pub step: u32,
    /// The activity of that step.
    #[schemars(with = "Option<Uuid>")]
    pub activity_id: Option<MessageId>,
    /// When that step was taken.
    #[schemars(with = "Option<Instant>")]
    pub step_at: Option<Timestamp>,
    /// When the next step is due; null while it waits for what becomes of the last one, or is over.
    #[schemars(with = "Option<Instant>")]
    pub next_step_at: Option<Timestamp>,
    /// Why it was stopped.
    pub because: Option<String>,
    /// When the contact was enrolled.
    #[schemars(with = "Instant")]
    pub enrolled_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "Instant")]
    pub updated_at: Timestamp,
}

impl EnrollmentView {
    fn of(row: EnrollmentRow, next_step_at: Option<Timestamp>) -> Self {
        Self {
            id: row.enrollment_id,
            sequence_id: row.sequence_id,
            contact_id: row.contact_id,
            campaign_id: row.campaign_id,
            state: row.state,
            step: row.step,
            activity_id: row.message_id,
            step_at: row.step_at,
            next_step_at: next_step_at.filter(|_| row.state == EnrollmentStatus::Active),
            because: row.because,
            enrolled_at: row.enrolled_at,
            updated_at: row.updated_at,
        }
    }
}

/// The enrollments of a sequence, by contact; none if there is no such sequence.
pub async fn list(
    app: &App,
    organization: OrganizationId,
    sequence_id: SequenceId,
    state: Option<EnrollmentStatus>,
    after: Option<&Keyset>,
    limit: u32,
) -> Result<Option<Page<EnrollmentView>>, ReadSideError> {
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    if docket_projections::sequences::get(&mut view, organization, sequence_id).await?.is_none() {
        return Ok(None);
    }
    let page = rows::list(&mut view, organization, sequence_id, state, after, limit).await?;
    drop(view);
    let ids: Vec<Uuid> = page.rows.iter().map(|row| row.enrollment_id).collect();
    let times = due::times(app.ledger.pool(), organization, &ids).await?;
    let time = |row: &EnrollmentRow| times.get(&row.enrollment_id).copied();
    let views = page.rows.into_iter().map(|row| {
        let time = time(&row);
        EnrollmentView::of(row, time)
    });
    Ok(Some(Page { rows: views.collect(), next: page.next }))
}

/// Takes one contact out of a sequence. One that is out already stays as it is.
pub async fn stop(
    app: &App,
    call: &Call,
    sequence_id: SequenceId,
    enrollment_id: Uuid,
) -> Result<Done<EnrollmentView>, ServiceError<SequenceRefusal>> {
    let organization = call.organization;
    let unknown = || ServiceError::Refused(SequenceRefusal::Enrollment(EnrollmentError::Unknown));
    for _ in 0..TRIES {
        let before = app.ledger.load::<Enrollment>(organization, enrollment_id).await?;
        if before.state.sequence_id() != Some(sequence_id) {
            return Err(unknown());
        }
        let because = StopReason::Requested;
        let stop = EnrollmentCommand::Stop { because };
        let events = before.state.decide(stop).map_err(|error| ServiceError::Refused(error.into()))?;
        let mut view = app.readside.view(organization, Consistency::STRONG).await?;
        let row = rows::get(&mut view, organization, enrollment_id).await?.ok_or_else(unknown)?;
        drop(view);
        if row.version != before.version {
            continue;
        }
        if events.is_empty() {
            return Ok(Done { entity: EnrollmentView::of(row, None), appended: None });
        }
        let stopped = EnrollmentRow {
            state: EnrollmentStatus::Stopped,
            because: Some(StopReason::Requested.name().to_owned()),
            updated_at: call.at,
            ..row
        };
        let entity = EnrollmentView::of(stopped, None);
        let mut writes = withdrawing(&app.ledger, organization, &before.state, because).await?;
        writes.push(before.write(events));
        let command = call.command(writes, vec![], call.request(&entity)?);
        match app.ledger.append(command).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}
