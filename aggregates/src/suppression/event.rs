//! Stored events of one address on the suppression list. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::SuppressionReason;
use crate::ids::ContactId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// The facts of one address on the suppression list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum SuppressionEvent {
    /// Nothing is sent to it from here on.
    SuppressionAdded {
        /// Keyed hash of the address, which names the stream and outlives an erasure.
        address_hash: String,
        /// The address. The subject is whoever it belongs to; none where their data was erased before, because nothing is
        /// recorded about them any more but that they are left alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Personal<String>>,
        /// Why.
        reason: SuppressionReason,
        /// The contacts that are left alone with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contact_ids: Vec<ContactId>,
    },
    /// The list does not stand against it any more.
    SuppressionRemoved {
        /// Keyed hash of the address.
        address_hash: String,
    },
}

stored_events!(SuppressionEvent {
    SuppressionAdded "1",
    SuppressionRemoved "1",
});
