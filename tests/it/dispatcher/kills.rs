//! Wherever a dispatcher is killed: nothing sent twice on a channel with an idempotency key, nothing resent blindly on
//! SMTP, what cannot be known is unknown, charges equal sends and unknowns, and nothing is lost.
//!
//! A hundred rounds of a real SIGKILL:
//! `DOCKET_TEST_ROUNDS=100 cargo test --test it -- dispatcher::kills::a_server_that_is_killed_at_random`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use docket::clock::Clock;
use docket::dispatcher::{self, Point, Probe};
use docket_aggregates::ids::MessageId;
use docket_aggregates::message::{DispatchState, MessageStatus};
use rand::Rng;

use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Reply, Script};
use crate::support::app::{PUBLIC_URL, open};
use crate::support::eventually;
use crate::support::house::{House, Standing};
use crate::support::process::Served;
use crate::support::resend::Resend;

const SENT: (MessageStatus, DispatchState) = (MessageStatus::Sent, DispatchState::Done);
const UNKNOWN: (MessageStatus, DispatchState) = (MessageStatus::DraftPendingApproval, DispatchState::Unknown);
/// Longer than a claim, and than a hand-over can take.
const ABANDONED: Duration = Duration::from_secs(120);

/// Stops for ever at the first passing of a point, and says so.
fn trap(at: Point) -> (Probe, Arc<tokio::sync::Notify>) {
    let reached = Arc::new(tokio::sync::Notify::new());
    let (told, sprung) = (reached.clone(), Arc::new(AtomicBool::new(false)));
    let probe = Probe::new(move |point| {
        let (told, sprung) = (told.clone(), sprung.clone());
        Box::pin(async move {
            if point == at && !sprung.swap(true, Ordering::SeqCst) {
                told.notify_one();
                std::future::pending::<()>().await;
            }
        })
    });
    (probe, reached)
}

