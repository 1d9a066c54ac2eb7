//! The claims that the events justify: compared with the table, and put in its place.
//!
//! The table is kept by the append and by nobody else. Should it be damaged (a restore of single tables, a slip of
//! an operator), the events still say what it must hold: `claims::changes_of` is the one definition for both. What is
//! justified is gathered in a temporary table, portion by portion, so that memory does not grow with the ledger.
//!
//! Sealed values stay sealed: a claim rests on nothing but what stands in the clear.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::AnyEvent;
use docket_aggregates::claims::{ClaimChange, ClaimKey, changes_of};
use docket_aggregates::ids::OrganizationId;
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use super::Ledger;
use super::read::{self, Portion, ReadError};

const PORTION: Portion = Portion { events: 2_000, bytes: 4 << 20 };

/// How the table differs from what the events justify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimsChecked {
    /// Claims that the events justify.
    pub justified: i64,
    /// Of these, claims that the table lacks.
    pub missing: i64,
    /// Of these, claims that the table gives to another owner.
    pub misowned: i64,
    /// Claims of the table that no event justifies.
    pub unjustified: i64,
}

impl ClaimsChecked {
    /// Whether the table is what it must be.
    pub const fn hold(&self) -> bool {
        self.missing == 0 && self.misowned == 0 && self.unjustified == 0
    }
}

/// What a rebuild found, and has put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimsRebuilt {
    /// Whose.
    pub organization_id: OrganizationId,
    /// Events read.
    pub events: i64,
    /// How the table differed.
    #[serde(flatten)]
    pub found: ClaimsChecked,
}

/// Why claims cannot be judged. The table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// An event cannot be read, or a newer version wrote it: what it claims is not known.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database does not answer, or refuses.
    #[error("the claims cannot be read")]
    Database(#[from] sqlx::Error),
    /// There is no such ledger.
    #[error("organization {0} does not exist")]
    UnknownOrganization(OrganizationId),
}

/// Compares an organization's claims with its events, both of one moment.
pub async fn check(
    connection: &mut PgConnection,
    organization: OrganizationId,
) -> Result<ClaimsChecked, ClaimsError> {
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let head = head(&mut transaction, organization, "").await?;
    make_table(&mut transaction).await?;
    gather(&mut transaction, organization, 1, head).await?;
    let checked = compare(&mut transaction, organization).await?;
    transaction.rollback().await?;
    Ok(checked)
}

impl Ledger {
    /// Who owns each of these claims now, in their order. What is decided on it is judged by the append all the same.
    pub async fn owners(
        &self,
        organization: OrganizationId,
        keys: &[ClaimKey],
    ) -> Result<Vec<Option<Uuid>>, ReadError> {
        let owners = sqlx::query_scalar(
            "SELECT c.owner FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS t (scope, key_hash, i) \
             LEFT JOIN LATERAL (SELECT owner FROM ledger.claims c WHERE c.organization_id = $1 \
                 AND c.scope = t.scope AND c.key_hash = t.key_hash LIMIT 1) c ON true ORDER BY t.i",
        )
        .bind(organization.uuid())
        .bind(keys.iter().map(|key| key.scope.name()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.hash.as_slice()).collect::<Vec<_>>())
        .fetch_all(self.pool())
        .await?;
        Ok(owners)
    }

