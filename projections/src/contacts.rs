//! One row per contact, its profile in the clear.
//!
//! Personal data stands in the read models alone. What was erased is gone here as soon as its events are folded
//! without it: a row whose profile cannot be opened keeps the id and nothing else.

use std::collections::{BTreeMap, HashMap};

use docket_aggregates::contact::{ContactEvent, ContactProfile, LegalBasis};
use docket_aggregates::ids::{ContactId, ImportId, OrganizationId};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::columns::{Columns, uuids};
use crate::copy::Copy;
use crate::memberships::ContactSource;
use crate::searchable::{MatchKeys, escaped, folded, search_text, stored_keys};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "contacts", tables: &["contacts"] };

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRow {
    /// The contact.
    pub contact_id: ContactId,
    /// What is known of it; none once it was erased.
    pub profile: Option<ContactProfile>,
    /// On what ground it is kept.
    pub legal_basis: LegalBasis,
    /// The import folder that it first came in.
    pub import_id: Option<ImportId>,
    /// Whether it is not to be contacted: it said so, or one of its addresses is suppressed.
    pub do_not_contact: bool,
    /// Events of its stream.
    pub version: u64,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl ContactRow {
    /// Given and family name, else the company; nothing when none is known.
    pub fn display_name(&self) -> Option<String> {
        self.profile.as_ref().and_then(display_name)
    }

    pub(crate) fn name_key(&self) -> String {
        self.profile.as_ref().map(name_key).unwrap_or_default()
    }
}

fn display_name(profile: &ContactProfile) -> Option<String> {
    let full: Vec<&str> =
        [&profile.first_name, &profile.last_name].into_iter().filter_map(|part| part.as_deref()).collect();
    if full.is_empty() { profile.company.clone() } else { Some(full.join(" ")) }
}

/// What a contact is sorted by when a list is sorted by name: family name first.
fn name_key(profile: &ContactProfile) -> String {
    let parts: Vec<&str> =
        [&profile.last_name, &profile.first_name].into_iter().filter_map(|part| part.as_deref()).collect();
    let name = if parts.is_empty() { profile.company.clone().unwrap_or_default() } else { parts.join(" ") };
    // An index entry may not exceed a third of a page.
    folded(&name).chars().take(200).collect()
}

fn search(profile: &ContactProfile) -> String {
    search_text([
        display_name(profile).as_deref(),
        profile.company.as_deref(),
        profile.email.as_deref(),
        profile.phone.as_deref(),
        profile.external_id.as_deref(),
        profile.city.as_deref(),
    ])
}

/// One contact.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contact: ContactId,
) -> sqlx::Result<Option<ContactRow>> {
    Ok(by_ids(conn, organization, &[contact]).await?.pop())
}

/// Those of `contacts` that exist, by id. Each is looked up by itself, here and below: statistics are always older than a
/// large import (see `by_id`).
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contacts: &[ContactId],
) -> sqlx::Result<Vec<ContactRow>> {
    let rows = sqlx::query(&by_id::statement(COLUMNS, "contacts", "contact_id"))
        .bind(organization.uuid())
        .bind(uuids(contacts))
        .fetch_all(conn)
        .await?;
    rows.iter().map(row).collect()
}

/// Which of `contacts` exist, sorted.
pub async fn existing(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contacts: &[ContactId],
) -> sqlx::Result<Vec<ContactId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(&by_id::statement("c.contact_id", "contacts", "contact_id"))
        .bind(organization.uuid())
        .bind(uuids(contacts))
        .fetch_all(conn)
        .await?;
    Ok(ids.into_iter().map(ContactId).collect())
}

