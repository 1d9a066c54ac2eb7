//! Every mail that leaves can be unsubscribed from, or it does not leave.

use std::time::Duration;

use docket::app::App;
use docket::unsubscribe::Claimed;
use docket_aggregates::message::{DispatchState, MessageStatus};

use crate::channels::mail_server::{MailServer, Script};
use crate::support::app::PUBLIC_URL;
use crate::support::house::{House, Standing};

/// Where no provider is.
const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mail_leaves_without_the_address_that_unsubscribes_from_it() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&format!("smtp://{}?tls=none", server.address)).await;
    let unaware = App { public_url: None, ..house.app.clone() };
    let dispatcher = house.dispatch(&unaware, NOWHERE);
    let messages = house.queue(3).await;
    let failed = (MessageStatus::Failed, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(failed, 3)]));
    for message in house.messages(&messages).await {
        assert_eq!(message.reason(), Some("no_public_url"));
    }
    assert_eq!((server.mails(), house.charged(1).await), (vec![], 0));
    dispatcher.stop(Duration::from_secs(10)).await;

    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue(1).await;
    assert_eq!(
        house.settled(&messages).await,
        Standing::from([((MessageStatus::Sent, DispatchState::Done), 1)])
    );
    let mail = server.mails().remove(0);
    let link = mail.lines().find_map(|line| line.strip_prefix("List-Unsubscribe: <")).unwrap();
    assert!(mail.lines().any(|line| line == "List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{mail}");
    let token = link.strip_prefix(&format!("{PUBLIC_URL}/u/")).unwrap().trim_end_matches('>');
    let keys = house.app.ledger.keys().organization(house.organization).await.unwrap();
    let claimed = Claimed::read(token).unwrap();
    assert_eq!(claimed.reference.message, messages[0].uuid());
    assert!(claimed.is_ours(&keys));
}
