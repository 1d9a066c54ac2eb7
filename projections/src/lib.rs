//! The read models of Docket: folded from the ledger, disposable.
//!
//! **Invariant:** projections never write events and never decide access or a send.
//!
//! A batch of one organization's events is folded in memory into net changes, which are written with a few
//! statements; the caller moves the cursor in the same transaction. Folding the same events in any batches gives the
//! same rows: nothing here reads a clock, draws a number or depends on an order of arrival. No statement names a
//! schema: the caller's `search_path` says whether the live tables, those of a rebuild or a scratch copy are meant.
//!
//! One file is one table: what writes it, what a row is, what is asked of it. A question over several tables
//! has a file of its own, which writes nothing.

mod by_id;
mod columns;
mod copy;
mod recordset;

pub mod name_keys;
pub mod names;
pub mod page;
pub mod recorded;
pub mod searchable;

// What there is.
pub mod agents;
pub mod campaigns;
pub mod contacts;
pub mod import_invalid_rows;
pub mod import_members;
pub mod imports;
pub mod organizations;
pub mod qualification_templates;
pub mod script_template_versions;
pub mod script_templates;

// Who is in which campaign, and the work on them.
pub mod calls;
pub mod campaign_counters;
pub mod campaign_sets;
pub mod contact_sets;
pub mod follow_ups;
pub mod memberships;
pub mod qualifications;
pub mod rosters;
pub mod script_executions;
mod stays;

// What is sent, from where, to whom.
pub mod allowlist_entries;
pub mod approvals;
pub mod content_pieces;
pub mod enrollments;
pub mod messages;
pub mod outboxes;
pub mod sequences;
pub mod suppressions;

// The whole of an organization.
pub mod activity;
pub mod organization_counters;

// Questions over several tables.
pub mod outbound_contacts;
pub mod overlap;
pub mod overview;
pub mod selection;
pub mod unfinished;
pub mod workloads;

use docket_aggregates::ids::OrganizationId;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

pub use page::{Keyset, Order, Page, SortValue, Total};
pub use recorded::Recorded;

/// The tables of the read models, their cursors among them.
pub const SCHEMA: &str = include_str!("../../migrations/read/0001_read_models.sql");

/// The secondary indexes, which a rebuild makes after it has loaded the rows.
pub const INDEXES: &str = include_str!("../../migrations/read/0001_indexes.sql");

/// To be raised whenever the same events give other rows although the tables are the same; also with a new version
/// of the Unicode tables that text is folded by.
const FOLD_VERSION: u32 = 6;

/// Names the tables and what is folded into them: a stored schema of another version must be rebuilt.
pub fn schema_version() -> String {
    let mut hasher = Sha256::new();
    hasher.update(SCHEMA);
    hasher.update(INDEXES);
    hasher.update(FOLD_VERSION.to_be_bytes());
    format!("{:x}", hasher.finalize())
}

/// A read model and the tables that it alone writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadModel {
    /// Its name, which is its module's.
    pub name: &'static str,
    /// Its tables.
    pub tables: &'static [&'static str],
}

/// Every read model. The runner owns the cursors, which say when they were moved and are not compared.
///
/// The rows of an organization carry its id, but for the directory: all of its rows come from the instance ledger.
pub fn all() -> &'static [ReadModel] {
    &[
        ReadModel { name: "cursors", tables: &["cursors"] },
        agents::MODEL,
        campaigns::MODEL,
        contacts::MODEL,
        import_invalid_rows::MODEL,
        import_members::MODEL,
        imports::MODEL,
        organizations::MODEL,
        qualification_templates::MODEL,
        script_template_versions::MODEL,
        script_templates::MODEL,
        calls::MODEL,
        campaign_counters::MODEL,
        campaign_sets::MODEL,
        contact_sets::MODEL,
        follow_ups::MODEL,
        memberships::MODEL,
        qualifications::MODEL,
        rosters::MODEL,
        script_executions::MODEL,
        allowlist_entries::MODEL,
        approvals::MODEL,
        content_pieces::MODEL,
        enrollments::MODEL,
        messages::MODEL,
        outboxes::MODEL,
        sequences::MODEL,
        suppressions::MODEL,
        activity::MODEL,
        organization_counters::MODEL,
    ]
}

