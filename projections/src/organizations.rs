//! The directory: one row per organization, and which one a person means.
//!
//! It is folded from the instance ledger and belongs to it as a whole: its key names an organization, not the
//! ledger that the row came from. Organizations whose module is off are listed as well.

use std::collections::BTreeMap;

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::organization::{OrganizationEvent, OrganizationProfile};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::columns::{At, Columns, uuids};
use crate::searchable::{escaped, folded, trigrams};
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "organizations", tables: &["organizations"] };

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRow {
    /// The organization.
    pub organization_id: OrganizationId,
    /// Name, slug and owner; none once erased.
    pub profile: Option<OrganizationProfile>,
    /// Whether the outbound CRM module is on.
    pub crm_enabled: bool,
    /// Events of its stream.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What an organization is looked for by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchBy {
    /// Any of the others.
    #[default]
    Any,
    /// Its id.
    Id,
    /// Its name.
    Name,
    /// Its slug.
    Slug,
    /// Its owner's address.
    OwnerEmail,
}

impl MatchBy {
    /// The name that the API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Id => "id",
            Self::Name => "name",
            Self::Slug => "slug",
            Self::OwnerEmail => "owner_email",
        }
    }

    const fn covers(self, other: Self) -> bool {
        matches!(self, Self::Any) || self as u8 == other as u8
    }
}

/// An organization that may be the one that is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct OrganizationMatch {
    /// The organization.
    pub organization: OrganizationRow,
    /// How well it fits: 1 is exact, apart from case and accents.
    pub score: f64,
    /// By what it fits, the best first; never [`MatchBy::Any`].
    pub matched_on: Vec<MatchBy>,
}

impl OrganizationMatch {
    /// Whether it fits exactly, apart from case and accents.
    pub fn exact(&self) -> bool {
        self.score >= 1.0
    }
}

/// Similar names below this are not the same name.
const SIMILAR: f64 = 0.35;
/// Candidates that are looked at more closely.
const CANDIDATES: i64 = 200;

/// The organizations that `query` may mean, the best first, `limit` at most.
pub async fn resolve(
    conn: &mut PgConnection,
    query: &str,
    by: MatchBy,
    limit: usize,
) -> sqlx::Result<Vec<OrganizationMatch>> {
    let wanted = folded(query);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let id: Option<Uuid> = query.trim().parse().ok();
    let rows = sqlx::query(
        "SELECT o.* FROM organizations o
         CROSS JOIN LATERAL (SELECT count(*) AS shared FROM UNNEST(o.trigrams) t WHERE t = ANY($4)) AS likeness
         WHERE o.organization_id = $1 OR likeness.shared > 0 OR o.name_key LIKE $3 OR o.slug LIKE $3
               OR o.email_key LIKE $3 OR o.email_key = $5
         ORDER BY (o.organization_id = $1) IS TRUE DESC,
                  (o.name_key = $2 OR o.slug = $2 OR o.email_key = $2) IS TRUE DESC,
                  (o.name_key LIKE $3 OR o.slug LIKE $3 OR o.email_key LIKE $3) IS TRUE DESC,
                  likeness.shared DESC, o.organization_id
         LIMIT $6",
    )
    .bind(id)
    .bind(&wanted)
    .bind(format!("%{}%", escaped(&wanted)))
    .bind(trigrams(&wanted))
    .bind(untagged(&wanted))
    .bind(CANDIDATES)
    .fetch_all(conn)
    .await?;
    let mut matches = Vec::new();
    for found in &rows {
        matches.extend(judge(row(found)?, query, by));
    }
    matches.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(a.organization.organization_id.cmp(&b.organization.organization_id))
    });
    matches.truncate(limit);
    Ok(matches)
}

/// How well an organization fits what was asked; none when it does not.
fn judge(organization: OrganizationRow, query: &str, by: MatchBy) -> Option<OrganizationMatch> {
    let wanted = folded(query);
    let mut scores = vec![(MatchBy::Id, id_score(&organization, query))];
    if let Some(profile) = &organization.profile {
        let email = profile.owner_email.trim().to_lowercase();
        scores.push((MatchBy::Name, likeness(&folded(&profile.name), &wanted)));
        scores.push((MatchBy::Slug, likeness(&profile.slug.to_lowercase(), &wanted)));
        scores.push((MatchBy::OwnerEmail, email_score(&email, &query.trim().to_lowercase())));
    }
    scores.retain(|(field, score)| by.covers(*field) && *score > 0.0);
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let score = scores.first()?.1;
    Some(OrganizationMatch {
        organization,
        score: (score * 1_000.0).round() / 1_000.0,
        matched_on: scores.into_iter().map(|(field, _)| field).collect(),
    })
}

