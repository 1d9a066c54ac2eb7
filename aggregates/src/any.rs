//! Every event there is.
//!
//! One list of aggregates, from which the stored name, the decoder and the set of known types follow. An event
//! type that is not in it is *unknown* (a newer writer), which is not the same as a known one that does not
//! decode (a damaged or wrongly upcast one).

use cqrs_es::Aggregate;
use serde_json::Value;

/// Why a stored event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// This binary does not know the type: a newer one wrote it.
    #[error(
        "event type {event_type} version {event_version} of {aggregate_type} is not known to this version"
    )]
    Unknown {
        /// The stored aggregate type.
        aggregate_type: String,
        /// The stored event type.
        event_type: String,
        /// The stored version.
        event_version: String,
    },
    /// The type is known, and the payload is not one.
    #[error("event type {event_type} version {event_version} does not decode")]
    Undecodable {
        /// The stored event type.
        event_type: String,
        /// The stored version.
        event_version: String,
        /// What serde said. Not shown by `Display`: it may quote the payload.
        source: serde_json::Error,
    },
}

/// What can be done with the aggregate of any event, whichever it is.
pub trait ForAggregate {
    /// What comes of it.
    type Out;

    /// Does it for this aggregate.
    fn of<A: crate::Decides + Clone + 'static>(self) -> Self::Out;
}

macro_rules! any_event {
    ($($variant:ident($module:ident :: $aggregate:ident, $event:ident)),+ $(,)?) => {
        /// An event of any aggregate.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is the aggregate of the same name")]
        pub enum AnyEvent { $($variant(crate::$module::$event)),+ }

        $(impl From<crate::$module::$event> for AnyEvent {
            fn from(event: crate::$module::$event) -> Self {
                Self::$variant(event)
            }
        })+

        $(impl TryFrom<AnyEvent> for crate::$module::$event {
            type Error = ();

            /// Fails if it is an event of another aggregate.
            fn try_from(event: AnyEvent) -> Result<Self, ()> {
                if let AnyEvent::$variant(event) = event { Ok(event) } else { Err(()) }
            }
        })+

        impl AnyEvent {
            /// Every stored type: aggregate type, event type, version that is written today.
            pub fn stored() -> Vec<(&'static str, &'static str, &'static str)> {
                let mut all = Vec::new();
                $(all.extend(crate::$module::$event::STORED.iter().map(|(event, version)| {
                    (crate::$module::$aggregate::TYPE, *event, *version)
                }));)+
                all
            }

            /// The stored aggregate type.
            pub fn aggregate_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => crate::$module::$aggregate::TYPE),+ }
            }

            /// Does what can be done with any aggregate for the one that this is an event of.
            pub fn with_aggregate<T: ForAggregate>(&self, todo: T) -> T::Out {
                match self { $(Self::$variant(_) => todo.of::<crate::$module::$aggregate>()),+ }
            }

            /// The stored event type.
            pub fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(event) => event.stored_type()),+ }
            }

            /// The version that is written today.
            pub fn event_version(&self) -> &'static str {
                match self { $(Self::$variant(event) => event.stored_version()),+ }
            }

            /// The payload with its `type` tag and its personal values open.
            pub fn payload(&self) -> Result<Value, serde_json::Error> {
                match self { $(Self::$variant(event) => serde_json::to_value(event)),+ }
            }

            /// Reads a stored event. Unknown fields are ignored; an unknown type or version is told apart from
            /// a payload that does not decode.
            pub fn decode(
                aggregate_type: &str,
                event_type: &str,
                event_version: &str,
                payload: Value,
            ) -> Result<Self, DecodeError> {
                let unknown = || DecodeError::Unknown {
                    aggregate_type: aggregate_type.to_owned(),
                    event_type: event_type.to_owned(),
                    event_version: event_version.to_owned(),
                };
                let undecodable = |source| DecodeError::Undecodable {
                    event_type: event_type.to_owned(),
                    event_version: event_version.to_owned(),
                    source,
                };
                $(if aggregate_type == crate::$module::$aggregate::TYPE {
                    if !crate::$module::$event::STORED.contains(&(event_type, event_version)) {
                        return Err(unknown());
                    }
                    return serde_json::from_value(payload).map(Self::$variant).map_err(undecodable);
                })+
                Err(unknown())
            }
        }
    };
}

any_event! {
    Organization(organization::Organization, OrganizationEvent),
    Token(token::Token, TokenEvent),
    Agent(agent::Agent, AgentEvent),
    Contact(contact::Contact, ContactEvent),
    Import(import::Import, ImportEvent),
    Campaign(campaign::Campaign, CampaignEvent),
    Roster(roster::Roster, RosterEvent),
    Membership(membership::Membership, MembershipEvent),
    FollowUp(follow_up::FollowUp, FollowUpEvent),
    ScriptTemplate(script_template::ScriptTemplate, ScriptTemplateEvent),
    ScriptExecution(script_execution::ScriptExecution, ScriptExecutionEvent),
    QualificationTemplate(qualification_template::QualificationTemplate, QualificationTemplateEvent),
    Qualification(qualification::Qualification, QualificationEvent),
    Outbox(outbox::Outbox, OutboxEvent),
    Credential(credential::Credential, CredentialEvent),
    Bucket(bucket::Bucket, BucketEvent),
    Message(message::Message, MessageEvent),
    Approval(approval::Approval, ApprovalEvent),
    ApprovalRules(approval_rules::ApprovalRules, ApprovalRulesEvent),
    Allowlist(allowlist::Allowlist, AllowlistEvent),
    Suppression(suppression::Suppression, SuppressionEvent),
    SendingControl(sending_control::SendingControl, SendingControlEvent),
    Correspondence(correspondence::Correspondence, CorrespondenceEvent),
    ContentPiece(content_piece::ContentPiece, ContentPieceEvent),
    Sequence(sequence::Sequence, SequenceEvent),
    Enrollment(enrollment::Enrollment, EnrollmentEvent),
    WebhookEndpoint(webhook_endpoint::WebhookEndpoint, WebhookEndpointEvent),
    HookRegistry(hook_registry::HookRegistry, HookRegistryEvent),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stored_types_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for (_, event_type, version) in AnyEvent::stored() {
            assert!(seen.insert((event_type, version)), "{event_type} is stored by two aggregates");
        }
    }

    #[test]
    fn a_newer_type_is_unknown_and_a_broken_one_undecodable() {
        let unknown =
            AnyEvent::decode("FollowUp", "FollowUpSnoozed", "1", json!({"type": "FollowUpSnoozed"}));
        assert!(matches!(unknown, Err(DecodeError::Unknown { .. })));
        let newer = AnyEvent::decode("FollowUp", "FollowUpDone", "9", json!({"type": "FollowUpDone"}));
        assert!(matches!(newer, Err(DecodeError::Unknown { .. })));
        let broken =
            AnyEvent::decode("FollowUp", "FollowUpScheduled", "1", json!({"type": "FollowUpScheduled"}));
        assert!(matches!(broken, Err(DecodeError::Undecodable { .. })));
    }

    #[test]
    fn a_field_that_is_not_known_is_ignored() {
        let event = AnyEvent::decode(
            "FollowUp",
            "FollowUpDone",
            "1",
            json!({"type": "FollowUpDone", "added_later": 1}),
        );
        assert!(matches!(event, Ok(AnyEvent::FollowUp(crate::follow_up::FollowUpEvent::FollowUpDone {}))));
    }
}
