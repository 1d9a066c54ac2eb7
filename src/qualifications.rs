//! Recording what was found out about a contact, for the tools and for a model alike.
//!
//! What is decided here is not yet recorded: whoever asked shows it as a preview or appends it. A qualification and the
//! move of its contact are one command, fenced by the campaign, its roster, the contact and the record itself. That
//! no second one is open for the same contact in the campaign is a claim of the ledger; the read models are only asked
//! so that it can be said before.

mod portable;
pub mod schema;

use std::sync::Arc;

use docket_aggregates::ids::{
    CampaignId, ContactId, OrganizationId, QualificationId, QualificationTemplateId, ScriptExecutionId,
};
use docket_aggregates::membership::{MembershipCommand, MembershipStatus, Stay};
use docket_aggregates::qualification::{
    Pinned, Provenance, Qualification, QualificationCommand, QualificationError, QualificationEvent,
    QualificationPatch, QualificationStatus,
};
use docket_aggregates::qualification_template::{
    QualificationForm, QualificationTemplate, QualificationTemplateEvent,
};
use docket_aggregates::script_execution::ScriptExecution;
use docket_aggregates::{Decides, Timestamp};
use docket_projections::qualifications as rows;
use serde_json::{Map, Value};

use crate::app::App;
use crate::aside;
use crate::calls::{Ground, WorkRefusal};
use crate::ledger::read::{self, ReadError};
use crate::ledger::{Guard, Stream, Versioned, Write};
use crate::readside::Consistency;
use crate::service::ServiceError;

/// Why a qualification is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QualificationRefusal {
    /// There is no such qualification.
    #[error("qualification does not exist")]
    Unknown,
    /// There is no such template, or its words were erased.
    #[error("qualification template does not exist")]
    UnknownTemplate,
    /// The campaign has no form, and none was named.
    #[error("campaign has no qualification template")]
    NoTemplate,
    /// The form has changed since the caller saw it.
    #[error("the template is at version {current}, not {given}")]
    StaleTemplate {
        /// What the caller saw.
        given: u64,
        /// What it is.
        current: u64,
    },
    /// There is no such script execution.
    #[error("script execution does not exist")]
    UnknownExecution,
    /// The script execution is one with another contact, or in another campaign.
    #[error("script execution is not one with this contact in this campaign")]
    OtherConversation,
    /// Another one is open for the same contact in the campaign; it may be one of an earlier stay.
    #[error("qualification {0} of this contact in this campaign is still open")]
    Open(QualificationId),
    /// The contact cannot be worked on.
    #[error(transparent)]
    Work(#[from] WorkRefusal),
    /// The qualification refuses.
    #[error(transparent)]
    Decision(#[from] QualificationError),
}

type Result<T, E = ServiceError<QualificationRefusal>> = std::result::Result<T, E>;

fn refused<T>(refusal: impl Into<QualificationRefusal>) -> Result<T> {
    Err(ServiceError::Refused(refusal.into()))
}

/// A qualification that is to be begun.
#[derive(Clone, Debug)]
pub struct NewQualification {
    /// In which campaign.
    pub campaign_id: CampaignId,
    /// Of whom.
    pub contact_id: ContactId,
    /// The form; the campaign's if none is named.
    pub template_id: Option<QualificationTemplateId>,
    /// The version that the caller saw.
    pub template_version: Option<u64>,
    /// The conversation that it follows from.
    pub script_execution_id: Option<ScriptExecutionId>,
    /// Answers by the keys of their fields.
    pub answers: Map<String, Value>,
    /// Where it stands at once.
    pub status: QualificationStatus,
    /// Notes.
    pub notes: Option<String>,
    /// The model that gave the answers, if one did.
    pub provenance: Option<Provenance>,
}

/// A change of a qualification; absent keeps, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Answers to be merged; null clears one.
    pub answers: Map<String, Value>,
    /// New status.
    pub status: Option<QualificationStatus>,
    /// New notes.
    pub notes: Option<Option<String>>,
    /// The conversation that the answers follow from.
    pub script_execution_id: Option<ScriptExecutionId>,
    /// The model that gave the answers, if one did.
    pub provenance: Option<Provenance>,
}

/// What is to be recorded of a qualification.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The qualification.
    pub qualification_id: QualificationId,
    /// As it was.
    pub before: Qualification,
    /// As it will be.
    pub after: Qualification,
    /// Its version then.
    pub version: u64,
    /// The form that it is under.
    pub form: Arc<QualificationForm>,
    /// Whether a verdict was given that could not move the contact: its stay is over, it opted out, or a model speaks
    /// against what a caller concluded.
    pub unmoved: bool,
    /// The events; none if there is nothing to do.
    pub writes: Vec<Write>,
    /// What must not have changed since.
    pub guards: Vec<Guard>,
}

