use super::retry::KEY_REMEMBERED_MILLIS;
use super::*;
use crate::approval_rules::RuleRef;
use crate::ids::{CredentialId, MessageId, OutboxId, RuleId, SubjectId};
use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use uuid::Uuid;

type Given = TestFramework<Message>;

const ID: MessageId = MessageId(Uuid::from_u128(1));
const OUTBOX: OutboxId = OutboxId(Uuid::from_u128(2));
const WHO: SubjectId = SubjectId(Uuid::from_u128(3));
const DRAFTER: PrincipalId = PrincipalId(Uuid::from_u128(4));
const BOARD: PrincipalId = PrincipalId(Uuid::from_u128(5));
const APPROVAL: ApprovalId = ApprovalId(Uuid::from_u128(6));
const BUCKET: BucketId = BucketId(Uuid::from_u128(7));
const RULE: RuleRef = RuleRef { rule_id: RuleId(Uuid::from_u128(8)), version: 3 };
const NOW: Timestamp = Timestamp::MIN;

fn draft(channel: Channel) -> Draft {
    Draft {
        message_id: ID,
        channel,
        outbox_id: OUTBOX,
        subject: WHO,
        recipient_hash: "a1".into(),
        content: content("Hello"),
        content_hash: "c1".into(),
        labels: Labels::default(),
        content_piece_id: None,
        dedup: Some(DedupKey { key: "k1".into(), fingerprint: "f1".into() }),
        drafter: DRAFTER,
        agent_id: None,
        contact_id: None,
        campaign_id: None,
        sequence_id: None,
        step: None,
        co_authors: vec![],
    }
}

fn content(text: &str) -> MessageContent {
    MessageContent { to: "ann@example.com".into(), payload: format!("{{\"text\":\"{text}\"}}") }
}

fn drafted_on(channel: Channel) -> MessageEvent {
    super::drafted(draft(channel))
}

fn drafted() -> MessageEvent {
    drafted_on(Channel::Email)
}

fn grounds() -> Grounds {
    Grounds { allowlist_version: 2, rules_version: Some(5), rule: Some(RULE) }
}

fn rule(ruling: Ruling) -> MessageCommand {
    MessageCommand::Decide { ruling, grounds: grounds(), not_before: None }
}

fn decided(status: MessageStatus, reason: Option<&str>, approval_id: Option<ApprovalId>) -> MessageEvent {
    let frees = status.frees_the_key();
    MessageEvent::MessageDecided {
        decision: Decision {
            status,
            reason: reason.map(Into::into),
            rule: Some(RULE),
            rules_version: Some(5),
            allowlist_version: 2,
            approval_id,
        },
        dedup_key: frees.then(|| "k1".into()),
        labels: None,
    }
}

fn asked() -> MessageEvent {
    decided(MessageStatus::DraftPendingApproval, None, Some(APPROVAL))
}

fn approved_by_rule() -> MessageEvent {
    MessageEvent::MessageApproved { approval_id: None, by: None, rule: Some(RULE), content_hash: "c1".into() }
}

fn approved_by_board() -> MessageEvent {
    MessageEvent::MessageApproved {
        approval_id: Some(APPROVAL),
        by: Some(BOARD),
        rule: None,
        content_hash: "c1".into(),
    }
}

fn queued() -> MessageEvent {
    MessageEvent::MessageQueued { not_before: None }
}

fn sending(attempt: u32) -> MessageEvent {
    MessageEvent::MessageSending {
        attempt,
        bucket_id: BUCKET,
        provider_key: ID.to_string(),
        keyed: None,
        at: NOW,
    }
}

fn accepted(attempt: u32) -> MessageEvent {
    MessageEvent::MessageAccepted { attempt, provider_hash: Some("p1".into()), answer: None }
}

fn deferred(attempt: u32, next_attempt_at: Timestamp) -> MessageEvent {
    MessageEvent::MessageDeferred { attempt, code: "greylisted".into(), next_attempt_at, answer: None }
}

fn unknown(attempt: u32) -> MessageEvent {
    MessageEvent::OutcomeUnknown { attempt, code: "interrupted".into(), answer: None }
}

