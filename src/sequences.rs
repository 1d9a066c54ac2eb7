//! Sequences: setting them up, leading contacts through them, and taking their steps.
//!
//! `changing` says whether a new version may follow; `enrolling` puts the contacts of a campaign in; `enrollments` shows
//! where they are and takes one out. What happens by itself is done by `runner`: `feed` reads the events and keeps the table
//! of what is due, `runner` looks at what is due, and `step` decides what comes next and takes it. A step's message goes the
//! way of every other message, through drafting and the dispatcher.
//!
//! What holds, however many processes run and wherever one of them is killed:
//!
//! - **A step is taken once.** `StepTaken` and the draft of its message are one append, decided on the version of the
//!   enrollment's stream; of two that try, one appends.
//! - **What stops an enrollment and was acknowledged stops it**: an answer to any of its messages, a word of the contact's
//!   after the first of them (`answers`), a bounce, a complaint, an opt-out, a removal from the campaign. The append of the step
//!   rests on all of it, and so does that of its hand-over to a channel (`leading`); what waits meanwhile is withdrawn
//!   with the stop (`withdrawing`).
//! - **Nothing is decided from the table**, nor from the read models: they only say where to look.

mod answers;
mod changing;
mod due;
pub mod enrolling;
pub mod enrollments;
pub mod feed;
pub mod leading;
pub mod runner;
mod step;
mod withdrawing;
mod words;

use docket_aggregates::calendar::WeeklyHours;
use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::channel::Channel;
use docket_aggregates::enrollment::EnrollmentError;
use docket_aggregates::ids::{OrganizationId, OutboxId, SequenceId};
use docket_aggregates::outbox::Outbox;
use docket_aggregates::sequence::{
    Sequence, SequenceCommand, SequenceError, SequencePatch, SequenceStatus, SequenceWords, Step,
};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::enrollments::{self as enrollment_rows, Counts};
use docket_projections::sequences as rows;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::channels::{Problem, check_payload};
use crate::ledger::{AppendError, Guard, TRIES, Versioned};
use crate::readside::{Consistency, View};
use crate::sending::content;
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};
use words::WordsError;

/// Why something is not done with a sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceRefusal {
    /// The sequence refuses.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The enrollment refuses.
    #[error(transparent)]
    Enrollment(#[from] EnrollmentError),
    /// A step has no sender.
    #[error("the outbox of step {0} does not exist")]
    UnknownOutbox(usize),
    /// A step's sender sends on another channel.
    #[error("the outbox of step {step} sends on {} and not on {}", .outbox.name(), .asked.name())]
    OtherChannel {
        /// Number of the step, from 1.
        step: usize,
        /// The channel of the outbox.
        outbox: Channel,
        /// The channel that was asked for.
        asked: Channel,
    },
    /// A step's payload is none of its channel.
    #[error("the payload of step {step} has {} problems", .problems.len())]
    Payload {
        /// Number of the step, from 1.
        step: usize,
        /// What is wrong.
        problems: Vec<Problem>,
    },
    /// A step's payload has a placeholder that is none.
    #[error("step {step}: {error}")]
    Words {
        /// Number of the step, from 1.
        step: usize,
        /// What is wrong.
        error: WordsError,
    },
    /// There is no such campaign.
    #[error("campaign does not exist")]
    UnknownCampaign,
    /// The campaign is over.
    #[error("a campaign that is {} takes no enrollments", .0.name())]
    CampaignOver(CampaignStatus),
}

/// A step as it is asked for.
#[derive(Clone, Debug)]
pub struct NewStep {
    /// The sender.
    pub outbox_id: OutboxId,
    /// The channel; the outbox's own if it is not said. Only a rehearsal is on another one.
    pub channel: Option<Channel>,
    /// Minutes after the step before, or after the enrollment.
    pub wait_minutes: u32,
    /// When it may be taken.
    pub window: Option<WeeklyHours>,
    /// What the channel is given: an object.
    pub payload: Value,
}

/// What is to change of a sequence; what is not said stays.
#[derive(Clone, Debug, Default)]
pub struct SequenceChange {
    /// The new name.
    pub name: Option<String>,
    /// The new steps, whole.
    pub steps: Option<Vec<NewStep>>,
    /// The new status.
    pub status: Option<SequenceStatus>,
}

/// A sequence as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SequenceView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: SequenceId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// Its name; null once erased.
    pub name: Option<String>,
    /// Whether steps are taken.
    #[schemars(with = "OneOf<SequenceStatus>")]
    pub status: SequenceStatus,
    /// Which of its versions, from 1.
    pub version: u32,
    /// Its steps, in order.
    pub steps: Vec<StepView>,
    /// How many contacts stand where.
    pub enrollments: CountsView,
    /// When it was set up.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "Instant")]
    pub updated_at: Timestamp,
}