/// A template's form and how many versions there are: the newest, or the one that is asked for.
pub async fn form(
    app: &App,
    organization: OrganizationId,
    template_id: QualificationTemplateId,
    version: Option<u64>,
) -> Result<Option<(Pinned, u64)>, ReadError> {
    let template = app.ledger.load::<QualificationTemplate>(organization, template_id).await?;
    let newest = template.state.version();
    let version = version.unwrap_or(newest);
    let form = if version == newest {
        template.state.form().cloned()
    } else {
        earlier(app, organization, template_id, version).await?.map(Arc::new)
    };
    Ok(form.map(|form| (Pinned { template_id, version, form }, newest)))
}

/// An earlier version: the template's event of that number is that version, whole.
async fn earlier(
    app: &App,
    organization: OrganizationId,
    template_id: QualificationTemplateId,
    version: u64,
) -> Result<Option<QualificationForm>, ReadError> {
    let Some(before) = version.checked_sub(1) else { return Ok(None) };
    let stream = Stream::of::<QualificationTemplate>(template_id);
    let mut found = read::stream_page(app.ledger.pool(), organization, stream, before, 1).await?;
    read::open(app.ledger.keys(), organization, &mut found).await?;
    let Some(stored) = found.pop() else { return Ok(None) };
    let (QualificationTemplateEvent::QualificationTemplateCreated { form, .. }
    | QualificationTemplateEvent::QualificationTemplateRevised { form, .. }) = stored.event()?;
    Ok(form.into_value())
}

/// Judges answers to a form: aside where any of them must match a pattern, which may take long.
pub async fn judged<T>(
    organization: OrganizationId,
    form: &QualificationForm,
    given: Map<String, Value>,
    judge: impl FnOnce(Map<String, Value>) -> T,
) -> T {
    match form.holds_against_patterns(&given) {
        true => aside::run(organization, async { judge(given) }).await,
        false => judge(given),
    }
}

/// Decides at that time to begin a qualification.
pub async fn open(
    app: &App,
    organization: OrganizationId,
    qualification_id: QualificationId,
    new: NewQualification,
    at: Timestamp,
) -> Result<Planned> {
    let ground =
        match Ground::read(app, organization, Consistency::STRONG, new.campaign_id, new.contact_id).await {
            Ok(ground) => ground,
            Err(error) => return Err(widened(error)),
        };
    let template_id = match new.template_id.or(ground.campaign.state.qualification_template_id) {
        Some(template_id) => template_id,
        None => return refused(QualificationRefusal::NoTemplate),
    };
    let Some((pinned, current)) = form(app, organization, template_id, None).await? else {
        return refused(QualificationRefusal::UnknownTemplate);
    };
    if let Some(given) = new.template_version.filter(|given| *given != current) {
        return refused(QualificationRefusal::StaleTemplate { given, current });
    }
    if let Some(execution) = new.script_execution_id {
        conversation(app, organization, execution, &ground).await?;
    }
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let other = rows::open(&mut view, organization, new.campaign_id, new.contact_id).await?;
    drop(view);
    if let Some(other) = other.filter(|other| *other != qualification_id) {
        return refused(QualificationRefusal::Open(other));
    }

    let before = Qualification::default();
    let form = pinned.form.clone();
    let template =
        Guard { stream: Stream::of::<QualificationTemplate>(template_id), version: pinned.version };
    let begin = |answers| {
        before.decide(QualificationCommand::Open {
            qualification_id,
            stay: ground.stay,
            agent_id: ground.agent_id,
            pinned,
            script_execution_id: new.script_execution_id,
            answers,
            status: new.status,
            notes: new.notes,
            provenance: new.provenance,
        })
    };
    let begun = judged(organization, &form, new.answers, begin).await;
    let events = begun.map_err(|error| ServiceError::Refused(error.into()))?;
    let after = evolved(&before, &events);
    let mut guards = ground.guards.clone();
    // Under which version it is recorded is decided here and not by whoever revises the form meanwhile.
    guards.push(template);
    let version = events.len() as u64;
    let verdict = verdict(QualificationStatus::Draft, &events);
    let (moved, unmoved) = moved(verdict, Some(&ground), &mut guards, at)?;
    let stream = Stream::of::<Qualification>(qualification_id);
    let record = Write { stream, expected: 0, events: events.into_iter().map(Into::into).collect() };
    let writes = std::iter::once(record).chain(moved).collect();
    Ok(Planned { qualification_id, before, after, version, form, unmoved, writes, guards })
}

