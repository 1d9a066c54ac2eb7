//! Commands in a second: stock without views, stock with three, the ledger, and the whole way over HTTP.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use docket_aggregates::campaign::Campaign;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::organization::OrganizationProfile;
use docket_aggregates::token::Role;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::http::Connection;
use super::report::{Figure, Report};
use super::workload::{self, LIFE};
use super::{Folding, Plan, stock};
use crate::app::App;
use crate::cli::token;
use crate::ledger::{Actor, Origin, Request};
use crate::organizations;
use crate::readside::Consistency;

/// How long the read models may take to fold what the scenarios before appended.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(300);

/// Runs every scenario at every number of callers.
pub async fn run(
    app: &App,
    plan: &Plan,
    server: &Server,
    report: &mut Report,
    say: &impl Fn(&str),
) -> anyhow::Result<()> {
    const SCENARIOS: [&str; 5] = ["stock_bare", "stock_views", "ledger", "ledger_100_organizations", "http"];
    if !SCENARIOS.iter().any(|scenario| plan.wants(scenario)) {
        return Ok(());
    }
    // As a stock program connects, without the ledger's preferences.
    let as_usual = [("enable_seqscan", "on"), ("enable_sort", "on")];
    let options = (*app.ledger.pool().connect_options()).clone().options(as_usual);
    let stock = Arc::new(stock::open(options).await?);
    let one = organization(app, "bench-one").await?;
    let mut hundred = Vec::new();
    for n in 0..100 {
        hundred.push(organization(app, &format!("bench-{n}")).await?);
    }
    for &callers in &plan.callers {
        for scenario in SCENARIOS {
            if !plan.wants(scenario) {
                continue;
            }
            say(&format!("{scenario}, {callers} callers"));
            let figure = match scenario {
                "stock_bare" | "stock_views" => {
                    let views = scenario == "stock_views";
                    let stock = stock.clone();
                    let app = app.clone();
                    measure(scenario, callers, plan.seconds, |_| {
                        stock_caller(app.clone(), stock.clone(), views)
                    })
                    .await
                }
                "ledger" => {
                    measure(scenario, callers, plan.seconds, |_| ledger_caller(app.clone(), one)).await
                }
                "ledger_100_organizations" => {
                    measure(scenario, callers, plan.seconds, |n| ledger_caller(app.clone(), hundred[n % 100]))
                        .await
                }
                _ => {
                    let organization = organization(app, &format!("bench-http-{callers}")).await?;
                    let _folding = Folding::begin(app);
                    server.measure(app, organization, callers, plan.seconds).await?
                }
            };
            report.scenarios.push(figure);
        }
    }
    Ok(())
}

/// An organization of its own for a scenario.
pub async fn organization(app: &App, slug: &str) -> anyhow::Result<OrganizationId> {
    let profile = OrganizationProfile {
        name: slug.to_owned(),
        slug: slug.to_owned(),
        owner_email: "o@example.com".to_owned(),
    };
    let id = app.clock.mint();
    organizations::create(app, &Origin::system("bench"), None, id, profile, true).await?;
    Ok(id)
}

/// A caller that does one command at a time.
trait Caller: Send + 'static {
    /// Does the next command; false if it was not answered with success.
    fn next(&mut self) -> impl Future<Output = bool> + Send;
}

/// Lets `callers` work for `time` after a short while of warming up.
async fn measure<C: Caller>(name: &str, callers: usize, time: Duration, make: impl Fn(usize) -> C) -> Figure {
    let warm = Arc::new(AtomicBool::new(false));
    let over = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicU64::new(0));
    let mut working = JoinSet::new();
    for n in 0..callers {
        let mut caller = make(n);
        let (warm, over, failed) = (warm.clone(), over.clone(), failed.clone());
        working.spawn(async move {
            let mut micros = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let started = Instant::now();
                let good = caller.next().await;
                if warm.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    if good {
                        micros.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
                    } else {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            micros
        });
    }
    tokio::time::sleep(time / 5).await;
    warm.store(true, Ordering::Relaxed);
    let started = Instant::now();
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let elapsed = started.elapsed();
    let mut all = Vec::new();
    while let Some(micros) = working.join_next().await {
        all.extend(micros.unwrap_or_default());
    }
    Figure::of(name, callers, elapsed, all, failed.load(Ordering::Relaxed))
}

struct StockCaller {
    app: App,
    stock: Arc<stock::Stock>,
    views: bool,
    id: CampaignId,
    step: usize,
}

fn stock_caller(app: App, stock: Arc<stock::Stock>, views: bool) -> StockCaller {
    StockCaller { app, stock, views, id: CampaignId::default(), step: 0 }
}

impl Caller for StockCaller {
    async fn next(&mut self) -> bool {
        if self.step == 0 {
            self.id = self.app.clock.mint();
        }
        let command = workload::command(self.id, self.step);
        self.step = (self.step + 1) % LIFE;
        let cqrs = if self.views { &self.stock.views } else { &self.stock.bare };
        cqrs.execute(&self.id.to_string(), command).await.is_ok()
    }
}

struct LedgerCaller {
    app: App,
    organization: OrganizationId,
    origin: Origin,
    id: CampaignId,
    step: usize,
}

