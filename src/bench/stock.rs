//! The contestant: the same aggregate on the stock framework, postgres-es as its documentation sets it up.

use cqrs_es::persist::GenericQuery;
use cqrs_es::{EventEnvelope, View};
use docket_aggregates::campaign::{Campaign, CampaignEvent};
use postgres_es::{PostgresCqrs, PostgresViewRepository};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};

/// The tables of postgres-es 0.5, as its `db/init.sql` makes them.
const TABLES: &str = "\
CREATE SCHEMA stock; \
CREATE TABLE stock.events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, \
    sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL, \
    payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence)); \
CREATE TABLE stock.view_a (view_id text NOT NULL, version bigint CHECK (version >= 0) NOT NULL, \
    payload json NOT NULL, PRIMARY KEY (view_id)); \
CREATE TABLE stock.view_b (LIKE stock.view_a INCLUDING ALL); \
CREATE TABLE stock.view_c (LIKE stock.view_a INCLUDING ALL)";

/// What each of the three views keeps: the campaign as a list would show it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Listed {
    name: String,
    status: String,
    changes: u64,
}

impl View<Campaign> for Listed {
    fn update(&mut self, event: &EventEnvelope<Campaign>) {
        self.changes += 1;
        match &event.payload {
            CampaignEvent::CampaignCreated { text, status, .. } => {
                self.name = text.value().map(|text| text.name.clone()).unwrap_or_default();
                status.name().clone_into(&mut self.status);
            }
            CampaignEvent::CampaignActivated {} => "active".clone_into(&mut self.status),
            CampaignEvent::CampaignPaused {} => "paused".clone_into(&mut self.status),
            CampaignEvent::CampaignCompleted {} => "completed".clone_into(&mut self.status),
            _ => (),
        }
    }
}

/// The stock framework, without views and with three.
pub struct Stock {
    pub bare: PostgresCqrs<Campaign>,
    pub views: PostgresCqrs<Campaign>,
}

/// Sets the stock framework up beside ours, in a schema of its own.
pub async fn open(options: PgConnectOptions) -> anyhow::Result<Stock> {
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(32)
        .acquire_timeout(std::time::Duration::from_secs(120))
        .connect_with(options.options([("search_path", "stock")]))
        .await?;
    pool.execute(TABLES).await?;
    let query = |table: &str| {
        let repository = PostgresViewRepository::<Listed, Campaign>::new(table, pool.clone());
        Box::new(GenericQuery::new(std::sync::Arc::new(repository)))
    };
    let bare = postgres_es::postgres_cqrs(pool.clone(), vec![], ());
    let views =
        postgres_es::postgres_cqrs(pool.clone(), vec![query("view_a"), query("view_b"), query("view_c")], ());
    Ok(Stock { bare, views })
}