/// Why a batch could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The database refused or was not reached.
    #[error("read model could not be written")]
    Database(#[from] sqlx::Error),
    /// A value could not be written as JSON.
    #[error("value could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The events are not one organization's, or not one after the other.
    #[error("event at position {position} does not follow the one before it")]
    OutOfOrder {
        /// Where.
        position: i64,
    },
    /// The event is about something that no earlier event brought into being.
    #[error("{event_type} at position {position} is about {aggregate_id}, which does not exist")]
    Orphan {
        /// What.
        event_type: &'static str,
        /// About what.
        aggregate_id: Uuid,
        /// Where.
        position: i64,
    },
}

/// Folds one organization's events, which follow each other without gaps, into the tables of the caller's
/// `search_path`. The caller's transaction also moves the cursor.
///
/// Several thousand events, or 50 000 contacts named by them, are a good batch: larger ones only cost memory.
pub async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    in_order(organization, batch)?;
    // Reads the contacts as they were before the batch, so it goes before them.
    stays::fold(conn, organization, batch).await?;
    rosters::fold(conn, organization, batch).await?;
    calls::fold(conn, organization, batch).await?;
    follow_ups::fold(conn, organization, batch).await?;
    contacts::fold(conn, organization, batch).await?;
    imports::fold(conn, organization, batch).await?;
    import_invalid_rows::fold(conn, organization, batch).await?;
    import_members::fold(conn, organization, batch).await?;
    campaigns::fold(conn, organization, batch).await?;
    script_templates::fold(conn, organization, batch).await?;
    script_template_versions::fold(conn, organization, batch).await?;
    script_executions::fold(conn, organization, batch).await?;
    agents::fold(conn, organization, batch).await?;
    allowlist_entries::fold(conn, organization, batch).await?;
    approvals::fold(conn, organization, batch).await?;
    content_pieces::fold(conn, organization, batch).await?;
    messages::fold(conn, organization, batch).await?;
    outboxes::fold(conn, organization, batch).await?;
    sequences::fold(conn, organization, batch).await?;
    enrollments::fold(conn, organization, batch).await?;
    suppressions::fold(conn, organization, batch).await?;
    organizations::fold(conn, batch).await?;
    qualification_templates::fold(conn, organization, batch).await?;
    qualifications::fold(conn, organization, batch).await?;
    organization_counters::fold(conn, organization, batch).await?;
    activity::fold(conn, organization, batch).await?;
    Ok(())
}

fn in_order(organization: OrganizationId, batch: &[Recorded]) -> Result<(), FoldError> {
    let first = batch.first().map_or(1, |first| first.position);
    for (expected, recorded) in (first..).zip(batch) {
        if recorded.organization_id != organization || recorded.position != expected {
            return Err(FoldError::OutOfOrder { position: recorded.position });
        }
    }
    Ok(())
}

impl Recorded {
    /// The version that its stream has after it.
    fn version(&self) -> u64 {
        self.sequence.max(0).cast_unsigned()
    }

    fn orphan(&self) -> FoldError {
        FoldError::Orphan {
            event_type: self.event.event_type(),
            aggregate_id: self.aggregate_id,
            position: self.position,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_has_exactly_one_owner() {
        let made: BTreeSet<&str> = SCHEMA
            .lines()
            .filter_map(|line| line.strip_prefix("CREATE TABLE "))
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        let mut owned = BTreeSet::new();
        for table in all().iter().flat_map(|model| model.tables) {
            assert!(owned.insert(*table), "{table} has two owners");
        }
        assert_eq!(made, owned);
    }

    #[test]
    fn every_key_and_index_begins_with_the_organization() {
        for line in INDEXES.lines().filter(|line| line.starts_with("CREATE INDEX")) {
            // The keys of an inverted index are hashes that begin with the organization.
            assert!(line.contains(" (organization_id") || line.contains(" USING gin (match_keys)"), "{line}");
        }
        let tables = SCHEMA.matches("CREATE TABLE ").count();
        let keys = SCHEMA.matches("PRIMARY KEY (organization_id").count()
            + SCHEMA.matches("organization_id uuid NOT NULL PRIMARY KEY").count();
        assert_eq!(tables, keys);
    }

    #[test]
    fn no_statement_names_a_schema() {
        for sql in [SCHEMA, INDEXES] {
            assert!(!sql.contains("read."));
        }
    }
}
