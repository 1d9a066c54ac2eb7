use super::*;
use crate::allowlist::{AllowedEntry, AllowlistEvent, EntryKind};
use crate::approval_rules::{ApprovalRulesEvent, NicheIs, Predicate};
use crate::credential::{CredentialEvent, SecretRef};
use crate::ids::{CredentialId, MessageId, OutboxId, PrincipalId, RuleId, SubjectId};
use crate::labels::Labels;
use crate::message::{Draft, MessageCommand, MessageContent};
use crate::outbox::{OutboxEvent, OutboxSettings};
use crate::personal::Personal;
use crate::sending_control::SendingControlEvent;
use crate::stored::Decides;
use cqrs_es::Aggregate;
use uuid::Uuid;

const APPROVAL: ApprovalId = ApprovalId(Uuid::from_u128(1));
const OUTBOX: OutboxId = OutboxId(Uuid::from_u128(2));
const NOW: Timestamp = Timestamp::MIN;

/// Everything that a judgement looks at, so that nothing stands against a message.
struct World {
    allowlist: Allowlist,
    rules: ApprovalRules,
    outbox: Outbox,
    credential: Credential,
    control: SendingControl,
    message: Message,
    suppressed: bool,
    left_alone: bool,
    leading: Leading,
    labels: Option<Labels>,
    module_on: bool,
}

fn keys() -> RecipientKeys {
    RecipientKeys {
        address: "ann@a".into(),
        mailbox: "ann@a".into(),
        domain: Some("@a".into()),
        number: None,
        suppressed_as: vec!["ann@a".into()],
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            allowlist: Allowlist::default(),
            rules: ApprovalRules::default(),
            outbox: Outbox::default(),
            credential: Credential::default(),
            control: SendingControl::default(),
            message: Message::default(),
            suppressed: false,
            left_alone: false,
            leading: Leading::On,
            labels: Some(Labels::default()),
            module_on: true,
        };
        let entry = AllowedEntry {
            kind: EntryKind::Domain,
            hash: "@a".into(),
            text: Personal::known(SubjectId::default(), "@a".into()),
        };
        world.allowlist.apply(AllowlistEvent::EntriesAllowed { entries: vec![entry] });
        world.let_rules(Action::AutoApprove);
        world.outbox.apply(OutboxEvent::OutboxOpened {
            outbox_id: OUTBOX,
            channel: Channel::Email,
            settings: Personal::known(
                OUTBOX.uuid(),
                OutboxSettings {
                    niche: None,
                    secret: SecretRef { secret_id: "smtp".into(), version: None },
                    config: "{}".into(),
                },
            ),
        });
        world.credential.apply(CredentialEvent::SecretStored {
            credential_id: CredentialId::default(),
            secret_id: Personal::known(CredentialId::default().uuid(), "smtp".into()),
            version: 1,
        });
        world.order(MessageCommand::Draft(Box::new(Draft {
            message_id: MessageId::default(),
            channel: Channel::Email,
            outbox_id: OUTBOX,
            subject: SubjectId::default(),
            recipient_hash: "ann@a".into(),
            content: MessageContent { to: "ann@a".into(), payload: "{}".into() },
            content_hash: "c1".into(),
            labels: Labels::default(),
            content_piece_id: None,
            dedup: None,
            drafter: PrincipalId::default(),
            agent_id: None,
            contact_id: None,
            campaign_id: None,
            sequence_id: None,
            step: None,
            co_authors: vec![],
        })));
        let (ruling, grounds) = world.of_draft(Channel::Email);
        world.order(MessageCommand::Decide { ruling, grounds, not_before: None });
        world
    }

    fn let_rules(&mut self, action: Action) {
        let rule_id = RuleId(Uuid::from_u128(self.rules.rules().len() as u128));
        self.rules.apply(ApprovalRulesEvent::ApprovalRuleAdded {
            rule_id,
            version: 1,
            predicate: Personal::known(rule_id.uuid(), Predicate::default()),
            action,
            priority: 100 - self.rules.rules().len() as u32,
        });
    }

    /// One rule alone, which lets go what it matches.
    fn only_let_go(&mut self, predicate: Predicate) {
        self.rules = ApprovalRules::default();
        let rule_id = RuleId(Uuid::from_u128(99));
        self.rules.apply(ApprovalRulesEvent::ApprovalRuleAdded {
            rule_id,
            version: 1,
            predicate: Personal::known(rule_id.uuid(), predicate),
            action: Action::AutoApprove,
            priority: 1,
        });
    }

    fn order(&mut self, command: MessageCommand) {
        for event in self.message.decide(command).unwrap() {
            self.message.apply(event);
        }
    }

    fn of_draft(&self, channel: Channel) -> (Ruling, Grounds) {
        of_draft(
            channel,
            self.labels.as_ref(),
            Recipient { keys: &keys(), suppressed: self.suppressed, left_alone: self.left_alone },
            At { state: &self.allowlist, version: 4 },
            At { state: &self.rules, version: 7 },
            APPROVAL,
            NOW,
        )
    }

    fn at_dispatch(&self) -> AtDispatch {
        let ground = Ground {
            outbox: &self.outbox,
            credential: &self.credential,
            allowlist: At { state: &self.allowlist, version: 4 },
            rules: At { state: &self.rules, version: 7 },
            control: &self.control,
            module_on: self.module_on,
        };
        let keys = keys();
        at_dispatch(
            &self.message,
            Seen {
                recipient: Recipient {
                    keys: &keys,
                    suppressed: self.suppressed,
                    left_alone: self.left_alone,
                },
                leading: self.leading,
                labels: self.labels.as_ref(),
            },
            ground,
            APPROVAL,
            NOW,
        )
    }

    fn empty_allowlist(&mut self) {
        self.allowlist.apply(AllowlistEvent::EntriesDisallowed { hashes: vec!["@a".into()] });
    }
}

