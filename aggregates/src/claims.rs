//! What must be unique, or must be known without the read side.
//!
//! A claim is a small row that only the append changes, in the transaction of the events that cause it. Which
//! claims an event takes and releases is said here and nowhere else, so that the table can be rebuilt from the
//! events alone.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::any::AnyEvent;
use crate::bucket::BucketEvent;
use crate::contact::ContactEvent;
use crate::content_piece::ContentPieceEvent;
use crate::ids::{CampaignId, ContactId, MessageId, ScriptExecutionId};
use crate::import::ImportEvent;
use crate::membership::Stay;
use crate::message::MessageEvent;
use crate::organization::OrganizationEvent;
use crate::qualification::QualificationEvent;
use crate::script_execution::ScriptExecutionEvent;
use crate::suppression::{SuppressionEvent, SuppressionReason};

/// What kind of thing is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// An organization's slug, in the instance ledger.
    Slug,
    /// The one commit of an import.
    ImportCommit,
    /// An address whose owner asked that nothing be sent to it. Never given free.
    SuppressedAddress,
    /// The one open script execution of a contact within a campaign.
    OpenExecution,
    /// The one open qualification of a contact within a campaign.
    OpenQualification,
    /// The qualification that follows from a conversation.
    QualifiedConversation,
    /// A qualification by which a person, and no model, judged a contact's stay in a campaign, since one of the stay was last
    /// opened again. Where nobody has it, a person may have judged in another record before that.
    JudgedByPerson,
    /// An address on the suppression list, from which it may be taken.
    ListedAddress,
    /// A caller's deduplication key: the one message that stands for it.
    MessageDedup,
    /// The same key, of a message that was held to be unsent and was sent after all. Never given free: whoever has the key
    /// meanwhile gives it back to that one.
    SentAfterAll,
    /// The one open charge of a message: the bucket that counts it.
    QuotaCharge,
    /// The one living content piece of a path.
    ContentPath,
    /// A contact that nobody contacts, at whatever address: it said so, or the list stands against one of its addresses.
    LeftAlone,
}

impl Scope {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slug => "slug",
            Self::ImportCommit => "import_commit",
            Self::SuppressedAddress => "suppressed_address",
            Self::OpenExecution => "open_execution",
            Self::OpenQualification => "open_qualification",
            Self::QualifiedConversation => "qualified_conversation",
            Self::JudgedByPerson => "judged_by_person",
            Self::ListedAddress => "listed_address",
            Self::MessageDedup => "message_dedup",
            Self::SentAfterAll => "sent_after_all",
            Self::QuotaCharge => "quota_charge",
            Self::ContentPath => "content_path",
            Self::LeftAlone => "left_alone",
        }
    }
}

/// One claim: at most one owner for each key of an organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// What kind of thing.
    pub scope: Scope,
    /// SHA-256 of the key; where the key is personal, of its keyed hash. Holds no personal data.
    pub hash: [u8; 32],
}

impl ClaimKey {
    /// The claim on `key`. A personal key must be hashed with the organization's key before.
    pub fn new(scope: Scope, key: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(scope.name());
        hasher.update([0]);
        hasher.update(key);
        Self { scope, hash: hasher.finalize().into() }
    }

    /// The claim of the open script execution of a contact within a campaign.
    pub fn open_execution(campaign: CampaignId, contact: ContactId) -> Self {
        Self::new(Scope::OpenExecution, &format!("{campaign}/{contact}"))
    }

    /// The claim of the open qualification of a contact within a campaign. One that was left open when the contact was
    /// taken out stays the one that is open.
    pub fn open_qualification(campaign: CampaignId, contact: ContactId) -> Self {
        Self::new(Scope::OpenQualification, &format!("{campaign}/{contact}"))
    }

    /// The claim of the qualification that follows from a conversation.
    pub fn qualified_conversation(execution: ScriptExecutionId) -> Self {
        Self::new(Scope::QualifiedConversation, &execution.to_string())
    }