fn settled(attempt: u32, status: MessageStatus, by: SettledBy) -> MessageEvent {
    let frees = status.frees_the_key();
    MessageEvent::MessageSettled {
        attempt,
        status,
        by,
        evidence: None,
        dedup_key: frees.then(|| "k1".into()),
        dedup_key_again: None,
    }
}

fn reported(delivery: Delivery) -> MessageEvent {
    MessageEvent::DeliveryReported { delivery, at: NOW, detail: None }
}

fn send(keyed: Option<Keyed>, at: Timestamp) -> MessageCommand {
    MessageCommand::Send { bucket_id: BUCKET, provider_key: ID.to_string(), keyed, at }
}

fn record(attempt: u32, outcome: Outcome) -> MessageCommand {
    MessageCommand::Record { attempt, outcome, at: NOW, jitter: 1_000 }
}

fn accept() -> Outcome {
    Outcome::Accepted { provider_hash: Some("p1".into()), answer: None }
}

fn reject() -> Outcome {
    Outcome::Rejected { code: "no_mailbox".into(), answer: None }
}

fn retry() -> Outcome {
    Outcome::Retry { code: "greylisted".into(), answer: None, not_before: None }
}

fn lost() -> Outcome {
    Outcome::Unknown { code: "interrupted".into(), answer: None }
}

fn report(delivery: Delivery) -> MessageCommand {
    MessageCommand::Report { delivery, at: NOW, detail: None }
}

fn approve(by: PrincipalId, approval_id: ApprovalId, content_hash: &str) -> MessageCommand {
    MessageCommand::Approve { approval_id, by, content_hash: content_hash.into() }
}

fn waiting() -> Vec<MessageEvent> {
    vec![drafted(), asked()]
}

fn on_its_way() -> Vec<MessageEvent> {
    vec![drafted(), decided(MessageStatus::DraftPendingApproval, None, None), approved_by_rule(), queued()]
}

fn in_flight() -> Vec<MessageEvent> {
    [on_its_way(), vec![sending(1)]].concat()
}

fn after(mut history: Vec<MessageEvent>, more: &[MessageEvent]) -> Vec<MessageEvent> {
    history.extend_from_slice(more);
    history
}

fn state(history: Vec<MessageEvent>) -> Message {
    let mut message = Message::default();
    history.into_iter().for_each(|event| message.apply(event));
    message
}

#[test]
fn a_message_is_drafted_once() {
    let take_in = || MessageCommand::Draft(Box::new(draft(Channel::Email)));
    Given::with(()).given_no_previous_events().when(take_in()).then_expect_events(vec![drafted()]);
    Given::with(()).given(vec![drafted()]).when(take_in()).then_expect_error(MessageError::AlreadyDrafted);
    Given::with(())
        .given_no_previous_events()
        .when(rule(Ruling::AutoApprove))
        .then_expect_error(MessageError::Unknown);
}

#[test]
fn every_ruling_on_a_draft_is_recorded_with_its_grounds() {
    use MessageStatus as S;
    for (ruling, expected) in [
        (Ruling::AskAPerson(APPROVAL), vec![asked()]),
        (
            Ruling::AskWithoutRules(APPROVAL),
            vec![decided(S::DraftPendingApproval, Some("content_piece_gone"), Some(APPROVAL))],
        ),
        (
            Ruling::AutoApprove,
            vec![decided(S::DraftPendingApproval, None, None), approved_by_rule(), queued()],
        ),
        (
            Ruling::BlockedByAllowlist(Reason::AllowlistEmpty),
            vec![decided(S::BlockedByAllowlist, Some("allowlist_empty"), None)],
        ),
        (Ruling::BlockedByQuota(Reason::DailyCap), vec![decided(S::BlockedByQuota, Some("daily_cap"), None)]),
        (Ruling::Fail(Reason::OutboxDeleted), vec![decided(S::Failed, Some("outbox_deleted"), None)]),
    ] {
        Given::with(()).given(vec![drafted()]).when(rule(ruling)).then_expect_events(expected.clone());
        // The same may be decided again at the moment of dispatch.
        if ruling != Ruling::AutoApprove {
            Given::with(()).given(on_its_way()).when(rule(ruling)).then_expect_events(expected);
        }
    }
}

