//! Auto-qualify: a model fills in the form from what was said, and what it says is recorded with its provenance.
//!
//! Three steps, and no database transaction is open during the second: what was said is read and made a payload; the
//! model is asked, once; its answer is held against the form and recorded, if conversation, record and form still
//! stand as they did. Without a model there is a payload and no result: nothing is made up.
//!
//! A model never overrules a person. What a person answered, confirmed or took away stays; where a person judged the
//! contact's stay in the campaign, in whichever record, the model is not asked, and what it was asked meanwhile is not
//! recorded. Whoever wants a model to judge all the same opens the record again, which is of use only where no other
//! record of the stay holds a person's verdict. What a caller concluded when logging a call holds against a model in
//! another way: its record is made and says what it says, and the contact stays where the caller put it. A conversation
//! comes to one record. Both rest on claims of the ledger, which the append itself looks at, so that no order of events
//! gets around them.

pub mod answer;
pub mod payload;

use std::sync::Arc;

use docket_aggregates::claims::ClaimKey;
use docket_aggregates::ids::{
    AgentId, OrganizationId, QualificationId, QualificationTemplateId, ScriptExecutionId,
};
use docket_aggregates::membership::Stay;
use docket_aggregates::qualification::{About, ByModel, Provenance, Qualification, QualificationStatus};
use docket_aggregates::qualification_template::{Answers, QualificationForm};
use docket_aggregates::script_execution::ScriptExecution;
use docket_projections::{qualifications as rows, script_template_versions};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use self::answer::{ModelAnswer, Unfit};
use self::payload::{NoPayload, Payload};
use crate::app::App;
use crate::calls::{Ground, WorkRefusal};
use crate::clock::following;
use crate::envelope::Warning;
use crate::language_model::{LanguageModel, LanguageModelError, Question};
use crate::ledger::{AppendError, Versioned};
use crate::qualifications::{self, Change, NewQualification, QualificationRefusal};
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};

/// How often a result is planned anew because something beside it changed.
const TRIES: usize = 5;

/// Why nothing was qualified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QualifyingRefusal {
    /// There is no such execution.
    #[error("script execution does not exist")]
    UnknownExecution,
    /// The execution is another caller's.
    #[error("the script execution is another agent's")]
    OtherAgent,
    /// The script's words were erased.
    #[error("script was erased")]
    Erased,
    /// There is nothing to send.
    #[error(transparent)]
    NoPayload(#[from] NoPayload),
    /// The conversation's qualification is under another form than the one that was named.
    #[error("the qualification of this contact is under another template")]
    OtherTemplate,
    /// The model gave no answer.
    #[error(transparent)]
    Model(#[from] LanguageModelError),
    /// The model's answer does not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Conversation or record changed while the model was asked.
    #[error("the conversation or its qualification changed while the model was asked")]
    Changed,
    /// The qualification is refused.
    #[error(transparent)]
    Qualification(#[from] QualificationRefusal),
}

type Result<T, E = ServiceError<QualifyingRefusal>> = std::result::Result<T, E>;

fn refused<T>(refusal: impl Into<QualifyingRefusal>) -> Result<T> {
    Err(ServiceError::Refused(refusal.into()))
}

impl From<WorkRefusal> for QualifyingRefusal {
    fn from(refusal: WorkRefusal) -> Self {
        Self::Qualification(refusal.into())
    }
}

/// What is to be qualified.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The conversation.
    pub execution_id: ScriptExecutionId,
    /// The form; the open qualification's or the campaign's if none is named.
    pub template_id: Option<QualificationTemplateId>,
    /// Only show what would be sent.
    pub dry_run: bool,
    /// The caller whose token asks, if it acts as one.
    pub agent_id: Option<AgentId>,
}

/// What was sent, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Qualified {
    /// The conversation.
    pub execution_id: ScriptExecutionId,
    /// The form.
    pub template_id: QualificationTemplateId,
    /// Its version.
    pub template_version: u64,
    /// What was sent, or would be.
    pub payload: Value,
    /// Bytes of it.
    pub payload_bytes: usize,
    /// SHA-256 of its canonical JSON, in hex.
    pub payload_sha256: String,
    /// Whether it was sent.
    pub sent: bool,
    /// Who was asked, or would be; none without a model.
    pub model: Option<ByModel>,
    /// What is recorded; none where nothing was sent and there was nothing before.
    pub qualification: Option<Recorded>,
    /// What whoever asked should know beside it.
    pub warnings: Vec<Warning>,
}