    /// The claim of a qualification by which a person judged a contact's stay since one of it was last opened again.
    pub fn judged_by_person(Stay { campaign_id, contact_id, epoch }: Stay) -> Self {
        Self::new(Scope::JudgedByPerson, &format!("{campaign_id}/{contact_id}/{epoch}"))
    }

    /// What stands against a send to an address, by its keyed hash: its owner's word, and the list.
    pub fn against(address_hash: &str) -> [Self; 2] {
        [Self::new(Scope::SuppressedAddress, address_hash), Self::new(Scope::ListedAddress, address_hash)]
    }

    /// What stands against every send to a contact, whichever of its addresses the send goes to.
    pub fn left_alone(contact: ContactId) -> Self {
        Self::new(Scope::LeftAlone, &contact.to_string())
    }

    /// The claim on a deduplication key, by its keyed hash.
    pub fn message_dedup(key: &str) -> Self {
        Self::new(Scope::MessageDedup, key)
    }

    /// The same of the message that was sent with it after all.
    pub fn sent_after_all(key: &str) -> Self {
        Self::new(Scope::SentAfterAll, key)
    }

    /// The claim of a message's open charge.
    pub fn quota_charge(message_id: MessageId) -> Self {
        Self::new(Scope::QuotaCharge, &message_id.to_string())
    }
}

/// What one event does to the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimChange {
    /// Refuse the whole command if somebody else owns it.
    Take(ClaimKey, Uuid),
    /// Make sure that it is owned, by whomever.
    Ensure(ClaimKey, Uuid),
    /// Nobody owns it any more.
    Release(ClaimKey),
}

/// The claims that an event takes and releases: the one definition, used by the append and by a rebuild.
pub fn changes_of(event: &AnyEvent, aggregate_id: Uuid) -> Vec<ClaimChange> {
    match event {
        AnyEvent::Organization(OrganizationEvent::OrganizationCreated {
            organization_id, slug_key, ..
        }) => {
            vec![ClaimChange::Take(ClaimKey::new(Scope::Slug, slug_key), organization_id.uuid())]
        }
        AnyEvent::Import(ImportEvent::CommitStarted { commit_id, .. }) => {
            let key = ClaimKey::new(Scope::ImportCommit, &aggregate_id.to_string());
            vec![ClaimChange::Take(key, commit_id.uuid())]
        }
        AnyEvent::Contact(event) => of_contact(event, aggregate_id),
        AnyEvent::ScriptExecution(event) => match event {
            ScriptExecutionEvent::ScriptExecutionStarted {
                execution_id, campaign_id, contact_id, ..
            } => {
                let key = ClaimKey::open_execution(*campaign_id, *contact_id);
                vec![ClaimChange::Take(key, execution_id.uuid())]
            }
            ScriptExecutionEvent::ScriptExecutionCompleted { campaign_id, contact_id, .. }
            | ScriptExecutionEvent::ScriptExecutionAbandoned { campaign_id, contact_id, .. } => {
                vec![ClaimChange::Release(ClaimKey::open_execution(*campaign_id, *contact_id))]
            }
            ScriptExecutionEvent::ScriptAnswersRecorded { .. } => vec![],
        },
        AnyEvent::Qualification(event) => of_qualification(event, aggregate_id),
        AnyEvent::Suppression(SuppressionEvent::SuppressionAdded { address_hash, reason, .. }) => {
            let listed = ClaimKey::new(Scope::ListedAddress, address_hash);
            let own_word = ClaimKey::new(Scope::SuppressedAddress, address_hash);
            let unsubscribed = (*reason == SuppressionReason::Unsubscribe).then_some(own_word);
            [listed]
                .into_iter()
                .chain(unsubscribed)
                .map(|key| ClaimChange::Ensure(key, aggregate_id))
                .collect()
        }
        AnyEvent::Suppression(SuppressionEvent::SuppressionRemoved { address_hash }) => {
            vec![ClaimChange::Release(ClaimKey::new(Scope::ListedAddress, address_hash))]
        }
        AnyEvent::Message(event) => of_message(event, aggregate_id),
        AnyEvent::Bucket(BucketEvent::BucketCharged { message_ids }) => message_ids
            .iter()
            .map(|message_id| ClaimChange::Take(ClaimKey::quota_charge(*message_id), aggregate_id))
            .collect(),
        AnyEvent::Bucket(BucketEvent::BucketRefunded { message_ids, .. }) => message_ids
            .iter()
            .map(|message_id| ClaimChange::Release(ClaimKey::quota_charge(*message_id)))
            .collect(),
        AnyEvent::ContentPiece(event) => of_content_piece(event, aggregate_id),
        _ => vec![],
    }
}

