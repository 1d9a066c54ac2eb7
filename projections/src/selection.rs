//! Which contacts a filter means, and what stands against putting each of them into a campaign.
//!
//! Contacts come by id, which never changes, so that a preview and its application see the same order. What is in
//! the way is told and not decided: the caller skips, and says why.

use std::collections::{HashMap, HashSet};

use docket_aggregates::Timestamp;
use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{CampaignId, ContactId, ImportId, OrganizationId};
use futures::TryStreamExt;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::campaign_sets::{self, SetId};
use crate::campaigns;
use crate::columns::{At, uuids};
use crate::memberships::ContactSource;
use crate::searchable::{folded, patterns};

/// Which contacts are meant. What is absent or empty means "any".
#[derive(Clone, Debug, Default)]
pub struct ContactFilter {
    /// Only those of this folder: that came in it or were matched by it.
    pub import_id: Option<ImportId>,
    /// Part of the name, company, e-mail, phone, external id or city.
    pub search: Option<String>,
    /// Only those with at least one of these tags.
    pub tags_any: Vec<String>,
    /// Only those with all of these tags.
    pub tags_all: Vec<String>,
    /// Only those with an e-mail address, or only those without.
    pub has_email: Option<bool>,
    /// Only those with a phone number, or only those without.
    pub has_phone: Option<bool>,
    /// Only those of this city, without regard to case and accents.
    pub city: Option<String>,
    /// Taken in then or later.
    pub created_after: Option<Timestamp>,
    /// Taken in before then.
    pub created_before: Option<Timestamp>,
    /// Only these.
    pub contact_ids: Option<Vec<ContactId>>,
    /// Only those whose custom fields have these values.
    pub custom_fields: Vec<(String, String)>,
}

/// What may be in the way of a contact.
#[derive(Clone, Debug, Default)]
pub struct Against<'a> {
    /// The campaign that it is to enter.
    pub campaign_id: CampaignId,
    /// Campaigns that it must not be in.
    pub other_campaign_ids: &'a [CampaignId],
    /// Whether it must not be in any other active campaign.
    pub any_active_campaign: bool,
}

/// A contact that a filter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The contact.
    pub contact_id: ContactId,
    /// It is in the campaign already.
    pub in_campaign: bool,
    /// It is in one of the campaigns that it must not be in.
    pub in_other_campaign: bool,
    /// It asked not to be contacted.
    pub do_not_contact: bool,
    /// Nothing is known of it any more.
    pub erased: bool,
    /// The key of its e-mail address: two contacts with the same key have the same address.
    pub email_key: Option<Uuid>,
    /// The key of its phone number.
    pub phone_key: Option<Uuid>,
    /// Where it came from.
    pub source: ContactSource,
}

impl Candidate {
    /// Whether it can be reached at all.
    pub fn reachable(&self) -> bool {
        self.email_key.is_some() || self.phone_key.is_some()
    }
}

/// The contacts that the filter means after `after`, by id, `limit` at most, each with what is in its way.
pub async fn candidates(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &ContactFilter,
    against: &Against<'_>,
    after: Option<ContactId>,
    limit: i64,
) -> sqlx::Result<Vec<Candidate>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT c.contact_id, c.do_not_contact, c.erased, c.import_id IS NOT NULL, c.email_key, c.phone_key, s.set_id",
    );
    query.push(source(filter)).push(
        " LEFT JOIN LATERAL (SELECT set_id FROM contact_sets
              WHERE organization_id = k.organization_id AND contact_id = k.contact_id LIMIT 1) AS s ON true
          WHERE k.organization_id = ",
    );
    query.push_bind(organization.uuid());
    if let Some(after) = after {
        query.push(" AND k.contact_id > ").push_bind(after.uuid());
    }
    push_filter(&mut query, filter);
    query.push(" ORDER BY k.contact_id LIMIT ").push_bind(limit);

    let mut found: Vec<(Candidate, Option<SetId>)> = Vec::new();
    let mut seen: HashSet<SetId> = HashSet::new();
    let mut rows = query.build().persistent(false).fetch(&mut *conn);
    while let Some(row) = rows.try_next().await? {
        let set = row.try_get::<Option<Uuid>, _>(6)?.map(SetId);
        seen.extend(set);
        let candidate = Candidate {
            contact_id: ContactId(row.try_get(0)?),
            in_campaign: false,
            in_other_campaign: false,
            do_not_contact: row.try_get(1)?,
            erased: row.try_get(2)?,
            source: ContactSource::of(row.try_get(3)?),
            email_key: row.try_get(4)?,
            phone_key: row.try_get(5)?,
        };
        found.push((candidate, set));
    }
    drop(rows);

    // What a set says is the same for all of its contacts: it is looked up once.
    let seen: Vec<SetId> = seen.into_iter().collect();
    let mut avoided: HashSet<CampaignId> = against.other_campaign_ids.iter().copied().collect();
    if against.any_active_campaign && !seen.is_empty() {
        let active =
            campaigns::ids_by_status(conn, organization, &[CampaignStatus::Active], i64::MAX).await?;
        avoided.extend(active);
    }
    avoided.remove(&against.campaign_id);
    let sets: HashMap<SetId, (bool, bool)> = campaign_sets::by_ids(conn, organization, &seen)
        .await?
        .into_iter()
        .map(|set| {
            let inside = set.members.contains(&against.campaign_id);
            let elsewhere = set.members.iter().any(|member| avoided.contains(member));
            (set.set_id, (inside, elsewhere))
        })
        .collect();
    Ok(found
        .into_iter()
        .map(|(candidate, set)| {
            let (in_campaign, in_other_campaign) =
                set.and_then(|set| sets.get(&set).copied()).unwrap_or_default();
            Candidate { in_campaign, in_other_campaign, ..candidate }
        })
        .collect())
}

