//! What was acknowledged before a hand-over holds, every time: an unsubscribe, a shorter allowlist, other rules, a deleted
//! outbox, a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use docket::allowlist;
use docket::dispatcher::{Point, Probe};
use docket::ledger::keys::OrganizationKeys;
use docket::ledger::{Stream, Write};
use docket::pauses;
use docket::sending::explaining::explain;
use docket::sending::{Recipient, parse_entry};
use docket_aggregates::approval_rules::{Action, ApprovalRules, ApprovalRulesCommand, Predicate};
use docket_aggregates::channel::Channel;
use docket_aggregates::contact::{Contact, ContactCommand, ContactEvent, ContactProfile, LegalBasis};
use docket_aggregates::ids::{ContactId, RuleId};
use docket_aggregates::message::{DispatchState, MessageStatus};
use docket_aggregates::outbox::{Outbox, OutboxCommand};
use docket_aggregates::sending_control::PauseScope;
use docket_aggregates::suppression::{Suppression, SuppressionCommand, SuppressionReason};
use uuid::Uuid;

use super::{NOWHERE, arrived, smtp};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::commands::command;
use crate::support::eventually;
use crate::support::house::{House, Standing};

const SENT: (MessageStatus, DispatchState) = (MessageStatus::Sent, DispatchState::Done);
const BLOCKED: (MessageStatus, DispatchState) = (MessageStatus::BlockedByAllowlist, DispatchState::Done);
const QUEUED: (MessageStatus, DispatchState) = (MessageStatus::DraftPendingApproval, DispatchState::Queued);

/// Somebody asks that nothing be sent to them.
pub async fn opt_out(house: &House, address: &str) {
    let keys = house.app.ledger.keys().organization(house.organization).await.unwrap();
    let hash = Recipient::read(Channel::Email, address).unwrap().keys(&keys).address;
    let opted_out = ContactEvent::ContactOptedOut { via: "test".into(), addresses: vec![hash] };
    let stream = Stream::of::<Contact>(house.clock.mint::<Uuid>());
    let write = Write { stream, expected: 0, events: vec![opted_out.into()] };
    house.app.ledger.append(command(&house.app, house.organization, vec![write])).await.unwrap();
}