/// What was recorded.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The qualification.
    pub qualification_id: QualificationId,
    /// Where it stands.
    pub status: QualificationStatus,
    /// Its answers by key.
    pub answers: Map<String, Value>,
    /// What they are worth; none where the form weighs nothing.
    pub score: Option<i64>,
    /// Required fields without an answer.
    pub missing: Vec<String>,
    /// Its notes: what the model said decided it, unless somebody wrote some before.
    pub notes: Option<String>,
    /// Its version.
    pub version: u64,
}

/// What is sent, and on what that rests.
struct Prepared {
    execution: Versioned<ScriptExecution>,
    stay: Stay,
    template_id: QualificationTemplateId,
    template_version: u64,
    form: Arc<QualificationForm>,
    /// What was recorded before.
    before: Before,
    payload: Payload,
}

/// What a conversation finds recorded.
enum Before {
    /// Nothing that stands in the way of a new record.
    Nothing,
    /// The contact's open qualification in the campaign.
    Open(QualificationId, Versioned<Qualification>),
    /// What this conversation came to, or how a person judged the contact's stay. A model does not decide it again: whoever
    /// wants that opens the record first.
    Decided(QualificationId, Versioned<Qualification>),
}

impl Before {
    /// The claims that what a model says rests on: none of them may be owned. A record that is open may be the
    /// conversation's.
    fn claims(&self, execution_id: ScriptExecutionId, stay: Stay) -> Vec<ClaimKey> {
        let judged = ClaimKey::judged_by_person(stay);
        match self {
            Self::Open(..) => vec![judged],
            Self::Nothing | Self::Decided(..) => vec![ClaimKey::qualified_conversation(execution_id), judged],
        }
    }

    /// As the ledger has it now: what this conversation came to, then a person's verdict on the stay, then an open record.
    async fn read(
        app: &App,
        organization: OrganizationId,
        execution_id: ScriptExecutionId,
        stay: Stay,
    ) -> Result<Self> {
        let keys = [
            ClaimKey::open_qualification(stay.campaign_id, stay.contact_id),
            ClaimKey::qualified_conversation(execution_id),
            ClaimKey::judged_by_person(stay),
        ];
        let owners = app.ledger.owners(organization, &keys).await?;
        let owner = |n: usize| owners.get(n).copied().flatten().map(QualificationId);
        let (open, came_to, judged) = (owner(0), owner(1), owner(2));
        // What the conversation came to stands, whatever was begun for the contact since.
        if let Some(id) = came_to.filter(|id| open.is_some_and(|open| open != *id)) {
            let record = app.ledger.load::<Qualification>(organization, id).await?;
            if record.state.status() != QualificationStatus::Draft {
                return Ok(Self::Decided(id, record));
            }
        }
        if let Some(id) = open.or(came_to).or(judged) {
            // Whether it is open is what its own stream says: it may have been closed, or opened again, since the claims
            // were read, and what is recorded rests on that stream.
            let record = app.ledger.load::<Qualification>(organization, id).await?;
            if record.state.status() != QualificationStatus::Draft {
                return Ok(Self::Decided(id, record));
            }
            // One that was left open when the contact was taken out is in the way of any other, and what is said now does
            // not belong into it.
            if record.state.about().is_some_and(|about| about.stay != stay) {
                return refused(QualificationRefusal::Open(id));
            }
            let judged = Self::judged_by_person(app, organization, stay).await?;
            return Ok(judged.unwrap_or(Self::Open(id, record)));
        }
        Ok(Self::judged_by_person(app, organization, stay).await?.unwrap_or(Self::Nothing))
    }

    /// The newest record of the stay with a verdict of a person. The claim says that there is one only until any record of
    /// the stay is opened again, so that each is looked at; one that comes after that look takes the claim.
    async fn judged_by_person(app: &App, organization: OrganizationId, stay: Stay) -> Result<Option<Self>> {
        let mut view = app.readside.view(organization, Consistency::STRONG).await?;
        let concluded = rows::concluded(&mut view, organization, stay).await?;
        drop(view);
        for id in concluded {
            let record = app.ledger.load::<Qualification>(organization, id).await?;
            if record.state.judged_by_a_person() {
                return Ok(Some(Self::Decided(id, record)));
            }
        }
        Ok(None)
    }