/// A step as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its number, from 1.
    pub step: u32,
    /// The sender.
    #[schemars(with = "Uuid")]
    pub outbox_id: OutboxId,
    /// The channel.
    #[schemars(with = "OneOf<Channel>")]
    pub channel: Channel,
    /// Minutes after the step before, or after the enrollment.
    pub wait_minutes: u32,
    /// When it may be taken; null means at any time.
    pub window: Option<WindowView>,
    /// What the channel is given; null once erased.
    pub payload: Option<Value>,
}

/// Weekly hours as answers show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    /// `HH:MM`, inclusive.
    pub start: String,
    /// `HH:MM`, exclusive; before `start` means over midnight.
    pub end: String,
    /// IANA time zone.
    pub tz: String,
    /// Days of the week, 1 (Monday) to 7 (Sunday); empty means every day.
    pub weekdays: Vec<u8>,
}

/// How many contacts stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountsView {
    /// Steps are to come.
    pub active: u64,
    /// No step is taken any more.
    pub stopped: u64,
    /// Every step was taken.
    pub finished: u64,
}

impl From<Counts> for CountsView {
    fn from(Counts { active, stopped, finished }: Counts) -> Self {
        Self { active, stopped, finished }
    }
}

impl From<&WeeklyHours> for WindowView {
    fn from(window: &WeeklyHours) -> Self {
        let hours = window.hours.clone();
        Self { start: hours.start, end: hours.end, tz: hours.tz, weekdays: window.weekdays.clone() }
    }
}

fn step_views(steps: &[Step], payloads: Option<&[String]>) -> Vec<StepView> {
    let payload = |index: usize| {
        let text = payloads.and_then(|payloads| payloads.get(index))?;
        serde_json::from_str(text).ok()
    };
    (1..)
        .zip(steps)
        .enumerate()
        .map(|(index, (number, step))| StepView {
            step: number,
            outbox_id: step.outbox_id,
            channel: step.channel,
            wait_minutes: step.wait_minutes,
            window: step.window.as_ref().map(WindowView::from),
            payload: payload(index),
        })
        .collect()
}

