//! Who has which key.
//!
//! The master key wraps one key per organization, and that one wraps a key per data subject. Subject keys are
//! written in the append that first seals something about the subject, and forgotten by an erasure; what was
//! sealed with a forgotten key stays in the ledger and opens for nobody.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use docket_aggregates::ids::{OrganizationId, SubjectId};
use hmac::{Hmac, Mac};
use lru::LruCache;
use sha2::Sha256;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::seal::Key;

const ORGANIZATIONS_CACHED: usize = 4_096;
const SUBJECTS_CACHED: usize = 65_536;
const PROOF: &[u8] = b"docket/1 this master key opens this vault";

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database does not answer.
    #[error("the key tables cannot be read")]
    Database(#[from] sqlx::Error),
    /// There is no such organization.
    #[error("organization does not exist")]
    UnknownOrganization,
    /// The data of the subject was erased.
    #[error("the data subject was erased")]
    Erased,
    /// The process has another master key than the database was made with.
    #[error(
        "this database was made with another master key: put that one into master.key in the data directory, in place of what \
         is there, or set DOCKET_MASTER_KEY to it"
    )]
    OtherMasterKey,
    /// A wrapped key does not open.
    #[error("the key of {0} is damaged")]
    Damaged(Uuid),
}

/// The keys of one organization.
#[derive(Debug)]
pub struct OrganizationKeys {
    organization: OrganizationId,
    wrapping: Key,
    equality: Key,
    answers: Key,
    secrets: Key,
}

impl OrganizationKeys {
    pub(crate) fn new(organization: OrganizationId, root: &Key) -> Self {
        Self {
            organization,
            wrapping: root.derive("docket/1 subjects"),
            equality: root.derive("docket/1 equality"),
            answers: root.derive("docket/1 answers"),
            secrets: root.derive("docket/1 secrets"),
        }
    }

    /// A keyed hash that is equal for equal values of this organization and tells nothing else.
    pub fn hash(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.equality.bytes()).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// The key for what is kept beside the ledger for a while: stored answers and previews.
    pub fn answers(&self) -> &Key {
        &self.answers
    }

    /// The key for what providers know the organization by.
    pub fn secrets(&self) -> &Key {
        &self.secrets
    }

    /// A fresh key for a subject, and its wrapped form for the table.
    pub fn new_subject(&self, subject: SubjectId) -> (Key, Vec<u8>) {
        let key = Key::random();
        let wrapped = self.wrapping.seal(key.bytes(), &self.subject_context(subject));
        (key, wrapped)
    }

    fn unwrap_subject(&self, subject: SubjectId, wrapped: &[u8]) -> Result<Key, KeyError> {
        let bytes = self
            .wrapping
            .open(wrapped, &self.subject_context(subject))
            .map_err(|_| KeyError::Damaged(subject.uuid()))?;
        Ok(Key::from_bytes(bytes.try_into().map_err(|_| KeyError::Damaged(subject.uuid()))?))
    }

    fn subject_context(&self, subject: SubjectId) -> Vec<u8> {
        [b"docket/1 subject", self.organization.uuid().as_bytes().as_slice(), subject.uuid().as_bytes()]
            .concat()
    }
}

fn organization_context(organization: OrganizationId) -> Vec<u8> {
    [b"docket/1 organization", organization.uuid().as_bytes().as_slice()].concat()
}

/// The key tables, with a bounded memory of what was read from them.
#[derive(Debug)]
pub struct Keys {
    pool: PgPool,
    master: Key,
    organizations: Mutex<LruCache<OrganizationId, Arc<OrganizationKeys>>>,
    subjects: Mutex<LruCache<(OrganizationId, SubjectId), Key>>,
}

/// What is known of a subject's key.
#[derive(Clone, Debug)]
pub enum SubjectKey {
    /// Here it is.
    Known(Key),
    /// It was forgotten.
    Erased,
    /// Nothing was ever sealed about the subject.
    Absent,
}

