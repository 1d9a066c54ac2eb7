//! `attach_campaign_templates`: the call script and the qualification form of a campaign, put there or taken away. It is a
//! patch of these two and nothing else, with the pair that was there before in its answer.

use docket_aggregates::campaign::CampaignPatch;
use docket_aggregates::ids::{QualificationTemplateId, ScriptTemplateId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::patching::{changed, form_attached, script_wanted};
use super::{CampaignDetail, Subject, Templates};
use crate::tools::example::{CAMPAIGN_ID, SCRIPT_TEMPLATE_ID};
use crate::tools::input::{Given, GivenCampaign, Patch};
use crate::tools::{Draft, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Write attach_campaign_templates)
            .repeatable()
            .example(
                "Attach a script",
                json!({ "campaignId": CAMPAIGN_ID, "scriptTemplateId": SCRIPT_TEMPLATE_ID }),
            )
            .example("Detach the script", json!({ "campaignId": CAMPAIGN_ID, "scriptTemplateId": null }))
            .example(
                "Detach both",
                json!({ "campaignId": CAMPAIGN_ID, "scriptTemplateId": null, "qualificationTemplateId": null }),
            ),
    ]
}

/// Attach a call script or a qualification form to a campaign, or detach it with null. Executions that are under way
/// keep the version that they began with. Attaching what is attached already records nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AttachTemplates {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// The call script; null detaches, absent keeps.
    #[serde(default)]
    script_template_id: Patch<Given<ScriptTemplateId>>,
    /// The qualification form; null detaches, absent keeps.
    #[serde(default)]
    qualification_template_id: Patch<Given<QualificationTemplateId>>,
}

#[derive(Serialize, JsonSchema)]
struct TemplatesAttached {
    campaign: CampaignDetail,
    /// What was attached before.
    previous: Templates,
    /// Whether anything differs.
    changed: bool,
}

async fn attach_campaign_templates(
    ctx: ToolContext,
    input: AttachTemplates,
    mint: Mint,
) -> ToolResult<Plan<TemplatesAttached>> {
    if input.script_template_id.is_keep() && input.qualification_template_id.is_keep() {
        let message = "give scriptTemplateId, qualificationTemplateId or both; null detaches";
        return Err(Refusal::field("", "AT_LEAST_ONE_OF", message));
    }
    let subject = Subject::find(&ctx, &input.campaign_id).await?;
    let (script, script_template_id) = script_wanted(&ctx, input.script_template_id).await?;
    let patch = CampaignPatch {
        script_template_id,
        qualification_template_id: form_attached(&ctx, input.qualification_template_id).await?,
        ..CampaignPatch::default()
    };
    let previous = Templates {
        script_template_id: subject.before.state.script_template_id.map(ScriptTemplateId::uuid),
        qualification_template_id: subject
            .before
            .state
            .qualification_template_id
            .map(QualificationTemplateId::uuid),
    };
    let (plan, campaign) = changed(&subject, patch, script, mint)?;
    Ok(plan.answering(|changes| TemplatesAttached {
        campaign: CampaignDetail::of(&campaign),
        previous,
        changed: !changes.is_empty(),
    }))
}