fn id_score(organization: &OrganizationRow, query: &str) -> f64 {
    match query.trim().parse::<Uuid>() {
        Ok(id) if id == organization.organization_id.uuid() => 1.0,
        _ => 0.0,
    }
}

/// Equal 1, beginning 0.8 and more, containing 0.6 and more, similar below 0.6.
fn likeness(text: &str, wanted: &str) -> f64 {
    if text.is_empty() || wanted.is_empty() {
        return 0.0;
    }
    if text == wanted {
        return 1.0;
    }
    let covered = wanted.chars().count() as f64 / text.chars().count() as f64;
    if text.starts_with(wanted) {
        return 0.8 + 0.15 * covered;
    }
    if text.contains(wanted) {
        return 0.6 + 0.15 * covered;
    }
    let (a, b) = (trigrams(text), trigrams(wanted));
    let shared = a.iter().filter(|three| b.binary_search(three).is_ok()).count() as f64;
    let dice = 2.0 * shared / (a.len() + b.len()).max(1) as f64;
    if dice >= SIMILAR { 0.6 * dice } else { 0.0 }
}

/// The same address is exact; the same mailbox with another tag is close; a part of it is possible.
fn email_score(email: &str, wanted: &str) -> f64 {
    if email.is_empty() || wanted.is_empty() {
        0.0
    } else if email == wanted {
        1.0
    } else if wanted.contains('@') && untagged(email) == untagged(wanted) {
        0.9
    } else if email.contains(wanted) {
        0.6 * wanted.chars().count() as f64 / email.chars().count() as f64
    } else {
        0.0
    }
}

/// The address without the part between `+` and `@`.
fn untagged(email: &str) -> String {
    match email.split_once('@') {
        Some((mailbox, domain)) => {
            format!("{}@{domain}", mailbox.split_once('+').map_or(mailbox, |(mailbox, _)| mailbox))
        }
        None => email.to_owned(),
    }
}

/// One organization.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
) -> sqlx::Result<Option<OrganizationRow>> {
    Ok(by_ids(conn, &[organization]).await?.pop())
}

/// Those of `organizations` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organizations: &[OrganizationId],
) -> sqlx::Result<Vec<OrganizationRow>> {
    let rows =
        sqlx::query("SELECT * FROM organizations WHERE organization_id = ANY($1) ORDER BY organization_id")
            .bind(uuids(organizations))
            .fetch_all(conn)
            .await?;
    rows.iter().map(row).collect()
}