/// An open one holds its contact within the campaign. Which conversation it follows from, and that a person judged, is there
/// to be known by whoever decides for a model: the latter until any record of the stay is opened again, after which the
/// records themselves are to be asked.
fn of_qualification(event: &QualificationEvent, aggregate_id: Uuid) -> Vec<ClaimChange> {
    let of_conversation =
        |execution: &Option<ScriptExecutionId>| execution.map(ClaimKey::qualified_conversation);
    let ensured = |key| ClaimChange::Ensure(key, aggregate_id);
    match event {
        QualificationEvent::QualificationOpened { campaign_id, contact_id, script_execution_id, .. } => {
            let open = ClaimKey::open_qualification(*campaign_id, *contact_id);
            let taken = ClaimChange::Take(open, aggregate_id);
            std::iter::once(taken).chain(of_conversation(script_execution_id).map(ensured)).collect()
        }
        QualificationEvent::QualificationAnswered { script_execution_id, confirmed, .. } => {
            let judged = confirmed.as_ref().and_then(|confirmed| confirmed.verdict);
            let judged = judged.map(ClaimKey::judged_by_person);
            of_conversation(script_execution_id).into_iter().chain(judged).map(ensured).collect()
        }
        QualificationEvent::QualificationConcluded {
            campaign_id,
            contact_id,
            epoch,
            verdict: _,
            by_model,
        } => {
            let stay = Stay { campaign_id: *campaign_id, contact_id: *contact_id, epoch: *epoch };
            let judged = by_model.is_none().then(|| ensured(ClaimKey::judged_by_person(stay)));
            let open = ClaimKey::open_qualification(*campaign_id, *contact_id);
            std::iter::once(ClaimChange::Release(open)).chain(judged).collect()
        }
        QualificationEvent::QualificationOverturned { stay: Some(stay), verdict: _, by_model: None } => {
            vec![ensured(ClaimKey::judged_by_person(*stay))]
        }
        QualificationEvent::QualificationOverturned { .. } => vec![],
        QualificationEvent::QualificationReopened { campaign_id, contact_id, epoch } => {
            let stay = Stay { campaign_id: *campaign_id, contact_id: *contact_id, epoch: *epoch };
            let open = ClaimKey::open_qualification(*campaign_id, *contact_id);
            vec![
                ClaimChange::Release(ClaimKey::judged_by_person(stay)),
                ClaimChange::Take(open, aggregate_id),
            ]
        }
    }
}

/// A contact that asked not to be contacted takes its addresses for ever; it is left alone for as long as anything stands
/// against contacting it.
fn of_contact(event: &ContactEvent, aggregate_id: Uuid) -> Vec<ClaimChange> {
    let left_alone = ClaimKey::left_alone(ContactId(aggregate_id));
    match event {
        ContactEvent::ContactOptedOut { addresses, .. } => addresses
            .iter()
            .map(|hash| ClaimKey::new(Scope::SuppressedAddress, hash))
            .chain([left_alone])
            .map(|key| ClaimChange::Ensure(key, aggregate_id))
            .collect(),
        ContactEvent::ContactSuppressed { .. } => vec![ClaimChange::Ensure(left_alone, aggregate_id)],
        ContactEvent::ContactSuppressionLifted { do_not_contact: false, .. } => {
            vec![ClaimChange::Release(left_alone)]
        }
        ContactEvent::ContactSuppressionLifted { do_not_contact: true, .. }
        | ContactEvent::ContactCreated { .. }
        | ContactEvent::ContactProfileChanged { .. } => vec![],
    }
}

