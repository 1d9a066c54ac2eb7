//! Contacts with their work in campaigns, as callers go through them.
//!
//! Conditions on status and caller are about one and the same membership: in the campaign that is asked for, or else
//! in any. Without such a condition every contact is listed, also one that is in no campaign.
//!
//! A page should cost what the page holds. The counters say beforehand how many memberships fulfil the conditions, so
//! the way to them is chosen here and not guessed by the planner: see [`Route`].

use std::collections::HashMap;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, ImportId, OrganizationId};
use docket_aggregates::membership::MembershipStatus;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use crate::campaign_counters::{Kind, cube};
use crate::columns::At;
use crate::contacts::{self, ContactRow};
use crate::memberships::{self, MembershipRow, status_codes};
use crate::organization_counters;
use crate::page::{Keyset, Order, Page, SortKind, SortValue, Total, push_after};
use crate::searchable::patterns;
use crate::selection::push_presence;

/// Which follow-ups a contact has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUpState {
    /// One that is still to be seen to, due or not.
    Pending,
    /// One that was due before now.
    Overdue,
    /// None that is still to be seen to.
    None,
}

/// Which contacts are meant. What is absent or empty means "any".
#[derive(Clone, Debug, Default)]
pub struct OutboundFilter {
    /// Only those in this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Only those that stand here.
    pub status_in: Vec<MembershipStatus>,
    /// Only those of this caller.
    pub assigned_agent_id: Option<AgentId>,
    /// Only those of nobody.
    pub unassigned: bool,
    /// Only those with such follow-ups, in the campaign that is asked for or else in any.
    pub follow_up: Option<FollowUpState>,
    /// Part of the name, company, e-mail, phone, external id or city.
    pub search: Option<String>,
    /// Only those of this folder.
    pub import_id: Option<ImportId>,
    /// Only those with an e-mail address, or only those without.
    pub has_email: Option<bool>,
    /// Only those with a phone number, or only those without.
    pub has_phone: Option<bool>,
}

impl OutboundFilter {
    fn about_memberships(&self) -> bool {
        self.campaign_id.is_some()
            || !self.status_in.is_empty()
            || self.assigned_agent_id.is_some()
            || self.unassigned
    }

    /// Whether there is any condition that counters know nothing of.
    fn beyond_counters(&self) -> bool {
        self.follow_up.is_some()
            || self.search.is_some()
            || self.import_id.is_some()
            || self.has_email.is_some()
            || self.has_phone.is_some()
    }

    fn counts(&self, kind: &Kind) -> bool {
        (self.status_in.is_empty() || self.status_in.contains(&kind.status))
            && (self.assigned_agent_id.is_none() || self.assigned_agent_id == kind.agent_id)
            && (!self.unassigned || kind.agent_id.is_none())
    }
}

/// What contacts are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContactSort {
    /// Their id, which is about when they came: the cheapest order in every case.
    #[default]
    Arrival,
    /// When they were taken in.
    CreatedAt,
    /// Family name, then given name, without regard to case and accents.
    Name,
    /// When what is known of them last changed. Not indexed: every contact that is meant is looked at.
    UpdatedAt,
}

impl ContactSort {
    const fn column(self) -> (&'static str, SortKind, &'static str) {
        match self {
            Self::Arrival => ("c.contact_id", SortKind::Id, "c.contact_id"),
            Self::CreatedAt => ("c.created_at", SortKind::At, "c.contact_id"),
            Self::Name => ("c.name_key", SortKind::Text, "c.contact_id"),
            Self::UpdatedAt => ("c.updated_at", SortKind::At, "c.contact_id"),
        }
    }

    fn key(self, contact: &ContactRow) -> Keyset {
        let value = match self {
            Self::Arrival => return Keyset::id(contact.contact_id),
            Self::CreatedAt => SortValue::At(contact.created_at),
            Self::Name => SortValue::Text(contact.name_key()),
            Self::UpdatedAt => SortValue::At(contact.updated_at),
        };
        Keyset::after(value, contact.contact_id)
    }
}

/// The way to the contacts that fulfil the conditions on memberships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// There is no such condition: the contacts themselves.
    Contacts,
    /// The memberships of the campaign, which lie in the order of contact ids.
    Members,
    /// The memberships that fulfil the conditions, which are few, and then their contacts.
    Few,
    /// The contacts in the order of the list, and for each the question whether it fulfils the conditions: so many do
    /// that a page is soon full.
    Many,
}