    fn open(&self) -> Option<&Versioned<Qualification>> {
        match self {
            Self::Open(_, record) => Some(record),
            Self::Nothing | Self::Decided(..) => None,
        }
    }

    fn about(&self) -> Option<About> {
        match self {
            Self::Open(_, record) | Self::Decided(_, record) => record.state.about(),
            Self::Nothing => None,
        }
    }
}

/// The id of the qualification that a model begins for a conversation. It follows from the conversation, so that of any
/// number of runs, at once or one after the other, one begins a record.
fn begun_for(execution_id: ScriptExecutionId) -> QualificationId {
    let execution = execution_id.uuid();
    let digest = Sha256::new().chain_update(b"qualified ").chain_update(execution.as_bytes()).finalize();
    following(execution, &digest.into()).into()
}

/// How a call begins.
enum Begun {
    /// It is answered already.
    Answered(Done<Qualified>),
    /// The model is to be asked.
    ToAsk { prepared: Prepared, model: LanguageModel, by_model: ByModel, shown: Qualified },
}

/// The answer where the model is not asked: without a model, or dry, what would be sent; and what is decided already. None
/// where it is to be asked, which whoever calls may do one after the other.
pub async fn unasked(app: &App, call: &Call, wanted: Wanted) -> Result<Option<Done<Qualified>>> {
    Ok(match begin(app, call, wanted).await? {
        Begun::Answered(done) => Some(done),
        Begun::ToAsk { .. } => None,
    })
}

/// Sends a conversation to the model and records what it says; without a model, or dry, only shows what is sent.
pub async fn qualify(app: &App, call: &Call, wanted: Wanted) -> Result<Done<Qualified>> {
    match begin(app, call, wanted).await? {
        Begun::Answered(done) => Ok(done),
        Begun::ToAsk { prepared, model, by_model, shown } => {
            let answer = ask(&model, &prepared).await?;
            let provenance = Provenance { by_model, payload_sha256: prepared.payload.sha256.clone() };
            record(app, call, &prepared, answer, provenance, Qualified { sent: true, ..shown }).await
        }
    }
}

async fn begin(app: &App, call: &Call, wanted: Wanted) -> Result<Begun> {
    let prepared = prepare(app, call, wanted).await?;
    let by_model = app
        .model
        .as_ref()
        .map(|model| ByModel { model: model.name().to_owned(), endpoint: model.endpoint() });
    let shown = Qualified {
        execution_id: wanted.execution_id,
        template_id: prepared.template_id,
        template_version: prepared.template_version,
        payload: prepared.payload.value.clone(),
        payload_bytes: prepared.payload.text.len(),
        payload_sha256: prepared.payload.sha256.clone(),
        sent: false,
        model: by_model.clone(),
        qualification: None,
        warnings: vec![],
    };
    let (Some(model), Some(by_model), false) = (app.model.clone(), by_model, wanted.dry_run) else {
        return Ok(Begun::Answered(Done { entity: shown, appended: None }));
    };
    if let Before::Decided(id, decided) = &prepared.before {
        return standing(app, call, *id, decided, shown).await.map(Begun::Answered);
    }
    Ok(Begun::ToAsk { prepared, model, by_model, shown })
}

async fn prepare(app: &App, call: &Call, wanted: Wanted) -> Result<Prepared> {
    let organization = call.organization;
    let execution = app.ledger.load::<ScriptExecution>(organization, wanted.execution_id).await?;
    let Some(begun) = execution.state.begun else { return refused(QualifyingRefusal::UnknownExecution) };
    if let (Some(asking), Some(own)) = (wanted.agent_id, begun.agent_id)
        && asking != own
    {
        return refused(QualifyingRefusal::OtherAgent);
    }
    let (campaign_id, contact_id) = (begun.campaign_id, begun.contact_id);
    let ground = Ground::read(app, organization, Consistency::STRONG, campaign_id, contact_id).await;
    let ground = ground.map_err(widened)?;
    if ground.stay.epoch != begun.epoch {
        return refused(WorkRefusal::NotInCampaign);
    }

    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let (script, version) = (begun.script_template_id, begun.script_template_version);
    let content = script_template_versions::get(&mut view, organization, script, version).await?;
    drop(view);
    let Some(content) = content.and_then(|version| version.content) else {
        return refused(QualifyingRefusal::Erased);
    };
    let before = Before::read(app, organization, wanted.execution_id, ground.stay).await?;
    let about = before.about();
    if about.is_some_and(|about| wanted.template_id.is_some_and(|id| id != about.template_id)) {
        return refused(QualifyingRefusal::OtherTemplate);
    }
    let template_id = match about {
        Some(about) => Some(about.template_id),
        None => wanted.template_id.or(ground.campaign.state.qualification_template_id),
    };
    let Some(template_id) = template_id else { return refused(QualificationRefusal::NoTemplate) };
    let version = about.map(|about| about.template_version);
    let Some((pinned, _)) = qualifications::form(app, organization, template_id, version).await? else {
        return refused(QualificationRefusal::UnknownTemplate);
    };
    let path = execution.state.path(&content.steps);
    let payload = Payload::of(&content.language, &path, &pinned.form)
        .map_err(|error| ServiceError::Refused(error.into()))?;
    Ok(Prepared {
        stay: ground.stay,
        template_id,
        template_version: pinned.version,
        form: pinned.form,
        before,
        payload,
        execution,
    })
}

