//! Inputs that work: for whoever reads about a tool, and for the tests that call every one of them.
//!
//! An example has something standing in where an id belongs. What an organization has is put there before it is shown to
//! it, and what it lacks is said.

use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::refusal::ToolResult;
use super::{qualification_templates, qualifications, script_executions};
use crate::app::App;
use crate::readside::{Consistency, View};

/// Stands in examples for the id of some campaign. `capabilities` of an organization puts one of its own there.
pub(super) const CAMPAIGN_ID: &str = "CAMPAIGN_ID";
/// Stands in examples for the id of some agent.
pub(super) const AGENT_ID: &str = "AGENT_ID";
/// Stands in examples for the id of a campaign in which somebody goes through a script at the moment.
pub(super) const EXECUTION_CAMPAIGN_ID: &str = "EXECUTION_CAMPAIGN_ID";
/// Stands in examples for the id of the contact with whom that is done.
pub(super) const CONTACT_ID: &str = "CONTACT_ID";
/// Stands in examples for the id of some script template.
pub(super) const SCRIPT_TEMPLATE_ID: &str = "SCRIPT_TEMPLATE_ID";
/// Stands in examples for the id of that contact's open script execution.
pub(super) const EXECUTION_ID: &str = "EXECUTION_ID";
/// Stands in examples for a question of the script that is gone through there.
pub(super) const SCRIPT_NODE_ID: &str = "SCRIPT_NODE_ID";
/// Stands in examples for the id of some qualification template.
pub(super) const QUALIFICATION_TEMPLATE_ID: &str = "QUALIFICATION_TEMPLATE_ID";
/// Stands in examples for the id of some qualification.
pub(super) const QUALIFICATION_ID: &str = "QUALIFICATION_ID";
/// Stands in examples for the id of a campaign with a contact of whom no qualification is open.
pub(super) const QUALIFIABLE_CAMPAIGN_ID: &str = "QUALIFIABLE_CAMPAIGN_ID";
/// Stands in examples for the id of that contact.
pub(super) const QUALIFIABLE_CONTACT_ID: &str = "QUALIFIABLE_CONTACT_ID";

/// An input that works, for the reader and for the tests.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// What it is an example of.
    pub title: &'static str,
    /// The input.
    pub input: Value,
    /// What the organization does not have yet and the example needs, if anything is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// Ids of an organization that its examples may use.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// A campaign that takes contacts.
    pub campaign_id: Option<Uuid>,
    /// An agent that takes assignments.
    pub agent_id: Option<Uuid>,
    /// A script template that is not deleted.
    pub script_template_id: Option<Uuid>,
    /// An open script execution of any campaign that takes contacts.
    pub execution: Option<script_executions::Open>,
    /// A qualification template.
    pub qualification_template_id: Option<Uuid>,
    /// A qualification.
    pub qualification_id: Option<Uuid>,
    /// A campaign that takes contacts, and a contact of it of whom no qualification is open.
    pub qualifiable: Option<(Uuid, Uuid)>,
    /// Whether an organization was looked at: what it does not have is then said.
    pub looked: bool,
}

/// How a campaign stands that takes contacts: the examples look for what they need in all of these.
pub(super) const TAKING_CONTACTS: [CampaignStatus; 3] =
    [CampaignStatus::Active, CampaignStatus::Draft, CampaignStatus::Paused];

impl Known {
    /// What the read models know at the moment.
    pub async fn of(app: &App, organization: OrganizationId) -> ToolResult<Self> {
        let mut view = app.readside.view(organization, Consistency::Eventual).await?;
        let campaign = open_campaign(&mut view, organization).await?;
        let agents = docket_projections::agents::active_ids(&mut view, organization, 1).await?;
        let script = docket_projections::script_templates::newest(&mut view, organization).await?;
        let execution = script_executions::some_open(&mut view, organization).await?;
        Ok(Self {
            campaign_id: campaign.map(|campaign| campaign.uuid()),
            agent_id: agents.first().map(|agent| agent.uuid()),
            script_template_id: script.map(|script| script.template_id.uuid()),
            execution,
            qualification_template_id: qualification_templates::some_template(&mut view, organization)
                .await?,
            qualification_id: qualifications::some_qualification(&mut view, organization).await?,
            qualifiable: qualifications::some_contact(&mut view, organization).await?,
            looked: true,
        })
    }

    pub(super) fn fill(&self, example: &Example) -> Example {
        let mut filled = example.clone();
        self.fill_in(&mut filled.input);
        filled.needs = if self.looked { missing(&filled.input) } else { None };
        filled
    }

