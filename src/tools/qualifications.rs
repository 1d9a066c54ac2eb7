//! What an agent may do with qualifications: learn what may be answered, see what was, and find it again.

mod recording;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, OrganizationId, QualificationId, ScriptExecutionId};
use docket_aggregates::qualification::{ByModel, Qualification, QualificationRecord, QualificationStatus};
use docket_aggregates::qualification_template::QualificationForm;
use docket_projections::qualifications::{self as rows, QualificationFilter, QualificationRow};
use docket_projections::{agents, contacts, qualification_templates};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::campaigns::{found as campaign_found, in_order};
use super::example::{QUALIFICATION_ID, QUALIFICATION_TEMPLATE_ID, TAKING_CONTACTS};
use super::input::{Given, GivenAgent, GivenCampaign, GivenContact, Listed, Moment, Name, named};
use super::qualification_templates::{GivenQualificationTemplate, version_found};
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};
use crate::qualifications::{QualificationRefusal, schema};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    let mut tools = vec![
        tool!(read get_qualification_schema)
            .whole()
            .example("Of the newest version", json!({ "templateId": QUALIFICATION_TEMPLATE_ID }))
            .example(
                "Of the first version",
                json!({ "templateId": QUALIFICATION_TEMPLATE_ID, "version": 1 }),
            ),
        tool!(read get_qualification)
            .whole()
            .example("One qualification", json!({ "qualificationId": QUALIFICATION_ID }))
            .example(
                "With everything that is known",
                json!({ "qualificationId": QUALIFICATION_ID, "responseFormat": "detailed" }),
            ),
        tool!(list list_qualifications).example("The newest", json!({ "limit": 10 })).example(
            "Contacts to win, with their answers",
            json!({ "statusIn": ["qualified"], "responseFormat": "detailed", "limit": 5 }),
        ),
    ];
    tools.extend(recording::tools());
    tools
}

impl Listed for QualificationStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

/// A qualification id as given.
type GivenQualification = Given<QualificationId>;

/// What was found out about a contact of a campaign.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct QualificationShown {
    qualification_id: Uuid,
    campaign_id: Uuid,
    contact_id: Uuid,
    /// Whose the contact was when it was begun.
    agent_id: Option<Uuid>,
    template_id: Option<Uuid>,
    /// The version of the template that it is under.
    template_version: Option<u64>,
    /// The conversation that it follows from.
    script_execution_id: Option<Uuid>,
    /// draft is open.
    status: Name<QualificationStatus>,
    /// Answers by key; null once erased, and in concise lists.
    answers: Option<Map<String, Value>>,
    notes: Option<String>,
    /// What the answers are worth; null where the template weighs nothing.
    score: Option<i64>,
    /// Whether the score reaches the template's threshold; null where it weighs nothing, and in lists.
    qualifies: Option<bool>,
    /// The model that gave the latest answers, if one did.
    by_model: Option<ModelShown>,
    created_at: Moment,
    updated_at: Moment,
    /// Send it as expectedVersion to change only what you saw.
    version: u64,
}

/// A model that gave answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ModelShown {
    /// As the operator names it.
    model: String,
    /// Where it was asked.
    endpoint: String,
    /// SHA-256, in hex, of what it was sent.
    payload_sha256: Option<String>,
}