impl SequenceView {
    /// The view of a row.
    pub fn of(organization: OrganizationId, row: rows::SequenceRow, counts: Counts) -> Self {
        Self {
            id: row.sequence_id,
            company_id: organization,
            steps: step_views(&row.steps, row.payloads.as_deref()),
            name: row.name,
            status: row.status,
            version: row.revision,
            enrollments: counts.into(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    fn of_state(
        organization: OrganizationId,
        id: SequenceId,
        state: &Sequence,
        counts: Counts,
        (created_at, updated_at): (Timestamp, Timestamp),
    ) -> Self {
        let words = state.words();
        Self {
            id,
            company_id: organization,
            name: words.map(|words| words.name.clone()),
            status: state.status(),
            version: state.version(),
            steps: step_views(state.steps(), words.map(|words| words.payloads.as_slice())),
            enrollments: counts.into(),
            created_at,
            updated_at,
        }
    }
}

/// One sequence.
pub async fn show(
    view: &mut View,
    organization: OrganizationId,
    sequence_id: SequenceId,
) -> sqlx::Result<Option<SequenceView>> {
    let Some(row) = rows::get(view, organization, sequence_id).await? else { return Ok(None) };
    let counts = enrollment_rows::counts(view, organization, &[sequence_id]).await?;
    let counts = counts.get(&sequence_id).copied().unwrap_or_default();
    Ok(Some(SequenceView::of(organization, row, counts)))
}

/// Sets a sequence up under a fresh id.
pub async fn create(
    app: &App,
    call: &Call,
    name: String,
    steps: Vec<NewStep>,
) -> Result<Done<SequenceView>, ServiceError<SequenceRefusal>> {
    let sequence_id: SequenceId = app.clock.mint();
    for _ in 0..TRIES {
        let (steps, payloads, guards) = checked(app, call, &steps).await?;
        let words = SequenceWords { name: name.clone(), payloads };
        let by = call.origin.actor.principal;
        let command = SequenceCommand::Create { sequence_id, steps, words, by };
        let before = app.ledger.load::<Sequence>(call.organization, sequence_id).await?;
        match order(app, call, sequence_id, before, command, guards).await {
            Err(ServiceError::Append(AppendError::Conflict)) => (),
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

/// Changes what is given and keeps the rest. New steps hold for every step that is not taken yet.
pub async fn change(
    app: &App,
    call: &Call,
    sequence_id: SequenceId,
    change: SequenceChange,
) -> Result<Done<SequenceView>, ServiceError<SequenceRefusal>> {
    let SequenceChange { name, steps, status } = change;
    for _ in 0..TRIES {
        let before = app.ledger.load::<Sequence>(call.organization, sequence_id).await?;
        if !before.exists() {
            return Err(ServiceError::Refused(SequenceError::Unknown.into()));
        }
        let (steps, guards) = match &steps {
            None => (None, vec![]),
            Some(steps) => {
                let (steps, payloads, guards) = checked(app, call, steps).await?;
                changing::leads_on(app, call.organization, sequence_id, &before.state, &steps, &payloads)
                    .await?;
                (Some((steps, payloads)), guards)
            }
        };
        let patch = Box::new(SequencePatch { name: name.clone(), steps, status });
        let command = SequenceCommand::Change { patch, by: call.origin.actor.principal };
        match order(app, call, sequence_id, before, command, guards).await {
            Err(ServiceError::Append(AppendError::Conflict)) => (),
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

/// Decides on `before`, which is what was looked at: of two changes at once, the second is judged by what the first made.
async fn order(
    app: &App,
    call: &Call,
    sequence_id: SequenceId,
    before: Versioned<Sequence>,
    command: SequenceCommand,
    guards: Vec<Guard>,
) -> Result<Done<SequenceView>, ServiceError<SequenceRefusal>> {
    let organization = call.organization;
    let events = before
        .state
        .decide(command)
        .map_err(|error| ServiceError::Refused(SequenceRefusal::Sequence(error)))?;
    let mut after = (*before.state).clone();
    for event in events.iter().cloned() {
        cqrs_es::Aggregate::apply(&mut after, event);
    }
    let (mut counts, mut times) = (Counts::default(), (call.at, call.at));
    if before.exists() {
        let mut view = app.readside.view(organization, Consistency::STRONG).await?;
        if let Some(row) = rows::get(&mut view, organization, sequence_id).await? {
            times = (row.created_at, if events.is_empty() { row.updated_at } else { call.at });
        }
        let known = enrollment_rows::counts(&mut view, organization, &[sequence_id]).await?;
        counts = known.get(&sequence_id).copied().unwrap_or_default();
    }
    let entity = SequenceView::of_state(organization, sequence_id, &after, counts, times);
    if events.is_empty() {
        return Ok(Done { entity, appended: None });
    }
    let command = call.command(vec![before.write(events)], guards, call.request(&entity)?);
    let appended = app.ledger.append(command).await?;
    Ok(Done { entity, appended: Some(appended) })
}

/// Steps as they are stored, their payloads, and that their senders are as they were.
type Checked = (Vec<Step>, Vec<String>, Vec<Guard>);

/// Holds each step against its sender and its channel, so that what cannot be sent is refused when it is written.
async fn checked(
    app: &App,
    call: &Call,
    given: &[NewStep],
) -> Result<Checked, ServiceError<SequenceRefusal>> {
    let refused = |refusal| Err(ServiceError::Refused(refusal));
    let (mut steps, mut payloads, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    for (number, new) in (1..).zip(given) {
        let outbox = app.ledger.load::<Outbox>(call.organization, new.outbox_id).await?;
        let own = match outbox.state.channel() {
            Some(own) if !outbox.state.deleted() => own,
            _ => return refused(SequenceRefusal::UnknownOutbox(number)),
        };
        let channel = match new.channel {
            None => own,
            Some(Channel::DryRun) => Channel::DryRun,
            Some(asked) if asked == own => own,
            Some(asked) => {
                return refused(SequenceRefusal::OtherChannel { step: number, outbox: own, asked });
            }
        };
        if let Err(error) = words::check(&new.payload) {
            return refused(SequenceRefusal::Words { step: number, error });
        }
        if let Err(problems) = check_payload(channel, &new.payload, call.at) {
            return refused(SequenceRefusal::Payload { step: number, problems });
        }
        let text = content::kept(&new.payload).map_err(|error| {
            let problem = Problem::new("payload", "NOT_CANONICAL", error.to_string());
            ServiceError::Refused(SequenceRefusal::Payload { step: number, problems: vec![problem] })
        })?;
        guards.push(outbox.guard());
        payloads.push(text);
        steps.push(Step {
            outbox_id: new.outbox_id,
            channel,
            wait_minutes: new.wait_minutes,
            window: new.window.clone(),
        });
    }
    Ok((steps, payloads, guards))
}
