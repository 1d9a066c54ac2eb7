//! Sequences: contacts are led through steps, each step once, and not after they said that it is enough.

mod enrolling;
mod kills;
mod nights;
mod routes;
mod steps;
mod stopping;
mod waiting;

use docket::app::App;
use docket::sequences::runner;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use hyper::Method;
use serde_json::{Value, json};
use sqlx::{PgPool, Row};

use crate::support::{Client, TestApp, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
/// The id of nothing.
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";
const MINUTE: i64 = 60 * 1_000;
const HOUR: i64 = 60 * MINUTE;

async fn ask(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
    client.send(method, &client.crm(path), &[JSON], body).await.unwrap()
}

async fn post(client: &Client, path: &str, body: Value) -> (u16, Value) {
    ask(client, Method::POST, path, body).await
}

async fn get(client: &Client, path: &str) -> (u16, Value) {
    ask(client, Method::GET, path, Value::Null).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn refused(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// A file of so many contacts, each with an e-mail address and a name.
fn contacts(count: usize) -> String {
    let row = |n: usize| format!("Name{n},Family{n},contact{n}@example.com\n");
    std::iter::once("First name,Last name,Email\n".to_owned()).chain((0..count).map(row)).collect()
}

/// Takes in a file of contacts.
async fn import(client: &Client, file: String) {
    let path = client.crm("imports?name=Fair");
    let (status, folder) =
        client.send(Method::POST, &path, &[("content-type", "text/csv")], file.into_bytes()).await.unwrap();
    assert_eq!(status, 201, "{folder}");
    let path = client.crm(&format!("imports/{}/commit", text(&folder["importFolderId"])));
    let headers = [JSON, ("prefer", "wait=60")];
    let (status, answer) = client.send(Method::POST, &path, &headers, b"{}".to_vec()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
}

/// A campaign that everybody is in.
async fn campaign(client: &Client) -> String {
    let made = client.done("create_outbound_campaign", json!({ "name": "Spring", "status": "active" })).await;
    let campaign = text(&made["campaign"]["campaignId"]);
    let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 100_000 });
    client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    campaign
}

/// An e-mail outbox, and a list that allows everybody at example.com.
async fn outbox(client: &Client) -> String {
    let body = json!({
        "channel": "email", "niche": null, "secretRef": "secret://smtp:latest",
        "config": { "fromAddress": "ops@example.com" },
    });
    let (status, outbox) = post(client, "outboxes", body).await;
    assert_eq!(status, 201, "{outbox}");
    let (status, answer) = post(client, "allowlist", json!({ "entry": "@example.com" })).await;
    assert_eq!(status, 201, "{answer}");
    text(&outbox["id"])
}

/// A company that can lead contacts through sequences.
struct Company {
    app: TestApp,
    client: Client,
    pool: PgPool,
    campaign: String,
    outbox: String,
}

impl Company {
    /// With so many contacts, all of them in one campaign.
    async fn of(count: usize) -> Self {
        Self::with(contacts(count)).await
    }

    async fn with(file: String) -> Self {
        let app = TestApp::start().await;
        let client = app.agent().await;
        import(&client, file).await;
        let campaign = campaign(&client).await;
        let outbox = outbox(&client).await;
        let pool = app.database.pool();
        Self { app, client, pool, campaign, outbox }
    }

    fn organization(&self) -> OrganizationId {
        self.client.organization
    }

    /// A step that is rehearsed: it is over when it is drafted.
    fn rehearsal(&self, wait_minutes: u32) -> Value {
        json!({
            "outboxId": self.outbox, "channel": "dry-run", "waitMinutes": wait_minutes,
            "payload": { "text": "Hello {{firstName}}" },
        })
    }

    /// A step that is rehearsed an hour after the one before, with these words.
    fn saying(&self, words: &str) -> Value {
        let mut step = self.rehearsal(60);
        step["payload"]["text"] = json!(words);
        step
    }

    /// A step that is sent by e-mail.
    fn mail(&self, wait_minutes: u32) -> Value {
        json!({
            "outboxId": self.outbox, "waitMinutes": wait_minutes,
            "payload": { "subject": "Hello {{firstName}}", "text": "A word about your roof." },
        })
    }

    /// Lets e-mails go out by themselves, and holds them back: what becomes of them is said by the test.
    async fn approve_and_hold(&self) {
        let rule = json!({ "predicate": { "channel": "email" }, "action": "auto_approve", "priority": 1 });
        assert_eq!(post(&self.client, "approval-rules", rule).await.0, 201);
        assert_eq!(post(&self.client, "pause", json!({ "reason": "a test" })).await.0, 200);
    }

    async fn sequence(&self, steps: Vec<Value>) -> String {
        let (status, made) =
            post(&self.client, "sequences", json!({ "name": "Nurture", "steps": steps })).await;
        assert_eq!(status, 201, "{made}");
        text(&made["id"])
    }

    async fn enroll(&self, sequence: &str) -> Value {
        let body = json!({ "campaignId": self.campaign });
        let (status, answer) = post(&self.client, &format!("sequences/{sequence}/enroll"), body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn patch(&self, sequence: &str, patch: Value) -> (u16, Value) {
        ask(&self.client, Method::PATCH, &format!("sequences/{sequence}"), patch).await
    }

    /// How many stand where: active, stopped, finished.
    async fn counts(&self, sequence: &str) -> (u64, u64, u64) {
        let (_, shown) = get(&self.client, &format!("sequences/{sequence}")).await;
        let count = |state: &str| shown["enrollments"][state].as_u64().unwrap();
        (count("active"), count("stopped"), count("finished"))
    }

    async fn enrollments(&self, sequence: &str) -> Vec<Value> {
        let (status, listed) = get(&self.client, &format!("sequences/{sequence}/enrollments")).await;
        assert_eq!(status, 200, "{listed}");
        listed.as_array().unwrap().clone()
    }

    /// Moves the clock on, and waits until everything that is then due was done.
    async fn pass(&self, millis: i64) {
        self.app.clock.advance(millis);
        self.rest().await;
    }

    /// Moves the clock on to that instant.
    async fn until(&self, instant: &str) {
        let instant: Timestamp = instant.parse().unwrap();
        self.pass(instant.millis() - self.app.clock.now().millis()).await;
    }

    async fn rest(&self) {
        rest(&self.app.app, &self.pool).await;
    }

    /// The words of every message of a sequence, by contact and step, once the read models are up to date.
    async fn said(&self, sequence: &str) -> Vec<String> {
        self.app.app.readside.settle(self.organization()).await.unwrap();
        let said = "SELECT payload::jsonb->>'text' FROM read.messages WHERE sequence_id = $1::uuid \
                    ORDER BY contact_id, step";
        sqlx::query_scalar(said).bind(sequence).fetch_all(&self.pool).await.unwrap()
    }

    /// How often each step of each enrollment was taken, and at which instants, in order.
    async fn taken(&self) -> Vec<(String, i64, String)> {
        taken(&self.pool).await
    }
}

/// Turns until nothing is due any more, whoever else turns at the same time. Reads the table of what is due: there is no
/// other way to know that nothing is about to happen.
async fn rest(app: &App, pool: &PgPool) {
    eventually("everything that is due", async || {
        runner::turn(app).await.unwrap();
        let now = app.clock.now().to_string();
        let open: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sequencing.due WHERE due_at <= $1::timestamptz) \
                 OR EXISTS (SELECT 1 FROM ledger.heads h LEFT JOIN sequencing.cursors c USING (organization_id) \
                     WHERE h.position > coalesce(c.position, 0) AND h.organization_id <> $2)",
        )
        .bind(now)
        .bind(OrganizationId::INSTANCE.uuid())
        .fetch_one(pool)
        .await
        .unwrap();
        (!open).then_some(())
    })
    .await;
}

/// Every step that was taken: enrollment, step, when. From the ledger, by enrollment and position.
async fn taken(pool: &PgPool) -> Vec<(String, i64, String)> {
    let rows = sqlx::query(
        "SELECT aggregate_id, (payload->>'step')::bigint, payload->>'at' FROM ledger.events \
         WHERE event_type = 'StepTaken' ORDER BY aggregate_id, position",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// That each of so many enrollments took each of these steps exactly once, and each step drafted exactly one message.
async fn assert_each_step_once(pool: &PgPool, enrollments: usize, steps: i64) {
    let taken = taken(pool).await;
    assert_eq!(taken.len(), enrollments * usize::try_from(steps).unwrap());
    for one in taken.chunks(usize::try_from(steps).unwrap()) {
        let numbers: Vec<i64> = one.iter().map(|(_, step, _)| *step).collect();
        assert_eq!(numbers, (1..=steps).collect::<Vec<_>>(), "{one:?}");
        assert!(one.iter().all(|(enrollment, ..)| *enrollment == one[0].0));
    }
    let drafted: i64 =
        sqlx::query_scalar("SELECT count(*) FROM ledger.events WHERE event_type = 'MessageDrafted'")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(drafted).unwrap(), taken.len());
}