async fn killed_at(house: &House, point: Point, base: &str) {
    let (probe, reached) = trap(point);
    let killed = house.dispatch_probed(&house.app, base, probe);
    tokio::time::timeout(crate::support::PATIENCE, reached.notified()).await.expect("the point is reached");
    drop(killed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_smtp_what_was_handed_over_before_a_kill_is_unknown_and_the_rest_is_sent() {
    for point in Point::ALL {
        let server = MailServer::start(Script::default()).await;
        let house = House::new(&smtp(&server)).await;
        let messages = house.queue(20).await;
        killed_at(&house, point, NOWHERE).await;

        let another = house.another().await;
        let _dispatcher = house.dispatch(&another, NOWHERE);
        house.pass(ABANDONED);
        let standing = house.settled(&messages).await;
        let of = |state| standing.get(&state).copied().unwrap_or(0);
        assert_eq!(of(SENT) + of(UNKNOWN), 20, "{point:?}: {standing:?}");
        assert_eq!(house.open_charges().await, 20, "{point:?}");
        assert_eq!(house.charged(1).await, 20, "{point:?}");
        let arrived = arrived(&server);
        assert!(arrived.values().all(|count| *count == 1), "{point:?}");
        for (message, id) in house.messages(&messages).await.iter().zip(&messages) {
            assert_eq!(message.tries(), 1, "{point:?}");
            let has_it = arrived.contains_key(&id.uuid());
            assert!(has_it || message.status() != MessageStatus::Sent, "{point:?}");
            let interrupted = message.dispatch_state() == DispatchState::Unknown;
            assert_eq!(interrupted, message.reason() == Some("interrupted"), "{point:?}");
        }
        match point {
            Point::Claimed => assert_eq!(of(UNKNOWN), 0),
            Point::HandedOver => assert!(arrived.len() == of(SENT) && of(UNKNOWN) > 0),
            _ => (),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mail_server_was_being_given_when_the_dispatcher_was_killed_is_not_given_again() {
    let server = MailServer::start(Script { text: Reply::Hang, ..Script::default() }).await;
    let house = House::new(&smtp(&server)).await;
    let messages = house.queue(3).await;
    let killed = house.dispatch(&house.app, NOWHERE);
    eventually("the mails", || async { (arrived(&server).len() == 3).then_some(()) }).await;
    drop(killed);

    let another = house.another().await;
    let _dispatcher = house.dispatch(&another, NOWHERE);
    house.pass(ABANDONED);
    assert_eq!(house.settled(&messages).await, Standing::from([(UNKNOWN, 3)]));
    assert_eq!((house.open_charges().await, arrived(&server).len()), (3, 3));
    assert!(arrived(&server).values().all(|count| *count == 1));
    assert!(house.messages(&messages).await.iter().all(|message| message.reason() == Some("interrupted")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_resend_everything_is_sent_and_nothing_twice() {
    for point in Point::ALL {
        let resend = Resend::start().await;
        let house = House::new("resend://re_key").await;
        let messages = house.queue(20).await;
        killed_at(&house, point, &resend.base).await;

        let another = house.another().await;
        let _dispatcher = house.dispatch(&another, &resend.base);
        house.pass(ABANDONED);
        eventually("all of them", || async {
            (house.standing(&messages).await == Standing::from([(SENT, 20)])).then_some(())
        })
        .await;
        assert_eq!((house.open_charges().await, resend.asked().len()), (20, 20), "{point:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_is_told_to_stop_makes_nothing_unknown() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let messages = house.queue(300).await;
    let first = house.dispatch(&house.app, NOWHERE);
    eventually("the first mails", || async { (arrived(&server).len() > 10).then_some(()) }).await;
    first.stop(Duration::from_secs(30)).await;
    let standing = house.standing(&messages).await;
    let queued = (MessageStatus::DraftPendingApproval, DispatchState::Queued);
    assert!(standing.keys().all(|state| [SENT, queued].contains(state)), "{standing:?}");
    // Nothing is held any more: the next process need not wait for a claim to run out.
    let _second = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 300)]));
    assert!(arrived(&server).values().all(|count| *count == 1));
}

/// Rounds of a real SIGKILL: a few in the suite, a hundred with `DOCKET_TEST_ROUNDS=100`.
fn rounds() -> usize {
    std::env::var("DOCKET_TEST_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_random_loses_nothing_and_repeats_nothing() {
    for by_resend in [false, true] {
        let server = MailServer::start(Script::default()).await;
        let resend = Resend::start().await;
        let credential = if by_resend { "resend://re_key".to_owned() } else { smtp(&server) };
        let house = House::at(&credential, Clock::system()).await;
        house.limit(Some(1_000_000), "UTC").await;
        let reached = || if by_resend { resend.asked().len() } else { arrived(&server).len() };
        let mut messages: Vec<MessageId> = Vec::new();
        for _ in 0..rounds() {
            let target = reached() + rand::thread_rng().gen_range(1..40);
            messages.extend(house.queue(60).await);
            let settings = [
                ("DOCKET_ALLOW_PRIVATE_TARGETS", "127.0.0.0/8"),
                ("DOCKET_RESEND_URL", resend.base.as_str()),
                ("DOCKET_PUBLIC_URL", PUBLIC_URL),
            ];
            let served = Served::start_with(&house.database, &settings).await;
            eventually("some mails", || async { (reached() >= target).then_some(()) }).await;
            served.kill().await;
        }
        // Somebody looks whose clock says that all of them are gone.
        let later = Clock::held_at(house.clock.now().plus_millis(3 * 60 * 60_000));
        let app = open(house.database.options.clone(), later).await;
        dispatcher::refill(app.ledger.pool()).await.unwrap();
        let _dispatcher = house.dispatch(&app, &resend.base);
        let standing = house.settled_or(&messages, by_resend).await;
        let of = |state| standing.get(&state).copied().unwrap_or(0);
        assert_eq!(of(SENT) + of(UNKNOWN), messages.len(), "{standing:?}");
        assert_eq!(usize::try_from(house.open_charges().await).unwrap(), messages.len());
        if by_resend {
            assert_eq!((of(UNKNOWN), resend.asked().len()), (0, messages.len()));
        } else {
            let arrived: BTreeMap<_, _> = arrived(&server);
            assert!(arrived.values().all(|count| *count == 1));
            assert!(arrived.len() >= of(SENT), "{} of {standing:?}", arrived.len());
        }
    }
}