async fn ask(model: &LanguageModel, prepared: &Prepared) -> Result<ModelAnswer> {
    let question = Question {
        instructions: answer::INSTRUCTIONS,
        material: &prepared.payload.text,
        form: answer::FORM,
        schema: &answer::schema_of(&prepared.form),
    };
    let said = model.ask(question).await.map_err(|error| ServiceError::Refused(error.into()))?;
    ModelAnswer::read(said).map_err(|error| ServiceError::Refused(error.into()))
}

/// Records an answer. What lies beside it may have changed meanwhile, and is looked at again; what the model was asked
/// about may not.
async fn record(
    app: &App,
    call: &Call,
    prepared: &Prepared,
    answer: ModelAnswer,
    provenance: Provenance,
    shown: Qualified,
) -> Result<Done<Qualified>> {
    let organization = call.organization;
    let none = Answers::new();
    let open = prepared.before.open();
    let known = open.and_then(|open| open.state.record());
    let before = known.map_or(&none, |record| &record.answers);
    // What a person said of an answer is not overruled; what a model answered is.
    let settled = open.map(|open| open.state.settled_by_people()).unwrap_or_default();
    let news = answer.beside(&settled);
    let judge = |news| answer.status(&prepared.form, before, &news);
    let status = qualifications::judged(organization, &prepared.form, news.clone(), judge).await;
    let status = status.map_err(|error| ServiceError::Refused(error.into()))?;
    let noted = open.is_some_and(|open| open.state.notes_settled_by_a_person());
    let notes = answer.summary.filter(|_| !noted);
    let fresh = begun_for(shown.execution_id);
    let Stay { campaign_id, contact_id, .. } = prepared.stay;
    for _ in 0..TRIES {
        if !stands(app, call, prepared, shown.execution_id).await? {
            return refused(QualifyingRefusal::Changed);
        }
        // What another run or a person recorded meanwhile stands.
        match Before::read(app, organization, shown.execution_id, prepared.stay).await? {
            Before::Decided(id, decided) => return standing(app, call, id, &decided, shown).await,
            // Another run began the record, and left it open.
            Before::Open(id, begun) if open.is_none() && id == fresh => {
                return standing(app, call, id, &begun, shown).await;
            }
            Before::Open(id, _) if open.is_none() => return refused(QualificationRefusal::Open(id)),
            Before::Open(..) | Before::Nothing => (),
        }
        let mut guards = vec![prepared.execution.guard()];
        let planned = match &prepared.before {
            Before::Open(id, open) => {
                // Whoever was taken out and put in again meanwhile is talked to anew.
                let ground =
                    Ground::read(app, organization, Consistency::STRONG, campaign_id, contact_id).await;
                let ground = ground.map_err(widened)?;
                if ground.stay != prepared.stay {
                    return refused(QualifyingRefusal::Changed);
                }
                guards.extend(ground.guards);
                let change = Change {
                    answers: news.clone(),
                    status: Some(status),
                    notes: notes.clone().map(Some),
                    script_execution_id: Some(shown.execution_id),
                    provenance: Some(provenance.clone()),
                };
                qualifications::changed(app, organization, *id, open, change, call.at).await
            }
            Before::Nothing | Before::Decided(..) => {
                let new = NewQualification {
                    campaign_id,
                    contact_id,
                    template_id: Some(prepared.template_id),
                    template_version: Some(prepared.template_version),
                    script_execution_id: Some(shown.execution_id),
                    answers: news.clone(),
                    status,
                    notes: notes.clone(),
                    provenance: Some(provenance.clone()),
                };
                qualifications::open(app, organization, fresh, new, call.at).await
            }
        };
        let planned = planned.map_err(widened)?;
        if planned.after.about().is_none_or(|about| about.stay != prepared.stay) {
            return refused(QualifyingRefusal::Changed);
        }
        let recorded = Recorded::of(planned.qualification_id, &planned.after, planned.version, &planned.form);
        let warnings = not_moved(planned.unmoved);
        let entity = Qualified { qualification: Some(recorded), warnings, ..shown.clone() };
        guards.extend(planned.guards);
        let request = call.request(&entity)?;
        let mut command = call.command(planned.writes, guards, request);
        command.absent = prepared.before.claims(shown.execution_id, prepared.stay);
        match app.ledger.append(command).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict | AppendError::Taken(_) | AppendError::Present(_)) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

impl Recorded {
    fn of(
        qualification_id: QualificationId,
        state: &Qualification,
        version: u64,
        form: &QualificationForm,
    ) -> Self {
        let record = state.record();
        let answers = record.into_iter().flat_map(|record| &record.answers);
        Self {
            qualification_id,
            status: state.status(),
            answers: answers.map(|(key, answer)| (key.clone(), answer.to_json())).collect(),
            score: record.and_then(|record| record.score),
            missing: record.map(|record| form.missing(&record.answers)).unwrap_or_default(),
            notes: record.and_then(|record| record.notes.clone()),
            version,
        }
    }
}

/// Says of a verdict that it moved nobody.
fn not_moved(unmoved: bool) -> Vec<Warning> {
    let message = "a caller concluded otherwise on the telephone, or the contact opted out: its status stays";
    let warning = || Warning { code: "CONTACT_NOT_MOVED".into(), message: message.into(), path: None };
    unmoved.then(warning).into_iter().collect()
}

/// Answers with what is recorded already, and keeps that as the answer to the request.
async fn standing(
    app: &App,
    call: &Call,
    id: QualificationId,
    recorded: &Versioned<Qualification>,
    shown: Qualified,
) -> Result<Done<Qualified>> {
    // It is under a form of its own, which need not be the one that the model was asked with.
    let about = recorded.state.about().ok_or(ServiceError::Refused(QualificationRefusal::Unknown.into()))?;
    let (template, version) = (about.template_id, Some(about.template_version));
    let Some((pinned, _)) = qualifications::form(app, call.organization, template, version).await? else {
        return refused(QualificationRefusal::UnknownTemplate);
    };
    let unmoved =
        qualifications::moves_nobody(app, call.organization, &recorded.state).await.map_err(widened)?;
    let recorded = Recorded::of(id, &recorded.state, recorded.version, &pinned.form);
    let entity = Qualified { qualification: Some(recorded), warnings: not_moved(unmoved), ..shown };
    let appended = match call.request(&entity)? {
        None => None,
        request => Some(app.ledger.append(call.command(vec![], vec![], request)).await?),
    };
    Ok(Done { entity, appended })
}

/// Whether what the model was asked about is still so.
async fn stands(
    app: &App,
    call: &Call,
    prepared: &Prepared,
    execution_id: ScriptExecutionId,
) -> Result<bool> {
    let execution = app.ledger.load::<ScriptExecution>(call.organization, execution_id).await?;
    let record = match &prepared.before {
        Before::Open(id, open) => {
            app.ledger.load::<Qualification>(call.organization, *id).await?.version == open.version
        }
        Before::Nothing | Before::Decided(..) => true,
    };
    Ok(execution.version == prepared.execution.version && record)
}

fn widened<R: Into<QualifyingRefusal>>(error: ServiceError<R>) -> ServiceError<QualifyingRefusal> {
    match error {
        ServiceError::Refused(refusal) => ServiceError::Refused(refusal.into()),
        ServiceError::Append(error) => ServiceError::Append(error),
        ServiceError::Read(error) => ServiceError::Read(error),
        ServiceError::ReadSide(error) => ServiceError::ReadSide(error),
        ServiceError::Database(error) => ServiceError::Database(error),
    }
}
