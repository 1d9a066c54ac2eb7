//! The daily cap, whatever the concurrency, and whatever happens to cap, zone and day.

use std::time::Duration;

use docket_aggregates::message::{DispatchState, MessageStatus};

use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::house::{House, Standing};

const SENT: (MessageStatus, DispatchState) = (MessageStatus::Sent, DispatchState::Done);
const BLOCKED: (MessageStatus, DispatchState) = (MessageStatus::BlockedByQuota, DispatchState::Done);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_at_once_never_pass_a_cap_of_a_hundred() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    house.limit(Some(100), "Europe/Paris").await;
    let another = house.another().await;
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];

    let messages = house.queue(500).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 100), (BLOCKED, 400)]));
    assert_eq!(house.charged(1).await, 100);
    assert!(arrived(&server).values().all(|count| *count == 1));
    assert_eq!(arrived(&server).len(), 100);

    // A lower cap and another zone earn nothing; the day goes on.
    house.limit(Some(50), "Pacific/Kiritimati").await;
    let messages = house.queue(20).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(BLOCKED, 20)]));
    house.limit(Some(110), "Pacific/Niue").await;
    let messages = house.queue(20).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 10), (BLOCKED, 10)]));
    assert_eq!(house.charged(1).await, 110);

    // No day is so long that the next one has not begun after two.
    house.pass(Duration::from_secs(48 * 60 * 60));
    house.limit(Some(30), "Pacific/Niue").await;
    let messages = house.queue(50).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 30), (BLOCKED, 20)]));
    assert_eq!((house.charged(1).await, house.charged(2).await), (110, 30));
    assert_eq!(arrived(&server).len(), 140);
    assert_eq!(house.open_charges().await, 140);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_is_lowered_while_messages_go_out_binds_at_once() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    house.limit(Some(1_000), "UTC").await;
    let another = house.another().await;
    let messages = house.queue(400).await;
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    house.limit(Some(60), "UTC").await;
    let charged_then = house.charged(1).await;
    house.settled(&messages).await;
    let charged = house.charged(1).await;
    assert!(charged <= charged_then.max(60), "nothing is charged above an acknowledged cap");
    assert_eq!(arrived(&server).len() as u64, charged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_missed_a_day_goes_on_with_the_next_one() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let another = house.another().await;
    for (day, app) in [&another, &house.app, &another].into_iter().enumerate() {
        let dispatcher = house.dispatch(app, NOWHERE);
        let messages = house.queue(2).await;
        assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 2)]), "day {day}");
        assert_eq!(house.charged(day as u64 + 1).await, 2);
        dispatcher.stop(Duration::from_secs(10)).await;
        house.pass(Duration::from_secs(48 * 60 * 60));
    }
}
