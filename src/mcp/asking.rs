//! What a person is asked before something is taken away or handed out: in their words, by the names that they know.
//!
//! A question names what would change, what would not and why, and what becomes of what is taken. Names are looked up as
//! the read models have them; one that cannot be found is told by its id, since asking less precisely is better than
//! not asking.

use docket_aggregates::campaign::Campaign;
use docket_aggregates::ids::{AgentId, CampaignId, OrganizationId, ScriptTemplateId};
use docket_aggregates::personal::Personal;
use docket_aggregates::script_template::ScriptTemplate;
use docket_projections::agents;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::readside::Consistency;

/// Characters of a name that are shown.
const NAME_MAX: usize = 80;
/// Names of one list that are shown.
const NAMES_MAX: usize = 10;

/// Whether the preview came to nothing that a person could say yes to.
pub fn changes_nothing(data: &Value) -> bool {
    data["applied"].as_u64() == Some(0)
}

/// The question about what `tool` would do, as its preview `data` tells it.
pub async fn question(app: &App, body: &Map<String, Value>, tool: &str, data: &Value) -> String {
    let none = Value::Null;
    let input = body.get("input").unwrap_or(&none);
    let organization = id(body.get("organizationId").unwrap_or(&none)).map(OrganizationId);
    let names = Names { app, organization };
    let mut words = match tool {
        "delete_script_template" => deleting(&names.script(&input["templateId"]).await, data),
        "bulk_remove_contacts_from_campaign" => removing(&names.campaign(&input["campaignId"]).await, data),
        _ => {
            let campaign = names.campaign(&input["campaignId"]).await;
            let shares = names.shares(&data["perAgent"]).await;
            handing_out(tool, &campaign, &shares, data)
        }
    };
    words.push_str(&left(data));
    words
}

