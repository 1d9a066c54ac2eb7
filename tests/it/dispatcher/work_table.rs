//! The work table says where to look, and nothing rests on it.

use docket::dispatcher;
use docket_aggregates::message::{DispatchState, MessageStatus};
use sqlx::Row;

use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::eventually;
use crate::support::house::{House, Standing};

const SENT: (MessageStatus, DispatchState) = (MessageStatus::Sent, DispatchState::Done);

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
    assert_eq!(dispatcher::refill(house.app.ledger.pool()).await.unwrap(), 4);
    assert_eq!((before.len(), rows(&house).await), (4, before));
}
