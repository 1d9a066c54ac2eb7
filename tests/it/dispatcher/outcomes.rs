//! What follows from each answer: charges, refunds and tries.

use std::time::Duration;

use docket::ledger::read;
use docket::sending::explaining::explain;
use docket_aggregates::bucket::Bucket;
use docket_aggregates::ids::MessageId;
use docket_aggregates::message::{DispatchState, MessageStatus, RETRIES};
use docket_aggregates::sending_control::{FrequencyCap, SendingControl, SendingControlCommand};

use super::rechecks::opt_out;
use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Reply, Script};
use crate::support::eventually;
use crate::support::house::{House, Standing};
use crate::support::resend::Resend;

/// The types of the events of a message's or a bucket's stream.
async fn history<A: cqrs_es::Aggregate>(house: &House, id: uuid::Uuid) -> Vec<String> {
    let stream = docket::ledger::Stream::of::<A>(id);
    let events = read::stream(house.app.ledger.pool(), house.organization, stream, 0).await.unwrap();
    events.into_iter().map(|event| event.event_type).collect()
}

impl House {
    async fn cap_frequency(&self, messages: u32, days: u32) {
        let cap = Some(FrequencyCap { messages, days });
        let control = self.organization.sending_control();
        self.order::<SendingControl>(control, SendingControlCommand::CapFrequency { cap }).await;
    }
}

