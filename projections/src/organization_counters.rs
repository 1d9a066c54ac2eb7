//! How much an organization has of what nobody should count row by row.

use docket_aggregates::AnyEvent;
use docket_aggregates::contact::ContactEvent;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::membership::MembershipEvent;
use docket_aggregates::qualification::QualificationEvent;
use sqlx::PgConnection;

use crate::columns::Columns;
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "organization_counters", tables: &["organization_counters"] };

/// What an organization has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrganizationCounts {
    /// Contacts, erased ones among them.
    pub contacts: u64,
    /// Calls, detached ones among them.
    pub calls: u64,
    /// Qualifications, open ones among them.
    pub qualifications: u64,
}

/// What the organization has.
pub async fn get(conn: &mut PgConnection, organization: OrganizationId) -> sqlx::Result<OrganizationCounts> {
    let row = sqlx::query("SELECT * FROM organization_counters WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(OrganizationCounts::default()) };
    Ok(OrganizationCounts {
        contacts: row.count("contacts")?,
        calls: row.count("calls")?,
        qualifications: row.count("qualifications")?,
    })
}

/// Adds what the batch brings.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let (mut contacts, mut calls, mut qualifications) = (0_i64, 0_i64, 0_i64);
    for recorded in batch {
        match &recorded.event {
            AnyEvent::Contact(ContactEvent::ContactCreated { .. }) => contacts += 1,
            AnyEvent::Membership(MembershipEvent::CallLogged { .. }) => calls += 1,
            AnyEvent::Qualification(QualificationEvent::QualificationOpened { .. }) => qualifications += 1,
            _ => (),
        }
    }
    if (contacts, calls, qualifications) == (0, 0, 0) {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO organization_counters (organization_id, contacts, calls, qualifications)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (organization_id) DO UPDATE SET contacts = organization_counters.contacts + excluded.contacts,
             calls = organization_counters.calls + excluded.calls,
             qualifications = organization_counters.qualifications + excluded.qualifications",
    )
    .bind(organization.uuid())
    .bind(contacts)
    .bind(calls)
    .bind(qualifications)
    .execute(conn)
    .await?;
    Ok(())
}
