//! One address on the suppression list.
//!
//! What the board, a bounce or a complaint puts on the list, the board may take off. What a person said is another
//! matter: an address whose owner unsubscribed stays where it is, whatever it was on the list for before, and the claim
//! that this takes is the one of a contact's opt-out. A send is appended only where neither claim stands.

mod event;

use serde::{Deserialize, Serialize};

pub use event::SuppressionEvent;

use crate::ids::ContactId;
use crate::personal::Personal;
use crate::stored::aggregate;

/// Why an address is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// The board put it there.
    Manual,
    /// The recipient unsubscribed.
    Unsubscribe,
    /// The address does not exist, or takes nothing.
    Bounce,
    /// The recipient called it spam.
    Complaint,
}

impl SuppressionReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Manual, Self::Unsubscribe, Self::Bounce, Self::Complaint];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Unsubscribe => "unsubscribe",
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
        }
    }
}

impl std::str::FromStr for SuppressionReason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.name() == text)
            .ok_or_else(|| format!("reason must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Orders about one address.
#[derive(Clone, Debug)]
pub enum SuppressionCommand {
    /// Put it on the list.
    Suppress {
        /// Keyed hash of the address, which names the stream.
        address_hash: String,
        /// The address as it is shown, under its own subject; none where it is not known any more.
        address: Option<Personal<String>>,
        /// Why.
        reason: SuppressionReason,
        /// The contacts that have this address: their streams are written in the same append.
        contact_ids: Vec<ContactId>,
    },
    /// Take it off.
    Lift,
}

/// Why the list refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuppressionError {
    /// It is not on the list.
    #[error("address is not on the suppression list")]
    NotSuppressed,
    /// Its owner's own word, which nobody takes back for them.
    #[error("an address whose owner unsubscribed stays on the suppression list")]
    OptedOut,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Suppression {
    standing: Option<Standing>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Standing {
    address_hash: String,
    reason: SuppressionReason,
    contact_ids: Vec<ContactId>,
}

aggregate!(Suppression, "Suppression", SuppressionCommand, SuppressionEvent, SuppressionError);

impl Suppression {
    /// The whole business of one address on the list.
    fn decide(&self, command: SuppressionCommand) -> Result<Vec<SuppressionEvent>, SuppressionError> {
        use SuppressionReason as Reason;
        match (command, &self.standing) {
            (SuppressionCommand::Suppress { address_hash, address, reason, contact_ids }, None) => {
                Ok(vec![SuppressionEvent::SuppressionAdded { address_hash, address, reason, contact_ids }])
            }
            (SuppressionCommand::Suppress { address_hash, address, reason, contact_ids }, Some(known))
                if reason == Reason::Unsubscribe && known.reason != Reason::Unsubscribe =>
            {
                Ok(vec![SuppressionEvent::SuppressionAdded { address_hash, address, reason, contact_ids }])
            }
            // What stands stands, for the first reason; only the owner's own word weighs more than it.
            (SuppressionCommand::Suppress { .. }, Some(_)) => Ok(vec![]),
            (SuppressionCommand::Lift, Some(known)) if known.reason == Reason::Unsubscribe => {
                Err(SuppressionError::OptedOut)
            }
            (SuppressionCommand::Lift, Some(known)) => {
                Ok(vec![SuppressionEvent::SuppressionRemoved { address_hash: known.address_hash.clone() }])
            }
            (SuppressionCommand::Lift, None) => Err(SuppressionError::NotSuppressed),
        }
    }

    fn evolve(&mut self, event: SuppressionEvent) {
        self.standing = match event {
            SuppressionEvent::SuppressionAdded { address_hash, reason, contact_ids, .. } => {
                let before = self.standing.take().map(|known| known.contact_ids).unwrap_or_default();
                Some(Standing { address_hash, reason, contact_ids: [before, contact_ids].concat() })
            }
            SuppressionEvent::SuppressionRemoved { .. } => None,
        };
    }

    /// Why it is on the list; none if it is not.
    pub fn reason(&self) -> Option<SuppressionReason> {
        self.standing.as_ref().map(|known| known.reason)
    }

    /// The contacts that are left alone because of it.
    pub fn contacts(&self) -> &[ContactId] {
        self.standing.as_ref().map(|known| known.contact_ids.as_slice()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubjectId;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Suppression>;

    fn address() -> Option<Personal<String>> {
        Some(Personal::known(SubjectId(Uuid::from_u128(1)), "ann@example.com".into()))
    }

    fn suppress(reason: SuppressionReason) -> SuppressionCommand {
        SuppressionCommand::Suppress {
            address_hash: "ab".into(),
            address: address(),
            reason,
            contact_ids: vec![],
        }
    }

    fn added(reason: SuppressionReason) -> SuppressionEvent {
        SuppressionEvent::SuppressionAdded {
            address_hash: "ab".into(),
            address: address(),
            reason,
            contact_ids: vec![],
        }
    }

    fn removed() -> SuppressionEvent {
        SuppressionEvent::SuppressionRemoved { address_hash: "ab".into() }
    }

    #[test]
    fn an_address_is_suppressed_once_for_its_first_reason() {
        Given::with(())
            .given_no_previous_events()
            .when(suppress(SuppressionReason::Bounce))
            .then_expect_events(vec![added(SuppressionReason::Bounce)]);
        Given::with(())
            .given(vec![added(SuppressionReason::Bounce)])
            .when(suppress(SuppressionReason::Manual))
            .then_expect_events(vec![]);
    }

    #[test]
    fn the_owners_word_outweighs_every_other_reason_and_is_never_lifted() {
        use SuppressionReason as Reason;
        for first in [Reason::Manual, Reason::Bounce, Reason::Complaint] {
            Given::with(())
                .given(vec![added(first)])
                .when(suppress(Reason::Unsubscribe))
                .then_expect_events(vec![added(Reason::Unsubscribe)]);
        }
        Given::with(())
            .given(vec![added(Reason::Unsubscribe)])
            .when(suppress(Reason::Unsubscribe))
            .then_expect_events(vec![]);
        Given::with(())
            .given(vec![added(Reason::Manual), added(Reason::Unsubscribe)])
            .when(SuppressionCommand::Lift)
            .then_expect_error(SuppressionError::OptedOut);
    }

    #[test]
    fn an_address_that_is_not_known_any_more_is_suppressed_by_its_hash() {
        let stored =
            serde_json::json!({ "type": "SuppressionAdded", "address_hash": "ab", "reason": "unsubscribe" });
        let event = SuppressionEvent::SuppressionAdded {
            address_hash: "ab".into(),
            address: None,
            reason: SuppressionReason::Unsubscribe,
            contact_ids: vec![],
        };
        assert_eq!(serde_json::to_value(&event).unwrap(), stored);
        assert_eq!(serde_json::from_value::<SuppressionEvent>(stored).unwrap(), event);
        Given::with(())
            .given(vec![event])
            .when(suppress(SuppressionReason::Unsubscribe))
            .then_expect_events(vec![]);
    }

    #[test]
    fn only_what_stands_is_lifted() {
        Given::with(())
            .given(vec![added(SuppressionReason::Manual)])
            .when(SuppressionCommand::Lift)
            .then_expect_events(vec![removed()]);
        for history in [vec![], vec![added(SuppressionReason::Manual), removed()]] {
            Given::with(())
                .given(history)
                .when(SuppressionCommand::Lift)
                .then_expect_error(SuppressionError::NotSuppressed);
        }
    }

    #[test]
    fn a_lifted_address_may_be_suppressed_again() {
        Given::with(())
            .given(vec![added(SuppressionReason::Manual), removed()])
            .when(suppress(SuppressionReason::Complaint))
            .then_expect_events(vec![added(SuppressionReason::Complaint)]);
    }
}