/// How many contacts the filter means, counted up to `most`.
pub async fn count(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &ContactFilter,
    most: i64,
) -> sqlx::Result<u64> {
    let mut query = QueryBuilder::<Postgres>::new("SELECT count(*) FROM (SELECT 1");
    query.push(source(filter)).push(" WHERE k.organization_id = ").push_bind(organization.uuid());
    push_filter(&mut query, filter);
    query.push(" LIMIT ").push_bind(most).push(") AS counted");
    let count: i64 = query.build_query_scalar().persistent(false).fetch_one(conn).await?;
    Ok(count.max(0).cast_unsigned())
}

/// Where contacts `c` are looked for, along keys `k` in their order: an import's members, or all.
///
/// Each is looked up by itself. Statistics are always older than a large import, and a planner that takes both tables for
/// empty joins them row by row: that was seen to run for a quarter of an hour.
fn source(filter: &ContactFilter) -> &'static str {
    match filter.import_id {
        None => " FROM contacts AS k CROSS JOIN LATERAL (SELECT k.*) AS c",
        Some(_) => {
            " FROM import_members AS k CROSS JOIN LATERAL (SELECT * FROM contacts
                  WHERE organization_id = k.organization_id AND contact_id = k.contact_id LIMIT 1) AS c"
        }
    }
}

/// Adds the filter's conditions on the contact `c` and its key `k`.
fn push_filter(query: &mut QueryBuilder<'_, Postgres>, filter: &ContactFilter) {
    if let Some(import) = filter.import_id {
        query.push(" AND k.import_id = ").push_bind(import.uuid());
    }
    if let Some(contacts) = &filter.contact_ids {
        query.push(" AND k.contact_id = ANY(").push_bind(uuids(contacts)).push(")");
    }
    if let Some(patterns) = filter.search.as_deref().and_then(patterns) {
        query.push(" AND c.search LIKE ANY(").push_bind(patterns).push(")");
    }
    if !filter.tags_any.is_empty() {
        query.push(" AND c.tags && ").push_bind(filter.tags_any.clone());
    }
    if !filter.tags_all.is_empty() {
        query.push(" AND c.tags @> ").push_bind(filter.tags_all.clone());
    }
    push_presence(query, "c.email_key", filter.has_email);
    push_presence(query, "c.phone_key", filter.has_phone);
    if let Some(city) = &filter.city {
        query.push(" AND c.city_key = ").push_bind(folded(city));
    }
    if let Some(after) = filter.created_after {
        query.push(" AND c.created_at >= ").push_bind(At(after));
    }
    if let Some(before) = filter.created_before {
        query.push(" AND c.created_at < ").push_bind(At(before));
    }
    if !filter.custom_fields.is_empty() {
        let fields: std::collections::BTreeMap<String, String> =
            filter.custom_fields.iter().cloned().collect();
        query.push(" AND c.custom @> ").push_bind(Json(fields));
    }
}

pub(crate) fn push_presence(query: &mut QueryBuilder<'_, Postgres>, column: &str, present: Option<bool>) {
    match present {
        Some(true) => {
            query.push(format!(" AND {column} IS NOT NULL"));
        }
        Some(false) => {
            query.push(format!(" AND {column} IS NULL"));
        }
        None => (),
    }
}
