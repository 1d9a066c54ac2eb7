//! What a patch makes of a campaign: the plan with what differs, and the campaign as it is after it.
//!
//! Updating a campaign and attaching its templates are decided here alike. A script that the campaign gets is written to,
//! and one that it keeps is guarded, so that nobody deletes either in the same moment.

use cqrs_es::Aggregate;
use docket_aggregates::Decides;
use docket_aggregates::campaign::{CampaignCommand, CampaignPatch};
use docket_aggregates::ids::{CampaignId, QualificationTemplateId, ScriptTemplateId};
use docket_aggregates::script_template::ScriptTemplate;
use docket_projections::campaigns::CampaignListed;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{CampaignDetail, Subject, attach, refused};
use crate::ledger::Versioned;
use crate::tools::input::{GivenScript, Patch};
use crate::tools::qualification_templates::{GivenQualificationTemplate, known_template};
use crate::tools::script_templates::usable;
use crate::tools::workspace::FollowUps;
use crate::tools::{Effects, Mint, Plan, ToolContext, ToolResult};

#[derive(Serialize, JsonSchema)]
pub(super) struct FieldChange {
    /// As the patch names it.
    field: &'static str,
    /// Before.
    from: Value,
    /// After.
    to: Value,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Consequences {
    /// Contacts with work still to do, which nobody will call any more.
    pub(super) open_contacts: u64,
    /// Follow-ups that stay as they are and that nobody will see to.
    pub(super) follow_ups: FollowUps,
    /// Sequences that stop.
    pub(super) sequences: u64,
}

/// What a patch says of the script: one with which something new may be begun, or none.
pub(super) async fn script_wanted(
    ctx: &ToolContext,
    wanted: Patch<GivenScript>,
) -> ToolResult<(Option<Versioned<ScriptTemplate>>, Option<Option<ScriptTemplateId>>)> {
    match wanted {
        Patch::Keep => Ok((None, None)),
        Patch::Clear => Ok((None, Some(None))),
        Patch::Set(given) => Ok((Some(usable(ctx, &given).await?), Some(Some(given.id)))),
    }
}

/// The qualification form that a campaign is to have: one that exists, or none.
pub(super) async fn form_attached(
    ctx: &ToolContext,
    wanted: Patch<GivenQualificationTemplate>,
) -> ToolResult<Option<Option<QualificationTemplateId>>> {
    Ok(match wanted {
        Patch::Keep => None,
        Patch::Clear => Some(None),
        Patch::Set(given) => Some(Some(known_template(ctx, &given).await?)),
    })
}

/// Decides a patch: the plan with the differences, and the campaign as it is after it.
pub(super) fn changed(
    subject: &Subject,
    patch: CampaignPatch,
    script: Option<Versioned<ScriptTemplate>>,
    mint: Mint,
) -> ToolResult<(Plan<Vec<FieldChange>>, CampaignListed)> {
    let Subject { campaign_id, before, life, .. } = subject;
    let change = CampaignCommand::Change(Box::new(patch));
    let events = before.state.decide(change).map_err(|error| refused(error, "patch."))?;
    let mut state = (*before.state).clone();
    events.iter().cloned().for_each(|event| state.apply(event));
    let version = before.version + events.len() as u64;
    let updated_at = if events.is_empty() { life.changed } else { mint.at() };
    let after = subject.listed(&state, version, updated_at);
    let known = subject.listed(&before.state, before.version, life.changed);
    let changes = differences(&CampaignDetail::of(&known), &CampaignDetail::of(&after));
    let effects = if events.is_empty() { Effects::none() } else { effects(*campaign_id, &changes, None) };
    let writes = if events.is_empty() { vec![] } else { vec![before.write(events)] };
    let mut plan = Plan { writes, guards: vec![], absent: vec![], effects, answer: changes };
    match script {
        Some(script) if before.state.script_template_id != state.script_template_id => {
            attach(&mut plan, &script, *campaign_id)?;
        }
        // It has that one already, which must not be deleted meanwhile.
        Some(script) => plan.guards.push(script.guard()),
        None => (),
    }
    Ok((plan, after))
}

/// What a change does, and what follows from it.
pub(super) fn effects(
    id: CampaignId,
    changes: &[FieldChange],
    consequences: Option<&Consequences>,
) -> Effects {
    let fields: Vec<&str> = changes.iter().map(|change| change.field).collect();
    Effects::one(id, &format!("CHANGED {}", fields.join(",")), &(changes, consequences))
}

fn differences(before: &CampaignDetail, after: &CampaignDetail) -> Vec<FieldChange> {
    let fields = |campaign: &CampaignDetail| -> [(&'static str, Value); 10] {
        let summary = &campaign.summary;
        [
            ("name", json!(summary.name)),
            ("description", json!(campaign.description)),
            ("goal", json!(campaign.goal)),
            ("status", json!(summary.status)),
            ("scriptTemplateId", json!(summary.script_template_id)),
            ("qualificationTemplateId", json!(summary.qualification_template_id)),
            ("agentIds", json!(campaign.agent_ids)),
            ("startDate", json!(campaign.start_date)),
            ("endDate", json!(campaign.end_date)),
            ("settings", json!(campaign.settings)),
        ]
    };
    fields(before)
        .into_iter()
        .zip(fields(after))
        .filter(|((_, from), (_, to))| from != to)
        .map(|((field, from), (_, to))| FieldChange { field, from, to })
        .collect()
}
