//! One campaign of the sample: made, filled, dealt out, called through, its scripts gone through, and brought to the
//! status it ends in.
//!
//! The calls to one contact are logged one after the other, those to different contacts at once.

use std::collections::BTreeMap;

use docket_aggregates::ids::{AgentId, CampaignId, PrincipalId};
use docket_aggregates::membership;
use docket_projections::memberships::{self, MembershipFilter, Selected};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::data::{CallOutcome, CampaignStatus, DemoCall, DemoCampaign, DemoSelection, FollowUpThen};
use super::{DemoError, Loading};
use crate::calls::{self, NewCall};
use crate::follow_ups::{self, Ending};
use crate::ledger::Actor;
use crate::service::Call;

/// Contacts that are called at once.
const AT_ONCE: usize = 48;
/// Executions that are recorded at once: each reads what the one before it wrote.
const RECORDED_AT_ONCE: usize = 8;
/// Contacts that one call of the assigning tool may name.
const NAMED_MAX: usize = 500;
const MINUTE_MILLIS: i64 = 60_000;

impl Loading<'_> {
    pub(super) async fn campaign(&mut self, campaign: &DemoCampaign) -> Result<(), DemoError> {
        let id = self.created(campaign).await?;
        self.loaded.campaigns.insert(campaign.key, id);
        self.filled(id, &campaign.selection).await?;
        if let Some(assignment) = &campaign.assignment {
            self.assigned(id, assignment.members, assignment.agent_keys).await?;
        }
        let members = self.members(id).await?;
        self.called(id, campaign, &members).await?;
        self.captured(id, campaign, &members).await?;
        self.found_out(id, campaign, &members).await?;
        for status in path_to(campaign.final_status) {
            self.moved(id, *status).await?;
        }
        Ok(())
    }

    async fn created(&self, campaign: &DemoCampaign) -> Result<CampaignId, DemoError> {
        const TOOL: &str = "create_outbound_campaign";
        let agents =
            campaign.agent_keys.iter().map(|key| self.agent_id(key)).collect::<Result<Vec<_>, _>>()?;
        let window = &campaign.settings.call_window;
        let mut input = json!({
            "name": campaign.name,
            "description": campaign.description,
            "goal": campaign.goal,
            "status": if campaign.final_status == CampaignStatus::Draft { "draft" } else { "active" },
            "agentIds": agents,
            "startDate": campaign.start_date,
            "settings": {
                "maxAttempts": campaign.settings.max_attempts,
                "callWindow": { "start": window.start, "end": window.end, "tz": window.tz },
            },
        });
        if let Some(end) = campaign.end_date {
            input["endDate"] = json!(end);
        }
        if let Some(key) = campaign.script_key {
            let script = self.loaded.scripts.get(key).ok_or(DemoError::Unknown(key))?;
            input["scriptTemplateId"] = json!(script);
        }
        if let Some(key) = campaign.form_key {
            let form = self.loaded.forms.get(key).ok_or(DemoError::Unknown(key))?;
            input["qualificationTemplateId"] = json!(form);
        }
        let data = self.tool(TOOL, input).await?;
        let id = data["campaign"]["campaignId"].as_str().and_then(|id| id.parse().ok());
        id.ok_or(DemoError::NoAnswer { tool: TOOL, field: "campaignId" })
    }

    async fn filled(&self, id: CampaignId, selection: &DemoSelection) -> Result<(), DemoError> {
        let mut filter = match selection.import.and_then(|index| self.loaded.imports.get(index)) {
            Some(folder) => json!({ "source": "import_folder", "importFolderId": folder }),
            None => json!({ "source": "crm" }),
        };
        if let Some(city) = selection.city {
            filter["city"] = city.into();
        }
        if let Some(tag) = selection.tag {
            filter["tagsAny"] = json!([tag]);
        }
        let input = json!({ "campaignId": id, "filter": filter, "maxContacts": selection.max_contacts });
        self.tool("bulk_add_contacts_to_campaign_by_filter", input).await.map(drop)
    }

    /// Deals out the first so many members in turn.
    async fn assigned(
        &self,
        id: CampaignId,
        count: usize,
        keys: &'static [&'static str],
    ) -> Result<(), DemoError> {
        let agents = keys.iter().map(|key| self.agent_id(key)).collect::<Result<Vec<_>, _>>()?;
        let members = self.members(id).await?;
        let contacts: Vec<_> = members.iter().take(count).map(|member| member.contact_id).collect();
        // Whole rounds, so that the next call begins with the first agent again.
        let named = NAMED_MAX - NAMED_MAX % agents.len().max(1);
        for contacts in contacts.chunks(named) {
            let input =
                json!({ "campaignId": id, "agentIds": agents, "contactIds": contacts, "confirm": true });
            self.tool("bulk_assign_campaign_contacts", input).await?;
        }
        Ok(())
    }

    /// The members by contact id: first those that belong to somebody, as they were dealt out in that order.
    async fn members(&self, id: CampaignId) -> Result<Vec<Selected>, DemoError> {
        let mut view = self.view().await?;
        let everybody = MembershipFilter::default();
        Ok(memberships::select(&mut view, self.organization, id, &everybody, i64::MAX).await?)
    }

    async fn called(
        &mut self,
        id: CampaignId,
        campaign: &DemoCampaign,
        members: &[Selected],
    ) -> Result<(), DemoError> {
        let mut stories: BTreeMap<usize, Vec<&DemoCall>> = BTreeMap::new();
        for call in &campaign.calls {
            stories.entry(call.nth_member).or_default().push(call);
        }
        let told: Vec<(u64, u64)> = stream::iter(stories)
            .filter_map(|(nth, story)| std::future::ready(members.get(nth).map(|member| (member, story))))
            .map(|(member, story)| self.told(id, member, story))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (calls, follow_ups) in told {
            self.loaded.calls += calls;
            self.loaded.follow_ups += follow_ups;
        }
        Ok(())
    }

    /// Records what was captured on the calls.
    async fn captured(
        &mut self,
        id: CampaignId,
        campaign: &DemoCampaign,
        members: &[Selected],
    ) -> Result<(), DemoError> {
        let runs = campaign.executions.iter().filter_map(|run| Some((members.get(run.nth_member)?, run)));
        let recorded: Vec<Value> = stream::iter(runs)
            .map(|(member, run)| {
                let answers = run.answers.iter();
                let responses: Vec<Value> =
                    answers.map(|(node, value)| json!({ "nodeId": node, "value": value })).collect();
                let input = json!({
                    "campaignId": id,
                    "contactId": member.contact_id,
                    "responses": responses,
                    "status": run.end.name(),
                });
                self.tool("upsert_script_execution", input)
            })
            .buffer_unordered(RECORDED_AT_ONCE)
            .try_collect()
            .await?;
        self.loaded.executions += recorded.len() as u64;
        Ok(())
    }

    /// Records what was found out about the contacts that were spoken to.
    async fn found_out(
        &mut self,
        id: CampaignId,
        campaign: &DemoCampaign,
        members: &[Selected],
    ) -> Result<(), DemoError> {
        let found = campaign.qualifications.iter();
        let found = found.filter_map(|one| Some((members.get(one.nth_member)?, one)));
        let recorded: Vec<Value> = stream::iter(found)
            .map(|(member, one)| {
                let input = json!({
                    "campaignId": id,
                    "contactId": member.contact_id,
                    "answers": one.answers,
                    "status": one.status,
                });
                self.tool("create_qualification", input)
            })
            .buffer_unordered(RECORDED_AT_ONCE)
            .try_collect()
            .await?;
        self.loaded.qualifications += recorded.len() as u64;
        Ok(())
    }

    /// Logs the calls to one member, the oldest first, and then closes the promises that were kept or taken back.
    async fn told(
        &self,
        id: CampaignId,
        member: &Selected,
        story: Vec<&DemoCall>,
    ) -> Result<(u64, u64), DemoError> {
        let now = self.app.clock.now();
        let calls = story.len() as u64;
        let mut promises = Vec::new();
        for call in story {
            let agent_id = member.agent_id.map_or_else(|| self.agent_id(call.agent_key), Ok)?;
            let new = NewCall {
                campaign_id: id,
                contact_id: member.contact_id,
                agent_id,
                outcome: outcome(call.outcome),
                started_at: now.plus_millis(-i64::from(call.minutes_before_now) * MINUTE_MILLIS),
                duration_seconds: Some(call.duration_seconds),
                note: call.note.map(str::to_owned),
                follow_up_at: call
                    .follow_up
                    .as_ref()
                    .map(|promise| now.plus_millis(promise.due_in_minutes * MINUTE_MILLIS)),
            };
            let by = self.call_of(agent_id);
            let logged = calls::log(self.app, &by, new).await?.entity;
            if let (Some(promised), Some(promise)) = (logged.follow_up_id, &call.follow_up) {
                promises.push((agent_id, promised, promise.then));
            }
        }
        for (agent_id, promised, then) in &promises {
            let ending = match then {
                FollowUpThen::None => continue,
                FollowUpThen::Done => Ending::Done,
                FollowUpThen::Cancelled => Ending::Cancelled,
            };
            let by = self.call_of(*agent_id);
            follow_ups::close(self.app, &by, *promised, ending).await?;
        }
        Ok((calls, promises.len() as u64))
    }

    /// A call of a service by the caller whose work it is.
    pub(super) fn call_of(&self, agent: AgentId) -> Call {
        self.call(Actor { kind: "agent", principal: PrincipalId(agent.uuid()), token: None })
    }

    async fn moved(&self, id: CampaignId, status: CampaignStatus) -> Result<(), DemoError> {
        let input: Value = json!({ "campaignId": id, "patch": { "status": status.name() } });
        self.tool("update_outbound_campaign", input).await.map(drop)
    }
}

