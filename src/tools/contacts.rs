//! Contacts with their work in campaigns.

use std::collections::BTreeMap;

use docket_aggregates::ids::{AgentId, ImportId};
use docket_aggregates::membership::MembershipStatus;
use docket_projections::contacts::ContactRow;
use docket_projections::memberships::MembershipRow;
use docket_projections::outbound_contacts::{self, ContactSort, FollowUpState, OutboundFilter};
use docket_projections::{agents, imports};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::campaigns::found;
use super::input::{Given, GivenAgent, GivenCampaign, Moment, Name, Order, named};
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(list list_outbound_contacts)
            .example("Whose follow-up is overdue", json!({ "followUp": "overdue", "limit": 10 }))
            .example("By name, with a phone number", json!({ "hasPhone": true, "sort": "name" })),
    ]
}

/// List contacts with where they stand in campaigns. Conditions on status and agent are about one and the same campaign.
/// To compare campaigns use `find_contacts_in_multiple_campaigns`, `get_campaign_contact_overlap` or
/// `bulk_get_campaign_contact_counts` instead of paging this list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListContacts {
    /// Only contacts of this campaign; the answer then shows this campaign alone.
    campaign_id: Option<GivenCampaign>,
    /// Only contacts that stand here in a campaign.
    #[serde(default)]
    #[schemars(length(min = 1, max = 9))]
    status_in: Vec<Name<MembershipStatus>>,
    /// Only contacts of this agent.
    assigned_agent_id: Option<GivenAgent>,
    /// true: only contacts of nobody.
    #[serde(default)]
    unassigned: bool,
    /// Only contacts with a follow-up to be seen to (pending), with one whose time has passed (overdue), or without any.
    follow_up: Option<FollowUp>,
    /// Part of the name, company, address, phone number, external id or city; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// Only contacts of this import folder.
    import_folder_id: Option<Given<ImportId>>,
    /// Only contacts with an e-mail address, or only those without.
    has_email: Option<bool>,
    /// Only contacts with a phone number, or only those without.
    has_phone: Option<bool>,
    /// What to sort by; createdAt if not said.
    sort: Option<Sort>,
    /// asc or desc; if not said the newest first, names from A to Z.
    order: Option<Order>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FollowUp {
    Pending,
    Overdue,
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Sort {
    CreatedAt,
    Name,
    UpdatedAt,
}

#[derive(Serialize, JsonSchema)]
struct ContactsListed {
    contacts: Vec<ContactListed>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactListed {
    contact_id: Uuid,
    /// Everything about a person is null once it was erased.
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    company: Option<String>,
    /// Where it stands in each of its campaigns.
    campaigns: Vec<Stay>,
    /// It asked not to be contacted.
    do_not_contact: bool,
    /// Its data was erased.
    erased: bool,
    /// In a detailed answer: what else is known.
    details: Option<Details>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Stay {
    campaign_id: Uuid,
    status: Name<MembershipStatus>,
    assigned_agent_id: Option<Uuid>,
    attempts: u32,
    last_call_at: Option<Moment>,
    next_follow_up_at: Option<Moment>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Details {
    city: Option<String>,
    country: Option<String>,
    job_title: Option<String>,
    external_id: Option<String>,
    source: Option<String>,
    tags: Vec<String>,
    custom_fields: BTreeMap<String, String>,
    import_folder_id: Option<Uuid>,
    legal_basis: &'static str,
    created_at: Moment,
    updated_at: Moment,
}

async fn list_outbound_contacts(ctx: ToolContext, input: ListContacts) -> ToolResult<ContactsListed> {
    if input.assigned_agent_id.is_some() && input.unassigned {
        let message = "a contact of nobody has no agent: give assignedAgentId or unassigned";
        return Err(Refusal::field("unassigned", "CONTRADICTION", message));
    }
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    if let Some(campaign) = &input.campaign_id {
        found(&mut view, &ctx, campaign).await?;
    }
    if let Some(agent) = &input.assigned_agent_id
        && agents::get(&mut view, ctx.organization(), agent.id).await?.is_none()
    {
        return Err(Refusal::not_found(Kind::Agent, &agent.text));
    }
    if let Some(folder) = &input.import_folder_id {
        folder_found(&mut view, &ctx, folder).await?;
    }
    let sort = input.sort.unwrap_or(Sort::CreatedAt);
    let order = input.order.unwrap_or(if sort == Sort::Name { Order::Asc } else { Order::Desc });
    let filter = OutboundFilter {
        campaign_id: input.campaign_id.map(|given| given.id),
        status_in: named(&input.status_in),
        assigned_agent_id: input.assigned_agent_id.map(|given| given.id),
        unassigned: input.unassigned,
        follow_up: input.follow_up.map(|follow_up| match follow_up {
            FollowUp::Pending => FollowUpState::Pending,
            FollowUp::Overdue => FollowUpState::Overdue,
            FollowUp::None => FollowUpState::None,
        }),
        search: input.search,
        import_id: input.import_folder_id.map(|given| given.id),
        has_email: input.has_email,
        has_phone: input.has_phone,
    };
    let sort = match sort {
        Sort::CreatedAt => ContactSort::CreatedAt,
        Sort::Name => ContactSort::Name,
        Sort::UpdatedAt => ContactSort::UpdatedAt,
    };
    let (page, total) = outbound_contacts::list(
        &mut view,
        ctx.organization(),
        &filter,
        sort,
        order.into(),
        after.as_ref(),
        ctx.limit(),
        ctx.now(),
    )
    .await?;
    ctx.paginate(page.next, total)?;
    let detailed = ctx.detailed();
    let contacts = page.rows.into_iter().map(|row| listed(row.contact, &row.campaigns, detailed)).collect();
    Ok(ContactsListed { contacts })
}

/// Refuses an import folder that is not of this organization.
pub async fn folder_found(view: &mut View, ctx: &ToolContext, given: &Given<ImportId>) -> ToolResult<()> {
    match imports::get(view, ctx.organization(), given.id).await? {
        Some(_) => Ok(()),
        None => Err(Refusal::not_found(Kind::ImportFolder, &given.text)),
    }
}

fn listed(row: ContactRow, stays: &[MembershipRow], detailed: bool) -> ContactListed {
    let erased = row.profile.is_none();
    let profile = row.profile.unwrap_or_default();
    let campaigns = stays
        .iter()
        .map(|stay| Stay {
            campaign_id: stay.campaign_id.uuid(),
            status: Name(stay.status),
            assigned_agent_id: stay.agent_id.map(AgentId::uuid),
            attempts: stay.attempts,
            last_call_at: stay.last_call_at.map(Moment),
            next_follow_up_at: stay.next_follow_up_at.map(Moment),
        })
        .collect();
    ContactListed {
        contact_id: row.contact_id.uuid(),
        first_name: profile.first_name,
        last_name: profile.last_name,
        email: profile.email,
        phone: profile.phone,
        company: profile.company,
        campaigns,
        do_not_contact: row.do_not_contact,
        erased,
        details: detailed.then(|| Details {
            city: profile.city,
            country: profile.country,
            job_title: profile.job_title,
            external_id: profile.external_id,
            source: profile.source,
            tags: profile.tags,
            custom_fields: profile.custom,
            import_folder_id: row.import_id.map(ImportId::uuid),
            legal_basis: row.legal_basis.name(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }),
    }
}