/// A draft takes its deduplication key; whatever ends it unsent gives the key free. One that was sent all the same stands
/// for its key again for ever, but for as long as another one stands for it that was drafted with it meanwhile.
fn of_message(event: &MessageEvent, aggregate_id: Uuid) -> Vec<ClaimChange> {
    match event {
        MessageEvent::MessageSettled { dedup_key_again: Some(key), .. } => {
            let again = [ClaimKey::message_dedup(key), ClaimKey::sent_after_all(key)];
            again.map(|key| ClaimChange::Ensure(key, aggregate_id)).into()
        }
        MessageEvent::MessageDrafted { message_id, dedup, .. } => dedup
            .iter()
            .map(|dedup| ClaimChange::Take(ClaimKey::message_dedup(&dedup.key), message_id.uuid()))
            .collect(),
        MessageEvent::MessageDecided { dedup_key, .. }
        | MessageEvent::MessageRejected { dedup_key, .. }
        | MessageEvent::MessageGivenUp { dedup_key, .. }
        | MessageEvent::MessageSettled { dedup_key, .. } => {
            dedup_key.iter().map(|key| ClaimChange::Release(ClaimKey::message_dedup(key))).collect()
        }
        MessageEvent::MessageRevised { .. }
        | MessageEvent::MessageApproved { .. }
        | MessageEvent::MessageQueued { .. }
        | MessageEvent::MessageSending { .. }
        | MessageEvent::MessageTakenBack { .. }
        | MessageEvent::MessageAccepted { .. }
        | MessageEvent::MessageDeferred { .. }
        | MessageEvent::OutcomeUnknown { .. }
        | MessageEvent::DeliveryReported { .. } => vec![],
    }
}

