//! Looking at many aggregates at once, for whoever decides on them together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use docket_aggregates::Decides;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::ids::OrganizationId;
use sqlx::Row;
use uuid::Uuid;

use super::command::Stream;
use super::read::{self, ReadError};
use super::{Ledger, Versioned};

impl Ledger {
    /// The states of many aggregates as they are now, in the order of their ids: what is remembered, completed by the
    /// tails of all streams, which are read at once.
    pub async fn load_many<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        ids: &[Uuid],
    ) -> Result<Vec<Versioned<A>>, ReadError> {
        let mut found: Vec<Versioned<A>> = ids
            .iter()
            .map(|id| {
                let stream = Stream::of::<A>(*id);
                let known = self.remembered::<A>(&(organization, stream)).map(|(known, _)| known);
                known.unwrap_or_else(|| Versioned::unseen(stream))
            })
            .collect();
        let after: Vec<(Uuid, u64)> = found.iter().map(|known| (known.stream.id, known.version)).collect();
        let mut tails = read::tails(self.pool(), organization, A::TYPE, &after).await?;
        read::open_held(self.keys(), organization, &mut tails).await?;
        let places: HashMap<String, usize> =
            ids.iter().enumerate().map(|(place, id)| (id.to_string(), place)).collect();
        let mut changed = BTreeSet::new();
        for stored in tails {
            let position = stored.position;
            let known = places.get(&stored.aggregate_id).and_then(|place| {
                changed.insert(*place);
                found.get_mut(*place)
            });
            let known = known.ok_or(ReadError::Damaged(position))?;
            known.happened(stored)?;
        }
        for place in changed {
            if let Some(known) = found.get(place) {
                self.remember(organization, known);
            }
        }
        Ok(found)
    }

    /// The same for aggregates that are known by other keys: each of them once, by its key.
    pub async fn load_each<A: Decides + Clone + 'static, K: Ord>(
        &self,
        organization: OrganizationId,
        keys: BTreeSet<K>,
        stream: impl Fn(&K) -> Uuid,
    ) -> Result<BTreeMap<K, Versioned<A>>, ReadError> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<Uuid> = keys.iter().map(stream).collect();
        let found = self.load_many::<A>(organization, &ids).await?;
        Ok(keys.into_iter().zip(found).collect())
    }

    /// Those of these claims that exist. Only for decisions whose `absent` the append will judge.
    pub async fn present(
        &self,
        organization: OrganizationId,
        keys: &BTreeSet<ClaimKey>,
    ) -> Result<BTreeSet<ClaimKey>, sqlx::Error> {
        if keys.is_empty() {
            return Ok(BTreeSet::new());
        }
        let rows = sqlx::query(
            "SELECT u.n FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS u(s, k, n) \
             WHERE EXISTS (SELECT FROM ledger.claims c \
                           WHERE c.organization_id = $1 AND c.scope = u.s AND c.key_hash = u.k)",
        )
        .bind(organization.uuid())
        .bind(keys.iter().map(|key| key.scope.name()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.hash.as_slice()).collect::<Vec<_>>())
        .fetch_all(self.pool())
        .await?;
        let numbers: BTreeSet<i64> =
            rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<_, _>>()?;
        let present = |(number, key): (i64, &ClaimKey)| numbers.contains(&number).then(|| key.clone());
        Ok((1..).zip(keys).filter_map(present).collect())
    }
}
