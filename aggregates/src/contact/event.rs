//! Stored events of a contact. A change here is a change of a stored format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::LegalBasis;
use crate::ids::{ContactId, ImportId};
use crate::personal::Personal;
use crate::stored::stored_events;

/// Everything that is known of a contact. All of it is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactProfile {
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Normalised e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Phone number in E.164, with `;ext=` where there is an extension (RFC 3966).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// City.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Country, ISO 3166-1 alpha-2 where it was recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Job title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_title: Option<String>,
    /// The id that the contact has in the system it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Where the contact was got from, in the words of whoever brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Tags, sorted, without repeats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Columns that have no field of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, String>,
}

/// The facts of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ContactEvent {
    /// The contact is known from here on.
    ContactCreated {
        /// Its id, which is also its stream and its data subject.
        contact_id: ContactId,
        /// What is known.
        profile: Personal<ContactProfile>,
        /// On what ground it may be kept (GDPR article 6).
        legal_basis: LegalBasis,
        /// The import folder that it came in.
        import_id: Option<ImportId>,
    },
    /// What is known of it is another.
    ContactProfileChanged {
        /// The whole new profile.
        profile: Personal<ContactProfile>,
        /// The import folder that brought the change.
        import_id: Option<ImportId>,
    },
    /// It asked not to be contacted. Every campaign, send and sequence heeds this.
    ContactOptedOut {
        /// Where that was said: `import`, `call`, `api`, `unsubscribe`.
        via: String,
        /// Keyed hashes of its addresses at that moment, so that the suppression outlives an erasure.
        addresses: Vec<String>,
    },
    /// One of its addresses is on the suppression list: it is left alone like one that opted out, for as long as that is so.
    ContactSuppressed {
        /// Keyed hash of the address.
        address_hash: String,
    },
    /// That address was taken off the list. Where it stands in campaigns stays as it is, until it is put in again.
    ContactSuppressionLifted {
        /// Keyed hash of the address.
        address_hash: String,
        /// Whether something else still stands against contacting it.
        do_not_contact: bool,
    },
}

stored_events!(ContactEvent {
    ContactCreated "1",
    ContactProfileChanged "1",
    ContactOptedOut "1",
    ContactSuppressed "1",
    ContactSuppressionLifted "1",
});