/// More memberships than this are many.
const FEW: u64 = 20_000;

/// The memberships that fulfil the conditions on memberships, by the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    memberships: u64,
    /// How many campaigns these are in.
    campaigns: usize,
    /// How many the one with the most has: so many contacts there are at least.
    largest: u64,
}

/// A contact with its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundContact {
    /// The contact.
    pub contact: ContactRow,
    /// The campaigns that it is in, by id; with a campaign asked for, that one alone.
    pub campaigns: Vec<MembershipRow>,
}

/// Contacts that fulfil the filter, at `now`, with the total.
#[allow(clippy::too_many_arguments, reason = "a list is asked for by filter, order, place and time")]
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &OutboundFilter,
    sort: ContactSort,
    order: Order,
    after: Option<&Keyset>,
    limit: u32,
    now: Timestamp,
) -> sqlx::Result<(Page<OutboundContact>, Total)> {
    let reach = reach(conn, organization, filter).await?;
    let total = total(conn, organization, filter, reach, now).await?;
    if total == Total::Exactly(0) {
        return Ok((Page { rows: Vec::new(), next: None }, total));
    }
    let route = match reach {
        None => Route::Contacts,
        Some(_) if filter.campaign_id.is_some() && sort == ContactSort::Arrival => Route::Members,
        Some(reach) if reach.memberships <= FEW || sort == ContactSort::UpdatedAt => Route::Few,
        Some(_) => Route::Many,
    };

    let mut query = QueryBuilder::new(format!("SELECT {}", contacts::COLUMNS));
    push_from(&mut query, organization, filter, route, now);
    let column = sort.column();
    if let Some(after) = after {
        push_after(&mut query, column, order, after);
    }
    let direction = order.sql();
    match sort {
        ContactSort::Arrival => query.push(format!(" ORDER BY c.contact_id {direction} LIMIT ")),
        _ => query.push(format!(" ORDER BY {} {direction}, c.contact_id {direction} LIMIT ", column.0)),
    };
    query.push_bind(i64::from(limit) + 1);
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    let found = rows.iter().map(contacts::row).collect::<sqlx::Result<Vec<_>>>()?;
    let mut page = Page::of(found, limit, |contact| sort.key(contact));

    let rows = std::mem::take(&mut page.rows);
    let ids: Vec<ContactId> = rows.iter().map(|contact| contact.contact_id).collect();
    let only = filter.campaign_id.map(|campaign| vec![campaign]);
    let mut work: HashMap<ContactId, Vec<MembershipRow>> = HashMap::new();
    for membership in memberships::of_contacts(conn, organization, &ids, only.as_deref()).await? {
        work.entry(membership.contact_id).or_default().push(membership);
    }
    let listed = rows
        .into_iter()
        .map(|contact| OutboundContact {
            campaigns: work.remove(&contact.contact_id).unwrap_or_default(),
            contact,
        })
        .collect();
    Ok((page.with(listed), total))
}

/// How many memberships fulfil the conditions on memberships; none when there is no such condition.
async fn reach(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &OutboundFilter,
) -> sqlx::Result<Option<Reach>> {
    if !filter.about_memberships() {
        return Ok(None);
    }
    let campaign = filter.campaign_id.map(|campaign| [campaign]);
    let mut campaigns: HashMap<CampaignId, u64> = HashMap::new();
    for (kind, n) in cube(conn, organization, campaign.as_ref().map(<[_; 1]>::as_slice), None).await? {
        if filter.counts(&kind) {
            *campaigns.entry(kind.campaign_id).or_default() += n;
        }
    }
    Ok(Some(Reach {
        memberships: campaigns.values().sum(),
        campaigns: campaigns.len(),
        largest: campaigns.values().copied().max().unwrap_or(0),
    }))
}

async fn total(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &OutboundFilter,
    reach: Option<Reach>,
    now: Timestamp,
) -> sqlx::Result<Total> {
    let route = match reach {
        Some(Reach { memberships: 0, .. }) => return Ok(Total::Exactly(0)),
        // Within one campaign a contact is a membership.
        Some(Reach { memberships, campaigns: 1, .. }) if !filter.beyond_counters() => {
            return Ok(Total::Exactly(memberships));
        }
        Some(Reach { largest, .. })
            if !filter.beyond_counters() && largest > Total::COUNTED.cast_unsigned() =>
        {
            return Ok(Total::AtLeast(largest));
        }
        None if !filter.beyond_counters() => {
            return Ok(Total::Exactly(organization_counters::get(conn, organization).await?.contacts));
        }
        None => Route::Contacts,
        Some(_) if filter.campaign_id.is_some() => Route::Members,
        Some(reach) if reach.memberships <= FEW => Route::Few,
        Some(_) => Route::Many,
    };
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    push_from(&mut query, organization, filter, route, now);
    query.push(" LIMIT ").push_bind(Total::COUNTED + 1).push(") AS counted");
    let count: i64 = query.build_query_scalar().persistent(false).fetch_one(conn).await?;
    Ok(Total::counted(count))
}

