//! Handlers of events: everything that one wants it sees once, and what it does not want costs it nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use docket::following::{Handler, follow};
use docket::ledger::read::Stored;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::support::{Client, TestApp, eventually};

const REGISTERED: &str = "AgentRegistered";

/// Notes what it is given.
#[derive(Default)]
struct Watcher {
    wants: Mutex<Vec<String>>,
    given: Mutex<Vec<Vec<String>>>,
    /// What another process does while this one asks itself what it wants, once.
    overtaken: Option<(PgPool, AtomicBool)>,
}

impl Handler for Watcher {
    const NAME: &'static str = "test-watcher";

    async fn wants(
        &self,
        _: &mut PgConnection,
        organization: OrganizationId,
    ) -> Result<Vec<String>, sqlx::Error> {
        let wanted = self.wants.lock().unwrap().clone();
        if let Some((pool, done)) = &self.overtaken
            && !done.swap(true, Ordering::SeqCst)
        {
            sqlx::query("INSERT INTO ledger.followers VALUES ($1, $2, 1)")
                .bind(organization.uuid())
                .bind(Self::NAME)
                .execute(pool)
                .await?;
            *self.wants.lock().unwrap() = vec![REGISTERED.into()];
        }
        Ok(wanted)
    }

    async fn take(
        &self,
        _: &mut PgConnection,
        _: OrganizationId,
        events: &[Stored],
    ) -> Result<Option<i64>, sqlx::Error> {
        let given = events.iter().map(|event| event.event_type.clone()).collect();
        self.given.lock().unwrap().push(given);
        Ok(None)
    }
}

impl Watcher {
    /// Follows until the cursor stands at the head.
    async fn catch_up(&self, app: &TestApp, organization: OrganizationId) {
        let ending = CancellationToken::new();
        let at_the_head = eventually("a cursor at the head", || async {
            let at_the_head: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM ledger.heads h JOIN ledger.followers f USING (organization_id, position) \
                 WHERE organization_id = $1 AND handler = $2)",
            )
            .bind(organization.uuid())
            .bind(Self::NAME)
            .fetch_one(app.app.ledger.pool())
            .await
            .unwrap();
            at_the_head.then_some(())
        });
        tokio::select! {
            () = follow(&app.app.ledger, self, &ending) => unreachable!("it was not told to end"),
            () = at_the_head => (),
        }
    }

    fn given(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.given.lock().unwrap())
    }
}

async fn register(client: &Client, name: &str) {
    let agent = json!({ "name": name, "email": format!("{name}@example.com") });
    assert_eq!(client.post(&client.crm("agents"), agent).await.0, 201);
}

#[tokio::test]
async fn what_nobody_wants_is_passed_over_and_what_is_wanted_is_given_once() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    let watcher = Watcher::default();
    register(&board, "zoe").await;
    // Its cursor is made.
    watcher.catch_up(&app, organization).await;
    watcher.given();
    register(&board, "ann").await;
    watcher.catch_up(&app, organization).await;
    assert_eq!(watcher.given(), [[""; 0]; 0], "nothing was read and nobody was called");

    *watcher.wants.lock().unwrap() = vec![REGISTERED.into()];
    register(&board, "bob").await;
    register(&board, "cleo").await;
    watcher.catch_up(&app, organization).await;
    assert_eq!(watcher.given().concat(), [REGISTERED, REGISTERED]);
}

#[tokio::test]
async fn what_another_process_made_wanted_is_not_passed_over() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    // The other one takes the first.
    register(&board, "ann").await;
    register(&board, "bob").await;
    let overtaken = Some((app.app.ledger.pool().clone(), AtomicBool::new(false)));
    let watcher = Watcher { overtaken, ..Watcher::default() };
    watcher.catch_up(&app, organization).await;
    assert_eq!(watcher.given().concat(), [REGISTERED]);
}
