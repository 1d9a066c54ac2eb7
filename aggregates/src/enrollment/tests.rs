use super::*;
use crate::calendar::{HoursOfDay, WeeklyHours};
use crate::channel::Channel;
use crate::ids::OutboxId;
use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use uuid::Uuid;

type Given = TestFramework<Enrollment>;
const HOUR: i64 = 3_600_000;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn begun() -> Timestamp {
    at("2026-10-24T10:00:00Z")
}

fn message(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number))
}

fn step(wait_minutes: u32, window: Option<(&str, &str)>) -> Step {
    let window = window.map(|(start, end)| WeeklyHours {
        hours: HoursOfDay { start: start.into(), end: end.into(), tz: "Europe/Paris".into() },
        weekdays: vec![],
    });
    Step { outbox_id: OutboxId::default(), channel: Channel::Email, wait_minutes, window }
}

/// At once; a day later within office hours; two days later.
fn steps() -> Vec<Step> {
    vec![step(0, None), step(24 * 60, Some(("09:00", "17:00"))), step(48 * 60, None)]
}

fn enroll() -> EnrollmentCommand {
    EnrollmentCommand::Enroll {
        sequence_id: SequenceId::default(),
        contact_id: ContactId::default(),
        campaign_id: None,
        at: begun(),
    }
}

fn enrolled(round: u64) -> EnrollmentEvent {
    EnrollmentEvent::ContactEnrolled {
        sequence_id: SequenceId::default(),
        contact_id: ContactId::default(),
        campaign_id: None,
        round,
        at: begun(),
    }
}

fn take(before: StepBefore, number: u128, at: Timestamp) -> EnrollmentCommand {
    EnrollmentCommand::TakeStep {
        steps: steps(),
        sequence_version: 1,
        before,
        message_id: message(number),
        at,
    }
}

fn taken(step: u32, attempt: u32, at: Timestamp) -> EnrollmentEvent {
    EnrollmentEvent::StepTaken {
        round: 1,
        step,
        attempt,
        sequence_version: 1,
        message_id: message(u128::from(step)),
        at,
    }
}

fn stopped() -> EnrollmentEvent {
    EnrollmentEvent::EnrollmentStopped { because: "replied".into() }
}

fn state(history: Vec<EnrollmentEvent>) -> Enrollment {
    let mut enrollment = Enrollment::default();
    history.into_iter().for_each(|event| enrollment.apply(event));
    enrollment
}

fn due(step: u32, attempt: u32, at: Timestamp) -> Next {
    Next::Step(Due { step, attempt, at })
}

#[test]
fn a_contact_is_enrolled_once_at_a_time() {
    Given::with(()).given_no_previous_events().when(enroll()).then_expect_events(vec![enrolled(1)]);
    Given::with(())
        .given(vec![enrolled(1)])
        .when(enroll())
        .then_expect_error(EnrollmentError::AlreadyEnrolled);
    for end in [stopped(), EnrollmentEvent::EnrollmentFinished {}] {
        Given::with(()).given(vec![enrolled(1), end]).when(enroll()).then_expect_events(vec![enrolled(2)]);
    }
}

#[test]
fn a_step_is_taken_once() {
    let now = begun();
    Given::with(())
        .given(vec![enrolled(1)])
        .when(take(StepBefore::None, 1, now))
        .then_expect_events(vec![taken(1, 1, now)]);
    // Whoever comes late finds it taken, and its message open.
    for before in [StepBefore::None, StepBefore::Open] {
        Given::with(())
            .given(vec![enrolled(1), taken(1, 1, now)])
            .when(take(before, 1, now))
            .then_expect_error(EnrollmentError::NothingDue);
    }
}