/// The contacts that share a key with any of these, by id: of each key the first `each`, and `limit` at most. Where there are
/// more, each key is given its first before any is given its second: a crowd at one number hides nobody at another key.
/// Asked in the order of its indexes, on a connection that does not sort if it can be helped.
pub async fn by_keys(
    conn: &mut PgConnection,
    organization: OrganizationId,
    keys: &[MatchKeys],
    each: i64,
    limit: i64,
) -> sqlx::Result<Vec<ContactRow>> {
    let of = |kind: fn(&MatchKeys) -> Option<Uuid>| {
        let mut wanted: Vec<Uuid> = keys.iter().filter_map(kind).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    };
    // One index each; an OR over three columns would read the whole table. OFFSET 0 keeps each look-up by itself, and the order
    // is that of its index alone: to statistics from before an import its organization has no rows, so that any index which
    // begins with the organization seems to do, and all of its contacts were read for every key.
    let by = |column: &str, parameter: &str| {
        format!(
            "SELECT contact_id, place FROM (
                 SELECT found.contact_id, row_number() OVER (PARTITION BY wanted.key ORDER BY found.contact_id) AS place
                 FROM UNNEST({parameter}::uuid[]) AS wanted (key)
                 CROSS JOIN LATERAL (SELECT contact_id FROM contacts
                     WHERE organization_id = $1 AND {column} BETWEEN wanted.key AND wanted.key
                     ORDER BY {column} OFFSET 0) AS found) AS placed
             WHERE place <= $6"
        )
    };
    let (email, phone, external) = (by("email_key", "$2"), by("phone_key", "$3"), by("external_key", "$4"));
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM (
             SELECT contact_id FROM ({email} UNION ALL {phone} UNION ALL {external}) AS placed
                 GROUP BY contact_id ORDER BY min(place), contact_id LIMIT $5) AS wanted
         CROSS JOIN LATERAL (
             SELECT * FROM contacts WHERE organization_id = $1 AND contact_id BETWEEN wanted.contact_id AND wanted.contact_id
                 ORDER BY contact_id LIMIT 1) AS c
         ORDER BY c.contact_id"
    ))
    .persistent(false)
    .bind(organization.uuid())
    .bind(of(|keys| keys.email))
    .bind(of(|keys| keys.phone))
    .bind(of(|keys| keys.external))
    .bind(limit)
    .bind(each)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The contacts whose name is one of these, without regard to case and accents, by id, `limit` at most. A name is the
/// family name and the given name, in this order, or the company of a contact that has neither.
pub async fn by_names(
    conn: &mut PgConnection,
    organization: OrganizationId,
    names: &[String],
    limit: i64,
) -> sqlx::Result<Vec<ContactRow>> {
    let mut wanted: Vec<String> =
        names.iter().map(|name| folded(name)).filter(|name| !name.is_empty()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM contacts c WHERE organization_id = $1 AND name_key = ANY($2)
         ORDER BY contact_id LIMIT $3"
    ))
    .persistent(false)
    .bind(organization.uuid())
    .bind(wanted)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The contacts that share one of these stored keys (see `searchable::stored_keys`), by id: of each key the first `each`, and
/// `limit` at most. A key that more contacts share says little about any of them.
pub async fn by_match_keys(
    conn: &mut PgConnection,
    organization: OrganizationId,
    keys: &[i64],
    each: i64,
    limit: i64,
) -> sqlx::Result<Vec<ContactRow>> {
    let mut wanted = keys.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // The inverted index is asked alone, whatever the statistics say of the other conditions.
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM (
             SELECT DISTINCT contact_id FROM (
                 SELECT contact_id, row_number() OVER (PARTITION BY key ORDER BY contact_id) AS place
                 FROM (SELECT organization_id, contact_id, match_keys FROM contacts
                     WHERE match_keys && $2 OFFSET 0) AS sharing
                 CROSS JOIN LATERAL UNNEST(match_keys) AS own (key)
                 WHERE organization_id = $1 AND key = ANY($2)) AS placed
             WHERE place <= $3) AS wanted
         CROSS JOIN LATERAL (
             SELECT * FROM contacts WHERE organization_id = $1 AND contact_id = wanted.contact_id LIMIT 1) AS c
         ORDER BY c.contact_id LIMIT $4"
    ))
    .persistent(false)
    .bind(organization.uuid())
    .bind(wanted)
    .bind(each)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The contacts that have any of these addresses or numbers, or share one of these stored keys, by id, `limit` at once: those