async fn waits_for_a_retry(house: &House, id: MessageId) -> docket_aggregates::Timestamp {
    eventually("the retry", || async {
        let message = house.messages(&[id]).await.remove(0);
        let waits = message.dispatch_state() == DispatchState::Retrying;
        message.not_before().filter(|_| waits && message.not_before() > Some(house.clock.now()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_gives_its_charge_back() {
    let server =
        MailServer::start(Script { rcpt: Reply::Say("550 5.1.1 no such user"), ..Script::default() }).await;
    let house = House::new(&smtp(&server)).await;
    house.limit(Some(10), "UTC").await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue(5).await;
    let failed = (MessageStatus::Failed, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(failed, 5)]));
    assert_eq!((house.charged(1).await, house.open_charges().await), (0, 0));
    assert!(house.messages(&messages).await.iter().all(|message| message.reason() == Some("recipient")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_not_taken_is_tried_eight_times_and_refunded_once() {
    let server =
        MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 greylisted"), ..Script::default() }).await;
    // The night in which Europe's clocks are put on: a day of 23 hours.
    let clock = docket::clock::Clock::held_at("2026-03-28T22:30:00Z".parse().unwrap());
    let house = House::at(&smtp(&server), clock).await;
    house.limit(Some(10), "Europe/Paris").await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let [id] = house.queue(1).await[..] else { unreachable!() };
    let began = house.clock.now();
    for _ in 0..RETRIES {
        let next = waits_for_a_retry(&house, id).await;
        house.clock.advance(next.millis() - house.clock.now().millis());
    }
    let failed = (MessageStatus::Failed, DispatchState::Done);
    assert_eq!(house.settled(&[id]).await, Standing::from([(failed, 1)]));
    assert!(house.clock.now().millis() - began.millis() <= 24 * 60 * 60 * 1_000);
    let message = house.messages(&[id]).await.remove(0);
    assert_eq!((message.attempts(), message.reason()), (RETRIES + 1, Some("retries_exhausted")));
    assert_eq!(house.open_charges().await, 0);
    assert_eq!((house.charged(1).await, house.charged(2).await), (0, 0));
    // It was charged to the day on which it was tried, and went over midnight once or twice.
    let mut refunds = 0;
    for day in 1..=3 {
        let events = history::<Bucket>(&house, house.bucket_id(day).uuid()).await;
        let of = |name: &str| events.iter().filter(|event| *event == name).count();
        assert_eq!(of("BucketCharged"), of("BucketRefunded"), "day {day}: {events:?}");
        refunds += of("BucketRefunded");
    }
    assert!((2..=3).contains(&refunds), "{refunds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_tried_again_keeps_its_charge_until_midnight_and_takes_another_then() {
    let server = MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 later"), ..Script::default() }).await;
    let clock = docket::clock::Clock::held_at("2026-03-28T22:50:00Z".parse().unwrap());
    let midnight: docket_aggregates::Timestamp = "2026-03-28T23:00:00Z".parse().unwrap();
    let house = House::at(&smtp(&server), clock).await;
    house.limit(Some(1), "Europe/Paris").await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let [id] = house.queue(1).await[..] else { unreachable!() };
    while house.clock.now() < midnight {
        let next = waits_for_a_retry(&house, id).await;
        assert_eq!((house.charged(1).await, house.open_charges().await), (1, 1));
        house.clock.advance(next.millis() - house.clock.now().millis());
    }
    waits_for_a_retry(&house, id).await;
    assert_eq!((house.charged(1).await, house.charged(2).await, house.open_charges().await), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_twenty_five_hours_has_one_cap() {
    let server = MailServer::start(Script::default()).await;
    // Ten past midnight in Paris, on the day on which its clocks are put back.
    let clock = docket::clock::Clock::held_at("2026-10-24T22:10:00Z".parse().unwrap());
    let house = House::at(&smtp(&server), clock).await;
    house.limit(Some(1), "Europe/Paris").await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    for (minutes, expected) in [(0, sent), (24 * 60 + 30, blocked), (30, sent)] {
        house.pass(Duration::from_secs(60 * minutes));
        let messages = house.queue(1).await;
        assert_eq!(house.settled(&messages).await, Standing::from([(expected, 1)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_keeps_its_charge_and_is_not_sent_again() {
    let server = MailServer::start(Script { text: Reply::Close, ..Script::default() }).await;
    let house = House::new(&smtp(&server)).await;
    house.limit(Some(10), "UTC").await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue(3).await;
    let unknown = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
    assert_eq!(house.settled(&messages).await, Standing::from([(unknown, 3)]));
    house.pass(Duration::from_secs(3 * 60 * 60));
    let later = house.queue(1).await;
    house.settled(&later).await;
    assert_eq!(house.standing(&messages).await, Standing::from([(unknown, 3)]));
    assert_eq!((house.charged(1).await, arrived(&server).len()), (4, 4));
    assert!(arrived(&server).values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_is_asked_again_where_the_channel_does_nothing_twice() {
    let resend = Resend::start().await;
    resend.mute(true);
    let house = House::new("resend://re_key").await;
    let _dispatcher = house.dispatch(&house.app, &resend.base);
    let messages = house.queue(3).await;
    let unknown = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
    assert_eq!(house.settled(&messages).await, Standing::from([(unknown, 3)]));
    resend.mute(false);
    house.pass(Duration::from_secs(60));
    let sent = (MessageStatus::Sent, DispatchState::Done);
    eventually("the answers", || async {
        (house.standing(&messages).await == Standing::from([(sent, 3)])).then_some(())
    })
    .await;
    assert_eq!(resend.asked().into_values().collect::<Vec<_>>(), [2, 2, 2], "once for each key");
    assert_eq!(house.open_charges().await, 3);
}

/// Everything is looked at anew, by a dispatcher that knows of nothing; and a message that comes last has been sent.
async fn looked_at_again(house: &House, base: &str) {
    docket::dispatcher::refill(house.app.ledger.pool()).await.unwrap();
    let _dispatcher = house.dispatch(&house.app, base);
    let last = house.queue_for(&["last@example.com".into()], None, false).await;
    let sent = (MessageStatus::Sent, DispatchState::Done);
    assert_eq!(house.settled(&last).await, Standing::from([(sent, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mail_server_may_have_taken_is_not_given_to_a_provider_because_that_one_takes_keys() {
    let server = MailServer::start(Script { text: Reply::Close, ..Script::default() }).await;
    let house = House::new(&smtp(&server)).await;
    let dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue(3).await;
    let unknown = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
    assert_eq!(house.settled(&messages).await, Standing::from([(unknown, 3)]));
    drop(dispatcher);

    let resend = Resend::start().await;
    house.credential("resend://re_key").await;
    house.pass(Duration::from_secs(3 * 60 * 60));
    looked_at_again(&house, &resend.base).await;
    assert_eq!(house.standing(&messages).await, Standing::from([(unknown, 3)]));
    assert_eq!((resend.asked().len(), arrived(&server).len(), house.open_charges().await), (1, 3, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_broke_at_a_provider_is_asked_again_with_its_secret_alone() {
    let resend = Resend::start().await;
    resend.broken(true);
    let house = House::new("resend://re_key").await;
    let dispatcher = house.dispatch(&house.app, &resend.base);
    let messages = house.queue(3).await;
    let unknown = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
    assert_eq!(house.settled(&messages).await, Standing::from([(unknown, 3)]));
    drop(dispatcher);

    // Neither by a mail server nor in another account, of which nobody knows whether it is the same.
    let server = MailServer::start(Script::default()).await;
    resend.broken(false);
    house.credential(&smtp(&server)).await;
    house.pass(Duration::from_secs(60 * 60));
    looked_at_again(&house, &resend.base).await;
    house.credential("resend://re_another").await;
    looked_at_again(&house, &resend.base).await;
    assert_eq!(house.standing(&messages).await, Standing::from([(unknown, 3)]));
    let asked = resend.asked();
    assert_eq!((asked.len(), asked.values().sum::<usize>(), arrived(&server).len()), (4, 4, 1));
    assert_eq!(house.open_charges().await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_broke_at_a_provider_is_asked_again_under_its_key_and_is_never_given_up() {
    let resend = Resend::start().await;
    resend.broken(true);
    let house = House::new("resend://re_key").await;
    let _dispatcher = house.dispatch(&house.app, &resend.base);
    let [first, second] = house.queue(2).await[..] else { unreachable!() };
    let unknown = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
    assert_eq!(house.settled(&[first, second]).await, Standing::from([(unknown, 2)]));
    // The recipient of the first one says that it is enough. What it got by then is as unknown as before.
    opt_out(&house, "p0@example.com").await;
    resend.broken(false);
    house.pass(Duration::from_secs(60));
    let sent = (MessageStatus::Sent, DispatchState::Done);
    eventually("the answer", || async {
        (house.standing(&[second]).await == Standing::from([(sent, 1)])).then_some(())
    })
    .await;
    assert_eq!(house.standing(&[first]).await, Standing::from([(unknown, 1)]));
    assert_eq!(house.open_charges().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_knows_an_older_secret_asks_again_with_the_one_that_was_used() {
    let resend = Resend::start().await;
    let house = House::new("resend://re_key").await;
    let another = house.another().await;
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let dispatcher = house.dispatch(&another, &resend.base);
    let message = house.queue(1).await;
    assert_eq!(house.settled(&message).await, Standing::from([(sent, 1)]));
    dispatcher.stop(crate::support::PATIENCE).await;

    house.credential("resend://re_another").await;
    resend.broken(true);
    let dispatcher = house.dispatch(&house.app, &resend.base);
    let message = house.queue(1).await;
    let unknown = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
    assert_eq!(house.settled(&message).await, Standing::from([(unknown, 1)]));
    dispatcher.stop(crate::support::PATIENCE).await;

    resend.broken(false);
    house.pass(Duration::from_secs(120));
    let _dispatcher = house.dispatch(&another, &resend.base);
    eventually("the answer", || async {
        (house.standing(&message).await == Standing::from([(sent, 1)])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_gets_no_more_than_the_frequency_cap_allows() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    house.cap_frequency(2, 7).await;
    let another = house.another().await;
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    let to = vec!["ann@example.com".to_owned(); 20];
    let messages = house.queue_for(&to, None, false).await;
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(sent, 2), (blocked, 18)]));
    assert_eq!((house.charged(1).await, arrived(&server).len()), (2, 2));
    house.pass(Duration::from_secs(7 * 24 * 60 * 60));
    let messages = house.queue_for(&to[..3], None, false).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(sent, 2), (blocked, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_was_lowered_binds_what_waits_for_a_retry() {
    let later = MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 later"), ..Script::default() }).await;
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&later)).await;
    house.limit(Some(5), "UTC").await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue(5).await;
    for id in &messages {
        waits_for_a_retry(&house, *id).await;
    }
    assert_eq!(house.charged(1).await, 5);
    house.limit(Some(2), "UTC").await;
    house.credential(&smtp(&server)).await;
    house.pass(Duration::from_secs(60 * 60));
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(sent, 2), (blocked, 3)]));
    assert_eq!((house.charged(1).await, house.open_charges().await, arrived(&server).len()), (2, 2, 2));
    // There is no room that the others left.
    let messages = house.queue(1).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(blocked, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_tried_again_counts_from_when_it_goes() {
    const HOUR: i64 = 60 * 60 * 1_000;
    let later = MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 later"), ..Script::default() }).await;
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&later)).await;
    house.cap_frequency(1, 1).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let ann = ["ann@example.com".to_owned()];
    let messages = house.queue_for(&ann, None, false).await;
    let began = house.clock.now();
    let mut next = waits_for_a_retry(&house, messages[0]).await;
    while next.millis() - began.millis() < 6 * HOUR {
        house.clock.advance(next.millis() - house.clock.now().millis());
        next = waits_for_a_retry(&house, messages[0]).await;
    }
    house.credential(&smtp(&server)).await;
    house.clock.advance(next.millis() - house.clock.now().millis());
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(sent, 1)]));
    let went = house.clock.now();
    // A day after its first try it went less than a day ago.
    house.clock.advance(began.millis() + 24 * HOUR + 1 - went.millis());
    let messages = house.queue_for(&ann, None, false).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(blocked, 1)]));
    house.clock.advance(went.millis() + 24 * HOUR + 1 - house.clock.now().millis());
    let messages = house.queue_for(&ann, None, false).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(sent, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_of_what_waits_for_a_retry_go_as_a_frequency_cap_allows() {
    let later = MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 later"), ..Script::default() }).await;
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&later)).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue_for(&vec!["ann@example.com".to_owned(); 5], None, false).await;
    for id in &messages {
        waits_for_a_retry(&house, *id).await;
    }
    house.credential(&smtp(&server)).await;
    house.cap_frequency(2, 1).await;
    // All of them are due at once, and each is counted.
    house.pass(Duration::from_secs(60 * 60));
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(sent, 2), (blocked, 3)]));
    assert_eq!((house.charged(1).await, arrived(&server).len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frequency_cap_binds_what_waits_for_a_retry() {
    let later = MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 later"), ..Script::default() }).await;
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&later)).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let ann = ["ann@example.com".to_owned()];
    let waiting = house.queue_for(&ann, None, false).await;
    let next = waits_for_a_retry(&house, waiting[0]).await;
    house.credential(&smtp(&server)).await;
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    let another = house.queue_for(&ann, None, false).await;
    assert_eq!(house.settled(&another).await, Standing::from([(sent, 1)]));
    house.cap_frequency(1, 7).await;
    // At the instant of its first try it is still the message that was counted then.
    house.clock.advance(1);
    let told = async || explain(&house.app, house.organization, waiting[0], house.clock.now()).await.unwrap();
    let waits = told().await;
    assert_eq!((waits.now.would_be, waits.now.reason), ("blocked", Some("frequency_cap")));
    assert!(waits.explanation.contains("450 4.7.1 later"), "{}", waits.explanation);
    house.clock.advance(next.millis() - house.clock.now().millis());
    assert_eq!(house.settled(&waiting).await, Standing::from([(blocked, 1)]));
    assert_eq!((house.charged(1).await, arrived(&server).len()), (1, 1));
    let over = told().await.explanation;
    assert!(over.contains("It was blocked") && !over.contains("450"), "the words of another try: {over}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_in_an_append_is_room_for_the_others_in_it() {
    let later = MailServer::start(Script { rcpt: Reply::Say("450 4.7.1 later"), ..Script::default() }).await;
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    house.limit(Some(3), "UTC").await;
    let dispatcher = house.dispatch(&house.app, NOWHERE);
    let [ann, bob, cleo] = ["ann@example.com", "bob@example.com", "cleo@example.com"].map(str::to_owned);
    let first = house.queue_for(std::slice::from_ref(&ann), None, false).await;
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    assert_eq!(house.settled(&first).await, Standing::from([(sent, 1)]));
    house.credential(&smtp(&later)).await;
    let waiting = house.queue_for(&[ann, bob], None, false).await;
    for id in &waiting {
        waits_for_a_retry(&house, *id).await;
    }
    assert_eq!(house.charged(1).await, 3);
    drop(dispatcher);

    // Ann has got enough: of one cap, hers is given back; of the other, a second one.
    house.cap_frequency(1, 7).await;
    house.limit(Some(2), "UTC").await;
    house.credential(&smtp(&server)).await;
    house.pass(Duration::from_secs(60 * 60));
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&waiting).await, Standing::from([(sent, 1), (blocked, 1)]));
    let next = house.queue_for(&[cleo], None, false).await;
    assert_eq!(house.settled(&next).await, Standing::from([(blocked, 1)]));
    assert_eq!((house.charged(1).await, arrived(&server).len()), (2, 2));
}