fn deleting(script: &str, data: &Value) -> String {
    let mut words = format!("Delete the call script {script}?");
    let campaigns = data["detachedFromCampaigns"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !campaigns.is_empty() {
        let names = campaigns.iter().filter_map(|campaign| campaign["name"].as_str()).map(quoted);
        words.push_str(&format!(" It is taken from {}, which then have no script.", listed(names.collect())));
    }
    let executions = data["executionsPreserved"].as_u64().unwrap_or(0);
    words.push_str(&format!(
        " Conversations with it that stay: {executions}. It can still be read, and is restored by exporting and importing \
         it."
    ));
    words
}

fn removing(campaign: &str, data: &Value) -> String {
    let applied = data["applied"].as_u64().unwrap_or(0);
    let mut words = format!(
        "Take {} out of the campaign {campaign}? Their status, agent and attempts there are forgotten.",
        counted(applied, "contact")
    );
    let follow_ups = &data["followUpsCancelled"];
    let cancelled = follow_ups["pending"].as_u64().unwrap_or(0) + follow_ups["overdue"].as_u64().unwrap_or(0);
    if cancelled > 0 {
        words.push_str(&format!(" Follow-ups that are cancelled: {cancelled}."));
    }
    let detached = data["callLogsDetached"].as_u64().unwrap_or(0);
    if detached > 0 {
        words.push_str(&format!(" Calls that no longer count to it: {detached}."));
    }
    words
}

fn handing_out(tool: &str, campaign: &str, shares: &[String], data: &Value) -> String {
    let applied = counted(data["applied"].as_u64().unwrap_or(0), "contact");
    let agents = if shares.is_empty() { "its agents".to_owned() } else { listed(shares.to_vec()) };
    if tool == "bulk_add_contacts_to_campaign_by_filter" {
        format!("Add {applied} to the campaign {campaign} and assign them to {agents}?")
    } else {
        format!("Assign {applied} of the campaign {campaign} to {agents}?")
    }
}

/// What stays as it is, and why.
fn left(data: &Value) -> String {
    let skipped = data["skipped"].as_u64().unwrap_or(0);
    if skipped == 0 {
        return String::new();
    }
    let reasons = data["skippedByReason"].as_object().into_iter().flatten();
    let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{reason}: {count}")).collect();
    format!(" Left as they are: {} ({}).", counted(skipped, "contact"), reasons.join(", "))
}

fn counted(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// A name between quotation marks, which it cannot end by itself.
fn quoted(name: &str) -> String {
    let shown: String =
        name.chars().filter(|c| !matches!(c, '“' | '”') && !c.is_control()).take(NAME_MAX).collect();
    let more = if name.chars().count() > NAME_MAX { "…" } else { "" };
    format!("“{shown}{more}”")
}

fn listed(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn id(value: &Value) -> Option<Uuid> {
    value.as_str()?.trim().parse().ok()
}

/// What things are called.
struct Names<'a> {
    app: &'a App,
    organization: Option<OrganizationId>,
}

impl Names<'_> {
    async fn campaign(&self, given: &Value) -> String {
        let found = async {
            let campaign = CampaignId(id(given)?);
            let state = self.app.ledger.load::<Campaign>(self.organization?, campaign).await.ok()?.state;
            state.text.as_ref().and_then(Personal::value).map(|text| quoted(&text.name))
        };
        found.await.unwrap_or_else(|| quoted(given.as_str().unwrap_or_default()))
    }

    async fn script(&self, given: &Value) -> String {
        let found = async {
            let script = ScriptTemplateId(id(given)?);
            let state = self.app.ledger.load::<ScriptTemplate>(self.organization?, script).await.ok()?.state;
            state.content.as_ref().and_then(Personal::value).map(|content| quoted(&content.name))
        };
        found.await.unwrap_or_else(|| quoted(given.as_str().unwrap_or_default()))
    }

    /// Who gets how many, for those who get any.
    async fn shares(&self, per_agent: &Value) -> Vec<String> {
        let shares = per_agent.as_array().into_iter().flatten();
        let shares: Vec<(Uuid, u64)> = shares
            .filter_map(|share| Some((id(&share["agentId"])?, share["added"].as_u64()?)))
            .filter(|(_, added)| *added > 0)
            .collect();
        let ids: Vec<AgentId> = shares.iter().map(|(agent, _)| AgentId(*agent)).collect();
        let known = async {
            let organization = self.organization?;
            let mut view = self.app.readside.view(organization, Consistency::Eventual).await.ok()?;
            agents::by_ids(&mut view, organization, &ids).await.ok()
        };
        let known = known.await.unwrap_or_default();
        let name = |agent: Uuid| {
            let row = known.iter().find(|row| row.agent_id.uuid() == agent);
            let profile = row.and_then(|row| row.profile.as_ref());
            profile.map_or_else(|| agent.to_string(), |profile| quoted(&profile.name))
        };
        shares.into_iter().map(|(agent, added)| format!("{} ({added})", name(agent))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_says_what_it_is_about() {
        let data = json!({
            "applied": 3, "skipped": 1, "skippedByReason": { "NOT_IN_CAMPAIGN": 1 },
            "followUpsCancelled": { "pending": 1, "overdue": 1 }, "callLogsDetached": 0,
        });
        assert_eq!(
            removing("“Spring”", &data) + &left(&data),
            "Take 3 contacts out of the campaign “Spring”? Their status, agent and attempts there are forgotten. \
             Follow-ups that are cancelled: 2. Left as they are: 1 contact (NOT_IN_CAMPAIGN: 1)."
        );
        let data = json!({
            "detachedFromCampaigns": [{ "name": "Spring" }, { "name": "Autumn" }], "executionsPreserved": 1,
        });
        assert_eq!(
            deleting("“Heating”", &data),
            "Delete the call script “Heating”? It is taken from “Spring” and “Autumn”, which then have no script. \
             Conversations with it that stay: 1. It can still be read, and is restored by exporting and importing it."
        );
        let shares = ["“ada” (2)".to_owned(), "“bea” (1)".to_owned()];
        assert_eq!(
            handing_out("bulk_assign_campaign_contacts", "“Spring”", &shares, &json!({ "applied": 3 })),
            "Assign 3 contacts of the campaign “Spring” to “ada” (2) and “bea” (1)?"
        );
    }

    #[test]
    fn a_name_cannot_speak_for_the_question() {
        assert_eq!(quoted("Spring”? Say yes.\n“"), "“Spring? Say yes.”");
        assert_eq!(quoted(&"é".repeat(81)), format!("“{}…”", "é".repeat(80)));
        let many = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(listed(many), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!((listed(vec![]), listed(vec!["a".into()])), (String::new(), "a".to_owned()));
    }
}
