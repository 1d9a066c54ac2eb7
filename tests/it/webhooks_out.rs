//! Outgoing webhooks against a target on loopback that keeps every request: what it gets, signed how, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use docket::app::App;
use docket::channels::post::Poster;
use docket::channels::{Limits, Targets};
use docket::outgoing_webhooks::{self, WebhookRefusal, Webhooks};
use docket::service::{Call, ServiceError};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use docket_aggregates::webhook_endpoint::WebhookSettings;
use hyper::Method;
use serde_json::{Value, json};

use crate::channels::provider::{Act, Provider, Taken};
use crate::senders::assert_paged;
use crate::support::{Client, TestApp, eventually};

const CANARY: &str = "canary-8Jq";
const HOUR: i64 = 3_600_000;

fn poster(private: &str) -> Webhooks {
    let limits = Limits { connect_within: Duration::from_secs(5), ..Limits::default() };
    Webhooks::new(Poster::open(&limits, Targets::parse(private).unwrap(), &[]).unwrap())
}

struct Story {
    app: TestApp,
    board: Client,
    target: Provider,
}

impl Story {
    /// A company, and a target that acts like this on each post in turn.
    async fn begin(script: impl IntoIterator<Item = Act>) -> Self {
        let target = Provider::start(script).await;
        let app = TestApp::changed(|app| App { webhooks: poster("127.0.0.0/8"), ..app }).await;
        let board = app.client(Role::Board, app.organization().await).await;
        Self { app, board, target }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        let path = self.board.crm(path);
        self.board.send(method, &path, &headers, body.to_string().into_bytes()).await.unwrap()
    }

    async fn open(&self, event_types: &[&str]) -> Value {
        let url = format!("{}/hook?key={CANARY}", self.target.base);
        let (status, view) =
            self.send(Method::POST, "webhooks", json!({ "url": url, "eventTypes": event_types })).await;
        assert_eq!(status, 201, "{view}");
        view
    }

    /// Something happens in the company.
    async fn happen(&self, name: &str) {
        let agent =
            json!({ "name": format!("{name} {CANARY}"), "email": format!("{name}@{CANARY}.example") });
        let (status, answer) = self.send(Method::POST, "agents", agent).await;
        assert_eq!(status, 201, "{answer}");
    }

    async fn taken(&self, count: usize) -> Vec<Taken> {
        eventually("the posts arrive", || async {
            let taken = self.target.taken();
            (taken.len() >= count).then_some(taken)
        })
        .await
    }

    async fn deliveries(&self, id: &Value) -> Vec<Value> {
        let path = format!("webhooks/{}/deliveries", id.as_str().unwrap());
        let (status, answer) = self.board.get(&self.board.crm(&path)).await;
        assert_eq!(status, 200, "{answer}");
        answer.as_array().unwrap().clone()
    }

    /// The newest delivery, once it stands like this.
    async fn newest(&self, id: &Value, fits: impl Fn(&Value) -> bool) -> Value {
        eventually("the delivery comes so far", || async {
            self.deliveries(id).await.into_iter().next().filter(|delivery| fits(delivery))
        })
        .await
    }

    async fn switched_off(&self, id: &Value, because: &str) -> Value {
        eventually("it is switched off", || async {
            let endpoint = self.endpoint(id).await;
            (endpoint["disabledBecause"] == because).then_some(endpoint)
        })
        .await
    }

    async fn endpoint(&self, id: &Value) -> Value {
        let (_, all) = self.board.get(&self.board.crm("webhooks")).await;
        all.as_array().unwrap().iter().find(|view| view["id"] == *id).cloned().unwrap_or_default()
    }
}

