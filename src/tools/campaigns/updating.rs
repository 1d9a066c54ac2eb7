//! `update_outbound_campaign`: what of a campaign is to be otherwise, its status included.
//!
//! A campaign that ends leaves work behind that nobody will do. What that is belongs to what is shown before and said yes
//! to: more of it is a drift.

use docket_aggregates::Personal;
use docket_aggregates::campaign::{CampaignPatch, CampaignStatus};
use docket_aggregates::ids::{CampaignId, QualificationTemplateId, ScriptTemplateId};
use docket_projections::unfinished::Unfinished;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::patching::{Consequences, FieldChange, changed, effects, form_attached, script_wanted};
use super::settings::{SettingsPatch, merged};
use super::{CampaignDetail, Subject, expect, same_name, some_text, staff};
use crate::tools::example::CAMPAIGN_ID;
use crate::tools::input::{Given, GivenAgent, GivenCampaign, Name, Patch};
use crate::tools::{Draft, Mint, Plan, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Write update_outbound_campaign)
            .repeatable()
            .example(
                "Other words",
                json!({ "campaignId": CAMPAIGN_ID, "patch": { "goal": "Ten tastings a week" } }),
            )
            .example(
                "What archiving would mean",
                json!({ "campaignId": CAMPAIGN_ID, "patch": { "status": "archived" }, "dryRun": true }),
            ),
    ]
}

/// Change a campaign: only what the patch names changes, null clears. Status goes draft to active or archived, active
/// and paused to each other, to completed or archived; archived is final. A patch that changes nothing records nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateCampaign {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// What is to change.
    patch: CampaignPatchInput,
    /// Refuse if the campaign has another version than this one.
    #[schemars(range(min = 0))]
    expected_version: Option<u64>,
}

/// What is to change.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
struct CampaignPatchInput {
    /// What it is called.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it is about; null clears.
    #[serde(default)]
    #[schemars(length(max = 4000), extend("x-lines" = true))]
    description: Patch<String>,
    /// What it is to reach; null clears.
    #[serde(default)]
    #[schemars(length(max = 1000), extend("x-lines" = true))]
    goal: Patch<String>,
    /// Where it is to stand.
    status: Option<Name<CampaignStatus>>,
    /// The call script; null detaches.
    #[serde(default)]
    script_template_id: Patch<Given<ScriptTemplateId>>,
    /// The qualification form; null detaches.
    #[serde(default)]
    qualification_template_id: Patch<Given<QualificationTemplateId>>,
    /// The agents who work on it: all of them.
    #[schemars(length(max = 100))]
    agent_ids: Option<Vec<GivenAgent>>,
    /// First day, YYYY-MM-DD; null clears.
    #[serde(default)]
    #[schemars(extend("format" = "date"))]
    start_date: Patch<String>,
    /// Last day, YYYY-MM-DD; null clears.
    #[serde(default)]
    #[schemars(extend("format" = "date"))]
    end_date: Patch<String>,
    /// Attempts and hours for calls: what is named changes; null clears all of it.
    #[serde(default)]
    settings: Patch<SettingsPatch>,
}

#[derive(Serialize, JsonSchema)]
struct CampaignUpdated {
    campaign: CampaignDetail,
    /// What differs.
    changes: Vec<FieldChange>,
    /// What completing or archiving means for the work that is still to do.
    consequences: Option<Consequences>,
}

async fn update_outbound_campaign(
    ctx: ToolContext,
    input: UpdateCampaign,
    mint: Mint,
) -> ToolResult<Plan<CampaignUpdated>> {
    let subject = Subject::find(&ctx, &input.campaign_id).await?;
    let before = &subject.before;
    expect(input.expected_version, before.version)?;

    let wanted = input.patch;
    let (script, script_template_id) = script_wanted(&ctx, wanted.script_template_id).await?;
    let patch = CampaignPatch {
        name: wanted.name,
        description: wanted.description.nested().map(|text| text.and_then(|text| some_text(Some(text)))),
        goal: wanted.goal.nested().map(|text| text.and_then(|text| some_text(Some(text)))),
        status: wanted.status.map(|status| status.0),
        script_template_id,
        qualification_template_id: form_attached(&ctx, wanted.qualification_template_id).await?,
        agent_ids: match &wanted.agent_ids {
            Some(given) => Some(staff(&ctx, given, "patch.agentIds").await?),
            None => None,
        },
        start_date: wanted.start_date.nested(),
        end_date: wanted.end_date.nested(),
        settings: merged(&before.state.settings, wanted.settings)?,
    };
    let known_as = before.state.text.as_ref().and_then(Personal::value).map(|text| &text.name);
    if let Some(name) = patch.name.as_ref().filter(|name| Some(*name) != known_as) {
        same_name(&ctx, Some(input.campaign_id.id), name).await?;
    }
    let (mut plan, campaign) = changed(&subject, patch, script, mint)?;
    let status = campaign.campaign.status;
    // Neither takes calls or contacts any more.
    let ended = !status.takes_contacts() && before.state.status != status;
    let consequences = if ended {
        let consequences = consequences(&ctx, campaign.campaign.campaign_id).await?;
        ctx.affects(consequences.open_contacts);
        Some(consequences)
    } else {
        None
    };
    // What becomes of the work that is still to do is part of what is said yes to.
    if let Some(consequences) = &consequences {
        plan.effects = effects(campaign.campaign.campaign_id, &plan.answer, Some(consequences));
    }
    Ok(plan.answering(|changes| CampaignUpdated {
        campaign: CampaignDetail::of(&campaign),
        changes,
        consequences,
    }))
}

/// What becomes of the work on a campaign when it ends.
async fn consequences(ctx: &ToolContext, campaign: CampaignId) -> ToolResult<Consequences> {
    let Unfinished { open_contacts, follow_ups, sequences } = ctx.unfinished(campaign).await?;
    Ok(Consequences { open_contacts, follow_ups: follow_ups.into(), sequences })
}
