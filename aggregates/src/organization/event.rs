//! Stored events of an organization. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::OrganizationId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// What is said of an organization in words; sealed, because a sole trader's organization bears a person's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationProfile {
    /// Display name, 1 to 200 characters.
    pub name: String,
    /// The short name used in addresses: `^[a-z0-9-]{1,64}$`.
    pub slug: String,
    /// The owner's e-mail address.
    pub owner_email: String,
}

/// The facts of an organization, in the instance ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OrganizationEvent {
    /// The organization exists from here on.
    OrganizationCreated {
        /// Its id, which is also its stream.
        organization_id: OrganizationId,
        /// Name, slug and owner.
        profile: Personal<OrganizationProfile>,
        /// Keyed hash of the slug, so that its uniqueness can be rebuilt without opening the profile.
        slug_key: String,
        /// Whether the outbound CRM module is on.
        crm_enabled: bool,
    },
    /// It has another name.
    OrganizationRenamed {
        /// The whole profile with the new name.
        profile: Personal<OrganizationProfile>,
    },
    /// The outbound CRM module was switched on.
    CrmModuleEnabled {},
    /// The outbound CRM module was switched off: its tools answer 403.
    CrmModuleDisabled {},
}

stored_events!(OrganizationEvent {
    OrganizationCreated "1",
    OrganizationRenamed "1",
    CrmModuleEnabled "1",
    CrmModuleDisabled "1",
});