/// How often a race is run.
fn rounds() -> usize {
    std::env::var("DOCKET_TEST_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsubscribe_that_was_acknowledged_while_a_message_waited_wins_every_time() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let another = house.another().await;
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    for round in 0..rounds() {
        let address = format!("p{round}@example.com");
        let to: Vec<String> = (0..5).map(|tag| format!("p{round}+{tag}@example.com")).collect();
        let messages = house.queue_for(&to, None, false).await;
        opt_out(&house, &address).await;
        // What had begun before may be under way; nothing begins after it.
        let handed_over: usize =
            house.messages(&messages).await.iter().filter(|message| message.attempts() > 0).count();
        let standing = house.settled(&messages).await;
        assert!(standing.get(&SENT).copied().unwrap_or(0) <= handed_over, "round {round}: {standing:?}");
        let late = house.queue_for(&to, None, false).await;
        assert_eq!(house.settled(&late).await, Standing::from([(BLOCKED, 5)]), "round {round}");
    }
    let charged = i64::try_from(house.charged(1).await).unwrap();
    assert_eq!((house.open_charges().await, arrived(&server).len() as i64), (charged, charged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_was_suppressed_while_messages_waited_wins_every_time() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let another = house.another().await;
    let keys = house.app.ledger.keys().organization(house.organization).await.unwrap();
    let address_hash = parse_entry(house.organization, &keys, "@example.com").unwrap().hash;
    let list = house.organization.suppression(&address_hash);
    let reason = SuppressionReason::Manual;
    let suppress = SuppressionCommand::Suppress { address_hash, address: None, reason, contact_ids: vec![] };
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    for round in 0..rounds() {
        let to: Vec<String> = (0..5).map(|n| format!("p{round}-{n}@example.com")).collect();
        let messages = house.queue_for(&to, None, false).await;
        house.order::<Suppression>(list, suppress.clone()).await;
        // What had begun before may be under way; nothing begins after it.
        let handed_over: usize =
            house.messages(&messages).await.iter().filter(|message| message.attempts() > 0).count();
        let standing = house.settled(&messages).await;
        assert!(standing.get(&SENT).copied().unwrap_or(0) <= handed_over, "round {round}: {standing:?}");
        let late = house.queue_for(&to, None, false).await;
        assert_eq!(house.settled(&late).await, Standing::from([(BLOCKED, 5)]), "round {round}");
        house.order::<Suppression>(list, SuppressionCommand::Lift).await;
    }
    let charged = i64::try_from(house.charged(1).await).unwrap();
    assert_eq!((house.open_charges().await, arrived(&server).len() as i64), (charged, charged));
}

/// A contact that is known by one address.
async fn contact(house: &House, email: &str) -> ContactId {
    let contact_id: ContactId = house.clock.mint();
    let create = ContactCommand::Create {
        contact_id,
        profile: ContactProfile { email: Some(email.into()), ..ContactProfile::default() },
        legal_basis: LegalBasis::Consent,
        import_id: None,
        opted_out: None,
    };
    house.order::<Contact>(contact_id.uuid(), create).await;
    contact_id
}

/// Somebody speaks of one of their addresses, and means themselves: for ever, or for as long as the list says so.
fn spoken(keys: &OrganizationKeys, address: &str, for_ever: bool) -> ContactCommand {
    let hash = Recipient::read(Channel::Email, address).unwrap().keys(keys).address;
    match for_ever {
        true => ContactCommand::OptOut { via: "unsubscribe", addresses: vec![hash] },
        false => ContactCommand::Suppress { address_hash: hash },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_contact_said_of_one_address_holds_for_what_waits_at_another() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let another = house.another().await;
    let keys = house.app.ledger.keys().organization(house.organization).await.unwrap();
    let _dispatchers = [house.dispatch(&house.app, NOWHERE), house.dispatch(&another, NOWHERE)];
    for round in 0..rounds() {
        let (known, other) = (format!("c{round}@example.org"), format!("c{round}@example.com"));
        let id = contact(&house, &known).await;
        let to: Vec<String> = (0..5).map(|tag| format!("c{round}+{tag}@example.com")).collect();
        let messages = house.queue_to(id, &to).await;
        house.order::<Contact>(id.uuid(), spoken(&keys, &known, round % 2 == 0)).await;
        // What had begun before may be under way; nothing begins after it.
        let handed_over: usize =
            house.messages(&messages).await.iter().filter(|message| message.attempts() > 0).count();
        let standing = house.settled(&messages).await;
        assert!(standing.get(&SENT).copied().unwrap_or(0) <= handed_over, "round {round}: {standing:?}");
        let late = house.queue_to(id, &[other]).await;
        assert_eq!(house.settled(&late).await, Standing::from([(BLOCKED, 1)]), "round {round}");
        assert_eq!(house.messages(&late).await[0].reason(), Some("do_not_contact"));
    }
    let charged = i64::try_from(house.charged(1).await).unwrap();
    assert_eq!((house.open_charges().await, arrived(&server).len() as i64), (charged, charged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_is_written_to_again_once_the_list_does_not_stand_against_it() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let keys = house.app.ledger.keys().organization(house.organization).await.unwrap();
    let id = contact(&house, "ann@example.org").await;
    let to = ["ann@example.com".to_owned()];
    let hash = Recipient::read(Channel::Email, "ann@example.org").unwrap().keys(&keys).address;
    house.order::<Contact>(id.uuid(), ContactCommand::Suppress { address_hash: hash.clone() }).await;

    // What is explained is what then happens, although nothing stands against the address itself.
    let waits = house.queue_to(id, &to).await;
    let told = explain(&house.app, house.organization, waits[0], house.clock.now()).await.unwrap();
    assert_eq!((told.now.would_be, told.now.reason), ("blocked", Some("do_not_contact")));
    let dispatcher = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&waits).await, Standing::from([(BLOCKED, 1)]));
    let told = explain(&house.app, house.organization, waits[0], house.clock.now()).await.unwrap();
    let why = "because the contact that it is for, or another one at this address, its mailbox or its number, is not to \
               be contacted, whichever of its addresses that was said of.";
    assert!(told.explanation.contains(why), "{}", told.explanation);
    dispatcher.stop(Duration::from_secs(10)).await;

    let lift = ContactCommand::LiftSuppression { address_hash: hash };
    house.order::<Contact>(id.uuid(), lift).await;
    let waits = house.queue_to(id, &to).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&waits).await, Standing::from([(SENT, 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_from_the_allowlist_is_not_sent() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    for round in 0..rounds() {
        let entries = ["@example.com".to_owned()];
        allowlist::allow(&house.app, &house.call(), &entries, false).await.unwrap();
        let messages = house.queue(10).await;
        allowlist::disallow(&house.app, &house.call(), &entries).await.unwrap();
        let handed_over: usize =
            house.messages(&messages).await.iter().filter(|message| message.attempts() > 0).count();
        let standing = house.settled(&messages).await;
        assert!(standing.get(&SENT).copied().unwrap_or(0) <= handed_over, "round {round}: {standing:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rule_let_go_asks_a_person_once_the_rule_is_gone() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let rules = house.organization.approval_rules();
    let rule_id: RuleId = house.clock.mint();
    let predicate = Predicate { channel: Some(Channel::Email), ..Predicate::default() };
    let add = ApprovalRulesCommand::Add {
        rule_id,
        predicate,
        action: Action::AutoApprove,
        priority: 1,
        acknowledge_catch_all: true,
    };
    house.order::<ApprovalRules>(rules, add).await;
    let to = vec!["ann@example.com".to_owned()];
    let dispatcher = house.dispatch(&house.app, NOWHERE);
    let messages = house.queue_for(&to, None, true).await;
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 1)]));
    dispatcher.stop(Duration::from_secs(10)).await;

    let by_rule = house.queue_for(&to, None, true).await;
    let by_a_person = house.queue_for(&to, None, false).await;
    house.order::<ApprovalRules>(rules, ApprovalRulesCommand::Remove { rule_id }).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    assert_eq!(house.settled(&by_a_person).await, Standing::from([(SENT, 1)]));
    let asked = (MessageStatus::DraftPendingApproval, DispatchState::None);
    eventually("the question", || async {
        (house.standing(&by_rule).await == Standing::from([(asked, 1)])).then_some(())
    })
    .await;
    let message = house.messages(&by_rule).await.remove(0);
    let approval = message.approval_id().expect("a person is asked");
    let asked = house.app.ledger.load::<docket_aggregates::approval::Approval>(house.organization, approval);
    assert!(asked.await.unwrap().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_deleted_outbox_fails() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let messages = house.queue(3).await;
    house.order::<Outbox>(house.outbox.uuid(), OutboxCommand::Delete).await;
    let _dispatcher = house.dispatch(&house.app, NOWHERE);
    let failed = (MessageStatus::Failed, DispatchState::Done);
    assert_eq!(house.settled(&messages).await, Standing::from([(failed, 3)]));
    assert_eq!(house.messages(&messages).await[0].reason(), Some("outbox_deleted"));
    assert_eq!(house.open_charges().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_pause_was_acknowledged_no_call_begins() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let another = house.another().await;
    let began = Arc::new(AtomicUsize::new(0));
    let counting = began.clone();
    let probe = Probe::new(move |point| {
        if point == Point::BeforeCall {
            counting.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(()))
    });
    let _dispatchers = [
        house.dispatch_probed(&house.app, NOWHERE, probe.clone()),
        house.dispatch_probed(&another, NOWHERE, probe),
    ];
    let campaign = house.campaign().await;
    for scope in [PauseScope::All, PauseScope::Outbox(house.outbox), PauseScope::Campaign(campaign)] {
        let to: Vec<String> = (0..300).map(|n| format!("p{n}@example.com")).collect();
        let messages = house.queue_for(&to, Some(campaign), false).await;
        pauses::pause(&house.app, &house.call(), scope, "too loud".into()).await.unwrap();
        let then = began.load(Ordering::SeqCst);
        let late = house.queue_for(&to[..20], Some(campaign), false).await;
        // Whatever had begun has its outcome; all the others wait.
        eventually("what had begun", || async {
            let standing = house.standing(&messages).await;
            let over = standing.keys().all(|state| [SENT, QUEUED].contains(state));
            over.then_some(())
        })
        .await;
        assert_eq!(house.standing(&late).await, Standing::from([(QUEUED, 20)]), "{scope:?}");
        assert_eq!(began.load(Ordering::SeqCst), then, "{scope:?}");
        let sent = house.standing(&messages).await.get(&SENT).copied().unwrap_or(0);
        let open = usize::try_from(house.open_charges().await).unwrap();
        assert_eq!(open, arrived(&server).len(), "{scope:?}: {sent} were sent");

        pauses::resume(&house.app, &house.call(), scope).await.unwrap();
        assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 300)]));
        assert_eq!(house.settled(&late).await, Standing::from([(SENT, 20)]));
    }
    assert!(arrived(&server).values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_late_to_its_call_is_taken_back_refunded_and_sent_later() {
    let server = MailServer::start(Script::default()).await;
    let house = House::new(&smtp(&server)).await;
    let held = Arc::new(tokio::sync::Semaphore::new(0));
    let (gate, entered) = (held.clone(), Arc::new(tokio::sync::Notify::new()));
    let told = entered.clone();
    let probe = Probe::new(move |point| {
        let (gate, told) = (gate.clone(), told.clone());
        Box::pin(async move {
            if point == Point::HandedOver {
                told.notify_one();
                gate.acquire().await.unwrap().forget();
            }
        })
    });
    let _dispatcher = house.dispatch_probed(&house.app, NOWHERE, probe);
    let messages = house.queue(3).await;
    entered.notified().await;
    assert_eq!(house.charged(1).await, 3);
    // The pause waits as long as a call may begin; the batch is let go after that.
    pauses::pause(&house.app, &house.call(), PauseScope::All, "too loud".into()).await.unwrap();
    held.add_permits(1);
    eventually("what is taken back", || async {
        (house.standing(&messages).await == Standing::from([(QUEUED, 3)])).then_some(())
    })
    .await;
    assert_eq!((house.open_charges().await, arrived(&server).len()), (0, 0));
    held.add_permits(1_000);
    pauses::resume(&house.app, &house.call(), PauseScope::All).await.unwrap();
    assert_eq!(house.settled(&messages).await, Standing::from([(SENT, 3)]));
    assert_eq!((house.open_charges().await, arrived(&server).len()), (3, 3));
}
