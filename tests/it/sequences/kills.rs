//! Several processes, killed at random: every step once.

use docket::app::App;
use docket::clock::Clock;
use docket::sequences::runner;
use docket_aggregates::token::Role;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinHandle;

use super::{
    Company, HOUR, assert_each_step_once, campaign, contacts, get, import, outbox, post, rest, text,
};
use crate::support::app::{open, organization, token};
use crate::support::process::Served;
use crate::support::{Client, Database, eventually};

/// The same numbers in every run, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A process that does nothing but turn.
fn process(app: &App) -> JoinHandle<()> {
    let app = app.clone();
    tokio::spawn(async move {
        loop {
            // A turn may fail when a neighbour was killed in the middle of a statement.
            let _ = runner::turn(&app).await;
            tokio::task::yield_now().await;
        }
    })
}

async fn steps_taken(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM ledger.events WHERE event_type = 'StepTaken'")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_that_are_killed_take_every_step_once() {
    let kills: u64 = std::env::var("DOCKET_TEST_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    const CONTACTS: usize = 60;
    const STEPS: i64 = 6;
    let company = Company::of(CONTACTS).await;
    let steps = (0..STEPS).map(|n| company.rehearsal(if n == 0 { 0 } else { 60 })).collect();
    let id = company.sequence(steps).await;
    company.enroll(&id).await;
    let apps = [company.app.app.clone(), company.app.another().await, company.app.another().await];
    let mut processes: Vec<JoinHandle<()>> = apps.iter().map(process).collect();
    let mut dice = Dice(7);
    for step in 1..=STEPS {
        let whole = i64::try_from(CONTACTS).unwrap() * step;
        for _ in 0..kills.div_ceil(STEPS.unsigned_abs()) {
            let before = steps_taken(&company.pool).await;
            let wanted = (before + i64::try_from(dice.roll(20)).unwrap()).min(whole);
            eventually("some more steps", async || {
                (steps_taken(&company.pool).await >= wanted).then_some(())
            })
            .await;
            let killed = usize::try_from(dice.roll(3)).unwrap();
            processes[killed].abort();
            processes[killed] = process(&apps[killed]);
        }
        eventually("the step of everybody", async || {
            (steps_taken(&company.pool).await == whole).then_some(())
        })
        .await;
        company.app.clock.advance(HOUR);
    }
    rest(&company.app.app, &company.pool).await;
    processes.iter().for_each(JoinHandle::abort);
    assert_each_step_once(&company.pool, CONTACTS, STEPS).await;
    assert_eq!(company.counts(&id).await, (0, 0, CONTACTS as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_that_are_killed_take_every_step_once() {
    let kills: u64 = std::env::var("DOCKET_TEST_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    const CONTACTS: usize = 100;
    const STEPS: i64 = 8;
    let database = Database::create().await;
    let app = open(database.options.clone(), Clock::system()).await;
    let organization = organization(&app).await;
    let token = token(&app, Role::SuperAdmin, None).await;
    app.close().await;

    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Served::start(&database).await);
    }
    let client = Client::new(servers[0].address, token.clone(), organization);
    import(&client, contacts(CONTACTS)).await;
    let campaign = campaign(&client).await;
    let outbox = outbox(&client).await;
    let step = json!({
        "outboxId": outbox, "channel": "dry-run", "payload": { "text": "Hello {{firstName}}" },
    });
    let steps = vec![step; usize::try_from(STEPS).unwrap()];
    let (status, made) = post(&client, "sequences", json!({ "name": "Nurture", "steps": steps })).await;
    assert_eq!(status, 201, "{made}");
    let id = text(&made["id"]);
    let enroll = post(&client, &format!("sequences/{id}/enroll"), json!({ "campaignId": campaign })).await;
    assert_eq!(enroll.1["enrolled"], json!(CONTACTS), "{enroll:?}");

    let pool = database.pool();
    let whole = i64::try_from(CONTACTS).unwrap() * STEPS;
    let mut dice = Dice(11);
    // Spread over the whole way, however many there are.
    let stretch = (2 * whole.unsigned_abs() / (kills + 1)).max(1);
    for _ in 0..kills {
        let wanted = (steps_taken(&pool).await + i64::try_from(dice.roll(stretch)).unwrap()).min(whole);
        eventually("some more steps", async || (steps_taken(&pool).await >= wanted).then_some(())).await;
        let one = usize::try_from(dice.roll(3)).unwrap();
        servers.remove(one).kill().await;
        servers.push(Served::start(&database).await);
    }
    let client = Client::new(servers[0].address, token, organization);
    eventually("the end of every enrollment", async || {
        let (_, shown) = get(&client, &format!("sequences/{id}")).await;
        (shown["enrollments"]["finished"] == json!(CONTACTS)).then_some(())
    })
    .await;
    assert_each_step_once(&pool, CONTACTS, STEPS).await;
}