fn push_from(
    query: &mut QueryBuilder<'_, Postgres>,
    organization: OrganizationId,
    filter: &OutboundFilter,
    route: Route,
    now: Timestamp,
) {
    query.push(" FROM contacts c");
    if route == Route::Members {
        query.push(
            " JOIN memberships m ON m.organization_id = c.organization_id AND m.contact_id = c.contact_id",
        );
        push_membership(query, filter);
    }
    query.push(" WHERE c.organization_id = ").push_bind(organization.uuid());
    match route {
        Route::Contacts | Route::Members => (),
        Route::Few => {
            query
                .push(
                    " AND c.contact_id IN (SELECT m.contact_id FROM memberships m WHERE m.organization_id = ",
                )
                .push_bind(organization.uuid());
            push_membership(query, filter);
            query.push(")");
        }
        // OFFSET 0 keeps the planner from turning the question around.
        Route::Many if filter.campaign_id.is_some() => {
            query.push(
                " AND EXISTS (SELECT 1 FROM memberships m
                      WHERE m.organization_id = c.organization_id AND m.contact_id = c.contact_id",
            );
            push_membership(query, filter);
            query.push(" OFFSET 0)");
        }
        Route::Many => {
            query.push(
                " AND EXISTS (SELECT 1 FROM contact_sets s
                      JOIN campaign_sets USING (organization_id, set_id)
                      CROSS JOIN UNNEST(campaign_sets.members) AS member (campaign_id)
                      JOIN memberships m ON m.organization_id = s.organization_id
                           AND m.campaign_id = member.campaign_id AND m.contact_id = s.contact_id
                      WHERE s.organization_id = c.organization_id AND s.contact_id = c.contact_id",
            );
            push_membership(query, filter);
            query.push(" OFFSET 0)");
        }
    }
    if let Some(state) = filter.follow_up {
        push_follow_up(query, filter, state, now);
    }
    if let Some(patterns) = filter.search.as_deref().and_then(patterns) {
        query.push(" AND c.search LIKE ANY(").push_bind(patterns).push(")");
    }
    if let Some(import) = filter.import_id {
        query
            .push(
                " AND EXISTS (SELECT 1 FROM import_members i WHERE i.organization_id = c.organization_id
                   AND i.contact_id = c.contact_id AND i.import_id = ",
            )
            .push_bind(import.uuid())
            .push(")");
    }
    push_presence(query, "c.email_key", filter.has_email);
    push_presence(query, "c.phone_key", filter.has_phone);
}

/// Adds the conditions on the membership `m`.
fn push_membership(query: &mut QueryBuilder<'_, Postgres>, filter: &OutboundFilter) {
    if let Some(campaign) = filter.campaign_id {
        query.push(" AND m.campaign_id = ").push_bind(campaign.uuid());
    }
    if !filter.status_in.is_empty() {
        query.push(" AND m.status = ANY(").push_bind(status_codes(&filter.status_in)).push(")");
    }
    if let Some(agent) = filter.assigned_agent_id {
        query.push(" AND m.agent_id = ").push_bind(agent.uuid());
    }
    if filter.unassigned {
        query.push(" AND m.agent_id IS NULL");
    }
}

fn push_follow_up(
    query: &mut QueryBuilder<'_, Postgres>,
    filter: &OutboundFilter,
    state: FollowUpState,
    now: Timestamp,
) {
    let not = if state == FollowUpState::None { " NOT" } else { "" };
    query.push(format!(
        " AND{not} EXISTS (SELECT 1 FROM follow_ups f WHERE f.organization_id = c.organization_id
              AND f.contact_id = c.contact_id AND f.status = 'pending'"
    ));
    if let Some(campaign) = filter.campaign_id {
        query.push(" AND f.campaign_id = ").push_bind(campaign.uuid());
    }
    if state == FollowUpState::Overdue {
        query.push(" AND f.due_at < ").push_bind(At(now));
    }
    query.push(")");
}
