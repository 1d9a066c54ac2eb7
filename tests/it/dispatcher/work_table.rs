//! The work table says where to look, and nothing rests on it.

use std::time::Duration;

use docket::dispatcher::{self, FeedError, Portion};
use docket_aggregates::message::{DispatchState, MessageStatus};
use sqlx::Row;

use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::eventually;
use crate::support::house::{House, Standing};

const SENT: (MessageStatus, DispatchState) = (MessageStatus::Sent, DispatchState::Done);

/// Portions that leave no room for anything else.
const SMALL: Portion = Portion { positions: 7, within: Duration::from_secs(60) };

/// The rows, without who is at them.
async fn rows(house: &House) -> Vec<(uuid::Uuid, uuid::Uuid, bool)> {
    sqlx::query("SELECT message_id, outbox_id, due_at IS NULL FROM dispatch.work ORDER BY message_id")
        .fetch_all(house.app.ledger.pool())
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_emptied_while_messages_go_out_changes_nothing() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let another = house.another().await;
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    let messages = house.queue(400).await;
    for _ in 0..5 {
        dispatcher::refill(house.app.ledger.pool()).await.unwrap();
    }
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 400)]));
    assert!(arrived(&server).values().all(|count| *count == 1));
    assert_eq!((house.charged(1).await, house.open_charges().await), (400, 400));
    assert!(house.messages(&messages).await.iter().all(|message| message.tries() == 1));
    eventually("an empty table", || async { rows(&house).await.is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refilled_table_is_the_one_that_was_emptied() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let sent = house.queue(3).await;
    let dispatcher = house.dispatch(&house.app, NOWHERE);
    house.settled(&sent).await;
    dispatcher.stop(crate::support::PATIENCE).await;
    house.queue(4).await;
    assert_eq!(dispatcher::refill(house.app.ledger.pool()).await.unwrap(), 4);
    let before = rows(&house).await;
    let pool = house.app.ledger.pool();
    for portion in [Portion::default(), SMALL] {
        // What no event accounts for, and a message that seems to wait for a person.
        sqlx::query("UPDATE dispatch.work SET due_at = NULL").execute(pool).await.unwrap();
        sqlx::query(
            "INSERT INTO dispatch.work SELECT $1, gen_random_uuid(), $2, now() FROM generate_series(1, 3)",
        )
        .bind(house.organization.uuid())
        .bind(house.outbox.uuid())
        .execute(pool)
        .await
        .unwrap();
        sqlx::query("DELETE FROM dispatch.work WHERE message_id = $1")
            .bind(before[0].0)
            .execute(pool)
            .await
            .unwrap();
        assert_eq!(dispatcher::refill_by(pool, portion).await.unwrap(), 4);
        assert_eq!((before.len(), rows(&house).await), (4, before.clone()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refill_that_takes_too_long_breaks_off_and_a_dispatcher_goes_on_with_it() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let messages = house.queue(60).await;
    let pool = house.app.ledger.pool();
    assert_eq!(dispatcher::refill(pool).await.unwrap(), 60);
    let cursor = async || -> i64 {
        let cursor = "SELECT position FROM dispatch.cursors WHERE organization_id = $1";
        sqlx::query_scalar(cursor).bind(house.organization.uuid()).fetch_one(pool).await.unwrap()
    };
    let head = cursor().await;

    // Somebody holds the row of the last message, and does not let go.
    let mut holding = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM dispatch.work WHERE message_id = $1 FOR UPDATE")
        .bind(messages.last().unwrap().uuid())
        .execute(&mut *holding)
        .await
        .unwrap();
    let portion = Portion { positions: 40, within: Duration::from_secs(2) };
    let broken_off = dispatcher::refill_by(pool, portion).await;
    assert!(broken_off.as_ref().is_err_and(FeedError::is_timeout), "{broken_off:?}");
    let reached = cursor().await;
    assert!(reached < head, "{reached} of {head}");
    assert_eq!(rows(&house).await.len(), 60, "nothing is missing while it is filled");
    holding.rollback().await.unwrap();

    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 60)]));
    assert!(arrived(&server).values().all(|count| *count == 1));
    eventually("a feed that has caught up", || async { (cursor().await >= head).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_claimed_than_was_asked_for_whatever_the_planner_knows_of_the_table() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let pool = house.app.ledger.pool();
    // The table was all but empty when it was last looked at, as it is most of the time.
    sqlx::query(
        "INSERT INTO dispatch.work SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now() FROM generate_series(1, 3)",
    )
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("VACUUM ANALYZE dispatch.work").execute(pool).await.unwrap();
    sqlx::query("DELETE FROM dispatch.work").execute(pool).await.unwrap();
    let messages = house.queue(300).await;
    assert_eq!(dispatcher::refill(pool).await.unwrap(), 300);
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 300)]));
    let batches: Vec<i64> = sqlx::query_scalar(
        "SELECT count(*) FROM ledger.events WHERE event_type = 'MessageSending' GROUP BY command_id ORDER BY min(position)",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!((batches[0], batches.iter().sum::<i64>()), (8, 300), "{batches:?}");
    assert!(batches.iter().all(|batch| *batch <= 256), "{batches:?}");
}
