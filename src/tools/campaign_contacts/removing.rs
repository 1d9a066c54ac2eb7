//! Contacts out of a campaign.

use std::borrow::Cow;
use std::collections::HashMap;

use docket_aggregates::follow_up::{FollowUp, FollowUpEvent};
use docket_aggregates::ids::ContactId;
use docket_aggregates::roster::RosterCommand;
use docket_projections::follow_ups::PendingFollowUp;
use docket_projections::{calls, follow_ups};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BulkResult, MemberFilter, Members, Skips, left_out, roster_writes, unchanged_campaign};
use crate::ledger::{Stream, Write};
use crate::tools::campaigns::found;
use crate::tools::example::CAMPAIGN_ID;
use crate::tools::input::{GivenCampaign, GivenContact};
use crate::tools::workspace::FollowUps;
use crate::tools::{Confirm, Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(in crate::tools) fn tools() -> Vec<Draft> {
    vec![
        tool!(Destructive bulk_remove_contacts_from_campaign)
            .repeatable()
            .confirmed(Confirm::Always)
            .example(
                "What removing whoever is unreachable would mean",
                json!({ "campaignId": CAMPAIGN_ID, "filter": { "statusIn": ["unreachable"] }, "dryRun": true }),
            )
            .example(
                "Remove whoever said no, keep the follow-ups",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "filter": { "statusIn": ["not_interested"] },
                    "cancelFollowUps": false,
                    "confirm": true,
                }),
            ),
    ]
}

/// Take contacts out of a campaign: their status, agent and attempts there are forgotten, and pending and overdue
/// follow-ups there are cancelled. Other campaigns and the history of calls stay as they are. Without confirm true the
/// call only shows what would happen.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RemoveContacts {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// The contacts. Give this or filter.
    #[schemars(length(min = 1, max = 500))]
    contact_ids: Option<Vec<GivenContact>>,
    /// Which contacts of the campaign; {} means all. Give this or contactIds.
    filter: Option<MemberFilter>,
    /// Cancel their follow-ups in this campaign; true if not said.
    cancel_follow_ups: Option<bool>,
    /// No longer count their calls to this campaign. The calls stay in the history either way.
    #[serde(default)]
    detach_call_logs: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactsRemoved {
    #[serde(flatten)]
    result: BulkResult,
    follow_ups_cancelled: FollowUps,
    /// Calls that still count to the campaign.
    call_logs_preserved: u64,
    /// Calls that stay in the history and no longer count to the campaign.
    call_logs_detached: u64,
    /// Contacts whose status, agent and attempts in this campaign are forgotten.
    outbound_states_deleted: u64,
    /// Removed contacts that are in other campaigns too, where nothing changes.
    also_in_other_campaigns: u64,
}

async fn bulk_remove_contacts_from_campaign(
    ctx: ToolContext,
    input: RemoveContacts,
    _: Mint,
) -> ToolResult<Plan<ContactsRemoved>> {
    if input.contact_ids.is_some() == input.filter.is_some() {
        return Err(Refusal::field("", "EXACTLY_ONE_OF", "give contactIds or filter, and not both"));
    }
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    let campaign_id = listed.campaign.campaign_id;
    let mut skips = Skips::default();
    let filter = input.filter.unwrap_or_default();
    let members =
        Members::resolve(&mut view, &ctx, campaign_id, input.contact_ids.as_deref(), filter, &mut skips)
            .await?;

    let mut removed: Vec<ContactId> = Vec::with_capacity(members.selected.len());
    let mut elsewhere = 0;
    for member in &members.selected {
        if left_out(&ctx, member.contact_id) {
            skips.skip("NOT_IN_PREVIEW", member.contact_id);
        } else {
            removed.push(member.contact_id);
            elsewhere += u64::from(member.other_campaigns > 0);
        }
    }
    let cancel_follow_ups = input.cancel_follow_ups.unwrap_or(true);
    let pending: Vec<PendingFollowUp> = if cancel_follow_ups && !removed.is_empty() {
        follow_ups::pending(&mut view, organization, campaign_id, &removed).await?
    } else {
        Vec::new()
    };
    let calls = calls::count(&mut view, organization, campaign_id, &removed).await?;
    let detached: HashMap<ContactId, u64> = if input.detach_call_logs {
        calls::count_each(&mut view, organization, campaign_id, &removed).await?.into_iter().collect()
    } else {
        HashMap::new()
    };
    let overdue = pending.iter().filter(|follow_up| follow_up.due_at < ctx.now()).count() as u64;

    let mut promised: HashMap<ContactId, u64> = HashMap::new();
    pending.iter().for_each(|follow_up| *promised.entry(follow_up.contact_id).or_default() += 1);
    let effects = Effects::new(removed.iter().map(|contact| {
        let of = |counts: &HashMap<ContactId, u64>| counts.get(contact).copied().unwrap_or(0);
        let outcome = match (of(&promised), of(&detached)) {
            (0, 0) => Cow::Borrowed("REMOVED"),
            (n, 0) => Cow::Owned(format!("REMOVED with {n} follow-ups")),
            (n, calls) => Cow::Owned(format!("REMOVED with {n} follow-ups, and {calls} calls detached")),
        };
        (contact.uuid(), outcome)
    }));
    let result = skips.result(&mut view, &ctx, &removed, members.not_found, members.truncated).await?;
    let answer = ContactsRemoved {
        follow_ups_cancelled: FollowUps { pending: pending.len() as u64 - overdue, overdue },
        call_logs_preserved: if input.detach_call_logs { 0 } else { calls },
        call_logs_detached: if input.detach_call_logs { calls } else { 0 },
        outbound_states_deleted: result.applied,
        also_in_other_campaigns: elsewhere,
        result,
    };
    let command = RosterCommand::Remove {
        campaign_id,
        contact_ids: removed,
        detach_calls: input.detach_call_logs,
        cancel_follow_ups,
    };
    let mut writes = roster_writes(&mut view, &ctx, campaign_id, command).await?;
    // One that is scheduled between this view and the append is cancelled by the roster's event; whoever schedules one
    // after it finds the roster moved.
    writes.extend(pending.iter().map(|follow_up| Write {
        stream: Stream::of::<FollowUp>(follow_up.follow_up_id),
        expected: follow_up.version,
        events: vec![FollowUpEvent::FollowUpCancelled { because: "contact_removed".to_owned() }.into()],
    }));
    Ok(Plan { writes, guards: vec![unchanged_campaign(&listed)], absent: vec![], effects, answer })
}
