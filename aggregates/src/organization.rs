//! An organization: the tenant, and the unit of the ledger.
//!
//! Its events stand in the instance ledger, because they must be readable before its own ledger is.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{OrganizationEvent, OrganizationProfile};

use crate::ids::OrganizationId;
use crate::personal::Personal;
use crate::stored::aggregate;

/// Orders to an organization.
#[derive(Clone, Debug)]
pub enum OrganizationCommand {
    /// Found it.
    Create {
        /// A fresh id.
        organization_id: OrganizationId,
        /// Name, slug and owner.
        profile: OrganizationProfile,
        /// Keyed hash of the slug.
        slug_key: String,
        /// Whether the CRM module starts switched on.
        crm_enabled: bool,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: String,
    },
    /// Switch the CRM module on or off.
    SwitchCrmModule {
        /// On or off.
        enabled: bool,
    },
}

/// Why an organization refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationError {
    /// The stream is empty.
    #[error("organization does not exist")]
    Unknown,
    /// The id is taken.
    #[error("organization already exists")]
    AlreadyCreated,
    /// Its profile was erased, so that it cannot be renamed.
    #[error("organization was erased")]
    Erased,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Organization {
    profile: Option<Personal<OrganizationProfile>>,
    crm_enabled: bool,
}

aggregate!(Organization, "Organization", OrganizationCommand, OrganizationEvent, OrganizationError);

impl Organization {
    /// The whole business of an organization.
    fn decide(&self, command: OrganizationCommand) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        use OrganizationCommand as C;
        use OrganizationEvent as E;
        match (command, &self.profile) {
            (C::Create { organization_id, profile, slug_key, crm_enabled }, None) => {
                Ok(vec![E::OrganizationCreated {
                    organization_id,
                    profile: Personal::known(organization_id.uuid(), profile),
                    slug_key,
                    crm_enabled,
                }])
            }
            (C::Create { .. }, Some(_)) => Err(OrganizationError::AlreadyCreated),
            (_, None) => Err(OrganizationError::Unknown),

            (C::Rename { name }, Some(profile)) => {
                let known = profile.value().ok_or(OrganizationError::Erased)?;
                if known.name == name {
                    return Ok(vec![]);
                }
                let renamed = OrganizationProfile { name, ..known.clone() };
                Ok(vec![E::OrganizationRenamed { profile: Personal::known(profile.subject(), renamed) }])
            }

            (C::SwitchCrmModule { enabled }, Some(_)) => Ok(match (enabled, self.crm_enabled) {
                (true, false) => vec![E::CrmModuleEnabled {}],
                (false, true) => vec![E::CrmModuleDisabled {}],
                _ => vec![],
            }),
        }
    }

    fn evolve(&mut self, event: OrganizationEvent) {
        match event {
            OrganizationEvent::OrganizationCreated { profile, crm_enabled, .. } => {
                self.profile = Some(profile);
                self.crm_enabled = crm_enabled;
            }
            OrganizationEvent::OrganizationRenamed { profile } => self.profile = Some(profile),
            OrganizationEvent::CrmModuleEnabled {} => self.crm_enabled = true,
            OrganizationEvent::CrmModuleDisabled {} => self.crm_enabled = false,
        }
    }

    /// Whether it was created.
    pub fn exists(&self) -> bool {
        self.profile.is_some()
    }

    /// Whether its outbound CRM module is on.
    pub fn crm_enabled(&self) -> bool {
        self.crm_enabled
    }

    /// Name, slug and owner while they are known.
    pub fn profile(&self) -> Option<&OrganizationProfile> {
        self.profile.as_ref().and_then(Personal::value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Organization>;
    const ID: OrganizationId = OrganizationId(Uuid::from_u128(1));

    fn profile(name: &str) -> OrganizationProfile {
        OrganizationProfile { name: name.into(), slug: "acme".into(), owner_email: "o@example.com".into() }
    }

    fn created() -> OrganizationEvent {
        OrganizationEvent::OrganizationCreated {
            organization_id: ID,
            profile: Personal::known(ID.uuid(), profile("Acme")),
            slug_key: "00".into(),
            crm_enabled: true,
        }
    }

    fn create() -> OrganizationCommand {
        OrganizationCommand::Create {
            organization_id: ID,
            profile: profile("Acme"),
            slug_key: "00".into(),
            crm_enabled: true,
        }
    }

    #[test]
    fn an_organization_is_created_once() {
        Given::with(()).given_no_previous_events().when(create()).then_expect_events(vec![created()]);
        Given::with(())
            .given(vec![created()])
            .when(create())
            .then_expect_error(OrganizationError::AlreadyCreated);
    }

    #[test]
    fn nothing_happens_to_an_organization_that_does_not_exist() {
        Given::with(())
            .given_no_previous_events()
            .when(OrganizationCommand::Rename { name: "B".into() })
            .then_expect_error(OrganizationError::Unknown);
    }

    #[test]
    fn the_same_name_again_is_no_event() {
        Given::with(())
            .given(vec![created()])
            .when(OrganizationCommand::Rename { name: "Acme".into() })
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_new_name_keeps_slug_and_owner() {
        Given::with(())
            .given(vec![created()])
            .when(OrganizationCommand::Rename { name: "Apex".into() })
            .then_expect_events(vec![OrganizationEvent::OrganizationRenamed {
                profile: Personal::known(ID.uuid(), profile("Apex")),
            }]);
    }

    #[test]
    fn the_module_is_switched_off_once() {
        Given::with(())
            .given(vec![created()])
            .when(OrganizationCommand::SwitchCrmModule { enabled: false })
            .then_expect_events(vec![OrganizationEvent::CrmModuleDisabled {}]);
        Given::with(())
            .given(vec![created(), OrganizationEvent::CrmModuleDisabled {}])
            .when(OrganizationCommand::SwitchCrmModule { enabled: false })
            .then_expect_events(vec![]);
    }

    #[test]
    fn an_erased_organization_cannot_be_renamed() {
        let erased = OrganizationEvent::OrganizationCreated {
            organization_id: ID,
            profile: Personal::erased(ID.uuid()),
            slug_key: "00".into(),
            crm_enabled: true,
        };
        Given::with(())
            .given(vec![erased])
            .when(OrganizationCommand::Rename { name: "B".into() })
            .then_expect_error(OrganizationError::Erased);
    }
}