/// Organizations by id, those after `after`, `limit` at most.
pub async fn list(
    conn: &mut PgConnection,
    after: Option<OrganizationId>,
    limit: i64,
) -> sqlx::Result<Vec<OrganizationRow>> {
    let rows = sqlx::query(
        "SELECT * FROM organizations WHERE $1::uuid IS NULL OR organization_id > $1
         ORDER BY organization_id LIMIT $2",
    )
    .bind(after.map(OrganizationId::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

fn row(row: &PgRow) -> sqlx::Result<OrganizationRow> {
    let name: Option<String> = row.try_get("name")?;
    let slug: Option<String> = row.try_get("slug")?;
    let owner_email: Option<String> = row.try_get("owner_email")?;
    let profile = match (name, slug, owner_email) {
        (Some(name), Some(slug), Some(owner_email)) => Some(OrganizationProfile { name, slug, owner_email }),
        _ => None,
    };
    Ok(OrganizationRow {
        organization_id: row.id("organization_id")?,
        profile,
        crm_enabled: row.try_get("crm_enabled")?,
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into the directory.
pub(crate) async fn fold(conn: &mut PgConnection, batch: &[Recorded]) -> Result<(), FoldError> {
    let touched: Vec<OrganizationId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::Organization(_)))
        .map(|recorded| OrganizationId(recorded.aggregate_id))
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let before = by_ids(conn, &touched).await?;
    for row in plan(batch, before)?.values() {
        write(conn, row).await?;
    }
    Ok(())
}

fn plan(
    batch: &[Recorded],
    before: Vec<OrganizationRow>,
) -> Result<BTreeMap<OrganizationId, OrganizationRow>, FoldError> {
    let mut rows: BTreeMap<OrganizationId, OrganizationRow> =
        before.into_iter().map(|row| (row.organization_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Organization(event) = &recorded.event else { continue };
        let id = OrganizationId(recorded.aggregate_id);
        if let OrganizationEvent::OrganizationCreated { profile, crm_enabled, .. } = event {
            let created = OrganizationRow {
                organization_id: id,
                profile: profile.value().cloned(),
                crm_enabled: *crm_enabled,
                version: recorded.version(),
                created_at: recorded.occurred_at,
                updated_at: recorded.occurred_at,
            };
            rows.insert(id, created);
            continue;
        }
        let row = rows.get_mut(&id).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            OrganizationEvent::OrganizationCreated { .. } => (),
            OrganizationEvent::OrganizationRenamed { profile } => row.profile = profile.value().cloned(),
            OrganizationEvent::CrmModuleEnabled {} => row.crm_enabled = true,
            OrganizationEvent::CrmModuleDisabled {} => row.crm_enabled = false,
        }
    }
    Ok(rows)
}

async fn write(conn: &mut PgConnection, row: &OrganizationRow) -> sqlx::Result<()> {
    let profile = row.profile.as_ref();
    let name_key = profile.map(|profile| folded(&profile.name)).unwrap_or_default();
    let slug = profile.map(|profile| profile.slug.as_str());
    let trigrams = trigrams(&format!("{name_key} {}", slug.unwrap_or_default()));
    sqlx::query(
        "INSERT INTO organizations (organization_id, name, slug, owner_email, crm_enabled, name_key, email_key,
             trigrams, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (organization_id) DO UPDATE SET name = excluded.name, slug = excluded.slug,
             owner_email = excluded.owner_email, crm_enabled = excluded.crm_enabled,
             name_key = excluded.name_key, email_key = excluded.email_key, trigrams = excluded.trigrams,
             version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at",
    )
    .bind(row.organization_id.uuid())
    .bind(profile.map(|profile| profile.name.as_str()))
    .bind(slug)
    .bind(profile.map(|profile| profile.owner_email.as_str()))
    .bind(row.crm_enabled)
    .bind(name_key)
    .bind(profile.map(|profile| untagged(&profile.owner_email.trim().to_lowercase())).unwrap_or_default())
    .bind(trigrams)
    .bind(row.version.cast_signed())
    .bind(At(row.created_at))
    .bind(At(row.updated_at))
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(name: &str, slug: &str, owner_email: &str) -> OrganizationRow {
        OrganizationRow {
            organization_id: OrganizationId(Uuid::from_u128(7)),
            profile: Some(OrganizationProfile {
                name: name.into(),
                slug: slug.into(),
                owner_email: owner_email.into(),
            }),
            crm_enabled: true,
            version: 1,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn what_is_asked_for_is_scored() {
        let bank = || organization("Société Générale", "socgen", "ada+crm@example.com");
        let exact = 1.0..=1.0;
        for (query, by, expected) in [
            ("societe generale", MatchBy::Any, Some(exact.clone())),
            ("SOCGEN", MatchBy::Slug, Some(exact.clone())),
            ("Ada+CRM@example.com", MatchBy::Any, Some(exact.clone())),
            ("00000000-0000-0000-0000-000000000007", MatchBy::Id, Some(exact)),
            ("ada@example.com", MatchBy::OwnerEmail, Some(0.9..=0.9)),
            ("Société", MatchBy::Name, Some(0.8..=0.95)),
            ("générale", MatchBy::Name, Some(0.6..=0.75)),
            ("sociéte genrale", MatchBy::Any, Some(0.2..=0.6)),
            ("socgen", MatchBy::Name, None),
            ("%", MatchBy::Any, None),
            ("_ociete generale", MatchBy::Slug, None),
            ("   ", MatchBy::Any, None),
        ] {
            let score = judge(bank(), query, by).map(|found| found.score);
            match (score, expected) {
                (None, None) => (),
                (Some(score), Some(expected)) => assert!(expected.contains(&score), "{query}: {score}"),
                (score, expected) => panic!("{query}: {score:?} is not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_lookalike_is_never_exact() {
        let acme = organization("Acme", "acme", "a@acme.com");
        let found = judge(acme, "Асmе", MatchBy::Any);
        assert!(found.is_none_or(|found| !found.exact()));
    }
}