#[test]
fn a_step_waits_for_the_one_before_and_for_its_window() {
    let enrollment = state(vec![enrolled(1), taken(1, 1, begun())]);
    let next = |before| enrollment.next(&steps(), before).unwrap();
    assert_eq!(next(StepBefore::Open), Next::Wait);
    // Sent at noon in Paris; a day later the clocks have been put back.
    let sent = StepBefore::Sent(at("2026-10-24T10:00:00Z"));
    assert_eq!(next(sent), due(2, 1, at("2026-10-25T10:00:00Z")));
    // Sent at nine in the evening: the window opens the morning after the next.
    let sent = StepBefore::Sent(at("2026-10-24T19:00:00Z"));
    assert_eq!(next(sent), due(2, 1, at("2026-10-26T08:00:00Z")));
    Given::with(())
        .given(vec![enrolled(1), taken(1, 1, begun())])
        .when(take(sent, 2, at("2026-10-26T07:59:59Z")))
        .then_expect_error(EnrollmentError::NothingDue);
    let opens = at("2026-10-26T08:00:00Z");
    Given::with(())
        .given(vec![enrolled(1), taken(1, 1, begun())])
        .when(take(sent, 2, opens))
        .then_expect_events(vec![taken(2, 1, opens)]);
}

#[test]
fn a_step_that_found_no_quota_is_tried_again() {
    let enrollment = state(vec![enrolled(1), taken(1, 1, begun())]);
    let before = StepBefore::OutOfQuota(begun());
    assert_eq!(enrollment.next(&steps(), before), Ok(due(1, 2, begun().plus_millis(6 * HOUR))));
    let tried = state(vec![enrolled(1), taken(1, 28, begun())]);
    assert_eq!(tried.next(&steps(), before), Ok(Next::Stop(StopReason::NotSent)));
}

#[test]
fn what_was_not_sent_ends_it() {
    let enrollment = state(vec![enrolled(1), taken(1, 1, begun())]);
    assert_eq!(enrollment.next(&steps(), StepBefore::NotSent), Ok(Next::Stop(StopReason::NotSent)));
}

#[test]
fn after_the_last_step_it_is_finished() {
    let history = vec![enrolled(1), taken(1, 1, begun()), taken(2, 1, begun()), taken(3, 1, begun())];
    let sent = StepBefore::Sent(begun());
    assert_eq!(state(history.clone()).next(&steps(), sent), Ok(Next::Finish));
    Given::with(())
        .given(history)
        .when(EnrollmentCommand::Finish)
        .then_expect_events(vec![EnrollmentEvent::EnrollmentFinished {}]);
    // Steps that are added while it is under way are taken too.
    let longer = [steps(), vec![step(60, None)]].concat();
    let enrollment = state(vec![enrolled(1), taken(3, 1, begun())]);
    assert_eq!(enrollment.next(&longer, sent), Ok(due(4, 1, begun().plus_millis(HOUR))));
}

#[test]
fn a_reply_an_unsubscribe_or_a_bounce_stops_it() {
    for because in
        [StopReason::Replied, StopReason::Unsubscribed, StopReason::Bounced, StopReason::Complained]
    {
        let stop = || EnrollmentCommand::Stop { because };
        let event = || EnrollmentEvent::EnrollmentStopped { because: because.name().into() };
        Given::with(()).given(vec![enrolled(1)]).when(stop()).then_expect_events(vec![event()]);
        Given::with(()).given(vec![enrolled(1), event()]).when(stop()).then_expect_events(vec![]);
        Given::with(())
            .given(vec![enrolled(1), event()])
            .when(take(StepBefore::None, 1, begun()))
            .then_expect_error(EnrollmentError::NothingDue);
    }
    Given::with(())
        .given_no_previous_events()
        .when(EnrollmentCommand::Stop { because: StopReason::Replied })
        .then_expect_error(EnrollmentError::Unknown);
}

#[test]
fn a_second_round_begins_with_the_first_step() {
    let enrollment = state(vec![enrolled(1), taken(1, 1, begun()), stopped(), enrolled(2)]);
    assert_eq!(enrollment.next(&steps(), StepBefore::None), Ok(due(1, 1, begun())));
    assert_eq!((enrollment.round(), enrollment.message_id()), (2, None));
}