#[test]
fn a_draft_is_judged_by_allowlist_then_suppression_then_rules() {
    let mut world = World::new();
    assert_eq!(world.of_draft(Channel::Email).0, Ruling::AutoApprove);
    assert_eq!(world.of_draft(Channel::DryRun).0, Ruling::DryRun);
    world.let_rules(Action::QueueForManual);
    assert_eq!(world.of_draft(Channel::Email).0, Ruling::AskAPerson(APPROVAL));
    world.left_alone = true;
    assert_eq!(world.of_draft(Channel::Email).0, Ruling::BlockedByAllowlist(Reason::DoNotContact));
    world.suppressed = true;
    for channel in [Channel::Email, Channel::DryRun] {
        assert_eq!(world.of_draft(channel).0, Ruling::BlockedByAllowlist(Reason::Suppressed));
    }
    world.empty_allowlist();
    assert_eq!(world.of_draft(Channel::Email).0, Ruling::BlockedByAllowlist(Reason::AllowlistEmpty));
}

#[test]
fn the_grounds_name_what_was_looked_at() {
    let world = World::new();
    let (_, grounds) = world.of_draft(Channel::Email);
    assert_eq!((grounds.allowlist_version, grounds.rules_version), (4, Some(7)));
    assert!(grounds.rule.is_some());
    // A rehearsal asks no rules.
    assert_eq!(world.of_draft(Channel::DryRun).1.rules_version, None);
}

#[test]
fn no_rule_lets_go_words_of_a_piece_that_is_gone() {
    let mut world = World::new();
    world.labels = None;
    let (ruling, grounds) = world.of_draft(Channel::Email);
    assert_eq!(
        (ruling, grounds.rules_version, grounds.rule),
        (Ruling::AskWithoutRules(APPROVAL), None, None)
    );
    assert_eq!(world.of_draft(Channel::DryRun).0, Ruling::DryRun);
    world.suppressed = true;
    assert_eq!(world.of_draft(Channel::Email).0, Ruling::BlockedByAllowlist(Reason::Suppressed));
}