#[test]
fn what_the_rules_looked_at_at_the_moment_of_dispatch_is_recorded_where_it_is_another() {
    let anew = |rules_version, labels: Option<Labels>| MessageCommand::DecideAnew {
        ruling: Ruling::AskAPerson(APPROVAL),
        grounds: Grounds { rules_version, ..grounds() },
        labels,
    };
    let other = Labels { niche: Some("roofs".into()), tags: vec!["new".into()] };
    let recorded = |command: MessageCommand| {
        let mut message = Message::default();
        on_its_way().into_iter().for_each(|event| message.apply(event));
        match message.decide(command).unwrap().remove(0) {
            MessageEvent::MessageDecided { labels, .. } => labels,
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(
        recorded(anew(Some(5), Some(other.clone()))),
        Some(Personal::known(OUTBOX.uuid(), other.clone()))
    );
    assert_eq!(recorded(anew(Some(5), Some(Labels::default()))), None, "the draft says the same");
    assert_eq!(recorded(anew(None, Some(other))), None, "no rules were asked");
}

#[test]
fn a_dry_run_ends_after_the_allowlist_and_is_never_sent() {
    let dry = || vec![drafted_on(Channel::DryRun)];
    Given::with(()).given(dry()).when(rule(Ruling::DryRun)).then_expect_events(vec![decided(
        MessageStatus::SentDryrun,
        None,
        None,
    )]);
    for ruling in
        [Ruling::AutoApprove, Ruling::AskAPerson(APPROVAL), Ruling::BlockedByQuota(Reason::DailyCap)]
    {
        Given::with(()).given(dry()).when(rule(ruling)).then_expect_error(MessageError::DryRunMix);
    }
    Given::with(())
        .given(vec![drafted()])
        .when(rule(Ruling::DryRun))
        .then_expect_error(MessageError::DryRunMix);
}

#[test]
fn the_two_fields_say_together_where_a_send_is() {
    use DispatchState as D;
    use MessageStatus as S;
    let later = NOW.plus_millis(60_000);
    for (history, status, dispatch) in [
        (vec![drafted()], S::DraftPendingApproval, D::None),
        (waiting(), S::DraftPendingApproval, D::None),
        (after(waiting(), &[approved_by_board(), queued()]), S::DraftPendingApproval, D::Queued),
        (on_its_way(), S::DraftPendingApproval, D::Queued),
        (in_flight(), S::DraftPendingApproval, D::InFlight),
        (after(in_flight(), &[deferred(1, later)]), S::DraftPendingApproval, D::Retrying),
        (after(in_flight(), &[unknown(1)]), S::DraftPendingApproval, D::Unknown),
        (after(in_flight(), &[accepted(1)]), S::Sent, D::Done),
        (
            after(on_its_way(), &[decided(S::BlockedByQuota, Some("daily_cap"), None)]),
            S::BlockedByQuota,
            D::Done,
        ),
        (after(on_its_way(), &[asked()]), S::DraftPendingApproval, D::None),
        (after(in_flight(), &[unknown(1), settled(1, S::Failed, SettledBy::Person)]), S::Failed, D::Done),
        (vec![drafted(), decided(S::BlockedByAllowlist, None, None)], S::BlockedByAllowlist, D::Done),
    ] {
        let message = state(history.clone());
        assert_eq!((message.status(), message.dispatch_state()), (status, dispatch), "{history:?}");
    }
}

#[test]
fn a_person_approves_what_they_saw_and_not_their_own_words() {
    Given::with(())
        .given(waiting())
        .when(approve(BOARD, APPROVAL, "c1"))
        .then_expect_events(vec![approved_by_board(), queued()]);
    for (by, approval_id, hash, refusal) in [
        (DRAFTER, APPROVAL, "c1", MessageError::SelfApproval),
        (BOARD, APPROVAL, "c0", MessageError::OtherContent),
        (BOARD, ApprovalId::default(), "c1", MessageError::OtherApproval),
    ] {
        Given::with(()).given(waiting()).when(approve(by, approval_id, hash)).then_expect_error(refusal);
    }
    // Two who approve at once send once.
    Given::with(())
        .given(after(waiting(), &[approved_by_board(), queued()]))
        .when(approve(PrincipalId::default(), APPROVAL, "c1"))
        .then_expect_events(vec![]);
    Given::with(())
        .given(on_its_way())
        .when(approve(BOARD, APPROVAL, "c1"))
        .then_expect_error(MessageError::UnderWay(DispatchState::Queued));
}

#[test]
fn a_revision_keeps_the_recipient_and_voids_the_approval() {
    let revise = |by, content, hash: &str| MessageCommand::Revise {
        by,
        content,
        content_hash: hash.into(),
        labels: Labels::default(),
    };
    let revised = || MessageEvent::MessageRevised {
        content: Personal::known(WHO, content("Bonjour")),
        content_hash: "c2".into(),
        labels: Personal::known(OUTBOX.uuid(), Labels::default()),
    };
    Given::with(())
        .given(waiting())
        .when(revise(DRAFTER, content("Bonjour"), "c2"))
        .then_expect_events(vec![revised()]);
    Given::with(()).given(waiting()).when(revise(DRAFTER, content("Hello"), "c1")).then_expect_events(vec![]);
    Given::with(())
        .given(waiting())
        .when(revise(BOARD, content("Bonjour"), "c2"))
        .then_expect_error(MessageError::NotTheDrafter);
    let elsewhere = MessageContent { to: "bob@example.com".into(), ..content("Bonjour") };
    Given::with(())
        .given(waiting())
        .when(revise(DRAFTER, elsewhere, "c2"))
        .then_expect_error(MessageError::OtherRecipient);
    Given::with(())
        .given(on_its_way())
        .when(revise(DRAFTER, content("Bonjour"), "c2"))
        .then_expect_error(MessageError::UnderWay(DispatchState::Queued));
    Given::with(())
        .given(after(waiting(), &[revised()]))
        .when(approve(BOARD, APPROVAL, "c2"))
        .then_expect_error(MessageError::OtherApproval);
}

#[test]
fn only_what_is_approved_and_due_is_handed_over() {
    Given::with(()).given(on_its_way()).when(send(None, NOW)).then_expect_events(vec![sending(1)]);
    let later = NOW.plus_millis(60_000);
    let retrying = || after(in_flight(), &[deferred(1, later)]);
    Given::with(())
        .given(retrying())
        .when(send(None, later.plus_millis(-1)))
        .then_expect_error(MessageError::NotDue(later));
    Given::with(()).given(retrying()).when(send(None, later)).then_expect_events(vec![
        MessageEvent::MessageSending {
            attempt: 2,
            bucket_id: BUCKET,
            provider_key: ID.to_string(),
            keyed: None,
            at: later,
        },
    ]);
    for (history, refusal) in [
        (vec![drafted()], MessageError::NotApproved),
        (waiting(), MessageError::NotApproved),
        (after(in_flight(), &[accepted(1)]), MessageError::Final(MessageStatus::Sent)),
        (after(on_its_way(), &[asked()]), MessageError::NotApproved),
    ] {
        Given::with(()).given(history).when(send(KEYED, NOW)).then_expect_error(refusal);
    }
}

/// With what the channel takes a key in these tests.
const KEYED: Option<Keyed> =
    Some(Keyed { credential_id: CredentialId(Uuid::from_u128(21)), secret_version: 1 });

fn sending_keyed(attempt: u32) -> MessageEvent {
    let mut sending = sending(attempt);
    if let MessageEvent::MessageSending { keyed, .. } = &mut sending {
        *keyed = KEYED;
    }
    sending
}

fn in_flight_keyed() -> Vec<MessageEvent> {
    after(on_its_way(), &[sending_keyed(1)])
}

#[test]
fn what_may_have_been_sent_is_sent_again_only_under_a_key() {
    for (history, state) in [
        (in_flight_keyed(), DispatchState::InFlight),
        (after(in_flight_keyed(), &[unknown(1)]), DispatchState::Unknown),
    ] {
        let other = |credential: u128, secret_version| {
            Some(Keyed { credential_id: CredentialId(Uuid::from_u128(credential)), secret_version })
        };
        let late = NOW.plus_millis(KEY_REMEMBERED_MILLIS);
        for (keyed, at) in [(None, NOW), (other(21, 2), NOW), (other(22, 1), NOW), (KEYED, late)] {
            Given::with(())
                .given(history.clone())
                .when(send(keyed, at))
                .then_expect_error(MessageError::UnderWay(state));
        }
        // Under the key of the first time, whatever is asked for.
        let other_key =
            MessageCommand::Send { bucket_id: BUCKET, provider_key: "another".into(), keyed: KEYED, at: NOW };
        Given::with(()).given(history).when(other_key).then_expect_events(vec![sending_keyed(2)]);
    }
}

#[test]
fn what_was_handed_over_without_a_key_is_not_sent_again_because_there_is_one_now() {
    for (history, state) in
        [(in_flight(), DispatchState::InFlight), (after(in_flight(), &[unknown(1)]), DispatchState::Unknown)]
    {
        Given::with(())
            .given(history)
            .when(send(KEYED, NOW))
            .then_expect_error(MessageError::UnderWay(state));
    }
}

#[test]
fn that_the_second_call_got_nothing_says_nothing_of_the_first() {
    let again = || after(in_flight_keyed(), &[unknown(1), sending_keyed(2)]);
    let still = |code: &str| MessageEvent::OutcomeUnknown { attempt: 2, code: code.into(), answer: None };
    for (outcome, event) in [
        (accept(), accepted(2)),
        (Outcome::Rejected { code: "credential".into(), answer: None }, still("credential")),
        (
            Outcome::Retry { code: "rate_limited".into(), answer: None, not_before: None },
            still("rate_limited"),
        ),
    ] {
        Given::with(()).given(again()).when(record(2, outcome)).then_expect_events(vec![event]);
    }
    let late = after(again(), &[unknown(2)]);
    for outcome in [reject(), retry(), lost()] {
        Given::with(()).given(late.clone()).when(record(2, outcome)).then_expect_events(vec![]);
    }
    Given::with(())
        .given(again())
        .when(MessageCommand::TakeBack { attempt: 2, code: "too_late" })
        .then_expect_events(vec![still("too_late")]);
    // After a retry that certainly was not taken, a refusal is one.
    let later = NOW.plus_millis(60_000);
    Given::with(())
        .given(after(in_flight_keyed(), &[deferred(1, later), sending_keyed(2)]))
        .when(record(2, Outcome::Rejected { code: "credential".into(), answer: None }))
        .then_expect_events(vec![MessageEvent::MessageRejected {
            attempt: 2,
            status: MessageStatus::Failed,
            code: "credential".into(),
            answer: None,
            dedup_key: Some("k1".into()),
        }]);
}

#[test]
fn with_what_a_key_was_given_is_stored_where_there_was_one() {
    let stored = |event: &MessageEvent| serde_json::to_value(event).unwrap()["keyed"].clone();
    assert_eq!(stored(&sending(1)), serde_json::Value::Null);
    assert_eq!(
        stored(&sending_keyed(1)),
        serde_json::json!({ "credential_id": "00000000-0000-0000-0000-000000000015", "secret_version": 1 })
    );
}

#[test]
fn nothing_is_sent_to_whom_was_erased() {
    let mut history = on_its_way();
    if let MessageEvent::MessageDrafted { content, .. } = &mut history[0] {
        *content = Personal::erased(WHO);
    }
    Given::with(()).given(history).when(send(None, NOW)).then_expect_error(MessageError::Erased);
}

#[test]
fn only_the_holder_of_the_hand_over_records_its_outcome() {
    let taken_over = after(in_flight(), &[unknown(1), sending(2)]);
    Given::with(())
        .given(taken_over.clone())
        .when(record(1, accept()))
        .then_expect_error(MessageError::NotTheHolder { got: 1, current: 2 });
    Given::with(()).given(taken_over).when(record(2, accept())).then_expect_events(vec![accepted(2)]);
    Given::with(())
        .given(on_its_way())
        .when(record(0, accept()))
        .then_expect_error(MessageError::NotTheHolder { got: 0, current: 0 });
    Given::with(())
        .given(after(in_flight(), &[accepted(1)]))
        .when(record(1, reject()))
        .then_expect_error(MessageError::Final(MessageStatus::Sent));
}

#[test]
fn each_outcome_is_one_fact() {
    let minute = NOW.plus_millis(60_000);
    for (outcome, event) in [
        (accept(), accepted(1)),
        (retry(), deferred(1, minute)),
        (lost(), unknown(1)),
        (
            Outcome::Rejected { code: "window_closed".into(), answer: None },
            MessageEvent::MessageRejected {
                attempt: 1,
                status: MessageStatus::BlockedByAllowlist,
                code: "window_closed".into(),
                answer: None,
                dedup_key: Some("k1".into()),
            },
        ),
        (
            reject(),
            MessageEvent::MessageRejected {
                attempt: 1,
                status: MessageStatus::Failed,
                code: "no_mailbox".into(),
                answer: None,
                dedup_key: Some("k1".into()),
            },
        ),
    ] {
        Given::with(()).given(in_flight()).when(record(1, outcome)).then_expect_events(vec![event]);
    }
}

#[test]
fn the_holder_is_believed_after_somebody_gave_it_up() {
    let lost_track = || after(in_flight(), &[unknown(1)]);
    Given::with(()).given(lost_track()).when(record(1, accept())).then_expect_events(vec![accepted(1)]);
    Given::with(()).given(lost_track()).when(record(1, lost())).then_expect_events(vec![]);
}

#[test]
fn after_eight_retries_it_is_given_up() {
    let mut history = on_its_way();
    let mut now = NOW;
    for attempt in 1..=RETRIES + 1 {
        let message = state(history.clone());
        let mut send = send(None, now);
        if let MessageCommand::Send { at, .. } = &mut send {
            *at = message.not_before().unwrap_or(now);
            now = *at;
        }
        history.extend(message.decide(send).unwrap());
        let outcome = MessageCommand::Record { attempt, outcome: retry(), at: now, jitter: 1_000 };
        history.extend(state(history.clone()).decide(outcome).unwrap());
    }
    let message = state(history.clone());
    assert_eq!(message.attempts(), 9);
    assert_eq!((message.status(), message.reason()), (MessageStatus::Failed, Some("retries_exhausted")));
    let Some(MessageEvent::MessageGivenUp { dedup_key, .. }) = history.last() else {
        panic!("the last event is {:?}", history.last())
    };
    assert_eq!(dedup_key.as_deref(), Some("k1"));
}

#[test]
fn a_daily_limit_does_not_end_a_message_at_its_first_try() {
    let answered = NOW.plus_millis(300);
    let tomorrow = answered.plus_millis(RETRY_WITHIN_MILLIS);
    let limited = Outcome::Retry { code: "rate_limited".into(), answer: None, not_before: Some(tomorrow) };
    let told = MessageCommand::Record { attempt: 1, outcome: limited, at: answered, jitter: 0 };
    Given::with(()).given(in_flight()).when(told).then_expect_events(vec![MessageEvent::MessageDeferred {
        attempt: 1,
        code: "rate_limited".into(),
        next_attempt_at: tomorrow,
        answer: None,
    }]);
}

#[test]
fn what_is_unknown_holds_its_key_until_it_is_settled() {
    let lost_track = || after(in_flight(), &[unknown(1)]);
    let settle = |sent, by| MessageCommand::Settle { sent, by, evidence: None };
    for (sent, status) in [(true, MessageStatus::Sent), (false, MessageStatus::Failed)] {
        Given::with(())
            .given(lost_track())
            .when(settle(sent, SettledBy::Person))
            .then_expect_events(vec![settled(1, status, SettledBy::Person)]);
    }
    for history in [waiting(), on_its_way(), in_flight(), after(in_flight(), &[accepted(1)])] {
        Given::with(())
            .given(history)
            .when(settle(true, SettledBy::LookUp))
            .then_expect_error(MessageError::NotUnknown);
    }
}

#[test]
fn a_report_settles_what_was_open() {
    let lost_track = after(in_flight(), &[unknown(1)]);
    let by_report = || settled(1, MessageStatus::Sent, SettledBy::Webhook);
    Given::with(())
        .given(lost_track)
        .when(report(Delivery::Bounced))
        .then_expect_events(vec![by_report(), reported(Delivery::Bounced)]);
    // It arrived after all: it must not be tried again.
    let retrying = after(in_flight(), &[deferred(1, NOW)]);
    Given::with(())
        .given(retrying)
        .when(report(Delivery::Delivered))
        .then_expect_events(vec![by_report(), reported(Delivery::Delivered)]);
    // Nor handed to a person after its rule was taken back.
    let withdrawn = after(in_flight(), &[deferred(1, NOW), asked()]);
    Given::with(())
        .given(withdrawn)
        .when(report(Delivery::Delivered))
        .then_expect_events(vec![by_report(), reported(Delivery::Delivered)]);
    // In flight, the answer is still to come; and if it is lost, the report stands in for it.
    Given::with(())
        .given(in_flight())
        .when(report(Delivery::Delivered))
        .then_expect_events(vec![reported(Delivery::Delivered)]);
    let arrived = || after(in_flight(), &[reported(Delivery::Delivered)]);
    for outcome in [lost(), retry(), reject()] {
        Given::with(()).given(arrived()).when(record(1, outcome)).then_expect_events(vec![by_report()]);
    }
    Given::with(()).given(arrived()).when(record(1, accept())).then_expect_events(vec![accepted(1)]);
}

/// Settled by a report although it had been said not to have been sent.
fn sent_after_all() -> MessageEvent {
    MessageEvent::MessageSettled {
        attempt: 1,
        status: MessageStatus::Sent,
        by: SettledBy::Webhook,
        evidence: None,
        dedup_key: None,
        dedup_key_again: Some("k1".into()),
    }
}

#[test]
fn what_arrived_was_sent_whoever_had_said_that_it_was_not() {
    let by_a_person = || settled(1, MessageStatus::Failed, SettledBy::Person);
    let rejected = || MessageEvent::MessageRejected {
        attempt: 1,
        status: MessageStatus::Failed,
        code: "no_mailbox".into(),
        answer: None,
        dedup_key: Some("k1".into()),
    };
    let stopped = || decided(MessageStatus::Failed, Some("sequence_stopped"), None);
    for unsent in [
        vec![unknown(1), by_a_person()],
        vec![rejected()],
        vec![deferred(1, NOW), stopped()],
        vec![deferred(1, NOW), decided(MessageStatus::BlockedByQuota, Some("daily_cap"), None)],
    ] {
        let history = || after(in_flight(), &unsent);
        for arrived in [Delivery::Delivered, Delivery::Replied, Delivery::Complained] {
            Given::with(())
                .given(history())
                .when(report(arrived))
                .then_expect_events(vec![sent_after_all(), reported(arrived)]);
        }
        // What comes back was never with anybody.
        Given::with(())
            .given(history())
            .when(report(Delivery::Bounced))
            .then_expect_events(vec![reported(Delivery::Bounced)]);
        // Whoever answers what had come back has it all the same, and it still came back.
        Given::with(())
            .given(after(history(), &[reported(Delivery::Bounced)]))
            .when(report(Delivery::Replied))
            .then_expect_events(vec![sent_after_all()]);
        let known = after(history(), &[sent_after_all(), reported(Delivery::Replied)]);
        Given::with(()).given(known.clone()).when(report(Delivery::Replied)).then_expect_events(vec![]);
        let message = state(known);
        assert_eq!((message.status(), message.reason()), (MessageStatus::Sent, None));
    }
}

#[test]
fn reports_come_in_any_order_and_the_worst_one_stays() {
    let sent = || after(in_flight(), &[accepted(1)]);
    for (known, news, counts) in [
        (Delivery::Delivered, Delivery::Delivered, false),
        (Delivery::Delivered, Delivery::Replied, true),
        (Delivery::Delivered, Delivery::Bounced, true),
        (Delivery::Bounced, Delivery::Delivered, false),
        (Delivery::Complained, Delivery::Bounced, false),
    ] {
        let expected = if counts { vec![reported(news)] } else { vec![] };
        Given::with(())
            .given(after(sent(), &[reported(known)]))
            .when(report(news))
            .then_expect_events(expected);
    }
    Given::with(())
        .given(on_its_way())
        .when(report(Delivery::Delivered))
        .then_expect_error(MessageError::NeverSent);
}

#[test]
fn what_is_at_its_channel_is_not_decided_on() {
    for (history, refusal) in [
        (in_flight(), MessageError::UnderWay(DispatchState::InFlight)),
        (after(in_flight(), &[unknown(1)]), MessageError::UnderWay(DispatchState::Unknown)),
        (after(in_flight(), &[accepted(1)]), MessageError::Final(MessageStatus::Sent)),
    ] {
        Given::with(())
            .given(history)
            .when(rule(Ruling::BlockedByAllowlist(Reason::Suppressed)))
            .then_expect_error(refusal);
    }
}

#[test]
fn an_approval_by_rule_may_be_withdrawn_until_the_hand_over() {
    let mut message = state(on_its_way());
    assert!(message.auto_approved());
    message.apply(asked());
    assert!(!message.auto_approved());
    assert_eq!(message.approval_id(), Some(APPROVAL));
    assert_eq!(message.decide(send(None, NOW)), Err(MessageError::NotApproved));
}

#[test]
fn the_content_is_dropped_when_it_cannot_be_needed_any_more() {
    assert!(state(in_flight()).content().is_some());
    assert!(state(after(in_flight(), &[unknown(1)])).content().is_some());
    assert!(state(after(in_flight(), &[accepted(1)])).content().is_none());
}

#[test]
fn every_reason_has_a_name_and_a_sentence() {
    let mut names: Vec<_> = Reason::ALL.map(Reason::name).into();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(Reason::ALL.iter().all(|reason| !reason.sentence().ends_with('.')));
}

fn taken_back(attempt: u32) -> MessageEvent {
    MessageEvent::MessageTakenBack { attempt, code: "too_late".into() }
}

#[test]
fn what_was_not_given_to_its_channel_waits_again_and_has_lost_no_try() {
    let take_back = |attempt| MessageCommand::TakeBack { attempt, code: "too_late" };
    let away = || vec![drafted(), approved_by_rule(), queued(), sending(1)];
    Given::with(()).given(away()).when(take_back(1)).then_expect_events(vec![taken_back(1)]);
    Given::with(())
        .given(away())
        .when(take_back(2))
        .then_expect_error(MessageError::NotTheHolder { got: 2, current: 1 });
    let mut message = Message::default();
    for event in [away(), vec![taken_back(1)]].concat() {
        message.apply(event);
    }
    assert_eq!((message.dispatch_state(), message.tries()), (DispatchState::Queued, 0));
    assert_eq!(message.first_sent_at(), None);
    assert!(matches!(
        message.decide(MessageCommand::Report { delivery: Delivery::Delivered, at: NOW, detail: None }),
        Err(MessageError::NeverSent)
    ));
    // Its eight tries are still before it.
    let mut now = NOW;
    for attempt in 2..=RETRIES + 1 {
        message.apply(MessageEvent::MessageSending {
            attempt,
            bucket_id: BUCKET,
            provider_key: ID.to_string(),
            keyed: None,
            at: now,
        });
        let outcome = Outcome::Retry { code: "busy".into(), answer: None, not_before: None };
        let events =
            message.decide(MessageCommand::Record { attempt, outcome, at: now, jitter: 1_000 }).unwrap();
        let [MessageEvent::MessageDeferred { next_attempt_at, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        now = *next_attempt_at;
        message.apply(events[0].clone());
    }
    assert_eq!(message.tries(), RETRIES);
}