    fn fill_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let execution = self.execution.as_ref();
                let known = match text.as_str() {
                    CAMPAIGN_ID => self.campaign_id.map(|id| id.to_string()),
                    AGENT_ID => self.agent_id.map(|id| id.to_string()),
                    SCRIPT_TEMPLATE_ID => self.script_template_id.map(|id| id.to_string()),
                    EXECUTION_CAMPAIGN_ID => execution.map(|open| open.campaign_id.to_string()),
                    CONTACT_ID => execution.map(|open| open.contact_id.to_string()),
                    EXECUTION_ID => execution.map(|open| open.execution_id.to_string()),
                    SCRIPT_NODE_ID => execution.and_then(|open| open.question.clone()),
                    QUALIFICATION_TEMPLATE_ID => self.qualification_template_id.map(|id| id.to_string()),
                    QUALIFICATION_ID => self.qualification_id.map(|id| id.to_string()),
                    QUALIFIABLE_CAMPAIGN_ID => self.qualifiable.map(|(campaign, _)| campaign.to_string()),
                    QUALIFIABLE_CONTACT_ID => self.qualifiable.map(|(_, contact)| contact.to_string()),
                    _ => None,
                };
                if let Some(known) = known {
                    *text = known;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_in(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.fill_in(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }
}

/// A campaign that takes contacts: the newest that is active, else the newest.
async fn open_campaign(view: &mut View, organization: OrganizationId) -> ToolResult<Option<CampaignId>> {
    for statuses in [&TAKING_CONTACTS[..1], &TAKING_CONTACTS[1..]] {
        let newest = docket_projections::campaigns::ids_by_status(view, organization, statuses, 1).await?;
        if let Some(newest) = newest.first() {
            return Ok(Some(*newest));
        }
    }
    Ok(None)
}

/// What an example lacks that still has something standing in for an id.
fn missing(input: &Value) -> Option<String> {
    let text = match input {
        Value::String(text) => text.as_str(),
        Value::Array(items) => return items.iter().find_map(missing),
        Value::Object(members) => return members.values().find_map(missing),
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    let what = match text {
        CAMPAIGN_ID => "a campaign that is draft, active or paused",
        AGENT_ID => "an active agent",
        SCRIPT_TEMPLATE_ID => "a script template",
        EXECUTION_CAMPAIGN_ID | CONTACT_ID | EXECUTION_ID => {
            "an open script execution: begin one with upsert_script_execution"
        }
        SCRIPT_NODE_ID => "an open script execution whose script asks a question",
        QUALIFICATION_TEMPLATE_ID => "a qualification template",
        QUALIFICATION_ID => "a qualification",
        QUALIFIABLE_CAMPAIGN_ID | QUALIFIABLE_CONTACT_ID => {
            "a contact of an open campaign of whom no qualification is open"
        }
        _ => return None,
    };
    Some(format!("{text} is to be replaced: the organization does not have {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::catalog;

    #[test]
    fn every_example_fits_its_schema() {
        for tool in catalog().iter() {
            assert!(tool.examples.len() >= 2, "{}", tool.name);
            for example in &tool.examples {
                let faults = tool.input.check(&mut example.input.clone());
                assert_eq!(faults, [], "{}: {}", tool.name, example.title);
            }
        }
    }

    #[test]
    fn examples_are_filled_in_with_ids_that_exist() {
        let known = Known {
            campaign_id: Some(Uuid::from_u128(1)),
            agent_id: Some(Uuid::from_u128(2)),
            script_template_id: Some(Uuid::from_u128(3)),
            execution: Some(script_executions::Open {
                execution_id: Uuid::from_u128(4),
                campaign_id: Uuid::from_u128(9),
                contact_id: Uuid::from_u128(5),
                question: Some("budget".to_owned()),
            }),
            qualification_template_id: Some(Uuid::from_u128(6)),
            qualification_id: Some(Uuid::from_u128(7)),
            qualifiable: Some((Uuid::from_u128(8), Uuid::from_u128(10))),
            looked: true,
        };
        let filled = Value::from(catalog().capabilities(None, None, &known)).to_string();
        for stand_in in [
            CAMPAIGN_ID,
            AGENT_ID,
            CONTACT_ID,
            SCRIPT_TEMPLATE_ID,
            EXECUTION_ID,
            SCRIPT_NODE_ID,
            QUALIFICATION_TEMPLATE_ID,
            QUALIFICATION_ID,
            QUALIFIABLE_CONTACT_ID,
            EXECUTION_CAMPAIGN_ID,
            QUALIFIABLE_CAMPAIGN_ID,
        ] {
            assert!(!filled.contains(&format!("\"{stand_in}\"")), "{stand_in}");
        }
        assert!(!filled.contains("is to be replaced"));
    }

    #[test]
    fn an_example_says_what_the_organization_does_not_have() {
        let looked = Known { looked: true, ..Known::default() };
        for (known, told) in [(looked, true), (Known::default(), false)] {
            for tool in catalog().capabilities(None, None, &known) {
                for example in tool["examples"].as_array().unwrap() {
                    let stands_in = example["input"].to_string().contains("_ID\"");
                    assert_eq!(example["needs"].is_string(), told && stands_in, "{example}");
                }
            }
        }
    }
}