#[test]
fn everything_is_looked_at_again_at_the_hand_over() {
    assert_eq!(World::new().at_dispatch(), AtDispatch::HandOver);
    type Change = fn(&mut World);
    let rows: [(Change, Ruling); 12] = [
        (|world| world.left_alone = true, Ruling::BlockedByAllowlist(Reason::DoNotContact)),
        (|world| world.suppressed = true, Ruling::BlockedByAllowlist(Reason::Suppressed)),
        (World::empty_allowlist, Ruling::BlockedByAllowlist(Reason::AllowlistEmpty)),
        (
            |world| {
                let entry = AllowedEntry {
                    kind: EntryKind::Domain,
                    hash: "@b".into(),
                    text: Personal::known(SubjectId::default(), "@b".into()),
                };
                world.allowlist.apply(AllowlistEvent::EntriesAllowed { entries: vec![entry] });
                world.empty_allowlist();
            },
            Ruling::BlockedByAllowlist(Reason::NotOnAllowlist),
        ),
        (|world| world.let_rules(Action::QueueForManual), Ruling::AskAPerson(APPROVAL)),
        (|world| world.outbox.apply(OutboxEvent::OutboxDeleted {}), Ruling::Fail(Reason::OutboxDeleted)),
        (|world| world.credential = Credential::default(), Ruling::Fail(Reason::SecretMissing)),
        (
            |world| {
                world.let_rules(Action::QueueForManual);
                world.outbox.apply(OutboxEvent::OutboxDeleted {});
            },
            Ruling::Fail(Reason::OutboxDeleted),
        ),
        (|world| world.leading = Leading::Over, Ruling::Fail(Reason::SequenceStopped)),
        (|world| world.leading = Leading::Has, Ruling::Fail(Reason::StepSent)),
        // The piece was taken out of use: whatever the rules say, they said it of another draft.
        (|world| world.labels = None, Ruling::AskWithoutRules(APPROVAL)),
        (
            |world| {
                world.only_let_go(Predicate { niche: Some(NicheIs::Absent), ..Predicate::default() });
                world.labels = Some(Labels { niche: Some("roofs".into()), tags: vec![] });
            },
            Ruling::AskAPerson(APPROVAL),
        ),
    ];
    for (change, ruling) in rows {
        let mut world = World::new();
        change(&mut world);
        assert!(matches!(world.at_dispatch(), AtDispatch::Rule(found, _) if found == ruling), "{ruling:?}");
    }
}

#[test]
fn what_a_person_approved_is_not_asked_of_the_rules_again() {
    let mut world = World::new();
    world.let_rules(Action::QueueForManual);
    let AtDispatch::Rule(ruling, grounds) = world.at_dispatch() else { panic!("it is not let go any more") };
    world.order(MessageCommand::Decide { ruling, grounds, not_before: None });
    let by = PrincipalId(Uuid::from_u128(9));
    world.order(MessageCommand::Approve { approval_id: APPROVAL, by, content_hash: "c1".into() });
    assert_eq!(world.at_dispatch(), AtDispatch::HandOver);
}

#[test]
fn while_it_is_paused_nothing_is_decided() {
    let mut world = World::new();
    world.suppressed = true;
    world.control.apply(SendingControlEvent::SendingPaused {
        scope: PauseScope::Outbox(OUTBOX),
        reason: Personal::known(OUTBOX.uuid(), "holidays".into()),
    });
    let paused = AtDispatch::HeldBack(HeldBack::Paused(PauseScope::Outbox(OUTBOX)));
    assert_eq!(world.at_dispatch(), paused);
    world.module_on = false;
    assert_eq!(world.at_dispatch(), AtDispatch::HeldBack(HeldBack::ModuleOff));
}

#[test]
fn a_step_rests_with_its_sequence_and_its_campaign() {
    let mut world = World::new();
    for (leading, held_back) in [
        (Leading::SequencePaused, HeldBack::SequencePaused),
        (Leading::CampaignPaused, HeldBack::CampaignPaused),
    ] {
        world.leading = leading;
        assert_eq!(world.at_dispatch(), AtDispatch::HeldBack(held_back));
    }
    world.leading = Leading::On;
    assert_eq!(world.at_dispatch(), AtDispatch::HandOver);
}

#[test]
fn what_a_person_read_needs_no_piece_any_more() {
    let mut world = World::new();
    world.let_rules(Action::QueueForManual);
    let AtDispatch::Rule(ruling, grounds) = world.at_dispatch() else { panic!("it is not let go any more") };
    world.order(MessageCommand::Decide { ruling, grounds, not_before: None });
    let by = PrincipalId(Uuid::from_u128(9));
    world.order(MessageCommand::Approve { approval_id: APPROVAL, by, content_hash: "c1".into() });
    world.labels = None;
    assert_eq!(world.at_dispatch(), AtDispatch::HandOver);
}