/// Whether somebody else's implementation of the specification makes the same signature.
fn is_signed_by(taken: &Taken, secret: &str) -> bool {
    let header = |name| taken.header(name).unwrap();
    let webhook = standardwebhooks::Webhook::new(secret).unwrap();
    let at = header("webhook-timestamp").parse().unwrap();
    let expected = webhook.sign(header("webhook-id"), at, taken.body.as_bytes()).unwrap();
    header("webhook-signature").split(' ').any(|signature| signature == expected)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn is_attempted(times: u64) -> impl Fn(&Value) -> bool {
    move |delivery| delivery["attempts"] == times && delivery["nextAttemptAt"].is_string()
}

#[tokio::test]
async fn an_event_is_posted_signed_and_without_what_is_sealed() {
    let story = Story::begin([Act::answer(204, "")]).await;
    let view = story.open(&["AgentRegistered"]).await;
    story.happen("camille").await;
    let taken = story.taken(1).await.remove(0);
    assert!(taken.line.starts_with("POST /hook?key="), "{}", taken.line);
    assert!(is_signed_by(&taken, text(&view["secret"])));
    assert!(!is_signed_by(&taken, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    assert_eq!(taken.header("content-type"), Some("application/json"));
    let body = taken.json();
    assert_eq!((&body["specversion"], &body["type"]), (&json!("1.0"), &json!("AgentRegistered")));
    assert_eq!(taken.header("webhook-id"), body["id"].as_str());
    assert_eq!(body["source"], format!("/api/companies/{}", story.board.organization));
    assert!(body["data"]["facts"]["agent_id"].is_string(), "{body}");
    for hidden in [CANARY, "$sealed", "_hash", "_key"] {
        assert!(!taken.body.contains(hidden), "{hidden} is in {}", taken.body);
    }
    let delivery = story.newest(&view["id"], |delivery| delivery["state"] == "delivered").await;
    assert_eq!((&delivery["attempts"], &delivery["lastStatus"]), (&json!(1), &json!(204)));
    assert_eq!(delivery["webhookId"], body["id"]);

    // The secret is shown once, and stands nowhere in the open; neither does the address.
    assert_eq!(story.endpoint(&view["id"]).await["secret"], Value::Null);
    for table in ["events", "webhook_secrets", "webhook_endpoints", "webhook_deliveries", "requests"] {
        let rows = format!("SELECT coalesce(string_agg(t::text, ''), '') FROM ledger.{table} t");
        let rows: String = sqlx::query_scalar(&rows).fetch_one(story.app.app.ledger.pool()).await.unwrap();
        assert!(!rows.contains(CANARY) && !rows.contains(text(&view["secret"])), "{table}");
    }
}

#[tokio::test]
async fn an_endpoint_gets_what_it_names_from_its_opening_on() {
    let story = Story::begin((0..9).map(|_| Act::answer(200, "{}"))).await;
    story.happen("before").await;
    let all = story.open(&[]).await;
    story.happen("after").await;
    assert_eq!(story.taken(1).await[0].json()["type"], "AgentRegistered");

    let path = format!("webhooks/{}", text(&all["id"]));
    let (status, changed) =
        story.send(Method::PATCH, &path, json!({ "eventTypes": ["AgentDeactivated"] })).await;
    assert_eq!((status, &changed["eventTypes"]), (200, &json!(["AgentDeactivated"])));
    story.happen("unwanted").await;
    let (_, off) = story.send(Method::PATCH, &path, json!({ "eventTypes": [], "enabled": false })).await;
    assert_eq!((&off["enabled"], &off["disabledBecause"]), (&json!(false), &json!("requested")));
    story.happen("unheard").await;
    let (_, on) = story.send(Method::PATCH, &path, json!({ "enabled": true })).await;
    assert_eq!((&on["enabled"], &on["disabledBecause"]), (&json!(true), &Value::Null));
    let (_, events) = story.board.get(&story.board.crm("events?limit=1000")).await;
    let head = events.as_array().unwrap().len() as u64;
    story.happen("last").await;
    eventually("the last one is delivered", || async {
        let delivered = story.deliveries(&all["id"]).await;
        let last = delivered.first()?;
        // The first one was delivered long before.
        let is_last = last["position"].as_u64()? > head && last["eventType"] == "AgentRegistered";
        (is_last && last["state"] == "delivered").then_some(())
    })
    .await;
    let types: Vec<Value> = story.target.taken().iter().map(|taken| taken.json()["type"].clone()).collect();
    let registered = types.iter().filter(|name| *name == "AgentRegistered").count();
    assert_eq!(registered, 2, "{types:?}");
    // What was on its way to it when it was switched off does not come afterwards.
    let own = ["AgentRegistered", "WebhookEndpointChanged"];
    assert!(types.iter().all(|name| own.contains(&text(name))), "{types:?}");

    let (status, gone) = story.send(Method::DELETE, &path, Value::Null).await;
    assert_eq!((status, gone["deletedAt"].is_string()), (200, true));
    assert_eq!(story.endpoint(&all["id"]).await, Value::Null);
    assert_eq!(story.send(Method::DELETE, &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_is_not_taken_is_posted_again_under_the_same_id() {
    let story = Story::begin([
        Act::answer(500, "{}"),
        Act::Cut,
        Act::with_headers(302, "location: http://127.0.0.1:1/elsewhere\r\n", ""),
        Act::with_headers(503, "retry-after: 7200\r\n", ""),
        Act::answer(200, "{}"),
    ])
    .await;
    let view = story.open(&["AgentRegistered"]).await;
    story.happen("camille").await;
    let first = story.newest(&view["id"], is_attempted(1)).await;
    assert_eq!((&first["state"], &first["lastStatus"]), (&json!("due"), &json!(500)));
    story.app.clock.advance(6_000);
    let second = story.newest(&view["id"], is_attempted(2)).await;
    assert_eq!((&second["lastStatus"], second["lastError"].is_string()), (&Value::Null, true));
    story.app.clock.advance(6 * 60_000);
    let third = story.newest(&view["id"], is_attempted(3)).await;
    assert_eq!(third["lastStatus"], 302, "a redirect is not followed");
    story.app.clock.advance(34 * 60_000);
    story.newest(&view["id"], is_attempted(4)).await;
    story.app.clock.advance(3 * HOUR);
    let last = story.newest(&view["id"], |delivery| delivery["state"] == "delivered").await;
    assert_eq!(last["attempts"], 5);
    let taken = story.target.taken();
    let ids: BTreeSet<_> = taken.iter().map(|taken| taken.header("webhook-id").unwrap()).collect();
    let times: BTreeSet<_> = taken.iter().map(|taken| taken.header("webhook-timestamp").unwrap()).collect();
    assert_eq!((taken.len(), ids.len(), times.len()), (5, 1, 5));
    assert!(taken.iter().all(|taken| is_signed_by(taken, text(&view["secret"]))));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_or_fails_for_days_is_switched_off() {
    let story =
        Story::begin([Act::answer(410, "{}")].into_iter().chain((0..10).map(|_| Act::answer(500, "{}"))))
            .await;
    let view = story.open(&["AgentRegistered"]).await;
    story.happen("one").await;
    assert_eq!(story.switched_off(&view["id"], "gone").await["enabled"], false);
    story.happen("unheard").await;
    let path = format!("webhooks/{}", text(&view["id"]));
    assert_eq!(story.send(Method::PATCH, &path, json!({ "enabled": true })).await.0, 200);
    story.happen("two").await;
    for attempt in 1..10 {
        story.newest(&view["id"], is_attempted(attempt)).await;
        story.app.clock.advance(25 * HOUR);
    }
    story.switched_off(&view["id"], "failing").await;
    assert_eq!(story.target.taken().len(), 11);
    let states: Vec<Value> =
        story.deliveries(&view["id"]).await.iter().map(|delivery| delivery["state"].clone()).collect();
    assert_eq!(states, ["failed", "failed"], "what happened while it was off is not delivered later");
}

#[tokio::test]
async fn a_private_target_is_not_connected_to() {
    let target = Provider::start([]).await;
    let port = target.base.rsplit(':').next().unwrap().to_owned();
    let app = TestApp::changed(|app| App { webhooks: poster(""), ..app }).await;
    let board = app.client(Role::Board, app.organization().await).await;
    let story = Story { app, board, target };
    for url in [
        format!("http://127.0.0.1:{port}/"),
        "http://[::1]/".into(),
        "http://2130706433/".into(),
        "http://169.254.169.254/latest/meta-data".into(),
        "https://10.0.0.1/".into(),
    ] {
        let (status, answer) = story.send(Method::POST, "webhooks", json!({ "url": url })).await;
        assert_eq!(
            (status, &answer["details"][0]["code"]),
            (400, &json!("PRIVATE_TARGET")),
            "{url}: {answer}"
        );
    }
    // A name is judged by what it resolves to, each time it is posted to.
    let url = format!("http://localhost:{port}/");
    let (status, view) = story.send(Method::POST, "webhooks", json!({ "url": url })).await;
    assert_eq!(status, 201, "{view}");
    story.happen("camille").await;
    let delivery = story.newest(&view["id"], is_attempted(1)).await;
    assert_eq!(delivery["lastError"], "the target is on a private network");
    let path = format!("webhooks/{}/test", text(&view["id"]));
    let (_, tested) = story.send(Method::POST, &path, Value::Null).await;
    assert_eq!(
        (&tested["delivered"], &tested["error"]),
        (&json!(false), &json!("the target is on a private network"))
    );
    assert!(story.target.taken().is_empty());
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_old_one_for_a_day() {
    let story = Story::begin((0..3).map(|_| Act::answer(200, "{}"))).await;
    let view = story.open(&["AgentRegistered"]).await;
    let path = format!("webhooks/{}/rotate-secret", text(&view["id"]));
    let (status, rotated) = story.send(Method::POST, &path, Value::Null).await;
    assert_eq!((status, &rotated["secretVersion"]), (200, &json!(2)));
    let (old, new) = (text(&view["secret"]).to_owned(), text(&rotated["secret"]).to_owned());
    assert_ne!(old, new);
    story.happen("one").await;
    let taken = story.taken(1).await.remove(0);
    assert!(is_signed_by(&taken, &old) && is_signed_by(&taken, &new));
    story.app.clock.advance(24 * HOUR);
    story.happen("two").await;
    let taken = story.taken(2).await.remove(1);
    assert!(!is_signed_by(&taken, &old) && is_signed_by(&taken, &new));

    let path = format!("webhooks/{}/test", text(&view["id"]));
    let (_, tested) = story.send(Method::POST, &path, Value::Null).await;
    assert_eq!((&tested["delivered"], &tested["status"]), (&json!(true), &json!(200)));
    let taken = story.taken(3).await.remove(2);
    assert_eq!((&taken.json()["type"], &taken.json()["id"]), (&json!("docket.test"), &tested["webhookId"]));
    assert!(is_signed_by(&taken, &new));
    assert_eq!(story.deliveries(&view["id"]).await.len(), 2, "a test is no delivery");
}

#[tokio::test]
async fn two_processes_post_each_event_once() {
    let story = Story::begin((0..40).map(|_| Act::answer(200, "{}"))).await;
    let other = App { webhooks: poster("127.0.0.0/8"), ..story.app.another().await };
    let ending = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(outgoing_webhooks::run(other, ending.clone()));
    let view = story.open(&["AgentRegistered"]).await;
    for number in 0..40 {
        story.happen(&format!("agent{number}")).await;
    }
    eventually("all are delivered", || async {
        let delivered = story.deliveries(&view["id"]).await;
        (delivered.iter().filter(|delivery| delivery["state"] == "delivered").count() == 40).then_some(())
    })
    .await;
    let taken = story.target.taken();
    let ids: BTreeSet<_> = taken.iter().map(|taken| taken.header("webhook-id").unwrap()).collect();
    assert_eq!((taken.len(), ids.len()), (40, 40));
    ending.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn the_hanging_targets_of_one_company_hold_up_nobody_else() {
    const POST_SECONDS: u64 = 20;
    let story = Story::begin([]).await;
    for _ in 0..5 {
        story.open(&["AgentRegistered"]).await;
    }
    let neighbour = story.app.client(Role::Board, story.app.organization().await).await;
    let target = Provider::start([Act::answer(204, "")]).await;
    let body = json!({ "url": format!("{}/hook", target.base), "eventTypes": ["AgentRegistered"] });
    let (status, view) = neighbour.post(&neighbour.crm("webhooks"), body).await;
    assert_eq!(status, 201, "{view}");

    let begun = std::time::Instant::now();
    for number in 0..8 {
        story.happen(&format!("agent{number}")).await;
    }
    story.taken(8).await;
    let agent = json!({ "name": "Ann", "email": "ann@example.com" });
    assert_eq!(neighbour.post(&neighbour.crm("agents"), agent).await.0, 201);
    eventually("the neighbour's post arrives", || async { (!target.taken().is_empty()).then_some(()) }).await;
    // Eight at once, and eight more each time that these were given up.
    let (posts, given_up) = (story.target.taken().len(), begun.elapsed().as_secs() / POST_SECONDS);
    assert!(posts as u64 <= 8 * (1 + given_up), "{posts} posts after {given_up} rounds");
}

/// Has an event of the company delivered so many times more, as if so many had happened while a target took nothing.
async fn pile_up(story: &Story, organization: OrganizationId, count: i32) {
    // A table that a test reaches into: to make as many events would take minutes.
    let made = sqlx::query(
        "INSERT INTO ledger.webhook_deliveries \
             (organization_id, endpoint_id, event_id, position, event_type, due_at, created_at, expires_at) \
         SELECT organization_id, endpoint_id, gen_random_uuid(), position, event_type, due_at, created_at, expires_at \
         FROM (SELECT * FROM ledger.webhook_deliveries WHERE organization_id = $1 ORDER BY endpoint_id) one, \
             generate_series(1, $2)",
    )
    .bind(organization.uuid())
    .bind(count)
    .execute(story.app.app.ledger.pool())
    .await
    .unwrap();
    assert!(made.rows_affected() >= count.unsigned_abs().into());
}

/// Another company with so many endpoints at this target, and an event that is delivered to each.
async fn neighbour(story: &Story, target: &Provider, endpoints: usize) -> Client {
    let company = story.app.client(Role::Board, story.app.organization().await).await;
    for _ in 0..endpoints {
        let body = json!({ "url": format!("{}/hook", target.base), "eventTypes": ["AgentRegistered"] });
        let (status, view) = company.post(&company.crm("webhooks"), body).await;
        assert_eq!(status, 201, "{view}");
    }
    let agent = json!({ "name": "Ann", "email": "ann@example.com" });
    assert_eq!(company.post(&company.crm("agents"), agent).await.0, 201);
    company
}

#[tokio::test]
async fn what_one_company_has_piled_up_does_not_delay_another() {
    let story = Story::begin([]).await;
    // All of its posts hang.
    let piled = neighbour(&story, &story.target, 1).await;
    story.taken(1).await;
    pile_up(&story, piled.organization, 5_000).await;
    story.taken(4).await;
    let target = Provider::start([Act::answer(204, "")]).await;
    neighbour(&story, &target, 1).await;
    eventually("the neighbour's post arrives", || async { (!target.taken().is_empty()).then_some(()) }).await;
    // Four hang, and four more follow whenever they are given up; nothing that was due before had to go first.
    assert!(story.target.taken().len() < 100, "{} of 5 001", story.target.taken().len());
}

#[tokio::test]
async fn a_delivery_has_its_turn_however_many_companies_have_piled_up_more() {
    // More companies than can be posted for at once, each with more that is due, and due for longer.
    const COMPANIES: usize = 60;
    const PILED_UP: i32 = 60;
    // So many posts are answered; then each hangs until it is given up.
    const ANSWERED: usize = 300;
    let busy = Provider::start((0..ANSWERED).map(|_| Act::answer(200, ""))).await;
    let quiet = Provider::start([Act::answer(204, "")]).await;
    let app = TestApp::start().await;
    let story = Story { board: app.client(Role::Board, app.organization().await).await, app, target: busy };
    for _ in 0..COMPANIES {
        let company = neighbour(&story, &story.target, 1).await;
        eventually("its event is due", || async {
            let due: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM ledger.webhook_deliveries WHERE organization_id = $1",
            )
            .bind(company.organization.uuid())
            .fetch_one(story.app.app.ledger.pool())
            .await
            .unwrap();
            (due == 1).then_some(())
        })
        .await;
        pile_up(&story, company.organization, PILED_UP - 1).await;
    }
    story.app.clock.advance(1_000);
    let last = neighbour(&story, &quiet, 1).await;
    eventually("its event is due", || async {
        let due: i64 =
            sqlx::query_scalar("SELECT count(*) FROM ledger.webhook_deliveries WHERE organization_id = $1")
                .bind(last.organization.uuid())
                .fetch_one(story.app.app.ledger.pool())
                .await
                .unwrap();
        (due == 1).then_some(())
    })
    .await;

    // Nothing was posted so far: this is the first process that may.
    let posting = App { webhooks: poster("127.0.0.0/8"), ..story.app.another().await };
    let ending = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(outgoing_webhooks::run(posting, ending.clone()));
    eventually("its post arrives", || async { (!quiet.taken().is_empty()).then_some(()) }).await;
    let before = story.target.taken().len();
    assert!(before < ANSWERED + 100, "{before} of {} were posted before it", COMPANIES * 60);
    ending.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_repeated_request_opens_one_endpoint_and_bad_input_none() {
    let story = Story::begin([]).await;
    let organization = story.board.organization;
    let url = format!("{}/hook", story.target.base);
    let body = json!({ "url": url }).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "k-1")];
    let path = story.board.crm("webhooks");
    let first = story.board.send(Method::POST, &path, &headers, body.clone().into_bytes()).await.unwrap();
    assert_eq!(first.0, 201);
    let again = story.board.send(Method::POST, &path, &headers, body.into_bytes()).await.unwrap();
    assert_eq!(again, first, "a lost answer is given again, with its secret");
    for (body, code) in [
        (json!({}), "REQUIRED"),
        (json!({ "url": "" }), "EMPTY"),
        (json!({ "url": "ftp://example.com" }), "INVALID_URL"),
        (json!({ "url": "https://ann:secret@example.com" }), "INVALID_URL"),
        (json!({ "url": url, "eventTypes": ["NoSuchEvent"] }), "UNKNOWN_EVENT_TYPE"),
        (json!({ "url": url, "eventTypes": "AgentRegistered" }), "WRONG_TYPE"),
        (json!({ "url": url, "surplus": 1 }), "UNKNOWN_FIELD"),
    ] {
        let (status, answer) = story.send(Method::POST, "webhooks", body).await;
        assert_eq!((status, &answer["details"][0]["code"]), (400, &json!(code)), "{answer}");
    }
    let (_, all) = story.board.get(&path).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    let one = format!("webhooks/{}", text(&first.1["id"]));
    assert_eq!(story.send(Method::PATCH, &one, json!({})).await.0, 400);
    assert_eq!(story.send(Method::PATCH, &one, json!({ "url": null })).await.0, 400);
    for path in [
        "webhooks/0190a0f0-0000-7000-8000-00000000000f",
        "webhooks/0190a0f0-0000-7000-8000-00000000000f/test",
    ] {
        let method = if path.ends_with("test") { Method::POST } else { Method::DELETE };
        assert_eq!(story.send(method, path, Value::Null).await.0, 404);
    }
    assert_eq!(story.send(Method::DELETE, "webhooks/x", Value::Null).await.0, 400);
    for (role, reads) in [(Role::Auditor, 200), (Role::Agent, 403), (Role::Viewer, 403)] {
        let client = story.app.client(role, organization).await;
        assert_eq!(client.get(&client.crm("webhooks")).await.0, reads, "{}", role.name());
        assert_eq!(client.post(&client.crm("webhooks"), json!({ "url": url })).await.0, 403);
    }
    let stranger = story.app.client(Role::Board, story.app.organization().await).await;
    assert_eq!(stranger.get(&stranger.crm("webhooks")).await, (200, json!([])));
    let body = json!({ "url": url, "description": "the second" });
    assert_eq!(story.send(Method::POST, "webhooks", body).await.0, 201);
    let (_, all) = story.board.get(&path).await;
    let ids: Vec<String> =
        all.as_array().unwrap().iter().map(|endpoint| text(&endpoint["id"]).to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert_paged(&story.board, "webhooks", &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_fifty_endpoints_at_most_whichever_process_is_asked() {
    let story = Story::begin((0..50).map(|_| Act::answer(200, "{}"))).await;
    let organization = story.board.organization;
    let another = story.app.another().await;
    let opening = async |app: &App| {
        let mut opened = BTreeMap::new();
        for _ in 0..30 {
            let settings = WebhookSettings { url: story.target.base.clone(), description: None };
            let call = Call::of_system(app, organization, "test");
            match outgoing_webhooks::open(app, &call, settings, vec!["OutboxDeleted".into()]).await {
                Ok(done) => drop(opened.insert(done.entity.id, done.entity.secret.unwrap())),
                Err(ServiceError::Refused(refusal)) => assert_eq!(refusal, WebhookRefusal::TooMany),
                Err(error) => panic!("{error}"),
            }
        }
        opened
    };
    let (mut opened, there) = tokio::join!(opening(&story.app.app), opening(&another));
    opened.extend(there);
    assert_eq!(opened.len(), 50);
    // Each signs with its own secret, also where another process was first.
    for (number, (id, secret)) in opened.iter().enumerate() {
        let (_, tested) = story.send(Method::POST, &format!("webhooks/{id}/test"), Value::Null).await;
        assert_eq!(tested["delivered"], true, "{tested}");
        assert!(is_signed_by(&story.target.taken()[number], secret), "{id}");
    }
    // What is taken out of use makes room for one, and for no more.
    let path = format!("webhooks/{}", opened.keys().next().unwrap());
    assert_eq!(story.send(Method::DELETE, &path, Value::Null).await.0, 200);
    let body = json!({ "url": story.target.base, "eventTypes": ["OutboxDeleted"] });
    assert_eq!(story.send(Method::POST, "webhooks", body.clone()).await.0, 201);
    let (status, answer) = story.send(Method::POST, "webhooks", body).await;
    assert_eq!((status, &answer["code"]), (422, &json!("TOO_MANY_WEBHOOKS")));
}
