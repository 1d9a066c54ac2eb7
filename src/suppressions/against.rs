//! What the list says of addresses that contacts are about to be made with.
//!
//! It is asked of the claims, which outlive an erasure, and never of a read model. An import asks before it appends, and the
//! analysis of an import, which is to say beforehand what the import will do.

use std::collections::{BTreeMap, HashSet};

use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::suppression::{Suppression, SuppressionReason};
use uuid::Uuid;

use crate::app::App;
use crate::contacts::{address_hashes, mailbox_hash};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{Guard, Versioned};
use crate::sending::domain_of;

/// Under what somebody may be on the list.
#[derive(Default)]
pub(crate) struct Standing {
    /// Keyed hashes of their addresses.
    pub hashes: Vec<String>,
    /// Those of the mailbox and the domain of their e-mail address: what is said of these is said of every address with a
    /// tag, and of every address there.
    pub wider: Vec<String>,
}

impl Standing {
    /// Of whoever this is known of.
    pub fn of(keys: &OrganizationKeys, profile: &ContactProfile) -> Self {
        let domain = profile.email.as_deref().and_then(|email| domain_of(keys, email));
        Self {
            hashes: address_hashes(keys, profile),
            wider: mailbox_hash(keys, profile).into_iter().chain(domain).collect(),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.hashes.iter().chain(&self.wider)
    }
}

/// What the list has against some addresses.
#[derive(Default)]
pub(crate) struct Against {
    /// Those whose owner said that they are not to be contacted, for ever.
    pub suppressed: HashSet<String>,
    /// Those that the board or a complaint put on the list, and that they still are. A bounce says nothing of a person.
    pub listed: BTreeMap<String, Guard>,
}

impl Against {
    /// What the list has against these hashes.
    pub async fn read<'h>(
        app: &App,
        organization: OrganizationId,
        hashes: impl Iterator<Item = &'h String>,
    ) -> Result<Self, ReadError> {
        let by_key: BTreeMap<[u8; 32], (Scope, &String)> = hashes
            .flat_map(|hash| ClaimKey::against(hash).map(|key| (key.hash, (key.scope, hash))))
            .collect();
        let mut against = Self::default();
        if by_key.is_empty() {
            return Ok(against);
        }
        let scopes: Vec<&str> = by_key.values().map(|(scope, _)| scope.name()).collect();
        let keys: Vec<&[u8]> = by_key.keys().map(<[u8; 32]>::as_slice).collect();
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT c.key_hash FROM unnest($2::text[], $3::bytea[]) AS wanted (scope, key_hash) CROSS JOIN LATERAL ( \
                 SELECT key_hash FROM ledger.claims \
                 WHERE organization_id = $1 AND scope = wanted.scope AND key_hash = wanted.key_hash LIMIT 1) c",
        )
        .bind(organization.uuid())
        .bind(scopes)
        .bind(keys)
        .fetch_all(app.ledger.pool())
        .await?;
        let mut listed = Vec::new();
        for (scope, hash) in found.iter().filter_map(|key| by_key.get(key.as_slice())) {
            if *scope == Scope::SuppressedAddress {
                against.suppressed.insert((*hash).clone());
            } else {
                listed.push((*hash).clone());
            }
        }
        against.listed = more_than_bounced(app, organization, listed).await?;
        Ok(against)
    }

    /// Whether it has anything against somebody.
    pub fn stands_against(&self, standing: &Standing) -> bool {
        standing.all().any(|hash| self.suppressed.contains(hash) || self.listed.contains_key(hash))
    }
}

/// Which of these listed addresses are on the list for more than a bounce.
async fn more_than_bounced(
    app: &App,
    organization: OrganizationId,
    hashes: Vec<String>,
) -> Result<BTreeMap<String, Guard>, ReadError> {
    if hashes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Uuid> = hashes.iter().map(|hash| organization.suppression(hash)).collect();
    let lists = app.ledger.load_many::<Suppression>(organization, &ids).await?;
    let stands = |list: &Versioned<Suppression>| {
        list.state.reason().is_some_and(|reason| reason != SuppressionReason::Bounce)
    };
    let listed = hashes.into_iter().zip(lists).filter(|(_, list)| stands(list));
    Ok(listed.map(|(hash, list)| (hash, list.guard())).collect())
}