/// The statuses through which a campaign goes once its calls were made.
fn path_to(status: CampaignStatus) -> &'static [CampaignStatus] {
    match status {
        CampaignStatus::Draft | CampaignStatus::Active => &[],
        CampaignStatus::Paused => &[CampaignStatus::Paused],
        CampaignStatus::Completed => &[CampaignStatus::Completed],
        CampaignStatus::Archived => &[CampaignStatus::Completed, CampaignStatus::Archived],
    }
}

const fn outcome(outcome: CallOutcome) -> membership::CallOutcome {
    match outcome {
        CallOutcome::NoAnswer => membership::CallOutcome::NoAnswer,
        CallOutcome::Busy => membership::CallOutcome::Busy,
        CallOutcome::Voicemail => membership::CallOutcome::Voicemail,
        CallOutcome::WrongNumber => membership::CallOutcome::WrongNumber,
        CallOutcome::Callback => membership::CallOutcome::Callback,
        CallOutcome::Reached => membership::CallOutcome::Reached,
        CallOutcome::Qualified => membership::CallOutcome::Qualified,
        CallOutcome::NotInterested => membership::CallOutcome::NotInterested,
        CallOutcome::DoNotContact => membership::CallOutcome::DoNotContact,
        CallOutcome::Unreachable => membership::CallOutcome::Unreachable,
        CallOutcome::Done => membership::CallOutcome::Done,
    }
}