    /// Makes an organization's claims what its events justify. Its appends wait while the last stretch is read and the table
    /// is changed; all that was there before is read without holding anything up.
    pub async fn rebuild_claims(&self, organization: OrganizationId) -> Result<ClaimsRebuilt, ClaimsError> {
        // The temporary table goes with the connection.
        let mut connection = self.pool().acquire().await?.detach();
        let reached = head(&mut connection, organization, "").await?;
        make_table(&mut connection).await?;
        gather(&mut connection, organization, 1, reached).await?;

        let mut transaction = connection.begin().await?;
        let head = head(&mut transaction, organization, "FOR UPDATE").await?;
        gather(&mut transaction, organization, reached + 1, head).await?;
        let found = compare(&mut transaction, organization).await?;
        for change in [
            "DELETE FROM ledger.claims c WHERE organization_id = $1 AND NOT EXISTS (SELECT 1 FROM justified j \
             WHERE j.scope = c.scope AND j.key_hash = c.key_hash)",
            "INSERT INTO ledger.claims SELECT $1, scope, key_hash, owner FROM justified \
             ON CONFLICT (organization_id, scope, key_hash) DO UPDATE SET owner = excluded.owner \
             WHERE claims.owner <> excluded.owner",
        ] {
            sqlx::query(change).bind(organization.uuid()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        if !found.hold() {
            tracing::warn!(organization.id = %organization, ?found, "the claims were not what the events justify, and are now");
        }
        Ok(ClaimsRebuilt { organization_id: organization, events: head, found })
    }
}

async fn head(
    connection: &mut PgConnection,
    organization: OrganizationId,
    lock: &str,
) -> Result<i64, ClaimsError> {
    sqlx::query_scalar(&format!("SELECT position FROM ledger.heads WHERE organization_id = $1 {lock}"))
        .bind(organization.uuid())
        .fetch_optional(connection)
        .await?
        .ok_or(ClaimsError::UnknownOrganization(organization))
}

async fn make_table(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection
        .execute(
            "CREATE TEMPORARY TABLE justified (scope text, key_hash bytea, owner uuid NOT NULL, \
                 PRIMARY KEY (scope, key_hash))",
        )
        .await?;
    Ok(())
}

/// Applies what the events at these positions claim and release, in their order.
async fn gather(
    connection: &mut PgConnection,
    organization: OrganizationId,
    from: i64,
    to: i64,
) -> Result<(), ClaimsError> {
    let mut next = from;
    while next <= to {
        let mut net = Net::default();
        for stored in read::stretch(connection, organization, next, to, PORTION).await? {
            let position = stored.position;
            next = position + 1;
            let aggregate = stored.aggregate_id.parse().map_err(|_| ReadError::Damaged(position))?;
            let event = AnyEvent::decode(
                &stored.aggregate_type,
                &stored.event_type,
                &stored.event_version,
                stored.payload,
            )
            .map_err(|source| ReadError::Decode { position, source })?;
            for change in changes_of(&event, aggregate) {
                net.add(change);
            }
        }
        net.write(connection).await?;
    }
    Ok(())
}

/// What a portion's events come to.
#[derive(Default)]
struct Net {
    /// Released within the portion: whoever owned it before does so no more.
    released: BTreeSet<ClaimKey>,
    /// Taken within the portion and not released after.
    taken: BTreeMap<ClaimKey, Uuid>,
}

impl Net {
    fn add(&mut self, change: ClaimChange) {
        match change {
            ClaimChange::Take(key, owner) => {
                self.released.insert(key.clone());
                self.taken.insert(key, owner);
            }
            // Whoever had it first keeps it.
            ClaimChange::Ensure(key, owner) => {
                self.taken.entry(key).or_insert(owner);
            }
            ClaimChange::Release(key) => {
                self.taken.remove(&key);
                self.released.insert(key);
            }
        }
    }

    async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.released.is_empty() {
            sqlx::query(
                "DELETE FROM justified USING unnest($1::text[], $2::bytea[]) AS u(s, k) \
                 WHERE scope = u.s AND key_hash = u.k",
            )
            .bind(self.released.iter().map(|key| key.scope.name()).collect::<Vec<_>>())
            .bind(self.released.iter().map(|key| key.hash.as_slice()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        if !self.taken.is_empty() {
            sqlx::query(
                "INSERT INTO justified SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[]) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(self.taken.keys().map(|key| key.scope.name()).collect::<Vec<_>>())
            .bind(self.taken.keys().map(|key| key.hash.as_slice()).collect::<Vec<_>>())
            .bind(self.taken.values().copied().collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

async fn compare(
    connection: &mut PgConnection,
    organization: OrganizationId,
) -> Result<ClaimsChecked, sqlx::Error> {
    let row = sqlx::query(
        "SELECT count(j.owner), count(*) FILTER (WHERE c.owner IS NULL), \
             count(*) FILTER (WHERE j.owner <> c.owner), count(*) FILTER (WHERE j.owner IS NULL) \
         FROM justified j FULL JOIN (SELECT * FROM ledger.claims WHERE organization_id = $1) c \
             USING (scope, key_hash)",
    )
    .bind(organization.uuid())
    .fetch_one(connection)
    .await?;
    Ok(ClaimsChecked {
        justified: row.try_get(0)?,
        missing: row.try_get(1)?,
        misowned: row.try_get(2)?,
        unjustified: row.try_get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::claims::Scope;

    #[test]
    fn a_portion_comes_to_what_its_last_word_says() {
        let key = |text: &str| ClaimKey::new(Scope::Slug, text);
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut net = Net::default();
        for change in [
            ClaimChange::Take(key("released"), one),
            ClaimChange::Release(key("released")),
            ClaimChange::Release(key("taken again")),
            ClaimChange::Take(key("taken again"), two),
            ClaimChange::Ensure(key("ensured"), one),
            ClaimChange::Ensure(key("ensured"), two),
        ] {
            net.add(change);
        }
        let taken: BTreeMap<_, _> = [(key("taken again"), two), (key("ensured"), one)].into();
        assert_eq!(net.taken, taken);
        assert!(net.released.contains(&key("released")) && !net.released.contains(&key("ensured")));
    }
}
