//! Which set of campaigns each contact is in; no row for a contact that is in none.
//!
//! Narrow on purpose: this row answers "is it in that campaign already" for a hundred thousand contacts at once,
//! and leads from a contact to its memberships without an index on them.

use std::collections::HashMap;

use docket_aggregates::ids::{ContactId, OrganizationId};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::ReadModel;
use crate::campaign_sets::SetId;
use crate::columns::{Columns, uuids};
use crate::copy::Copy;

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "contact_sets", tables: &["contact_sets"] };

/// The sets of those of `contacts` that are in any campaign.
pub async fn of_contacts(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contacts: &[ContactId],
) -> sqlx::Result<HashMap<ContactId, SetId>> {
    if contacts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT s.contact_id, s.set_id FROM (SELECT DISTINCT UNNEST($2::uuid[]) AS id) AS wanted
         CROSS JOIN LATERAL (
             SELECT contact_id, set_id FROM contact_sets
             WHERE organization_id = $1 AND contact_id BETWEEN wanted.id AND wanted.id
                 ORDER BY contact_id LIMIT 1) AS s",
    )
    .bind(organization.uuid())
    .bind(uuids(contacts))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((ContactId(row.try_get(0)?), SetId(row.try_get(1)?)))).collect()
}

/// Up to `limit` contacts of these sets, set by set in the order given and by id within a set; of the first set
/// only those after `after`. Sets of a single campaign are not indexed and give nothing.
pub(crate) async fn members_of(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sets: &[SetId],
    after: Option<ContactId>,
    limit: i64,
) -> sqlx::Result<Vec<(SetId, ContactId)>> {
    let rows = sqlx::query(
        "SELECT wanted.set_id, member.contact_id
         FROM UNNEST($2::uuid[]) WITH ORDINALITY AS wanted (set_id, place)
         CROSS JOIN LATERAL (
             SELECT contact_id FROM contact_sets
             WHERE organization_id = $1 AND set_id = wanted.set_id AND size >= 2
               AND (wanted.place > 1 OR $3::uuid IS NULL OR contact_id > $3)
             ORDER BY contact_id LIMIT $4
         ) AS member
         ORDER BY wanted.place, member.contact_id LIMIT $4",
    )
    .bind(organization.uuid())
    .bind(uuids(sets))
    .bind(after.map(ContactId::uuid))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.id("set_id")?, row.id("contact_id")?))).collect()
}

/// A contact that moved from one set to another: before, now. None is the empty set.
pub(crate) type Move = (ContactId, Option<(SetId, usize)>, Option<(SetId, usize)>);

/// Writes where contacts are now.
pub(crate) async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    moves: &[Move],
) -> sqlx::Result<()> {
    let mut new = Copy::into(MODEL.name, &["organization_id", "contact_id", "set_id", "size"]);
    let mut gone: Vec<Uuid> = Vec::new();
    let (mut moved, mut sets, mut sizes): (Vec<Uuid>, Vec<Uuid>, Vec<i16>) = Default::default();
    for (contact, before, now) in moves {
        match (before, now) {
            (None, Some((set, members))) => {
                new.row().uuid(organization).uuid(*contact).uuid(*set).i16(size(*members));
            }
            (Some(_), Some((set, members))) => {
                moved.push(contact.uuid());
                sets.push(set.0);
                sizes.push(size(*members));
            }
            (Some(_), None) => gone.push(contact.uuid()),
            (None, None) => (),
        }
    }
    if !gone.is_empty() {
        sqlx::query("DELETE FROM contact_sets WHERE organization_id = $1 AND contact_id = ANY($2)")
            .bind(organization.uuid())
            .bind(gone)
            .execute(&mut *conn)
            .await?;
    }
    if !moved.is_empty() {
        sqlx::query(
            "UPDATE contact_sets SET set_id = moved.set_id, size = moved.size
             FROM UNNEST($2::uuid[], $3::uuid[], $4::smallint[]) AS moved (contact_id, set_id, size)
             WHERE contact_sets.organization_id = $1 AND contact_sets.contact_id = moved.contact_id",
        )
        .bind(organization.uuid())
        .bind(moved)
        .bind(sets)
        .bind(sizes)
        .execute(&mut *conn)
        .await?;
    }
    new.send(conn).await
}

/// More than 32 767 campaigns are as good as 32 767: the size only tells "several" from "one".
fn size(members: usize) -> i16 {
    i16::try_from(members).unwrap_or(i16::MAX)
}