/// A living piece holds its path.
fn of_content_piece(event: &ContentPieceEvent, aggregate_id: Uuid) -> Vec<ClaimChange> {
    let take = |key: &String| ClaimChange::Take(ClaimKey::new(Scope::ContentPath, key), aggregate_id);
    let free = |key: &String| ClaimChange::Release(ClaimKey::new(Scope::ContentPath, key));
    match event {
        ContentPieceEvent::ContentPieceAdded { path_key, .. } => vec![take(path_key)],
        ContentPieceEvent::ContentPieceChanged { path_key, freed_path_key: Some(freed), .. } => {
            vec![free(freed), take(path_key)]
        }
        ContentPieceEvent::ContentPieceChanged { freed_path_key: None, .. } => vec![],
        ContentPieceEvent::ContentPieceDeleted { freed_path_key } => vec![free(freed_path_key)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_do_not_share_keys() {
        assert_ne!(ClaimKey::new(Scope::Slug, "a").hash, ClaimKey::new(Scope::ImportCommit, "a").hash);
    }

    #[test]
    fn an_opt_out_suppresses_each_of_its_addresses_and_the_contact() {
        let contact = Uuid::from_u128(1);
        let event =
            ContactEvent::ContactOptedOut { via: "api".into(), addresses: vec!["a".into(), "b".into()] };
        let expected: Vec<_> = ["a", "b"]
            .map(|hash| ClaimKey::new(Scope::SuppressedAddress, hash))
            .into_iter()
            .chain([ClaimKey::left_alone(ContactId(contact))])
            .map(|key| ClaimChange::Ensure(key, contact))
            .collect();
        assert_eq!(changes_of(&AnyEvent::Contact(event), contact), expected);
    }

    #[test]
    fn a_contact_is_left_alone_for_as_long_as_anything_stands_against_it() {
        let contact = Uuid::from_u128(1);
        let key = ClaimKey::left_alone(ContactId(contact));
        let lifted = |do_not_contact| ContactEvent::ContactSuppressionLifted {
            address_hash: "a".into(),
            do_not_contact,
        };
        let suppressed = ContactEvent::ContactSuppressed { address_hash: "a".into() };
        for (event, expected) in [
            (suppressed, vec![ClaimChange::Ensure(key.clone(), contact)]),
            (lifted(true), vec![]),
            (lifted(false), vec![ClaimChange::Release(key)]),
        ] {
            assert_eq!(changes_of(&AnyEvent::Contact(event), contact), expected);
        }
    }

    #[test]
    fn an_opt_out_and_the_list_are_two_claims() {
        let event = SuppressionEvent::SuppressionRemoved { address_hash: "a".into() };
        let released = changes_of(&AnyEvent::Suppression(event), Uuid::from_u128(1));
        let [own_word, listed] = ClaimKey::against("a");
        assert_eq!(released, [ClaimChange::Release(listed.clone())]);
        assert_ne!(own_word, listed);
    }

    #[test]
    fn who_unsubscribed_is_suppressed_by_their_own_word_too() {
        let list = Uuid::from_u128(1);
        for (reason, claims) in [
            (SuppressionReason::Manual, 1),
            (SuppressionReason::Bounce, 1),
            (SuppressionReason::Complaint, 1),
            (SuppressionReason::Unsubscribe, 2),
        ] {
            let event = SuppressionEvent::SuppressionAdded {
                address_hash: "a".into(),
                address: None,
                reason,
                contact_ids: vec![],
            };
            let changes = changes_of(&AnyEvent::Suppression(event), list);
            assert_eq!(changes.len(), claims, "{reason:?}");
            let own_word = ClaimChange::Ensure(ClaimKey::new(Scope::SuppressedAddress, "a"), list);
            assert_eq!(changes.contains(&own_word), claims == 2, "{reason:?}");
        }
    }

    #[test]
    fn a_message_has_one_open_charge() {
        let (bucket, message) = (Uuid::from_u128(1), MessageId(Uuid::from_u128(2)));
        let key = ClaimKey::quota_charge(message);
        let charged = BucketEvent::BucketCharged { message_ids: vec![message] };
        assert_eq!(changes_of(&charged.into(), bucket), [ClaimChange::Take(key.clone(), bucket)]);
        let refunded = BucketEvent::BucketRefunded { message_ids: vec![message], because: "not_sent".into() };
        assert_eq!(changes_of(&refunded.into(), bucket), [ClaimChange::Release(key)]);
    }

    #[test]
    fn a_deduplication_key_is_given_free_by_what_ends_a_message_unsent() {
        let message = MessageId(Uuid::from_u128(1));
        let key = ClaimKey::message_dedup("k");
        let release = vec![ClaimChange::Release(key)];
        let rejected = |dedup_key| MessageEvent::MessageRejected {
            attempt: 1,
            status: crate::message::MessageStatus::Failed,
            code: "no_mailbox".into(),
            answer: None,
            dedup_key,
        };
        assert_eq!(changes_of(&rejected(Some("k".into())).into(), message.uuid()), release);
        assert_eq!(changes_of(&rejected(None).into(), message.uuid()), []);
        let sent_after_all = MessageEvent::MessageSettled {
            attempt: 1,
            status: crate::message::MessageStatus::Sent,
            by: crate::message::SettledBy::Webhook,
            evidence: None,
            dedup_key: None,
            dedup_key_again: Some("k".into()),
        };
        let again = [ClaimKey::message_dedup("k"), ClaimKey::sent_after_all("k")]
            .map(|key| ClaimChange::Ensure(key, message.uuid()));
        assert_eq!(changes_of(&sent_after_all.into(), message.uuid()), again);
        let accepted = MessageEvent::MessageAccepted { attempt: 1, provider_hash: None, answer: None };
        assert_eq!(changes_of(&accepted.into(), message.uuid()), []);
    }
}
