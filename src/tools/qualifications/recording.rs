//! Recording a qualification, and changing what was recorded.

use docket_aggregates::ids::{QualificationId, ScriptExecutionId};
use docket_aggregates::qualification::{Qualification, QualificationStatus};
use docket_projections::qualifications as rows;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{GivenQualification, QualificationShown, Validation};
use crate::envelope::Warning;
use crate::qualifications::{self, Change, NewQualification, Planned, QualificationRefusal};
use crate::service::ServiceError;
use crate::tools::campaigns::expect;
use crate::tools::example::{
    QUALIFIABLE_CAMPAIGN_ID, QUALIFIABLE_CONTACT_ID, QUALIFICATION_ID, QUALIFICATION_TEMPLATE_ID,
};
use crate::tools::input::{Given, GivenCampaign, GivenContact, Name, Patch};
use crate::tools::qualification_templates::GivenQualificationTemplate;
use crate::tools::{Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Write create_qualification)
            .example(
                "Try out a draft",
                json!({
                    "campaignId": QUALIFIABLE_CAMPAIGN_ID,
                    "contactId": QUALIFIABLE_CONTACT_ID,
                    "templateId": QUALIFICATION_TEMPLATE_ID,
                    "answers": {},
                    "dryRun": true,
                }),
            )
            .example(
                "Not one to win",
                json!({
                    "campaignId": QUALIFIABLE_CAMPAIGN_ID,
                    "contactId": QUALIFIABLE_CONTACT_ID,
                    "templateId": QUALIFICATION_TEMPLATE_ID,
                    "answers": {},
                    "status": "not_qualified",
                    "notes": "The building is being sold",
                }),
            ),
        tool!(Write update_qualification)
            .repeatable()
            .example(
                "Note something down",
                json!({ "qualificationId": QUALIFICATION_ID, "patch": { "notes": "Wants to be called in spring" } }),
            )
            .example(
                "What another verdict would mean",
                json!({
                    "qualificationId": QUALIFICATION_ID,
                    "patch": { "status": "not_qualified" },
                    "dryRun": true,
                }),
            ),
    ]
}

/// Record what was found out about a contact of a campaign. A draft may leave out required answers; qualified may not,
/// and moves the contact to qualified, as `not_qualified` moves it to `not_interested`. One draft at a time may be open
/// for a contact in a campaign. Call `get_qualification_schema` first for what may be answered.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreateQualification {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// The contact; it must be in the campaign.
    contact_id: GivenContact,
    /// The template; the campaign's if not said.
    template_id: Option<GivenQualificationTemplate>,
    /// The version that you saw; refused if the template has another by now.
    #[schemars(range(min = 1))]
    template_version: Option<u64>,
    /// The script execution that the answers come from.
    script_execution_id: Option<Given<ScriptExecutionId>>,
    /// Answers by the keys of their fields; null is no answer.
    #[schemars(extend("x-open" = true))]
    answers: Map<String, Value>,
    /// draft if not said.
    status: Option<Name<QualificationStatus>>,
    /// What you noticed beside the answers.
    #[schemars(length(max = 4000), extend("x-lines" = true))]
    notes: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct QualificationCreated {
    qualification: QualificationShown,
    validation: Validation,
    /// What you should know although it is recorded.
    warnings: Vec<Warning>,
}

async fn create_qualification(
    ctx: ToolContext,
    input: CreateQualification,
    mut mint: Mint,
) -> ToolResult<Plan<QualificationCreated>> {
    // So that a preview says what it was made of.
    drop(ctx.view().await?);
    ctx.affects(1);
    let new = NewQualification {
        campaign_id: input.campaign_id.id,
        contact_id: input.contact_id.id,
        template_id: input.template_id.map(|given| given.id),
        template_version: input.template_version,
        script_execution_id: input.script_execution_id.map(|given| given.id),
        answers: input.answers,
        status: input.status.map_or(QualificationStatus::Draft, |status| status.0),
        notes: input.notes.filter(|notes| !notes.is_empty()),
        provenance: None,
    };
    let id: QualificationId = mint.id();
    let planned = qualifications::open(ctx.app(), ctx.organization(), id, new, ctx.now())
        .await
        .map_err(told("answers"))?;
    doubts(&ctx, &planned);
    let shown = QualificationShown::of_state(
        id,
        &planned.after,
        planned.version,
        (mint.at(), mint.at()),
        &planned.form,
    )?;
    let validation = Validation::of(&planned.form, planned.after.record());
    let warnings = ctx.warnings();
    Ok(Plan {
        writes: planned.writes,
        guards: planned.guards,
        absent: vec![],
        // The warnings say what the verdict does to the contact.
        effects: Effects::one(id, "RECORDED", &(&shown, &validation, &warnings)),
        answer: QualificationCreated { qualification: shown, validation, warnings },
    })
}

/// A refusal in the words of tools, its answers named with the path of the input's.
fn told(path: &'static str) -> impl FnOnce(ServiceError<QualificationRefusal>) -> Refusal {
    move |error| Refusal::from(error).with_answers_at(path)
}

