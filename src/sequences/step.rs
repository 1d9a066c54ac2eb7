//! Looking at one enrollment, and taking the step that is next.
//!
//! Everything is read from the streams: the sequence, the contact, the campaign, and every message that was sent on the way.
//! The append of a step rests on all of them: an answer to an earlier message, an opt-out or a removal that was
//! acknowledged before it makes it lose, and it is then decided anew. Suppressed addresses are refused by the append itself,
//! as with every draft.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::campaign::{Campaign, CampaignStatus};
use docket_aggregates::contact::Contact;
use docket_aggregates::enrollment::{
    Due, Enrollment, EnrollmentCommand, EnrollmentError, EnrollmentStatus, Fate, Next as NextStep,
    StepBefore, StopReason,
};
use docket_aggregates::ids::{CampaignId, MessageId, OrganizationId};
use docket_aggregates::message::{Message, MessageEvent};
use docket_aggregates::roster::Roster;
use docket_aggregates::sequence::{Sequence, SequenceStatus};
use docket_aggregates::{AnyEvent, Decides, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::answers::{Answers, Awaited};
use super::due::{DueRow, Next};
use super::{withdrawing, words};
use crate::app::App;
use crate::ledger::read::{self, ReadError};
use crate::ledger::{AppendError, Guard, Stream, TRIES, Versioned, Write};
use crate::sending::{self, SendRefusal, SendRequest};
use crate::service::{Call, ServiceError};

/// The name under which steps are recorded.
const TOOL: &str = "sequence";
/// How long an enrollment is left alone whose ground moved while it was looked at.
const MOVED_MILLIS: u32 = 100;
/// How long it is left alone when something did not answer.
const UNANSWERED_MILLIS: u32 = 5_000;

/// Campaigns with the version of their roster up to which removals are known.
pub type Rosters = BTreeMap<(OrganizationId, CampaignId), u64>;

/// Why an enrollment could not be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the step could not be drafted: {0}")]
    Draft(ServiceError<SendRefusal>),
    #[error("a window cannot be read")]
    Window(#[from] EnrollmentError),
}

/// Looks at an enrollment and does what is to be done with it at the instant `at`.
pub async fn look(app: &App, row: &DueRow, rosters: &Rosters, at: Timestamp) -> Next {
    for _ in 0..TRIES {
        let looked = match Look::begin(app, row, rosters, at).await {
            Ok(None) => return Next::Gone,
            Ok(Some(look)) => look.go_on().await,
            Err(error) => Err(error),
        };
        match looked {
            Ok(next) => return next,
            Err(LookError::Append(AppendError::Conflict)) => (),
            Err(error) => {
                tracing::warn!(organization.id = %row.organization, enrollment.id = %row.enrollment, error = %error, "a step could not be taken");
                return Next::Later(UNANSWERED_MILLIS);
            }
        }
    }
    Next::Later(MOVED_MILLIS)
}

/// An enrollment with everything that its next step rests on.
struct Look<'a> {
    app: &'a App,
    row: &'a DueRow,
    at: Timestamp,
    enrollment: Versioned<Enrollment>,
    sequence: Versioned<Sequence>,
    contact: Versioned<Contact>,
    campaign: Option<Versioned<Campaign>>,
    roster: Option<Guard>,
    /// What became of its messages, in order.
    told: Vec<Told>,
    /// What the contact wrote that names none of them.
    answers: Answers,
}

impl<'a> Look<'a> {
    /// Reads it; none if nothing is to be done with it any more.
    async fn begin(
        app: &'a App,
        row: &'a DueRow,
        rosters: &Rosters,
        at: Timestamp,
    ) -> Result<Option<Self>, LookError> {
        let organization = row.organization;
        let enrollment = app.ledger.load::<Enrollment>(organization, row.enrollment).await?;
        let state = &enrollment.state;
        let (EnrollmentStatus::Active, Some(sequence_id), Some(contact_id)) =
            (state.status(), state.sequence_id(), state.contact_id())
        else {
            return Ok(None);
        };
        let (mut campaign, mut roster) = (None, None);
        if let Some(campaign_id) = state.campaign_id() {
            campaign = Some(app.ledger.load::<Campaign>(organization, campaign_id).await?);
            let stream = Stream::of::<Roster>(organization.roster(campaign_id));
            let version = rosters.get(&(organization, campaign_id)).copied().unwrap_or(0);
            roster = Some(Guard { stream, version });
        }
        let told = told(app, organization, state.messages()).await?;
        let sequence = app.ledger.load::<Sequence>(organization, sequence_id).await?;
        let contact = app.ledger.load::<Contact>(organization, contact_id).await?;
        let answers = Answers::read(app, organization, &contact.state, awaited(state, told.iter())).await?;
        Ok(Some(Self { app, row, at, enrollment, sequence, contact, campaign, roster, told, answers }))
    }

