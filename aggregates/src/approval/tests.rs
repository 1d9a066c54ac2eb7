use super::*;
use cqrs_es::test::TestFramework;
use uuid::Uuid;

type Given = TestFramework<Approval>;
const ID: ApprovalId = ApprovalId(Uuid::from_u128(1));
const NEXT: ApprovalId = ApprovalId(Uuid::from_u128(2));
const MESSAGE: MessageId = MessageId(Uuid::from_u128(3));
const DRAFTER: PrincipalId = PrincipalId(Uuid::from_u128(4));
const BOARD: PrincipalId = PrincipalId(Uuid::from_u128(5));
const NOW: Timestamp = Timestamp::MIN;

fn request() -> ApprovalCommand {
    ApprovalCommand::Request {
        approval_id: ID,
        message_id: MESSAGE,
        content_hash: "ab".into(),
        drafter: DRAFTER,
        rule: None,
        supersedes: None,
        at: NOW,
    }
}

fn requested() -> ApprovalEvent {
    ApprovalEvent::ApprovalRequested {
        approval_id: ID,
        message_id: MESSAGE,
        content_hash: "ab".into(),
        drafter: DRAFTER,
        rule: None,
        supersedes: None,
        expires_at: NOW.plus_millis(OPEN_FOR_MILLIS),
    }
}

fn granted() -> ApprovalEvent {
    ApprovalEvent::ApprovalGranted { by: BOARD, content_hash: "ab".into(), note: None }
}

fn approve(by: PrincipalId, content_hash: &str, at: Timestamp) -> ApprovalCommand {
    ApprovalCommand::Approve { by, content_hash: content_hash.into(), note: None, at }
}

fn reject(by: PrincipalId) -> ApprovalCommand {
    ApprovalCommand::Reject { by, note: Some("too loud".into()), at: NOW }
}

fn note(text: &str) -> Option<Personal<String>> {
    Some(Personal::known(ID.uuid(), text.into()))
}

#[test]
fn a_question_is_asked_once_and_is_open_for_three_days() {
    Given::with(()).given_no_previous_events().when(request()).then_expect_events(vec![requested()]);
    Given::with(())
        .given(vec![requested()])
        .when(request())
        .then_expect_error(ApprovalError::AlreadyRequested);
}

#[test]
fn what_was_seen_is_what_is_approved() {
    Given::with(())
        .given(vec![requested()])
        .when(approve(BOARD, "ab", NOW))
        .then_expect_events(vec![granted()]);
    Given::with(())
        .given(vec![requested()])
        .when(approve(BOARD, "cd", NOW))
        .then_expect_error(ApprovalError::OtherContent);
}

#[test]
fn nobody_approves_their_own_words() {
    Given::with(())
        .given(vec![requested()])
        .when(approve(DRAFTER, "ab", NOW))
        .then_expect_error(ApprovalError::SelfApproval);
    // To take them back is another matter.
    Given::with(())
        .given(vec![requested()])
        .when(reject(DRAFTER))
        .then_expect_events(vec![ApprovalEvent::ApprovalRejected { by: DRAFTER, note: note("too loud") }]);
}

#[test]
fn an_answer_given_twice_is_one_answer() {
    Given::with(())
        .given(vec![requested(), granted()])
        .when(approve(BOARD, "ab", NOW))
        .then_expect_events(vec![]);
    Given::with(())
        .given(vec![requested(), ApprovalEvent::ApprovalRejected { by: BOARD, note: None }])
        .when(reject(BOARD))
        .then_expect_events(vec![]);
}

#[test]
fn an_answer_is_not_taken_back() {
    Given::with(())
        .given(vec![requested(), granted()])
        .when(reject(BOARD))
        .then_expect_error(ApprovalError::NotPending(ApprovalStatus::Approved));
    for (event, status) in [
        (ApprovalEvent::ApprovalRejected { by: BOARD, note: None }, ApprovalStatus::Rejected),
        (ApprovalEvent::RevisionRequested { by: BOARD, note: None }, ApprovalStatus::RevisionRequested),
        (ApprovalEvent::ApprovalSuperseded { by: Some(NEXT) }, ApprovalStatus::Superseded),
        (ApprovalEvent::ApprovalExpired {}, ApprovalStatus::Expired),
    ] {
        Given::with(())
            .given(vec![requested(), event])
            .when(approve(BOARD, "ab", NOW))
            .then_expect_error(ApprovalError::NotPending(status));
    }
}

#[test]
fn no_answer_is_given_after_three_days_even_if_nobody_closed_it() {
    let over = NOW.plus_millis(OPEN_FOR_MILLIS);
    Given::with(())
        .given(vec![requested()])
        .when(approve(BOARD, "ab", over.plus_millis(-1)))
        .then_expect_events(vec![granted()]);
    Given::with(())
        .given(vec![requested()])
        .when(approve(BOARD, "ab", over))
        .then_expect_error(ApprovalError::NotPending(ApprovalStatus::Expired));
    Given::with(())
        .given(vec![requested()])
        .when(ApprovalCommand::Expire { at: over.plus_millis(-1) })
        .then_expect_error(ApprovalError::NotYetExpired);
    for history in
        [vec![requested()], vec![requested(), ApprovalEvent::RevisionRequested { by: BOARD, note: None }]]
    {
        Given::with(())
            .given(history)
            .when(ApprovalCommand::Expire { at: over })
            .then_expect_events(vec![ApprovalEvent::ApprovalExpired {}]);
    }
}

#[test]
fn a_revision_supersedes_what_is_open_and_nothing_else() {
    let supersede = || ApprovalCommand::Supersede { by: Some(NEXT) };
    for history in
        [vec![requested()], vec![requested(), ApprovalEvent::RevisionRequested { by: BOARD, note: None }]]
    {
        Given::with(())
            .given(history)
            .when(supersede())
            .then_expect_events(vec![ApprovalEvent::ApprovalSuperseded { by: Some(NEXT) }]);
    }
    Given::with(())
        .given(vec![requested(), granted()])
        .when(supersede())
        .then_expect_error(ApprovalError::NotPending(ApprovalStatus::Approved));
}

#[test]
fn other_words_come_within_72_hours_and_what_nobody_needs_is_taken_back_at_any_time() {
    let over = NOW.plus_millis(OPEN_FOR_MILLIS);
    let reword = |at| ApprovalCommand::Reword { by: Some(NEXT), at };
    for last in [None, Some(ApprovalEvent::RevisionRequested { by: BOARD, note: None })] {
        let history: Vec<_> = [requested()].into_iter().chain(last).collect();
        Given::with(())
            .given(history.clone())
            .when(reword(over.plus_millis(-1)))
            .then_expect_events(vec![ApprovalEvent::ApprovalSuperseded { by: Some(NEXT) }]);
        Given::with(())
            .given(history.clone())
            .when(reword(over))
            .then_expect_error(ApprovalError::NotPending(ApprovalStatus::Expired));
        Given::with(())
            .given(history)
            .when(ApprovalCommand::Supersede { by: None })
            .then_expect_events(vec![ApprovalEvent::ApprovalSuperseded { by: None }]);
    }
}

#[test]
fn what_was_never_asked_is_not_answered() {
    Given::with(())
        .given_no_previous_events()
        .when(approve(BOARD, "ab", NOW))
        .then_expect_error(ApprovalError::Unknown);
}
