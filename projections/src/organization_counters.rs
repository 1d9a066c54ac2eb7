//! How much an organization has of what nobody should count row by row.

use docket_aggregates::AnyEvent;
use docket_aggregates::contact::ContactEvent;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::membership::MembershipEvent;
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
}

/// What the organization has.
pub async fn get(conn: &mut PgConnection, organization: OrganizationId) -> sqlx::Result<OrganizationCounts> {
    let row = sqlx::query("SELECT contacts, calls FROM organization_counters WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(OrganizationCounts::default()) };
    Ok(OrganizationCounts { contacts: row.count("contacts")?, calls: row.count("calls")? })
}

/// Adds what the batch brings.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let (mut contacts, mut calls) = (0_i64, 0_i64);
    for recorded in batch {
        match &recorded.event {
            AnyEvent::Contact(ContactEvent::ContactCreated { .. }) => contacts += 1,
            AnyEvent::Membership(MembershipEvent::CallLogged { .. }) => calls += 1,
            _ => (),
        }
    }
    if contacts == 0 && calls == 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO organization_counters (organization_id, contacts, calls) VALUES ($1, $2, $3)
         ON CONFLICT (organization_id) DO UPDATE SET contacts = organization_counters.contacts + excluded.contacts,
             calls = organization_counters.calls + excluded.calls",
    )
    .bind(organization.uuid())
    .bind(contacts)
    .bind(calls)
    .execute(conn)
    .await?;
    Ok(())
}
