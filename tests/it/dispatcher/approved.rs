//! What a batch of approvals lets go: each message once, whoever approves it, and as far as the quota reaches.

use docket::app::App;
use docket::approvals::{BatchView, approve_all};
use docket::sending::{self, SendRequest};
use docket::service::Call;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{ApprovalId, MessageId};
use docket_aggregates::message::{DispatchState, MessageStatus};
use serde_json::json;

use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::house::{House, Standing};

const MESSAGES: usize = 60;
const CAP: usize = 25;

/// Approves all of them, as somebody who drafted none.
async fn approve(house: &House, app: &App, approvals: &[ApprovalId]) -> BatchView {
    let mut call = house.call();
    call.origin.actor.principal = house.clock.mint();
    approve_all(app, &call, approvals.to_vec()).await.unwrap().entity
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_two_approve_is_sent_once_and_as_far_as_the_quota_reaches() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    house.limit(Some(CAP as u64), "Europe/Paris").await;
    let another = house.another().await;
    let readside = house.app.readside.clone();
    let folding = tokio::spawn(async move { readside.run().await });

    // No rule matches: a person is asked.
    let (mut messages, mut approvals): (Vec<MessageId>, Vec<ApprovalId>) = (vec![], vec![]);
    for n in 0..MESSAGES {
        let payload = json!({ "subject": "Hello", "text": format!("A word about roof {n}.") });
        let request = SendRequest::new(Channel::Email, house.outbox, format!("p{n}@example.com"), payload);
        let call: Call = house.call();
        let drafted = sending::draft(&house.app, &call, request).await.unwrap().entity;
        messages.push(drafted.id);
        approvals.push(drafted.approval_id.expect("a person is asked"));
    }
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    let (one, other) =
        tokio::join!(approve(&house, &house.app, &approvals), approve(&house, &another, &approvals));
    assert_eq!(one.count + other.count, MESSAGES);
    assert_eq!(one.already_approved.len() + other.already_approved.len(), MESSAGES);

    let standing = house.settled(&messages).await;
    let sent = (MessageStatus::Sent, DispatchState::Done);
    let blocked = (MessageStatus::BlockedByQuota, DispatchState::Done);
    assert_eq!(standing, Standing::from([(sent, CAP), (blocked, MESSAGES - CAP)]));
    assert_eq!(house.charged(1).await, CAP as u64);
    let arrived = arrived(&server);
    assert_eq!((arrived.len(), arrived.values().all(|count| *count == 1)), (CAP, true));
    folding.abort();
}
