//! Scripts out of use.
//!
//! Attaching a script and deleting it are both recorded in the script's own stream: of two that happen in the same moment
//! one is planned anew and finds the other. The template is therefore read before the campaigns that use it.

use std::borrow::Cow;

use docket_aggregates::Decides as _;
use docket_aggregates::campaign::{Campaign, CampaignCommand, CampaignError, CampaignPatch};
use docket_aggregates::script_template::ScriptTemplateCommand;
use docket_projections::script_executions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{UsingCampaign, changeable, using};
use crate::tools::example::SCRIPT_TEMPLATE_ID;
use crate::tools::input::GivenScript;
use crate::tools::plan::outcome;
use crate::tools::{Confirm, Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Destructive delete_script_template)
            .repeatable()
            .confirmed(Confirm::Always)
            .example(
                "What deleting it would mean",
                json!({ "templateId": SCRIPT_TEMPLATE_ID, "force": true, "dryRun": true }),
            )
            .example(
                "Without confirm nothing is deleted",
                json!({ "templateId": SCRIPT_TEMPLATE_ID, "force": true }),
            ),
    ]
}

/// Take a call script out of use. Nothing new begins with it; executions keep the version that they began with, and it
/// can be read as before. While campaigns use it the call is refused, unless force detaches it from them. Without
/// confirm true the call only shows what would happen.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DeleteScriptTemplate {
    /// The script.
    template_id: GivenScript,
    /// Detach it from every campaign that uses it.
    #[serde(default)]
    force: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ScriptTemplateGone {
    template_id: Uuid,
    /// Whether it is deleted, or would be.
    deleted: bool,
    /// Campaigns that have no script any more.
    detached_from_campaigns: Vec<UsingCampaign>,
    /// Executions that stay, with the version that they began with.
    executions_preserved: u64,
}

async fn delete_script_template(
    ctx: ToolContext,
    input: DeleteScriptTemplate,
    _: Mint,
) -> ToolResult<Plan<ScriptTemplateGone>> {
    let organization = ctx.organization();
    let template_id = input.template_id.id;
    let template = changeable(&ctx, &input.template_id).await?;
    let mut view = ctx.view().await?;
    let attached = using(&mut view, organization, template_id).await?;
    let executions_preserved =
        script_executions::count_of_template(&mut view, organization, template_id).await?;
    drop(view);
    if !attached.is_empty() && !input.force {
        return Err(Refusal::TemplateInUse(attached.iter().map(|using| using.campaign_id.uuid()).collect()));
    }
    let events = template.state.decide(ScriptTemplateCommand::Delete)?;
    let mut writes = vec![template.write(events)];
    let mut detached = Vec::new();
    for using in attached {
        let campaign = ctx.app().ledger.load::<Campaign>(organization, using.campaign_id).await?;
        if campaign.state.script_template_id != Some(template_id) {
            continue;
        }
        let detach = CampaignPatch { script_template_id: Some(None), ..CampaignPatch::default() };
        match campaign.state.decide(CampaignCommand::Change(Box::new(detach))) {
            Ok(events) => {
                writes.push(campaign.write(events));
                detached.push(UsingCampaign::from(using));
            }
            // One that was put away meanwhile stays as it is.
            Err(CampaignError::Archived) => (),
            Err(error) => return Err(error.into()),
        }
    }
    let campaigns = detached.iter().map(|using| (using.campaign_id, Cow::Borrowed("DETACHED")));
    // Whoever said yes to it said so of this script, as it reads now.
    let deleted = outcome("DELETED", &template.state.content());
    let effects = Effects::new(campaigns.chain([(template_id.uuid(), Cow::Owned(deleted))]));
    let answer = ScriptTemplateGone {
        template_id: template_id.uuid(),
        deleted: true,
        detached_from_campaigns: detached,
        executions_preserved,
    };
    Ok(Plan { writes, guards: vec![], absent: vec![], effects, answer })
}