    async fn go_on(&self) -> Result<Next, LookError> {
        if let Some(because) = self.end() {
            return self.stop(because).await;
        }
        if self.withdraw_needless().await? {
            // What became of that one says when to look again.
            return Ok(Next::Waits);
        }
        let resting =
            self.campaign.as_ref().is_some_and(|seen| seen.state.status() == CampaignStatus::Paused);
        if resting || self.sequence.state.status() == SequenceStatus::Paused {
            return Ok(Next::Waits);
        }
        let before = Fate::of_step(self.tries().iter().map(|told| &told.fate));
        match self
            .enrollment
            .state
            .next(self.sequence.state.steps(), before)
            .map_err(EnrollmentError::from)?
        {
            NextStep::Nothing => Ok(Next::Gone),
            NextStep::Wait => Ok(Next::Waits),
            NextStep::NeverOpen => {
                tracing::warn!(enrollment.id = %self.row.enrollment, "the window of the next step never opens");
                Ok(Next::Waits)
            }
            NextStep::Step(due) if due.at > self.at => Ok(Next::At(due.at)),
            NextStep::Step(due) => self.take(due, before).await,
            NextStep::Finish => self.finish().await,
            NextStep::Stop(because) => self.stop(because).await,
        }
    }

    /// Why no further step is taken, if there is a reason beside the last message.
    fn end(&self) -> Option<StopReason> {
        let told = self.told.iter().find_map(|told| told.fate.ends());
        let told = told.or_else(|| self.answers.answered.then_some(StopReason::Replied));
        let opted_out = self.contact.state.opted_out().then_some(StopReason::Unsubscribed);
        let marked = || {
            let ends = self.row.ends.as_deref()?;
            StopReason::ALL.into_iter().find(|because| because.name() == ends)
        };
        let erased = self.contact.state.profile().is_none().then_some(StopReason::Removed);
        let over = self.campaign.as_ref().and_then(|campaign| {
            let takes = campaign.state.status().takes_contacts();
            (!takes).then_some(StopReason::CampaignOver)
        });
        let archived =
            (self.sequence.state.status() == SequenceStatus::Archived).then_some(StopReason::Archived);
        told.or_else(marked).or(opted_out).or(erased).or(over).or(archived)
    }

    /// What became of each try of the last step that was taken.
    fn tries(&self) -> &[Told] {
        &self.told[self.told.len() - self.enrollment.state.tries().len()..]
    }

    /// Withdraws the last try of a step where an earlier one proved to have been sent; says whether there was one that waits.
    async fn withdraw_needless(&self) -> Result<bool, LookError> {
        let (Some(message), Some((_, earlier))) =
            (self.enrollment.state.message_id(), self.tries().split_last())
        else {
            return Ok(false);
        };
        if !earlier.iter().any(|told| told.fate.sent().is_some()) {
            return Ok(false);
        }
        let writes = withdrawing::needless(&self.app.ledger, self.row.organization, message).await?;
        let withdrawn = !writes.is_empty();
        if withdrawn {
            let command = self.call().command(writes, vec![], None);
            self.app.ledger.append(command).await?;
        }
        Ok(withdrawn)
    }

    /// That nothing of what was looked at changed.
    fn guards(&self) -> Vec<Guard> {
        let mut guards = vec![self.sequence.guard(), self.contact.guard()];
        guards.extend(self.campaign.as_ref().map(Versioned::guard));
        guards.extend(self.roster);
        guards.extend(self.told.iter().map(|told| told.guard));
        guards.extend(&self.answers.guards);
        guards
    }

    fn call(&self) -> Call {
        Call { at: self.at, ..Call::of_system(self.app, self.row.organization, TOOL) }
    }

    async fn stop(&self, because: StopReason) -> Result<Next, LookError> {
        let organization = self.row.organization;
        let state = &self.enrollment.state;
        let withdrawn = withdrawing::withdrawing(&self.app.ledger, organization, state, because).await?;
        self.append(EnrollmentCommand::Stop { because }, withdrawn).await?;
        metrics::counter!("docket_sequence_ended_total", "because" => because.name()).increment(1);
        Ok(Next::Gone)
    }

    async fn finish(&self) -> Result<Next, LookError> {
        self.append(EnrollmentCommand::Finish, vec![]).await?;
        metrics::counter!("docket_sequence_ended_total", "because" => "finished").increment(1);
        Ok(Next::Gone)
    }

    async fn append(&self, command: EnrollmentCommand, mut beside: Vec<Write>) -> Result<(), LookError> {
        let events = self.enrollment.state.decide(command)?;
        if !events.is_empty() {
            beside.push(self.enrollment.write(events));
            let command = self.call().command(beside, vec![], None);
            self.app.ledger.append(command).await?;
        }
        Ok(())
    }

