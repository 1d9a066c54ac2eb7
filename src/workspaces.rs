//! Which organization a call may enter.
//!
//! Decided from the organization's own stream in the instance ledger, never from a read model. What this process
//! changed itself it knows at once; what another process changed is read at least once a second, so that a module
//! that is switched off is off everywhere within two.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::organization::Organization;
use lru::LruCache;

use crate::ledger::Ledger;
use crate::ledger::read::ReadError;

const REMEMBERED: usize = 16_384;
/// How long it is trusted that no other process changed an organization.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// When each organization was last read.
#[derive(Clone)]
pub struct Workspaces {
    read_at: Arc<Mutex<LruCache<OrganizationId, Instant>>>,
}

impl Default for Workspaces {
    fn default() -> Self {
        let size = NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Self { read_at: Arc::new(Mutex::new(LruCache::new(size))) }
    }
}

impl Workspaces {
    /// The organization, if it was ever created.
    pub async fn get(
        &self,
        ledger: &Ledger,
        organization: OrganizationId,
    ) -> Result<Option<Arc<Organization>>, ReadError> {
        let trusted = {
            let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
            read_at.get(&organization).is_some_and(|at| at.elapsed() < TRUSTED_FOR)
        };
        let found = if trusted {
            ledger.glance::<Organization>(OrganizationId::INSTANCE, organization).await?
        } else {
            let found = ledger.load::<Organization>(OrganizationId::INSTANCE, organization).await?;
            // What does not exist is not remembered: it may be created at any moment.
            if found.exists() {
                let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
                read_at.put(organization, Instant::now());
            }
            found
        };
        Ok(found.state.exists().then_some(found.state))
    }

    /// Whether the organization's CRM module is on. While it is off nothing goes out and no step is taken, and all of it
    /// waits.
    pub async fn is_on(&self, ledger: &Ledger, organization: OrganizationId) -> Result<bool, ReadError> {
        let found = self.get(ledger, organization).await?;
        Ok(found.is_some_and(|organization| organization.crm_enabled()))
    }
}
