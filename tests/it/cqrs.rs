//! The ledger to whoever knows cqrs-es: its framework runs on it, and a stock postgres-es program reads it.

use cqrs_es::persist::{PersistedEventStore, QueryReplay};
use cqrs_es::{AggregateError, CqrsFramework, EventEnvelope, EventStore, Query};
use docket::ledger::{LedgerStore, Origin};
use docket_aggregates::campaign::{
    Campaign, CampaignCommand, CampaignError, CampaignEvent, CampaignPatch, CampaignSettings, CampaignStatus,
    CampaignText,
};
use docket_aggregates::ids::CampaignId;
use postgres_es::PostgresEventRepository;
use sqlx::Executor;
use std::sync::{Arc, Mutex};

use crate::support::Database;
use crate::support::app::{held_clock, open, organization};
use crate::support::commands::{campaign, command};

fn create(campaign_id: CampaignId, name: &str) -> CampaignCommand {
    CampaignCommand::Create {
        campaign_id,
        text: CampaignText { name: name.into(), description: None, goal: None },
        status: CampaignStatus::Draft,
        script_template_id: None,
        qualification_template_id: None,
        agent_ids: vec![],
        start_date: Some("2027-03-01".into()),
        end_date: None,
        settings: CampaignSettings::default(),
    }
}

fn change(patch: CampaignPatch) -> CampaignCommand {
    CampaignCommand::Change(Box::new(patch))
}

fn activate() -> CampaignCommand {
    change(CampaignPatch { status: Some(CampaignStatus::Active), ..CampaignPatch::default() })
}

/// Notes what a query is told.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl Query<Campaign> for Seen {
    async fn dispatch(&self, _: &str, events: &[EventEnvelope<Campaign>]) {
        let mut seen = self.0.lock().unwrap();
        seen.extend(events.iter().map(|event| format!("{} {}", event.sequence, event.payload.stored_type())));
    }
}

#[tokio::test]
async fn the_stock_framework_runs_on_the_ledger() {
    let database = Database::create().await;
    let app = open(database.options.clone(), held_clock()).await;
    let organization = organization(&app).await;
    let store = LedgerStore::new(app.ledger.clone(), organization, Origin::system("framework"));
    let seen = Seen::default();
    let framework =
        CqrsFramework::<Campaign, _>::new(store.clone(), vec![], ()).append_query(Box::new(seen.clone()));
    let id: CampaignId = app.clock.mint();
    let key = id.to_string();

    framework.execute(&key, create(id, "Spring")).await.unwrap();
    framework.execute(&key, activate()).await.unwrap();
    let refused = framework.execute(&key, create(id, "Again")).await;
    assert!(matches!(refused, Err(AggregateError::UserError(CampaignError::AlreadyCreated))));
    framework.execute(&key, activate()).await.unwrap();

    assert_eq!(*seen.0.lock().unwrap(), ["1 CampaignCreated", "2 CampaignActivated"]);
    let events: Vec<EventEnvelope<Campaign>> = store.load_events(&key).await.unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events[0].metadata["tool"], "framework");
    let CampaignEvent::CampaignCreated { text, .. } = &events[0].payload else {
        panic!("{:?}", events[0].payload)
    };
    assert_eq!(text.value().unwrap().name, "Spring");
    assert_eq!(crate::auditing::assert_chain_holds(&app, organization).await, 2);

    // Two loads, two commits: the second one decided on what was no longer true.
    let (one, other) = (EventStore::<Campaign>::load_aggregate(&store, &key).await.unwrap(), {
        EventStore::<Campaign>::load_aggregate(&store, &key).await.unwrap()
    });
    let pause = || vec![CampaignEvent::CampaignPaused {}];
    store.commit(pause(), one, Default::default()).await.unwrap();
    let lost: Result<Vec<EventEnvelope<Campaign>>, _> =
        store.commit(pause(), other, Default::default()).await;
    assert!(matches!(lost, Err(AggregateError::AggregateConflict)));
}

#[tokio::test]
async fn a_stock_postgres_es_program_reads_an_organization() {
    let database = Database::create().await;
    let app = open(database.options.clone(), held_clock()).await;
    let (organization, neighbour) = (organization(&app).await, organization(&app).await);
    let id: CampaignId = app.clock.mint();
    let origin = Origin::system("test");
    let order = |what| {
        app.ledger.order::<Campaign>(organization, id, app.clock.mint(), app.clock.now(), &origin, None, what)
    };
    for what in [
        create(id, "Spring"),
        activate(),
        change(CampaignPatch { name: Some("Summer".into()), ..CampaignPatch::default() }),
        change(CampaignPatch { end_date: Some(Some("2027-06-30".into())), ..CampaignPatch::default() }),
        change(CampaignPatch { status: Some(CampaignStatus::Paused), ..CampaignPatch::default() }),
    ] {
        order(what).await.unwrap();
    }
    let theirs = campaign(app.clock.mint(), "Theirs");
    app.ledger.append(command(&app, neighbour, vec![theirs])).await.unwrap();

    let pool = database.pool();
    let view = format!(
        "CREATE SCHEMA stock; CREATE VIEW stock.events AS \
         SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata \
         FROM ledger.events WHERE organization_id = '{organization}'"
    );
    pool.execute(view.as_str()).await.unwrap();
    let repository =
        || PostgresEventRepository::new(pool.clone()).with_tables("stock.events", "stock.snapshots");
    let store = PersistedEventStore::<_, Campaign>::new_event_store(repository());
    let mut context = store.load_aggregate(&id.to_string()).await.unwrap();
    let stock = cqrs_es::AggregateContext::aggregate(&mut context).clone();

    let ours = app.ledger.load::<Campaign>(organization, id).await.unwrap();
    let text = ours.state.text.clone().unwrap();
    assert_eq!(text.value().unwrap().name, "Summer");
    // It has no keys: it sees who, and not what.
    let sealed =
        Campaign { text: Some(docket_aggregates::Personal::erased(text.subject())), ..(*ours.state).clone() };
    assert_eq!(stock, sealed);

    let seen = Seen::default();
    QueryReplay::new(repository(), seen.clone()).replay(&id.to_string()).await.unwrap();
    assert_eq!(
        *seen.0.lock().unwrap(),
        [
            "1 CampaignCreated",
            "2 CampaignActivated",
            "3 CampaignReworded",
            "4 CampaignScheduled",
            "5 CampaignPaused"
        ]
    );
}