/// after `after`. All pages together are all of them. Asked like [`by_keys`].
pub async fn of_addresses(
    conn: &mut PgConnection,
    organization: OrganizationId,
    addresses: &[MatchKeys],
    stored: &[i64],
    after: Option<ContactId>,
    limit: i64,
) -> sqlx::Result<Vec<ContactRow>> {
    // As above: an index each, in its order, and each look-up by itself.
    let by = |column: &str, parameter: &str| {
        format!(
            "SELECT found.contact_id FROM (SELECT DISTINCT key FROM UNNEST({parameter}::uuid[]) AS given (key)) AS wanted
             CROSS JOIN LATERAL (SELECT contact_id FROM contacts
                 WHERE organization_id = $1 AND {column} BETWEEN wanted.key AND wanted.key AND contact_id > $5
                 ORDER BY {column} OFFSET 0) AS found"
        )
    };
    let (email, phone) = (by("email_key", "$2"), by("phone_key", "$3"));
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM (
             SELECT contact_id FROM ({email} UNION ALL {phone} UNION ALL
                 SELECT contact_id FROM (SELECT organization_id, contact_id FROM contacts
                     WHERE match_keys && $4 OFFSET 0) AS sharing
                 WHERE organization_id = $1 AND contact_id > $5) AS found
             GROUP BY contact_id ORDER BY contact_id LIMIT $6) AS wanted
         CROSS JOIN LATERAL (
             SELECT * FROM contacts WHERE organization_id = $1 AND contact_id BETWEEN wanted.contact_id AND wanted.contact_id
                 ORDER BY contact_id LIMIT 1) AS c
         ORDER BY c.contact_id"
    ))
    .persistent(false)
    .bind(organization.uuid())
    .bind(addresses.iter().filter_map(|keys| keys.email).collect::<Vec<_>>())
    .bind(addresses.iter().filter_map(|keys| keys.phone).collect::<Vec<_>>())
    .bind(stored)
    .bind(after.map_or(Uuid::nil(), ContactId::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The contacts whose e-mail address is of this domain, in its one spelling, by id, `limit` at once: those after `after`.
/// There is no index for it; all pages together read the organization's contacts once.
pub async fn of_domain(
    conn: &mut PgConnection,
    organization: OrganizationId,
    domain: &str,
    after: Option<ContactId>,
    limit: i64,
) -> sqlx::Result<Vec<ContactId>> {
    let found: Vec<Uuid> = sqlx::query_scalar(
        "SELECT contact_id FROM contacts
         WHERE organization_id = $1 AND contact_id > $2 AND lower(email) LIKE '%@' || $3
         ORDER BY contact_id LIMIT $4",
    )
    .bind(organization.uuid())
    .bind(after.map_or(Uuid::nil(), ContactId::uuid))
    .bind(escaped(domain))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(ContactId).collect())
}

/// All contacts by id, `limit` at once: those after `after`.
pub async fn after(
    conn: &mut PgConnection,
    organization: OrganizationId,
    after: Option<ContactId>,
    limit: i64,
) -> sqlx::Result<Vec<ContactRow>> {
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM contacts c WHERE organization_id = $1 AND contact_id > $2
         ORDER BY contact_id LIMIT $3"
    ))
    .bind(organization.uuid())
    .bind(after.map_or(Uuid::nil(), ContactId::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The columns of a [`ContactRow`] of the table `c`.
pub(crate) const COLUMNS: &str =
    "c.contact_id, c.version, c.created_at, c.updated_at, c.do_not_contact, c.erased, c.import_id, c.legal_basis,
     c.first_name, c.last_name, c.email, c.phone, c.company, c.city, c.country, c.job_title, c.external_id, c.source,
     c.tags, c.custom";

pub(crate) fn row(row: &PgRow) -> sqlx::Result<ContactRow> {
    let erased: bool = row.try_get("erased")?;
    let profile = if erased {
        None
    } else {
        Some(ContactProfile {
            first_name: row.try_get("first_name")?,
            last_name: row.try_get("last_name")?,
            email: row.try_get("email")?,
            phone: row.try_get("phone")?,
            company: row.try_get("company")?,
            city: row.try_get("city")?,
            country: row.try_get("country")?,
            job_title: row.try_get("job_title")?,
            external_id: row.try_get("external_id")?,
            source: row.try_get("source")?,
            tags: row.try_get("tags")?,
            custom: row.try_get::<Json<_>, _>("custom")?.0,
        })
    };
    Ok(ContactRow {
        contact_id: row.id("contact_id")?,
        profile,
        legal_basis: row.named("legal_basis")?,
        import_id: row.id_opt("import_id")?,
        do_not_contact: row.try_get("do_not_contact")?,
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// What of a contact decides how it enters a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub do_not_contact: bool,
    pub source: ContactSource,
}

/// The flags of those of `contacts` that exist.
pub(crate) async fn flags(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contacts: &[ContactId],
) -> sqlx::Result<HashMap<ContactId, Flags>> {
    if contacts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT c.contact_id, c.do_not_contact, c.imported FROM (SELECT DISTINCT UNNEST($2::uuid[]) AS id) AS wanted
         CROSS JOIN LATERAL (
             SELECT contact_id, do_not_contact, import_id IS NOT NULL AS imported FROM contacts
             WHERE organization_id = $1 AND contact_id BETWEEN wanted.id AND wanted.id
                 ORDER BY contact_id LIMIT 1) AS c",
    )
    .bind(organization.uuid())
    .bind(uuids(contacts))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let flags = Flags { do_not_contact: row.try_get(1)?, source: ContactSource::of(row.try_get(2)?) };
            Ok((ContactId(row.try_get(0)?), flags))
        })
        .collect()
}

/// Folds the batch into contacts.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let known: Vec<ContactId> = touched(batch);
    let before = if known.is_empty() { Vec::new() } else { by_ids(conn, organization, &known).await? };
    let stored: Vec<Uuid> = before.iter().map(|row| row.contact_id.uuid()).collect();
    let rows = plan(batch, before)?;
    if rows.is_empty() {
        return Ok(());
    }
    // A changed row is replaced: its text and its keys change together, and changes are rare beside arrivals.
    if !stored.is_empty() {
        sqlx::query(
            "DELETE FROM contacts WHERE ctid = ANY(ARRAY(
                 SELECT c.ctid FROM UNNEST($2::uuid[]) AS gone (id)
                 CROSS JOIN LATERAL (
                     SELECT ctid FROM contacts WHERE organization_id = $1 AND contact_id BETWEEN gone.id AND gone.id
                 ORDER BY contact_id LIMIT 1) AS c))",
        )
        .bind(organization.uuid())
        .bind(stored)
        .execute(&mut *conn)
        .await?;
    }
    write(conn, organization, rows.values()).await
}

