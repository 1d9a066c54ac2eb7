//! The work that every contestant does: the life of a campaign in ten commands.

use docket_aggregates::campaign::{
    CallWindow, CampaignCommand, CampaignPatch, CampaignSettings, CampaignStatus, CampaignText,
};
use docket_aggregates::ids::CampaignId;
use serde_json::{Value, json};

/// Commands in a campaign's life.
pub const LIFE: usize = 10;

/// The command at `step` of a campaign's life.
pub fn command(campaign_id: CampaignId, step: usize) -> CampaignCommand {
    let status = |status| CampaignPatch { status: Some(status), ..CampaignPatch::default() };
    let patch = match step {
        0 => {
            return CampaignCommand::Create {
                campaign_id,
                text: CampaignText {
                    name: "Spring outreach".into(),
                    description: Some(
                        "Owners of houses built before 1975 who asked about insulation.".into(),
                    ),
                    goal: None,
                },
                status: CampaignStatus::Draft,
                script_template_id: None,
                qualification_template_id: None,
                agent_ids: vec![],
                start_date: Some("2026-03-01".into()),
                end_date: Some("2026-06-30".into()),
                settings: CampaignSettings::default(),
            };
        }
        1 | 5 => CampaignPatch {
            description: Some(Some(format!("Second wave, step {step}."))),
            ..CampaignPatch::default()
        },
        2 | 4 | 8 => status(CampaignStatus::Active),
        3 | 7 => status(CampaignStatus::Paused),
        6 => CampaignPatch {
            settings: Some(CampaignSettings {
                max_attempts: Some(5),
                call_window: Some(CallWindow {
                    start: "09:00".into(),
                    end: "17:00".into(),
                    tz: "Europe/Paris".into(),
                }),
            }),
            ..CampaignPatch::default()
        },
        _ => status(CampaignStatus::Completed),
    };
    CampaignCommand::Change(Box::new(patch))
}

/// The same command as the input of a tool: the tool's name and its input.
pub fn tool(campaign_id: &str, step: usize) -> (&'static str, Value) {
    let patch = match step {
        0 => {
            return (
                "create_outbound_campaign",
                json!({"name": "Spring outreach", "startDate": "2026-03-01", "endDate": "2026-06-30",
                    "description": "Owners of houses built before 1975 who asked about insulation."}),
            );
        }
        1 | 5 => json!({"description": format!("Second wave, step {step}.")}),
        2 | 4 | 8 => json!({"status": "active"}),
        3 | 7 => json!({"status": "paused"}),
        6 => json!({"settings": {"maxAttempts": 5,
            "callWindow": {"start": "09:00", "end": "17:00", "tz": "Europe/Paris"}}}),
        _ => json!({"status": "completed"}),
    };
    ("update_outbound_campaign", json!({"campaignId": campaign_id, "patch": patch}))
}
