//! Where the chunks of a folder are read from, with all that is known of their rows.
//!
//! Whom a row may be about is asked of the read models, whose position is kept with the answer. Which addresses must not be
//! contacted is asked of the claims, which outlive an erasure, and never of a read model.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::{ImportId, OrganizationId};
use docket_aggregates::import::{Import, ImportEvent, StagedContact, StagedRow};
use docket_aggregates::suppression::{Suppression, SuppressionReason};
use uuid::Uuid;

use crate::app::App;
use crate::contacts::{address_hashes, mailbox_hash};
use crate::imports::matching::Known;
use crate::imports::{Error, ImportRefusal};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::{Guard, Stream, Versioned, read};
use crate::readside::{Consistency, View};
use crate::sending::domain_of;

/// Events that stand in the folder's stream before its first chunk.
const BEFORE_CHUNKS: u64 = 1;

/// Where the chunks of a folder are read from.
pub(super) struct Source {
    pub(super) app: App,
    pub(super) organization: OrganizationId,
    pub(super) import_id: ImportId,
    pub(super) keys: Arc<OrganizationKeys>,
}

/// A staged chunk with all that is known of its rows.
pub(super) struct Ready {
    pub(super) number: u64,
    staged: Vec<StagedRow>,
    /// The contacts of the read models that its rows may be about, and the position up to which these are folded.
    pub(super) known: Known,
    pub(super) position: i64,
    /// The hashes of each row's addresses, and those of them that must not be contacted.
    pub(super) hashes: Vec<Vec<String>>,
    /// The hashes of the mailbox and the domain of each row's e-mail address: what is said of these is said of every address
    /// with a tag, and of every address there.
    pub(super) wider: Vec<Vec<String>>,
    pub(super) suppressed: HashSet<String>,
    /// Those of them that the board or a complaint put on the list, and that they still are.
    pub(super) listed: BTreeMap<String, Guard>,
}

impl Ready {
    /// Its rows; one whose subject was erased since it was staged is nobody's any more.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&StagedRow, &StagedContact)> {
        self.staged.iter().filter_map(|row| Some((row, row.contact.value()?)))
    }
}

impl Source {
    /// Reads a chunk and looks its rows up, in the given view or in whatever the read models have.
    pub(super) async fn read(&self, number: u64, view: Option<View>) -> Result<Ready, Error> {
        let staged = self.read_chunk(number).await?;
        let mut ready = Ready {
            number,
            staged,
            known: Known::default(),
            position: 0,
            hashes: vec![],
            wider: vec![],
            suppressed: HashSet::new(),
            listed: BTreeMap::new(),
        };
        let profiles: Vec<&ContactProfile> = ready.rows().map(|(_, contact)| &contact.profile).collect();
        let hashes: Vec<Vec<String>> =
            profiles.iter().map(|profile| address_hashes(&self.keys, profile)).collect();
        let domain = |profile: &ContactProfile| domain_of(&self.keys, profile.email.as_deref()?);
        let wider: Vec<Vec<String>> = profiles
            .iter()
            .map(|profile| mailbox_hash(&self.keys, profile).into_iter().chain(domain(profile)).collect())
            .collect();
        let claimed = self.claimed(hashes.iter().flatten().chain(wider.iter().flatten())).await?;
        let (suppressed, listed) = (claimed.0, self.listed(claimed.1).await?);
        let mut view = match view {
            Some(view) => view,
            None => self.app.readside.view(self.organization, Consistency::Eventual).await?,
        };
        let known = Known::read(&mut view, self.organization, &profiles).await?;
        (ready.known, ready.position) = (known, view.position);
        (ready.hashes, ready.wider, ready.suppressed, ready.listed) = (hashes, wider, suppressed, listed);
        Ok(ready)
    }

    /// One staged chunk, opened. Its place in the stream follows from its number.
    async fn read_chunk(&self, number: u64) -> Result<Vec<StagedRow>, Error> {
        let stream = Stream::of::<Import>(self.import_id);
        let ledger = &self.app.ledger;
        let after = number + BEFORE_CHUNKS;
        let mut page = read::stream_page(ledger.pool(), self.organization, stream, after, 1).await?;
        read::open(ledger.keys(), self.organization, &mut page).await?;
        let event = page.pop().and_then(|stored| serde_json::from_value(stored.payload).ok());
        match event {
            Some(ImportEvent::RowsStaged { chunk, rows, .. }) if chunk == number => Ok(rows),
            _ => Err(ImportRefusal::Damaged(number).into()),
        }
    }

    /// Which of these listed addresses are on the list for more than a bounce, which says nothing of a person.
    async fn listed(&self, hashes: HashSet<String>) -> Result<BTreeMap<String, Guard>, Error> {
        if hashes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<Uuid> = hashes.iter().map(|hash| self.organization.suppression(hash)).collect();
        let lists = self.app.ledger.load_many::<Suppression>(self.organization, &ids).await?;
        let stands = |list: &Versioned<Suppression>| {
            list.state.reason().is_some_and(|reason| reason != SuppressionReason::Bounce)
        };
        let listed = hashes.into_iter().zip(lists).filter(|(_, list)| stands(list));
        Ok(listed.map(|(hash, list)| (hash, list.guard())).collect())
    }

    /// Which of these addresses must not be contacted for ever, and which are on the list. Asked of the claims, which outlive an
    /// erasure.
    async fn claimed<'h>(
        &self,
        hashes: impl Iterator<Item = &'h String>,
    ) -> Result<(HashSet<String>, HashSet<String>), Error> {
        let by_key: BTreeMap<[u8; 32], (Scope, &String)> = hashes
            .flat_map(|hash| ClaimKey::against(hash).map(|key| (key.hash, (key.scope, hash))))
            .collect();
        let (mut suppressed, mut listed) = (HashSet::new(), HashSet::new());
        if by_key.is_empty() {
            return Ok((suppressed, listed));
        }
        let scopes: Vec<&str> = by_key.values().map(|(scope, _)| scope.name()).collect();
        let keys: Vec<&[u8]> = by_key.keys().map(<[u8; 32]>::as_slice).collect();
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT c.key_hash FROM unnest($2::text[], $3::bytea[]) AS wanted (scope, key_hash) CROSS JOIN LATERAL ( \
                 SELECT key_hash FROM ledger.claims \
                 WHERE organization_id = $1 AND scope = wanted.scope AND key_hash = wanted.key_hash LIMIT 1) c",
        )
        .bind(self.organization.uuid())
        .bind(scopes)
        .bind(keys)
        .fetch_all(self.app.ledger.pool())
        .await?;
        for (scope, hash) in found.iter().filter_map(|key| by_key.get(key.as_slice())) {
            let of_scope = if *scope == Scope::SuppressedAddress { &mut suppressed } else { &mut listed };
            of_scope.insert((*hash).clone());
        }
        Ok((suppressed, listed))
    }
}