/// Everything of a qualification that its own stream tells.
struct Known<'a> {
    id: QualificationId,
    status: QualificationStatus,
    record: Option<&'a QualificationRecord>,
    script_execution_id: Option<ScriptExecutionId>,
    by_model: Option<&'a ByModel>,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl QualificationShown {
    fn of_row(row: &QualificationRow, form: Option<&QualificationForm>) -> Self {
        let known = Known {
            id: row.qualification_id,
            status: row.status,
            record: row.record.as_ref(),
            script_execution_id: row.script_execution_id,
            by_model: row.by_model.as_ref(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        let about = docket_aggregates::qualification::About {
            stay: row.stay,
            agent_id: row.agent_id,
            template_id: row.template_id,
            template_version: row.template_version,
        };
        Self::of(&known, about, form)
    }

    /// As it will be once the events are folded.
    fn of_state(
        id: QualificationId,
        state: &Qualification,
        version: u64,
        at: (Timestamp, Timestamp),
        form: &QualificationForm,
    ) -> ToolResult<Self> {
        let about = state.about().ok_or(QualificationRefusal::Unknown)?;
        let known = Known {
            id,
            status: state.status(),
            record: state.record(),
            script_execution_id: state.script_execution_id(),
            by_model: state.by_model(),
            version,
            created_at: at.0,
            updated_at: at.1,
        };
        Ok(Self::of(&known, about, Some(form)))
    }

    fn of(
        known: &Known<'_>,
        about: docket_aggregates::qualification::About,
        form: Option<&QualificationForm>,
    ) -> Self {
        let record = known.record;
        let score = record.and_then(|record| record.score);
        Self {
            qualification_id: known.id.uuid(),
            campaign_id: about.stay.campaign_id.uuid(),
            contact_id: about.stay.contact_id.uuid(),
            agent_id: about.agent_id.map(AgentId::uuid),
            template_id: Some(about.template_id.uuid()),
            template_version: Some(about.template_version),
            script_execution_id: known.script_execution_id.map(ScriptExecutionId::uuid),
            status: Name(known.status),
            answers: record.map(|record| {
                record.answers.iter().map(|(key, answer)| (key.clone(), answer.to_json())).collect()
            }),
            notes: record.and_then(|record| record.notes.clone()),
            score,
            qualifies: score.and_then(|score| form.and_then(|form| form.reaches(score))),
            by_model: known.by_model.map(|by_model| ModelShown {
                model: by_model.model.clone(),
                endpoint: by_model.endpoint.clone(),
                payload_sha256: record.and_then(|record| record.payload_sha256.clone()),
            }),
            created_at: known.created_at.into(),
            updated_at: known.updated_at.into(),
            version: known.version,
        }
    }

    /// What a concise list shows of it.
    fn shortened(self) -> Self {
        Self {
            agent_id: None,
            template_id: None,
            template_version: None,
            script_execution_id: None,
            answers: None,
            notes: None,
            by_model: None,
            ..self
        }
    }
}

/// Some qualification, for the examples.
pub async fn some_qualification(view: &mut View, organization: OrganizationId) -> ToolResult<Option<Uuid>> {
    let (page, _) = rows::list(view, organization, &QualificationFilter::default(), None, 1).await?;
    Ok(page.rows.first().map(|row| row.qualification_id.uuid()))
}

/// A contact of whom no qualification is open, in a campaign that takes contacts, for the examples.
pub async fn some_contact(view: &mut View, organization: OrganizationId) -> ToolResult<Option<(Uuid, Uuid)>> {
    let found = rows::some_without_open(view, organization, &TAKING_CONTACTS).await?;
    Ok(found.map(|(campaign_id, contact_id)| (campaign_id.uuid(), contact_id.uuid())))
}

/// What may be answered: the fields of a qualification template, and the JSON Schema of its answers. Name the template,
/// or the campaign whose template is meant. Send the version along as templateVersion when you record answers.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetSchema {
    /// The template. Give this or campaignId.
    template_id: Option<GivenQualificationTemplate>,
    /// The campaign whose template is meant. Give this or templateId.
    campaign_id: Option<GivenCampaign>,
    /// Which version; the newest if not said.
    #[schemars(range(min = 1))]
    version: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SchemaShown {
    template_id: Uuid,
    version: u64,
    /// JSON Schema (draft 2020-12) of answers; what it requires may still be left out of a draft. A pattern that not every
    /// engine reads alike is in the description.
    json_schema: Value,
    /// The fields, in their order.
    fields: Vec<FieldShown>,
}

/// A field in short; the schema says the rest.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FieldShown {
    key: String,
    label: String,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    /// The script node whose answer belongs here.
    maps_from_script_node_id: Option<String>,
}

async fn get_qualification_schema(ctx: ToolContext, input: GetSchema) -> ToolResult<SchemaShown> {
    let mut view = ctx.view().await?;
    let given = match (input.template_id, input.campaign_id) {
        (Some(template), None) => template,
        (None, Some(campaign)) => {
            let campaign = campaign_found(&mut view, &ctx, &campaign).await?.campaign;
            let id = campaign.qualification_template_id.ok_or(QualificationRefusal::NoTemplate)?;
            Given { id, text: id.to_string() }
        }
        _ => return Err(Refusal::field("", "EXACTLY_ONE_OF", "give either templateId or campaignId")),
    };
    let (row, version, form) = version_found(&mut view, &ctx, &given, input.version).await?;
    let fields = form
        .fields
        .iter()
        .map(|field| FieldShown {
            key: field.key.clone(),
            label: field.label.clone(),
            kind: field.kind.name(),
            required: field.required,
            maps_from_script_node_id: field.maps_from_script_node_id.clone(),
        })
        .collect();
    Ok(SchemaShown {
        template_id: row.template_id.uuid(),
        version: version.version,
        json_schema: schema::of(&form),
        fields,
    })
}

/// See one qualification: by its id, or the latest of a contact in a campaign, the open one if there is one.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetQualification {
    /// The qualification. Give this, or campaignId and contactId.
    qualification_id: Option<GivenQualification>,
    /// The campaign, together with contactId.
    campaign_id: Option<GivenCampaign>,
    /// The contact, together with campaignId.
    contact_id: Option<GivenContact>,
}

#[derive(Serialize, JsonSchema)]
struct OneShown {
    qualification: QualificationShown,
    validation: Validation,
}

/// How the answers fit the template's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Validation {
    /// Required fields without an answer: they must be answered before the contact is qualified.
    missing: Vec<String>,
    /// Always empty: an answer that does not fit is refused and never recorded.
    invalid: Vec<String>,
}

