//! `list_campaigns`: campaigns page by page, by status, words or time.

use docket_aggregates::campaign::CampaignStatus;
use docket_projections::campaigns::{CampaignFilter, CampaignSort};
use docket_projections::{Total, campaigns};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CampaignSummary, in_order};
use crate::tools::input::{Moment, Name, Order, named};
use crate::tools::{Draft, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(list list_campaigns).example("The newest campaigns", json!({})).example(
            "Those being worked on, by name",
            json!({ "status": ["active", "paused"], "sort": "name" }),
        ),
    ]
}

/// List campaigns, with how many contacts are in each. Filter by status, words or time; sort by creation, name or last
/// change. For counts by status or agent use `bulk_get_campaign_contact_counts`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListCampaigns {
    /// Only campaigns in one of these statuses.
    #[serde(default)]
    #[schemars(length(min = 1, max = 5))]
    status: Vec<Name<CampaignStatus>>,
    /// Part of the name, description or goal; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// Created then or later.
    created_after: Option<Moment>,
    /// Created before then.
    created_before: Option<Moment>,
    /// What to sort by; createdAt if not said.
    sort: Option<Sort>,
    /// asc or desc; if not said the newest first, names from A to Z.
    order: Option<Order>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Sort {
    CreatedAt,
    Name,
    UpdatedAt,
}

#[derive(Serialize, JsonSchema)]
struct CampaignsListed {
    campaigns: Vec<CampaignSummary>,
}

async fn list_campaigns(ctx: ToolContext, input: ListCampaigns) -> ToolResult<CampaignsListed> {
    in_order(input.created_after, input.created_before)?;
    let sort = input.sort.unwrap_or(Sort::CreatedAt);
    let order = input.order.unwrap_or(if sort == Sort::Name { Order::Asc } else { Order::Desc });
    let filter = CampaignFilter {
        statuses: named(&input.status),
        search: input.search,
        created_after: input.created_after.map(|moment| moment.0),
        created_before: input.created_before.map(|moment| moment.0),
    };
    let sort = match sort {
        Sort::CreatedAt => CampaignSort::CreatedAt,
        Sort::Name => CampaignSort::Name,
        Sort::UpdatedAt => CampaignSort::UpdatedAt,
    };
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    let (page, total) = campaigns::list(
        &mut view,
        ctx.organization(),
        &filter,
        sort,
        order.into(),
        after.as_ref(),
        ctx.limit(),
    )
    .await?;
    ctx.paginate(page.next, Total::Exactly(total))?;
    Ok(CampaignsListed { campaigns: page.rows.iter().map(CampaignSummary::of).collect() })
}