/// Warns of a verdict that the score speaks against, or that moves nobody.
fn doubts(ctx: &ToolContext, planned: &Planned) {
    let score = planned.after.record().and_then(|record| record.score);
    let reaches = score.and_then(|score| planned.form.reaches(score));
    match (planned.after.status(), reaches) {
        (QualificationStatus::Qualified, Some(false)) => {
            ctx.warn("SCORE_BELOW_THRESHOLD", "the score does not reach the template's threshold", None);
        }
        (QualificationStatus::NotQualified, Some(true)) => {
            ctx.warn("SCORE_REACHES_THRESHOLD", "the score reaches the template's threshold", None);
        }
        _ => (),
    }
    if planned.unmoved {
        let message = "the contact left the campaign, its work is over, or it opted out: its status stays";
        ctx.warn("CONTACT_NOT_MOVED", message, None);
    }
}

/// Change a qualification: answers are merged, null clears one; absent keeps. A verdict may be given, overturned or
/// taken back to draft, and moves the contact as `create_qualification` says. It stays under the version of the template
/// that it was begun under. A patch that changes nothing records nothing, unless it repeats what a model said and so
/// confirms it.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateQualification {
    /// The qualification.
    qualification_id: GivenQualification,
    /// What is to change.
    patch: QualificationPatchInput,
    /// Refuse if the qualification has another version than this one.
    #[schemars(range(min = 0))]
    expected_version: Option<u64>,
}

/// What is to change.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
struct QualificationPatchInput {
    /// Answers to be merged; null clears one.
    #[serde(default)]
    #[schemars(extend("x-open" = true))]
    answers: Map<String, Value>,
    /// Where it is to stand.
    status: Option<Name<QualificationStatus>>,
    /// What you noticed beside the answers; null clears.
    #[serde(default)]
    #[schemars(length(max = 4000), extend("x-lines" = true))]
    notes: Patch<String>,
}

#[derive(Serialize, JsonSchema)]
struct QualificationUpdated {
    qualification: QualificationShown,
    validation: Validation,
    /// What differs.
    changes: Vec<Changed>,
    /// What you should know although it is recorded.
    warnings: Vec<Warning>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Changed {
    /// status, notes, score or answers.KEY.
    field: String,
    /// Before.
    from: Value,
    /// After.
    to: Value,
}

async fn update_qualification(
    ctx: ToolContext,
    input: UpdateQualification,
    mint: Mint,
) -> ToolResult<Plan<QualificationUpdated>> {
    let organization = ctx.organization();
    let id = input.qualification_id.id;
    let before = ctx.app().ledger.load::<Qualification>(organization, id).await?;
    if !before.exists() {
        return Err(Refusal::not_found(super::Kind::Qualification, &input.qualification_id.text));
    }
    expect(input.expected_version, before.version)?;
    ctx.affects(1);
    let wanted = input.patch;
    let change = Change {
        answers: wanted.answers,
        status: wanted.status.map(|status| status.0),
        notes: wanted.notes.nested().map(|notes| notes.filter(|notes| !notes.is_empty())),
        ..Change::default()
    };
    let planned = qualifications::changed(ctx.app(), organization, id, &before, change, ctx.now())
        .await
        .map_err(told("patch.answers"))?;
    doubts(&ctx, &planned);

    let mut view = ctx.view().await?;
    let row = rows::get(&mut view, organization, id).await?;
    drop(view);
    let (created_at, updated_at) = row.map_or((mint.at(), mint.at()), |row| (row.created_at, row.updated_at));
    let unchanged = planned.writes.is_empty();
    let times = (created_at, if unchanged { updated_at } else { mint.at() });
    let shown = QualificationShown::of_state(id, &planned.after, planned.version, times, &planned.form)?;
    let changes = changes(&planned.before, &planned.after);
    Ok(Plan {
        effects: match unchanged {
            true => Effects::none(),
            false => Effects::one(id, "CHANGED", &(&changes, ctx.warnings())),
        },
        writes: planned.writes,
        guards: planned.guards,
        absent: vec![],
        answer: QualificationUpdated {
            qualification: shown,
            validation: Validation::of(&planned.form, planned.after.record()),
            changes,
            warnings: ctx.warnings(),
        },
    })
}

/// What differs, answer by answer.
fn changes(before: &Qualification, after: &Qualification) -> Vec<Changed> {
    let fields = |state: &Qualification| -> std::collections::BTreeMap<String, Value> {
        let record = state.record();
        let answers = record.into_iter().flat_map(|record| &record.answers);
        let mut fields: std::collections::BTreeMap<String, Value> =
            answers.map(|(key, answer)| (format!("answers.{key}"), answer.to_json())).collect();
        fields.insert("status".into(), state.status().name().into());
        fields.insert("notes".into(), json!(record.and_then(|record| record.notes.as_deref())));
        fields.insert("score".into(), json!(record.and_then(|record| record.score)));
        fields
    };
    let (from, to) = (fields(before), fields(after));
    let keys: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    keys.into_iter()
        .filter(|key| from.get(*key) != to.get(*key))
        .map(|key| Changed {
            field: key.clone(),
            from: from.get(key).cloned().unwrap_or_default(),
            to: to.get(key).cloned().unwrap_or_default(),
        })
        .collect()
}