    /// Takes the step and drafts its message, in one append.
    async fn take(&self, due: Due, before: StepBefore) -> Result<Next, LookError> {
        let Some(request) = self.request(due) else { return self.stop(StopReason::NotSent).await };
        let state = &self.enrollment.state;
        let events = state.decide(EnrollmentCommand::TakeStep {
            steps: self.sequence.state.steps().to_vec(),
            sequence_version: self.sequence.state.version(),
            before,
            message_id: self.message_id(due),
            at: self.at,
        })?;
        let beside = vec![self.enrollment.write(events)];
        let request = SendRequest { beside, guards: self.guards(), ..request };
        match sending::draft(self.app, &self.call(), request).await {
            Ok(done) if done.appended.is_some() => {
                metrics::counter!("docket_sequence_steps_total").increment(1);
                // What becomes of the message says when to look again.
                Ok(Next::Waits)
            }
            // The message is there already, so the step was taken meanwhile.
            Ok(_) => Err(AppendError::Conflict.into()),
            Err(ServiceError::Refused(refusal)) => {
                tracing::warn!(
                    organization.id = %self.row.organization, enrollment.id = %self.row.enrollment,
                    step = due.step, refusal = %refusal, "a step cannot be drafted"
                );
                self.stop(StopReason::NotSent).await
            }
            Err(ServiceError::Append(error)) => Err(error.into()),
            Err(ServiceError::Read(error)) => Err(error.into()),
            Err(error) => Err(LookError::Draft(error)),
        }
    }

    fn message_id(&self, due: Due) -> MessageId {
        let round = self.enrollment.state.round();
        self.row.organization.step_message(self.row.enrollment, round, due.step, due.attempt)
    }

    /// What is to be sent; none if the contact cannot be written to, or something is missing for the words.
    fn request(&self, due: Due) -> Option<SendRequest> {
        let index = usize::try_from(due.step).ok()?.checked_sub(1)?;
        let step = self.sequence.state.steps().get(index)?;
        let payload: Value = serde_json::from_str(self.sequence.state.words()?.payloads.get(index)?).ok()?;
        let profile = self.contact.state.profile()?;
        let to = profile.address_on(step.channel)?;
        let payload = words::fill(&payload, profile).ok()?;
        let state = &self.enrollment.state;
        let (drafter, co_authors) = match self.sequence.state.authors(index) {
            [] => (None, vec![]),
            [last, others @ ..] => (Some(*last), others.to_vec()),
        };
        Some(SendRequest {
            message_id: Some(self.message_id(due)),
            contact_id: state.contact_id(),
            campaign_id: state.campaign_id(),
            sequence_id: state.sequence_id(),
            step: Some(due.step),
            drafter,
            co_authors,
            ..SendRequest::new(step.channel, step.outbox_id, to, payload)
        })
    }
}

/// What became of a message of an enrollment.
pub(super) struct Told {
    /// That no more became of it.
    pub guard: Guard,
    /// What became of it.
    pub fate: Fate,
    /// Keyed hash of where it went.
    address_hash: Option<String>,
}

/// What these messages of an enrollment have its contact answer.
pub(super) fn awaited<'a>(enrollment: &Enrollment, told: impl Iterator<Item = &'a Told>) -> Awaited {
    let (mut written_since, mut written_to) = (None, BTreeSet::new());
    for told in told {
        let since = told.fate.answerable_since();
        written_since = written_since.into_iter().chain(since).min();
        written_to.extend(told.address_hash.clone());
    }
    Awaited { enrolled_at: enrollment.enrolled_at(), written_since, written_to }
}

/// What became of these messages. Nothing personal is opened.
pub(super) async fn told(
    app: &App,
    organization: OrganizationId,
    messages: &[MessageId],
) -> Result<Vec<Told>, ReadError> {
    if messages.is_empty() {
        return Ok(vec![]);
    }
    const MESSAGE: &str = <Message as cqrs_es::Aggregate>::TYPE;
    let ids = messages.iter().map(|message| message.uuid());
    let mut known: BTreeMap<Uuid, (u64, Fate, Option<String>)> = BTreeMap::new();
    for stored in read::streams(app.ledger.pool(), organization, MESSAGE, ids).await? {
        let at = stored.occurred_at;
        let recorded = read::recorded(organization, stored)?;
        let (version, fate, address_hash) = known.entry(recorded.aggregate_id).or_default();
        *version += 1;
        if let AnyEvent::Message(event) = &recorded.event {
            fate.take_in(event, at);
            if let MessageEvent::MessageDrafted { recipient_hash, .. } = event {
                *address_hash = Some(recipient_hash.clone());
            }
        }
    }
    let told = messages.iter().map(|message| {
        let (version, fate, address_hash) = known.remove(&message.uuid()).unwrap_or_default();
        Told { guard: Guard { stream: Stream::of::<Message>(*message), version }, fate, address_hash }
    });
    Ok(told.collect())
}