/// The contacts that the batch changes without having created them.
fn touched(batch: &[Recorded]) -> Vec<ContactId> {
    let mut created = std::collections::HashSet::new();
    let mut known = Vec::new();
    for recorded in batch {
        let contact = ContactId(recorded.aggregate_id);
        match &recorded.event {
            AnyEvent::Contact(ContactEvent::ContactCreated { contact_id, .. }) => {
                created.insert(*contact_id);
            }
            AnyEvent::Contact(_) if !created.contains(&contact) => known.push(contact),
            _ => (),
        }
    }
    known.sort_unstable();
    known.dedup();
    known
}

fn plan(batch: &[Recorded], before: Vec<ContactRow>) -> Result<BTreeMap<ContactId, ContactRow>, FoldError> {
    let mut rows: BTreeMap<ContactId, ContactRow> =
        before.into_iter().map(|row| (row.contact_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Contact(event) = &recorded.event else { continue };
        if let ContactEvent::ContactCreated { contact_id, profile, legal_basis, import_id } = event {
            rows.insert(
                *contact_id,
                ContactRow {
                    contact_id: *contact_id,
                    profile: profile.value().cloned(),
                    legal_basis: *legal_basis,
                    import_id: *import_id,
                    do_not_contact: false,
                    version: recorded.version(),
                    created_at: recorded.occurred_at,
                    updated_at: recorded.occurred_at,
                },
            );
            continue;
        }
        let row = rows.get_mut(&ContactId(recorded.aggregate_id)).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            ContactEvent::ContactCreated { .. } => (),
            ContactEvent::ContactProfileChanged { profile, .. } => row.profile = profile.value().cloned(),
            ContactEvent::ContactOptedOut { .. } | ContactEvent::ContactSuppressed { .. } => {
                row.do_not_contact = true;
            }
            ContactEvent::ContactSuppressionLifted { do_not_contact, .. } => {
                row.do_not_contact = *do_not_contact;
            }
        }
    }
    Ok(rows)
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    rows: impl Iterator<Item = &ContactRow>,
) -> Result<(), FoldError> {
    let mut copy = Copy::into(
        MODEL.name,
        &[
            "organization_id",
            "contact_id",
            "version",
            "created_at",
            "updated_at",
            "do_not_contact",
            "erased",
            "import_id",
            "legal_basis",
            "email_key",
            "phone_key",
            "external_key",
            "first_name",
            "last_name",
            "email",
            "phone",
            "company",
            "city",
            "country",
            "job_title",
            "external_id",
            "source",
            "tags",
            "custom",
            "city_key",
            "name_key",
            "search",
            "match_keys",
        ],
    );
    let nothing = ContactProfile::default();
    for row in rows {
        let profile = row.profile.as_ref().unwrap_or(&nothing);
        let keys = MatchKeys::of(profile);
        copy.row()
            .uuid(organization)
            .uuid(row.contact_id)
            .i64(row.version.cast_signed())
            .at(row.created_at)
            .at(row.updated_at)
            .bool(row.do_not_contact)
            .bool(row.profile.is_none())
            .uuid_opt(row.import_id)
            .text(row.legal_basis.name())
            .uuid_opt(keys.email)
            .uuid_opt(keys.phone)
            .uuid_opt(keys.external)
            .text_opt(profile.first_name.as_deref())
            .text_opt(profile.last_name.as_deref())
            .text_opt(profile.email.as_deref())
            .text_opt(profile.phone.as_deref())
            .text_opt(profile.company.as_deref())
            .text_opt(profile.city.as_deref())
            .text_opt(profile.country.as_deref())
            .text_opt(profile.job_title.as_deref())
            .text_opt(profile.external_id.as_deref())
            .text_opt(profile.source.as_deref())
            .texts(&profile.tags)
            .json(&profile.custom)?
            .text_opt(profile.city.as_deref().map(folded).as_deref())
            .text(&name_key(profile))
            .text(&search(profile))
            .i64s(&stored_keys(organization, profile));
    }
    copy.send(conn).await?;
    Ok(())
}