fn ledger_caller(app: App, organization: OrganizationId) -> LedgerCaller {
    let actor = Actor { kind: "agent", principal: app.clock.mint(), token: Some(app.clock.mint()) };
    let origin = Origin { actor, ..Origin::system("bench") };
    LedgerCaller { app, organization, origin, id: CampaignId::default(), step: 0 }
}

impl Caller for LedgerCaller {
    async fn next(&mut self) -> bool {
        if self.step == 0 {
            self.id = self.app.clock.mint();
        }
        let command = workload::command(self.id, self.step);
        let request_id = format!("{}-{}", self.id, self.step);
        self.step = (self.step + 1) % LIFE;
        self.origin.request_id = Some(request_id.clone());
        let input = json!({"campaignId": self.id, "step": self.step}).to_string();
        let answer = json!({"campaignId": self.id}).to_string();
        let request = Request { request_id, alias: None, input, answer };
        self.app
            .ledger
            .order::<Campaign>(
                self.organization,
                self.id,
                self.app.clock.mint(),
                self.app.clock.now(),
                &self.origin,
                Some(request),
                command,
            )
            .await
            .is_ok()
    }
}

struct HttpCaller {
    connection: Connection,
    organization: OrganizationId,
    campaign: String,
    step: usize,
    serial: u64,
    name: usize,
}

impl Caller for HttpCaller {
    async fn next(&mut self) -> bool {
        let (tool, input) = workload::tool(&self.campaign, self.step);
        self.serial += 1;
        let body = json!({
            "organizationId": self.organization, "input": input,
            "requestId": format!("{}-{}", self.name, self.serial),
        });
        let answer = self.connection.post(&format!("/crm/agent/tools/{tool}"), &body).await;
        let good = matches!(&answer, Ok((200, _)));
        if good && self.step == 0 {
            let data: Value =
                answer.ok().and_then(|(_, body)| serde_json::from_slice(&body).ok()).unwrap_or_default();
            data["data"]["campaign"]["campaignId"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut self.campaign);
        }
        self.step = if good { (self.step + 1) % LIFE } else { 0 };
        good
    }
}

/// The product's own server on loopback.
pub struct Server {
    address: SocketAddr,
    token: String,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    runs: AtomicU64,
}

impl Server {
    /// Starts to serve, with a token that may call the tools.
    pub async fn start(app: &App) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let order = token::Order {
            role: Role::SuperAdmin,
            holder: "Bench <bench@example.com>".into(),
            organization: None,
            agent: None,
            tools: vec![],
            max_affected: None,
            expires_at: None,
        };
        let token = token::issue(app, order).await?.token().to_owned();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let app = app.clone();
        let serving = tokio::spawn(async move {
            let settings = crate::http::Settings { rate: None, ..Default::default() };
            crate::http::serve(app, settings, listener, async { drop(stopped.await) }).await
        });
        Ok(Self { address, token, stop, serving, runs: AtomicU64::new(0) })
    }

    /// Measures the callers, and meanwhile how long a strong read of the same organization waits.
    async fn measure(
        &self,
        app: &App,
        organization: OrganizationId,
        callers: usize,
        time: Duration,
    ) -> anyhow::Result<Figure> {
        let mut connections = Vec::new();
        for _ in 0..callers {
            connections.push(self.connect().await?);
        }
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let connections = std::sync::Mutex::new(connections);
        caught_up(app).await?;
        let over = Arc::new(AtomicBool::new(false));
        let watching = tokio::spawn(watch_lag(app.clone(), organization, over.clone()));
        let mut figure = measure("http", callers, time, |n| {
            let connection = connections.lock().ok().and_then(|mut open| open.pop());
            HttpCaller {
                connection: connection.expect("a connection was opened for each caller"),
                organization,
                campaign: String::new(),
                step: 0,
                serial: run << 32,
                name: n,
            }
        })
        .await;
        over.store(true, Ordering::Relaxed);
        figure.read_lag_ms = watching.await.ok();
        Ok(figure)
    }

    /// A connection that bears the token.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address, &self.token).await.context("the server does not answer")
    }

    /// Stops serving.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.serving.await;
    }
}

/// Waits until nothing is left to fold of what was appended before.
async fn caught_up(app: &App) -> anyhow::Result<()> {
    let organizations: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT organization_id FROM ledger.heads").fetch_all(app.ledger.pool()).await?;
    for organization in organizations.into_iter().map(OrganizationId) {
        let deadline = Instant::now() + CATCH_UP_WITHIN;
        while app.readside.view(organization, Consistency::STRONG).await.is_err() {
            anyhow::ensure!(Instant::now() < deadline, "the read models do not catch up");
        }
    }
    Ok(())
}

/// Longest and 99th percentile of the time from a head to its being folded, looked at twenty times a second.
async fn watch_lag(app: App, organization: OrganizationId, over: Arc<AtomicBool>) -> (f64, f64) {
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let started = Instant::now();
        // A wait that runs out counts as what it is: two seconds.
        drop(app.readside.view(organization, Consistency::STRONG).await);
        waits.push(started.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    waits.sort_by(f64::total_cmp);
    let at =
        |share: f64| waits.get(((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1)));
    (waits.last().copied().unwrap_or(0.0), at(0.99).copied().unwrap_or(0.0))
}