impl Keys {
    /// Opens the vault; the first process to do so makes it, with the instance's own key.
    pub async fn open(pool: PgPool, master: Key) -> Result<Self, KeyError> {
        // Two statements: one alone does not see what another process put in at the same time.
        sqlx::query("INSERT INTO ledger.vault (proof) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(master.seal(PROOF, b"docket/1 vault"))
            .execute(&pool)
            .await?;
        let proof: Vec<u8> =
            sqlx::query_scalar("SELECT proof FROM ledger.vault LIMIT 1").fetch_one(&pool).await?;
        master.open(&proof, b"docket/1 vault").map_err(|_| KeyError::OtherMasterKey)?;

        let keys = Self {
            pool,
            master,
            organizations: Mutex::new(LruCache::new(size(ORGANIZATIONS_CACHED))),
            subjects: Mutex::new(LruCache::new(size(SUBJECTS_CACHED))),
        };
        sqlx::query("INSERT INTO ledger.organization_keys VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(OrganizationId::INSTANCE.uuid())
            .bind(keys.new_organization(OrganizationId::INSTANCE))
            .execute(&keys.pool)
            .await?;
        Ok(keys)
    }

    /// A fresh wrapped key for a new organization.
    pub fn new_organization(&self, organization: OrganizationId) -> Vec<u8> {
        self.master.seal(Key::random().bytes(), &organization_context(organization))
    }

    /// The keys of an organization.
    pub async fn organization(
        &self,
        organization: OrganizationId,
    ) -> Result<Arc<OrganizationKeys>, KeyError> {
        if let Some(keys) = lock(&self.organizations).get(&organization) {
            return Ok(keys.clone());
        }
        let wrapped: Vec<u8> =
            sqlx::query_scalar("SELECT wrapped FROM ledger.organization_keys WHERE organization_id = $1")
                .bind(organization.uuid())
                .fetch_optional(&self.pool)
                .await?
                .ok_or(KeyError::UnknownOrganization)?;
        let damaged = || KeyError::Damaged(organization.uuid());
        let root = self.master.open(&wrapped, &organization_context(organization)).map_err(|_| damaged())?;
        let root = Key::from_bytes(root.try_into().map_err(|_| damaged())?);
        let keys = Arc::new(OrganizationKeys::new(organization, &root));
        lock(&self.organizations).put(organization, keys.clone());
        Ok(keys)
    }

    /// The key of a subject, if it is remembered.
    pub fn remembered(&self, organization: OrganizationId, subject: SubjectId) -> Option<Key> {
        lock(&self.subjects).get(&(organization, subject)).cloned()
    }

    /// Remembers the key of a subject once it is stored.
    pub fn remember(&self, organization: OrganizationId, subject: SubjectId, key: Key) {
        lock(&self.subjects).put((organization, subject), key);
    }

    /// The keys of many subjects. Large sets are not remembered, so that a replay does not push out the rest.
    pub async fn subjects(
        &self,
        organization: OrganizationId,
        subjects: &BTreeSet<SubjectId>,
    ) -> Result<HashMap<SubjectId, SubjectKey>, KeyError> {
        let mut found = HashMap::with_capacity(subjects.len());
        let mut wanted = Vec::new();
        {
            let mut remembered = lock(&self.subjects);
            for subject in subjects {
                match remembered.get(&(organization, *subject)) {
                    Some(key) => {
                        found.insert(*subject, SubjectKey::Known(key.clone()));
                    }
                    None => wanted.push(subject.uuid()),
                }
            }
        }
        if wanted.is_empty() {
            return Ok(found);
        }
        let keys = self.organization(organization).await?;
        let rows = sqlx::query(
            // Each is looked up by itself: with `= ANY` a planner whose statistics are older than a large import
            // reads all keys of the organization.
            "SELECT s.subject_id, s.wrapped FROM unnest($2::uuid[]) AS wanted (id) CROSS JOIN LATERAL ( \
                 SELECT subject_id, wrapped FROM ledger.subject_keys \
                 WHERE organization_id = $1 AND subject_id = wanted.id LIMIT 1) s",
        )
        .bind(organization.uuid())
        .bind(&wanted)
        .fetch_all(&self.pool)
        .await?;
        let remember = wanted.len() <= 256;
        for row in rows {
            let subject = SubjectId(row.try_get(0)?);
            let key = match row.try_get::<Option<&[u8]>, _>(1)? {
                Some(wrapped) => {
                    let key = keys.unwrap_subject(subject, wrapped)?;
                    if remember {
                        self.remember(organization, subject, key.clone());
                    }
                    SubjectKey::Known(key)
                }
                None => SubjectKey::Erased,
            };
            found.insert(subject, key);
        }
        for subject in wanted {
            found.entry(SubjectId(subject)).or_insert(SubjectKey::Absent);
        }
        Ok(found)
    }
}

fn size(entries: usize) -> NonZeroUsize {
    NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN)
}

/// A poisoned cache is still a cache: every entry in it was complete when it was put there.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