/// Decides at that time to change a qualification.
pub async fn change(
    app: &App,
    organization: OrganizationId,
    qualification_id: QualificationId,
    change: Change,
    at: Timestamp,
) -> Result<Planned> {
    let before = app.ledger.load::<Qualification>(organization, qualification_id).await?;
    changed(app, organization, qualification_id, &before, change, at).await
}

/// Decides to change a qualification as it was read before.
pub async fn changed(
    app: &App,
    organization: OrganizationId,
    qualification_id: QualificationId,
    before: &Versioned<Qualification>,
    change: Change,
    at: Timestamp,
) -> Result<Planned> {
    let Some(about) = before.state.about() else { return refused(QualificationRefusal::Unknown) };
    let version = Some(about.template_version);
    let Some((pinned, _)) = form(app, organization, about.template_id, version).await? else {
        return refused(QualificationRefusal::UnknownTemplate);
    };
    let form = pinned.form.clone();
    let patch = |answers| {
        let patch = QualificationPatch {
            pinned,
            answers,
            status: change.status,
            notes: change.notes,
            script_execution_id: change.script_execution_id,
            provenance: change.provenance,
        };
        before.state.decide(QualificationCommand::Change(Box::new(patch)))
    };
    let changed = judged(organization, &form, change.answers, patch).await;
    let events = changed.map_err(|error| ServiceError::Refused(error.into()))?;
    let reopened =
        events.iter().any(|event| matches!(event, QualificationEvent::QualificationReopened { .. }));
    if reopened {
        let mut view = app.readside.view(organization, Consistency::STRONG).await?;
        let Stay { campaign_id, contact_id, .. } = about.stay;
        if let Some(other) = rows::open(&mut view, organization, campaign_id, contact_id).await? {
            return refused(QualificationRefusal::Open(other));
        }
    }

    let mut guards = Vec::new();
    let mut ground = None;
    let verdict = verdict(before.state.status(), &events);
    if verdict.is_some() {
        ground = ground_of(app, organization, about.stay).await?;
        if let Some(ground) = &ground {
            guards.clone_from(&ground.guards);
        }
    }
    let (moved, unmoved) = moved(verdict, ground.as_ref(), &mut guards, at)?;
    let after = evolved(&before.state, &events);
    let version = before.version + events.len() as u64;
    let writes =
        if events.is_empty() { vec![] } else { std::iter::once(before.write(events)).chain(moved).collect() };
    let before = (*before.state).clone();
    Ok(Planned { qualification_id, before, after, version, form, unmoved, writes, guards })
}

/// Whether a record holds a verdict that leaves its contact where it stands: what was said when it was given, for who is
/// answered with it again.
pub async fn moves_nobody(app: &App, organization: OrganizationId, record: &Qualification) -> Result<bool> {
    let Some(about) = record.about().filter(|_| record.status() != QualificationStatus::Draft) else {
        return Ok(false);
    };
    let ground = ground_of(app, organization, about.stay).await?;
    let qualified = record.status() == QualificationStatus::Qualified;
    let verdict = Verdict { qualified, by_model: !record.judged_by_a_person() };
    let (_, unmoved) = moved(Some(verdict), ground.as_ref(), &mut Vec::new(), app.clock.now())?;
    Ok(unmoved)
}

/// What a verdict on a stay rests on. A record may be corrected after the work is over; then it moves nobody.
async fn ground_of(app: &App, organization: OrganizationId, stay: Stay) -> Result<Option<Ground>> {
    match Ground::read(app, organization, Consistency::STRONG, stay.campaign_id, stay.contact_id).await {
        Ok(ground) if ground.stay == stay => Ok(Some(ground)),
        Ok(_) | Err(ServiceError::Refused(_)) => Ok(None),
        Err(error) => Err(widened(error)),
    }
}

/// A word on whether a contact is one to win.
#[derive(Clone, Copy)]
struct Verdict {
    qualified: bool,
    by_model: bool,
}

