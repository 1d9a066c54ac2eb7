//! A contact: a person or company that campaigns reach out to.
//!
//! An e-mail address is not unique: duplicates are found, not forbidden. An opt-out is never taken back by an
//! import.

mod event;
mod number;
mod reach;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use event::{ContactEvent, ContactProfile};
pub use number::{one_form, without_extension};
pub use reach::{account, is_padded_scoped_id, linkedin_id, scoped_id};

use crate::ids::{ContactId, ImportId};
use crate::personal::Personal;
use crate::stored::aggregate;

/// The ground on which personal data is kept: GDPR article 6(1), and `unknown` where nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegalBasis {
    /// Article 6(1)(a).
    Consent,
    /// Article 6(1)(b).
    Contract,
    /// Article 6(1)(c).
    LegalObligation,
    /// Article 6(1)(d).
    VitalInterests,
    /// Article 6(1)(e).
    PublicTask,
    /// Article 6(1)(f).
    LegitimateInterests,
    /// Not stated.
    #[default]
    Unknown,
}

impl LegalBasis {
    /// Every basis, in the order of the article.
    pub const ALL: [Self; 7] = [
        Self::Consent,
        Self::Contract,
        Self::LegalObligation,
        Self::VitalInterests,
        Self::PublicTask,
        Self::LegitimateInterests,
        Self::Unknown,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::LegalObligation => "legal_obligation",
            Self::VitalInterests => "vital_interests",
            Self::PublicTask => "public_task",
            Self::LegitimateInterests => "legitimate_interests",
            Self::Unknown => "unknown",
        }
    }
}

