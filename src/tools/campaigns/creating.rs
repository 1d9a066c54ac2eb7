//! `create_outbound_campaign`: a campaign without contacts, a draft or active at once.
//!
//! What may be the matter with it beside its own stream, another campaign of the same name or an agent who is inactive,
//! is warned of and refuses nothing.

use cqrs_es::Aggregate;
use docket_aggregates::Decides;
use docket_aggregates::campaign::{
    Campaign, CampaignCommand, CampaignSettings, CampaignStatus, CampaignText,
};
use docket_aggregates::ids::{CampaignId, QualificationTemplateId, ScriptTemplateId};
use docket_projections::campaigns::CampaignListed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::settings::Settings;
use super::{CampaignDetail, attach, refused, row, same_name, some_text, staff};
use crate::envelope::Warning;
use crate::ledger::{Stream, Write};
use crate::tools::input::{Given, GivenAgent};
use crate::tools::qualification_templates::known_template;
use crate::tools::script_templates::usable;
use crate::tools::{Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Write create_outbound_campaign)
            .adding()
            .example("A draft", json!({ "name": "Spring tasting" }))
            .example(
                "Try it out first",
                json!({
                    "name": "Summer terrace",
                    "description": "Restaurants with a terrace",
                    "startDate": "2030-06-01",
                    "endDate": "2030-08-31",
                    "settings": { "maxAttempts": 5, "callWindow": { "start": "09:00", "end": "18:00", "tz": "Europe/Paris" } },
                    "dryRun": true,
                }),
            ),
    ]
}

/// Set up a campaign, as a draft unless it is to be active at once. It has no contacts yet: add them with
/// `bulk_add_contacts_to_campaign_by_filter`. A second campaign of the same name is allowed and warned about.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreateCampaign {
    /// What it is called.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// What it is about.
    #[schemars(length(max = 4000), extend("x-lines" = true))]
    description: Option<String>,
    /// What it is to reach.
    #[schemars(length(max = 1000), extend("x-lines" = true))]
    goal: Option<String>,
    /// draft (if not said) or active.
    status: Option<StartStatus>,
    /// The call script.
    script_template_id: Option<Given<ScriptTemplateId>>,
    /// The qualification form.
    qualification_template_id: Option<Given<QualificationTemplateId>>,
    /// The agents who work on it.
    #[serde(default)]
    #[schemars(length(max = 100))]
    agent_ids: Vec<GivenAgent>,
    /// First day, YYYY-MM-DD.
    #[schemars(extend("format" = "date"))]
    start_date: Option<String>,
    /// Last day, YYYY-MM-DD.
    #[schemars(extend("format" = "date"))]
    end_date: Option<String>,
    /// Attempts and hours for calls.
    settings: Option<Settings>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StartStatus {
    Draft,
    Active,
}

#[derive(Serialize, JsonSchema)]
struct CampaignCreated {
    campaign: CampaignDetail,
    /// What you should know although the campaign is created.
    warnings: Vec<Warning>,
}

async fn create_outbound_campaign(
    ctx: ToolContext,
    input: CreateCampaign,
    mut mint: Mint,
) -> ToolResult<Plan<CampaignCreated>> {
    let script = match &input.script_template_id {
        Some(given) => Some(usable(&ctx, given).await?),
        None => None,
    };
    let qualification = match &input.qualification_template_id {
        Some(given) => Some(known_template(&ctx, given).await?),
        None => None,
    };
    let settings =
        input.settings.map_or_else(|| Ok(CampaignSettings::default()), |s| s.checked("settings"))?;
    match same_name(&ctx, None, &input.name).await {
        // That the name is there twice is only a warning: read models that cannot answer do not stop the call.
        Err(Refusal::ReadSide(error)) => {
            tracing::warn!(%error, "campaigns of the same name were not looked for");
        }
        looked => looked?,
    }
    let agent_ids = staff(&ctx, &input.agent_ids, "agentIds").await?;

    let campaign_id: CampaignId = mint.id();
    let create = CampaignCommand::Create {
        campaign_id,
        text: CampaignText {
            name: input.name,
            description: some_text(input.description),
            goal: some_text(input.goal),
        },
        status: match input.status {
            None | Some(StartStatus::Draft) => CampaignStatus::Draft,
            Some(StartStatus::Active) => CampaignStatus::Active,
        },
        script_template_id: input.script_template_id.map(|given| given.id),
        qualification_template_id: qualification,
        agent_ids,
        start_date: input.start_date,
        end_date: input.end_date,
        settings,
    };
    let mut state = Campaign::default();
    let events = state.decide(create).map_err(|error| refused(error, ""))?;
    events.iter().cloned().for_each(|event| state.apply(event));
    let campaign = CampaignDetail::of(&CampaignListed {
        campaign: row(campaign_id, &state, 1, mint.at(), mint.at()),
        contact_count: 0,
        assigned_count: 0,
    });
    ctx.begins(campaign_id);
    let warnings = ctx.warnings();
    let mut plan = Plan {
        writes: vec![Write {
            stream: Stream::of::<Campaign>(campaign_id),
            expected: 0,
            events: events.into_iter().map(Into::into).collect(),
        }],
        guards: vec![],
        absent: vec![],
        // What is warned of lies beside the campaign, and changes with it when others work on: that is no drift.
        effects: Effects::one(campaign_id, "CREATED", &campaign),
        answer: CampaignCreated { campaign, warnings },
    };
    if let Some(script) = script {
        attach(&mut plan, &script, campaign_id)?;
    }
    Ok(plan)
}