/// The verdict among the events of a record that stood at `before`. A person who stands by a model's verdict gives one.
fn verdict(before: QualificationStatus, events: &[QualificationEvent]) -> Option<Verdict> {
    let qualified = |status| status == QualificationStatus::Qualified;
    events.iter().find_map(|event| match event {
        QualificationEvent::QualificationConcluded { verdict, by_model, .. }
        | QualificationEvent::QualificationOverturned { verdict, by_model, .. } => {
            Some(Verdict { qualified: qualified(*verdict), by_model: by_model.is_some() })
        }
        QualificationEvent::QualificationAnswered { confirmed: Some(confirmed), .. }
            if confirmed.verdict.is_some() =>
        {
            Some(Verdict { qualified: qualified(before), by_model: false })
        }
        QualificationEvent::QualificationOpened { .. }
        | QualificationEvent::QualificationAnswered { .. }
        | QualificationEvent::QualificationReopened { .. } => None,
    })
}

/// The contact's move that follows from a verdict, what it rests on, and whether the contact stands elsewhere all the same.
/// Whoever opted out is not moved.
fn moved(
    verdict: Option<Verdict>,
    ground: Option<&Ground>,
    guards: &mut Vec<Guard>,
    at: Timestamp,
) -> Result<(Option<Write>, bool)> {
    let Some(Verdict { qualified, by_model }) = verdict else { return Ok((None, false)) };
    let Some(ground) = ground else { return Ok((None, true)) };
    guards.push(ground.contact.guard());
    if ground.contact.state.opted_out() {
        return Ok((None, true));
    }
    let judged_at = (!by_model).then_some(at);
    let moves = ground
        .membership
        .state
        .decide(MembershipCommand::Judged { stay: ground.stay, qualified, judged_at })
        .map_err(|error| ServiceError::Refused(WorkRefusal::from(error).into()))?;
    if moves.is_empty() {
        guards.push(ground.membership.guard());
        let stands = ground.membership.state.status(ground.stay);
        return Ok((None, stands != Some(MembershipStatus::of_verdict(qualified))));
    }
    Ok((Some(ground.membership.write(moves)), false))
}

/// The conversation must be one with this contact in this campaign.
async fn conversation(
    app: &App,
    organization: OrganizationId,
    execution_id: ScriptExecutionId,
    ground: &Ground,
) -> Result<()> {
    let execution = app.ledger.load::<ScriptExecution>(organization, execution_id).await?;
    match execution.state.begun {
        None => refused(QualificationRefusal::UnknownExecution),
        Some(begun)
            if (begun.campaign_id, begun.contact_id) != (ground.stay.campaign_id, ground.stay.contact_id) =>
        {
            refused(QualificationRefusal::OtherConversation)
        }
        Some(_) => Ok(()),
    }
}

fn evolved(before: &Qualification, events: &[QualificationEvent]) -> Qualification {
    let mut after = before.clone();
    events.iter().cloned().for_each(|event| cqrs_es::Aggregate::apply(&mut after, event));
    after
}

fn widened(error: ServiceError<WorkRefusal>) -> ServiceError<QualificationRefusal> {
    match error {
        ServiceError::Refused(refusal) => ServiceError::Refused(refusal.into()),
        ServiceError::Append(error) => ServiceError::Append(error),
        ServiceError::Read(error) => ServiceError::Read(error),
        ServiceError::ReadSide(error) => ServiceError::ReadSide(error),
        ServiceError::Database(error) => ServiceError::Database(error),
    }
}

#[cfg(test)]
mod tests {
    use docket_aggregates::qualification_template::{FieldType, FormField};
    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn answers_that_must_match_a_pattern_are_judged_in_a_place_among_those_who_judge() {
        let field = |key: &str, pattern: Option<&str>| FormField {
            key: key.into(),
            label: key.into(),
            kind: FieldType::Text,
            required: false,
            options: vec![],
            min: None,
            max: None,
            max_length: None,
            pattern: pattern.map(Into::into),
            maps_from_script_node_id: None,
        };
        let form = QualificationForm {
            name: "F".into(),
            description: None,
            fields: vec![field("plain", None), field("code", Some("^[A-Z]{2}$"))],
            scoring: None,
        };
        let judge = |given: Value| {
            let given = given.as_object().cloned().unwrap_or_default();
            judged(OrganizationId::INSTANCE, &form, given, |given| given.len())
        };
        let places = aside::every_place().await;
        assert_eq!(judge(json!({ "plain": "a" })).now_or_never(), Some(1));
        let mut matching = std::pin::pin!(judge(json!({ "code": "FR" })));
        assert!(matching.as_mut().now_or_never().is_none(), "all places are taken");
        drop(places);
        assert_eq!(matching.await, 1);
    }
}