impl std::str::FromStr for LegalBasis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|basis| basis.name() == text)
            .ok_or_else(|| format!("legal basis must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Orders to a contact.
#[derive(Clone, Debug)]
pub enum ContactCommand {
    /// Take it in.
    Create {
        /// A fresh id.
        contact_id: ContactId,
        /// What is known, normalised.
        profile: ContactProfile,
        /// On what ground.
        legal_basis: LegalBasis,
        /// The import folder that it came in.
        import_id: Option<ImportId>,
        /// Whether it arrives with an opt-out, and the keyed hashes of its addresses.
        opted_out: Option<Vec<String>>,
    },
    /// Complete or correct what is known: a given field replaces, an absent one keeps, tags are united.
    Merge {
        /// The newer knowledge.
        profile: ContactProfile,
        /// The import folder that brought it.
        import_id: Option<ImportId>,
        /// Whether it arrives with an opt-out, and the keyed hashes of its addresses.
        opted_out: Option<Vec<String>>,
    },
    /// Never contact it again.
    OptOut {
        /// Where that was said.
        via: &'static str,
        /// Keyed hashes of its addresses.
        addresses: Vec<String>,
    },
    /// One of its addresses is on the suppression list: while it is, nobody contacts it.
    Suppress {
        /// Keyed hash of the address.
        address_hash: String,
    },
    /// That address was taken off the list.
    LiftSuppression {
        /// Keyed hash of the address.
        address_hash: String,
    },
}

/// Why a contact refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// The stream is empty.
    #[error("contact does not exist")]
    Unknown,
    /// The id is taken.
    #[error("contact already exists")]
    AlreadyCreated,
    /// Its data was erased; nothing may be learnt of it again under this id.
    #[error("contact was erased")]
    Erased,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Contact {
    profile: Option<Personal<ContactProfile>>,
    opted_out: bool,
    /// Keyed hashes of its addresses that are on the suppression list.
    #[serde(default)]
    listed: BTreeSet<String>,
}

aggregate!(Contact, "Contact", ContactCommand, ContactEvent, ContactError);

impl Contact {
    /// The whole business of a contact.
    fn decide(&self, command: ContactCommand) -> Result<Vec<ContactEvent>, ContactError> {
        match (command, &self.profile) {
            (ContactCommand::Create { contact_id, profile, legal_basis, import_id, opted_out }, None) => {
                let profile = Personal::known(contact_id.uuid(), profile);
                let mut events =
                    vec![ContactEvent::ContactCreated { contact_id, profile, legal_basis, import_id }];
                events.extend(self.opt_out("import", opted_out));
                Ok(events)
            }
            (ContactCommand::Create { .. }, Some(_)) => Err(ContactError::AlreadyCreated),
            (_, None) => Err(ContactError::Unknown),

            (ContactCommand::Merge { profile: newer, import_id, opted_out }, Some(profile)) => {
                let known = profile.value().ok_or(ContactError::Erased)?;
                let merged = known.clone().completed_by(newer);
                let mut events = Vec::new();
                if merged != *known {
                    let profile = Personal::known(profile.subject(), merged);
                    events.push(ContactEvent::ContactProfileChanged { profile, import_id });
                }
                events.extend(self.opt_out("import", opted_out));
                Ok(events)
            }

            (ContactCommand::OptOut { via, addresses }, Some(_)) => {
                Ok(self.opt_out(via, Some(addresses)).into_iter().collect())
            }

            (ContactCommand::Suppress { address_hash }, Some(_)) => {
                Ok(if self.listed.contains(&address_hash) {
                    vec![]
                } else {
                    vec![ContactEvent::ContactSuppressed { address_hash }]
                })
            }
            (ContactCommand::LiftSuppression { address_hash }, Some(_)) => {
                if !self.listed.contains(&address_hash) {
                    return Ok(vec![]);
                }
                let do_not_contact = self.opted_out || self.listed.len() > 1;
                Ok(vec![ContactEvent::ContactSuppressionLifted { address_hash, do_not_contact }])
            }
        }
    }

    fn opt_out(&self, via: &str, addresses: Option<Vec<String>>) -> Option<ContactEvent> {
        let addresses = addresses.filter(|_| !self.opted_out)?;
        Some(ContactEvent::ContactOptedOut { via: via.to_owned(), addresses })
    }

    fn evolve(&mut self, event: ContactEvent) {
        match event {
            ContactEvent::ContactCreated { profile, .. }
            | ContactEvent::ContactProfileChanged { profile, .. } => self.profile = Some(profile),
            ContactEvent::ContactOptedOut { .. } => self.opted_out = true,
            ContactEvent::ContactSuppressed { address_hash } => {
                self.listed.insert(address_hash);
            }
            ContactEvent::ContactSuppressionLifted { address_hash, .. } => {
                self.listed.remove(&address_hash);
            }
        }
    }

    /// Whether it was created.
    pub fn exists(&self) -> bool {
        self.profile.is_some()
    }

    /// Whether it is not to be contacted: it said so, or one of its addresses is on the suppression list.
    pub fn opted_out(&self) -> bool {
        self.opted_out || !self.listed.is_empty()
    }

    /// What is known of it.
    pub fn profile(&self) -> Option<&ContactProfile> {
        self.profile.as_ref().and_then(Personal::value)
    }
}

impl ContactProfile {
    /// This knowledge completed by newer knowledge. The source stays the first one: it says where the contact
    /// was got from.
    #[must_use]
    pub fn completed_by(self, newer: Self) -> Self {
        let mut tags = self.tags;
        tags.extend(newer.tags);
        tags.sort();
        tags.dedup();
        let mut custom = self.custom;
        custom.extend(newer.custom);
        Self {
            first_name: newer.first_name.or(self.first_name),
            last_name: newer.last_name.or(self.last_name),
            email: newer.email.or(self.email),
            phone: newer.phone.or(self.phone),
            company: newer.company.or(self.company),
            city: newer.city.or(self.city),
            country: newer.country.or(self.country),
            job_title: newer.job_title.or(self.job_title),
            external_id: newer.external_id.or(self.external_id),
            source: self.source.or(newer.source),
            tags,
            custom,
        }
    }

    /// What a person would call it: full name, else company, else nothing.
    pub fn display_name(&self) -> Option<String> {
        match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) => Some(format!("{first} {last}")),
            (Some(name), None) | (None, Some(name)) => Some(name.clone()),
            (None, None) => self.company.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Contact>;
    const ID: ContactId = ContactId(Uuid::from_u128(1));

    fn ada() -> ContactProfile {
        ContactProfile {
            first_name: Some("Ada".into()),
            email: Some("ada@example.com".into()),
            source: Some("fair".into()),
            tags: vec!["vip".into()],
            ..ContactProfile::default()
        }
    }

    fn created() -> ContactEvent {
        ContactEvent::ContactCreated {
            contact_id: ID,
            profile: Personal::known(ID.uuid(), ada()),
            legal_basis: LegalBasis::Consent,
            import_id: None,
        }
    }

    fn create(opted_out: Option<Vec<String>>) -> ContactCommand {
        ContactCommand::Create {
            contact_id: ID,
            profile: ada(),
            legal_basis: LegalBasis::Consent,
            import_id: None,
            opted_out,
        }
    }

    fn opted_out() -> ContactEvent {
        ContactEvent::ContactOptedOut { via: "import".into(), addresses: vec!["h".into()] }
    }

    #[test]
    fn a_contact_is_created_once() {
        Given::with(()).given_no_previous_events().when(create(None)).then_expect_events(vec![created()]);
        Given::with(())
            .given(vec![created()])
            .when(create(None))
            .then_expect_error(ContactError::AlreadyCreated);
    }

    #[test]
    fn a_contact_may_arrive_opted_out() {
        Given::with(())
            .given_no_previous_events()
            .when(create(Some(vec!["h".into()])))
            .then_expect_events(vec![created(), opted_out()]);
    }

    #[test]
    fn merging_keeps_what_the_newer_one_does_not_say_and_the_first_source() {
        let newer = ContactProfile {
            city: Some("Lyon".into()),
            source: Some("other".into()),
            tags: vec!["b2b".into()],
            ..ContactProfile::default()
        };
        let merged =
            ContactProfile { city: Some("Lyon".into()), tags: vec!["b2b".into(), "vip".into()], ..ada() };
        Given::with(())
            .given(vec![created()])
            .when(ContactCommand::Merge { profile: newer, import_id: None, opted_out: None })
            .then_expect_events(vec![ContactEvent::ContactProfileChanged {
                profile: Personal::known(ID.uuid(), merged),
                import_id: None,
            }]);
    }

    #[test]
    fn merging_what_is_known_is_no_event() {
        Given::with(())
            .given(vec![created()])
            .when(ContactCommand::Merge { profile: ada(), import_id: None, opted_out: None })
            .then_expect_events(vec![]);
    }

    #[test]
    fn an_import_without_an_opt_out_does_not_take_one_back() {
        let merge = ContactCommand::Merge { profile: ada(), import_id: None, opted_out: None };
        Given::with(()).given(vec![created(), opted_out()]).when(merge).then_expect_events(vec![]);
    }

    #[test]
    fn a_contact_is_left_alone_while_one_of_its_addresses_is_listed() {
        let listed = |hash: &str| ContactEvent::ContactSuppressed { address_hash: hash.into() };
        let lift = |hash: &str| ContactCommand::LiftSuppression { address_hash: hash.into() };
        let lifted = |hash: &str, do_not_contact| ContactEvent::ContactSuppressionLifted {
            address_hash: hash.into(),
            do_not_contact,
        };
        for (history, command, expected) in [
            (vec![], ContactCommand::Suppress { address_hash: "a".into() }, vec![listed("a")]),
            (vec![listed("a")], ContactCommand::Suppress { address_hash: "a".into() }, vec![]),
            (vec![], lift("a"), vec![]),
            (vec![listed("a")], lift("a"), vec![lifted("a", false)]),
            (vec![listed("a"), listed("b")], lift("a"), vec![lifted("a", true)]),
            (vec![listed("a"), opted_out()], lift("a"), vec![lifted("a", true)]),
        ] {
            let history = [vec![created()], history].concat();
            Given::with(()).given(history).when(command).then_expect_events(expected);
        }
    }

    #[test]
    fn opting_out_twice_is_harmless() {
        let opt_out = || ContactCommand::OptOut { via: "call", addresses: vec![] };
        Given::with(()).given(vec![created()]).when(opt_out()).then_expect_events(vec![
            ContactEvent::ContactOptedOut { via: "call".into(), addresses: vec![] },
        ]);
        Given::with(()).given(vec![created(), opted_out()]).when(opt_out()).then_expect_events(vec![]);
    }

    #[test]
    fn nothing_is_learnt_of_an_erased_contact() {
        let erased = ContactEvent::ContactCreated {
            contact_id: ID,
            profile: Personal::erased(ID.uuid()),
            legal_basis: LegalBasis::Consent,
            import_id: None,
        };
        Given::with(())
            .given(vec![erased])
            .when(ContactCommand::Merge { profile: ada(), import_id: None, opted_out: None })
            .then_expect_error(ContactError::Erased);
    }
}