impl Validation {
    fn of(form: &QualificationForm, record: Option<&QualificationRecord>) -> Self {
        let missing = record.map(|record| form.missing(&record.answers)).unwrap_or_default();
        Self { missing, invalid: Vec::new() }
    }
}

async fn get_qualification(ctx: ToolContext, input: GetQualification) -> ToolResult<OneShown> {
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let row = match (input.qualification_id, input.campaign_id, input.contact_id) {
        (Some(given), None, None) => rows::get(&mut view, organization, given.id)
            .await?
            .ok_or_else(|| Refusal::not_found(Kind::Qualification, &given.text))?,
        (None, Some(campaign), Some(contact)) => {
            campaign_found(&mut view, &ctx, &campaign).await?;
            contact_found(&mut view, &ctx, &contact).await?;
            let latest = rows::latest(&mut view, organization, campaign.id, contact.id).await?;
            latest.ok_or_else(|| {
                Refusal::not_found(Kind::Qualification, format!("of contact {}", contact.text))
            })?
        }
        _ => {
            let message = "give either qualificationId, or campaignId and contactId";
            return Err(Refusal::field("", "EXACTLY_ONE_OF", message));
        }
    };
    let version =
        qualification_templates::version(&mut view, organization, row.template_id, row.template_version)
            .await?;
    let form = version.and_then(|version| version.form);
    let validation = match &form {
        Some(form) => Validation::of(form, row.record.as_ref()),
        None => Validation { missing: Vec::new(), invalid: Vec::new() },
    };
    Ok(OneShown { qualification: QualificationShown::of_row(&row, form.as_ref()), validation })
}

async fn contact_found(view: &mut View, ctx: &ToolContext, given: &GivenContact) -> ToolResult<()> {
    let known = contacts::existing(view, ctx.organization(), &[given.id]).await?;
    if known.is_empty() { Err(Refusal::not_found(Kind::Contact, &given.text)) } else { Ok(()) }
}

/// List qualifications, the newest first. Filter by campaign, contact, agent, status, template, time, and by up to five
/// answers. Concise answers show where each stands; detailed ones show its answers as well.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListQualifications {
    /// Only of this campaign.
    campaign_id: Option<GivenCampaign>,
    /// Only of this contact.
    contact_id: Option<GivenContact>,
    /// Only where the contact was this agent's when it was begun.
    agent_id: Option<GivenAgent>,
    /// Only in one of these statuses.
    #[serde(default)]
    #[schemars(length(min = 1, max = 3))]
    status_in: Vec<Name<QualificationStatus>>,
    /// Only under this template, in any version.
    template_id: Option<GivenQualificationTemplate>,
    /// Begun then or later.
    created_after: Option<Moment>,
    /// Begun before then.
    created_before: Option<Moment>,
    /// Only with these answers, by key; of a multiselect this option, whatever else was chosen.
    #[serde(default)]
    #[schemars(schema_with = "wanted_answers")]
    answers: Map<String, Value>,
}

fn wanted_answers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 5,
        "additionalProperties": { "type": ["string", "number", "boolean"] },
        "x-open": true,
    })
}

#[derive(Serialize, JsonSchema)]
struct QualificationsListed {
    qualifications: Vec<QualificationShown>,
}

async fn list_qualifications(
    ctx: ToolContext,
    input: ListQualifications,
) -> ToolResult<QualificationsListed> {
    in_order(input.created_after, input.created_before)?;
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    if let Some(given) = &input.campaign_id {
        campaign_found(&mut view, &ctx, given).await?;
    }
    if let Some(given) = &input.contact_id {
        contact_found(&mut view, &ctx, given).await?;
    }
    if let Some(given) = &input.agent_id
        && agents::get(&mut view, ctx.organization(), given.id).await?.is_none()
    {
        return Err(Refusal::not_found(Kind::Agent, &given.text));
    }
    if let Some(given) = &input.template_id {
        version_found(&mut view, &ctx, given, None).await?;
    }
    let filter = QualificationFilter {
        campaign_id: input.campaign_id.map(|given| given.id),
        contact_id: input.contact_id.map(|given| given.id),
        agent_id: input.agent_id.map(|given| given.id),
        statuses: named(&input.status_in),
        template_id: input.template_id.map(|given| given.id),
        created_after: input.created_after.map(|moment| moment.0),
        created_before: input.created_before.map(|moment| moment.0),
        answers: input.answers.into_iter().collect(),
    };
    let (page, total) =
        rows::list(&mut view, ctx.organization(), &filter, after.as_ref(), ctx.limit()).await?;
    ctx.paginate(page.next, total)?;
    let qualifications = page.rows.iter().map(|row| {
        let shown = QualificationShown::of_row(row, None);
        if ctx.detailed() { shown } else { shown.shortened() }
    });
    Ok(QualificationsListed { qualifications: qualifications.collect() })
}
