//! The product in a test: on its own database, with a clock that stands still, served over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use docket::app::App;
use docket::channels::Secret;
use docket::clock::Clock;
use docket::credentials;
use docket::dispatcher::Running;
use docket::http::Settings;
use docket::language_model::LanguageModel;
use docket::ledger::{Origin, QueueBounds};
use docket::organizations;
use docket::secrets;
use docket::service::Call;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, OrganizationId, PrincipalId};
use docket_aggregates::organization::{OrganizationCommand, OrganizationProfile};
use docket_aggregates::token::{Role, Token, TokenCommand};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::house::{SECRET, channels};
use super::server::master_key;
use super::{Client, Database};

/// A clock that stands still.
pub fn held_clock() -> Clock {
    Clock::held_at(Timestamp::from_millis(1_795_284_000_000))
}

/// The address under which the outside is told to reach it.
pub const PUBLIC_URL: &str = "https://crm.example.com";

/// The product without surfaces and without folding.
pub async fn open(options: PgConnectOptions, clock: Clock) -> App {
    let app = App::open(options, master_key(), clock, QueueBounds::default()).await.unwrap();
    App { public_url: Some(PUBLIC_URL.into()), ..app }
}

/// Founds an organization, with a slug that no other test has.
pub async fn organization(app: &App) -> OrganizationId {
    named_organization(app, "Acme", "owner@acme.example").await
}

/// Founds an organization of that name and owner.
pub async fn named_organization(app: &App, name: &str, owner_email: &str) -> OrganizationId {
    let id: OrganizationId = app.clock.mint();
    let profile = OrganizationProfile {
        name: name.into(),
        slug: format!("org-{}", id.uuid().simple()),
        owner_email: owner_email.into(),
    };
    organizations::create(app, &Origin::system("test"), None, id, profile, true).await.unwrap();
    id
}

/// Issues a token.
pub async fn token(app: &App, role: Role, organization: Option<OrganizationId>) -> String {
    issue(app, role, organization, None).await
}

async fn issue(
    app: &App,
    role: Role,
    organization: Option<OrganizationId>,
    agent_id: Option<AgentId>,
) -> String {
    issue_narrowed(app, role, organization, agent_id, &[], None).await
}

/// Issues a token for some tools, or for so many contacts a call.
async fn issue_narrowed(
    app: &App,
    role: Role,
    organization: Option<OrganizationId>,
    agent_id: Option<AgentId>,
    tools: &[&str],
    max_affected: Option<u64>,
) -> String {
    let minted = credentials::mint(&app.clock);
    let issue = TokenCommand::Issue {
        token_id: minted.token_id,
        secret_sha256: minted.secret_sha256,
        principal_id: app.clock.mint::<PrincipalId>(),
        role,
        organization_id: organization,
        agent_id,
        tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
        max_affected,
        expires_at: None,
        holder: format!("{} <{}@example.com>", role.name(), role.name()),
    };
    let (command, now) = (app.clock.mint(), app.clock.now());
    let origin = Origin::system("test");
    app.ledger
        .order::<Token>(OrganizationId::INSTANCE, minted.token_id, command, now, &origin, None, issue)
        .await
        .unwrap();
    minted.text
}

/// The product as it is served, with everything that a story needs. What it started ends with it.
pub struct TestApp {
    /// The product.
    pub app: App,
    /// Its clock, which stands still.
    pub clock: Clock,
    /// Its database.
    pub database: Arc<Database>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl TestApp {
    /// Serves the product on a fresh database. Its clock stands still, and so would an allowance of calls: there is
    /// none.
    pub async fn start() -> Self {
        Self::begin(Settings { rate: None, ..Settings::default() }, None).await
    }

    /// The same with a language model.
    pub async fn start_with(model: Option<LanguageModel>) -> Self {
        Self::begin(Settings { rate: None, ..Settings::default() }, model).await
    }

    /// The same with other settings.
    pub async fn with(settings: Settings) -> Self {
        Self::begin(settings, None).await
    }

    /// The same, changed before it is served.
    pub async fn changed(change: impl FnOnce(App) -> App) -> Self {
        Self::begin_changed(Settings { rate: None, ..Settings::default() }, change).await
    }

    async fn begin(settings: Settings, model: Option<LanguageModel>) -> Self {
        Self::begin_changed(settings, |app| App { model, ..app }).await
    }

    async fn begin_changed(settings: Settings, change: impl FnOnce(App) -> App) -> Self {
        let database = Arc::new(Database::create().await);
        let clock = held_clock();
        let app = open(database.options.clone(), clock.clone()).await;
        let public_url = settings.public_url.as_deref().map(Into::into).or_else(|| app.public_url.clone());
        let app = change(App { public_url, ..app });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readside = app.readside.clone();
        let folding = tokio::spawn(async move { readside.run().await });
        let served = docket::http::serve(app.clone(), settings, listener, std::future::pending());
        let serving = tokio::spawn(async move { served.await.unwrap() });
        Self { app, clock, database, address, tasks: vec![folding, serving] }
    }

    /// Gives the credential of the organization's outboxes this mail server, and begins to dispatch. No provider is asked.
    pub async fn dispatch(&self, organization: OrganizationId, server: SocketAddr) -> Running {
        let call = Call::of_system(&self.app, organization, "test");
        let secret = Secret::new(format!("smtp://{server}?tls=none"));
        secrets::store(&self.app, &call, SECRET, &secret).await.unwrap();
        let settings = docket::dispatcher::Settings::default();
        docket::dispatcher::start(self.app.clone(), channels("http://127.0.0.1:9"), settings)
    }

    /// Switches the CRM module of an organization on or off.
    pub async fn switch_module(&self, organization: OrganizationId, enabled: bool) {
        let command = OrganizationCommand::SwitchCrmModule { enabled };
        organizations::order(&self.app, &Origin::system("test"), None, organization, command).await.unwrap();
    }

    /// Founds an organization.
    pub async fn organization(&self) -> OrganizationId {
        organization(&self.app).await
    }

    /// Issues a token.
    pub async fn token(&self, role: Role, organization: Option<OrganizationId>) -> String {
        token(&self.app, role, organization).await
    }

    /// Issues a token that acts as a caller.
    pub async fn agent_token(&self, organization: OrganizationId, agent: &str) -> String {
        issue(&self.app, Role::Agent, Some(organization), Some(agent.parse().unwrap())).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The product of another process on the same database, without surfaces and without folding.
    pub async fn another(&self) -> App {
        open(self.database.options.clone(), self.clock.clone()).await
    }

    /// A client with a fresh token of the role, in the organization.
    pub async fn client(&self, role: Role, organization: OrganizationId) -> Client {
        let limited = role.needs_organization().then_some(organization);
        Client::new(self.address, self.token(role, limited).await, organization)
    }

    /// A client of the role that may call the tools, for some tools only or for so many contacts a call.
    pub async fn narrowed(
        &self,
        organization: OrganizationId,
        limited_to: Option<OrganizationId>,
        tools: &[&str],
        max_affected: Option<u64>,
    ) -> Client {
        let token = issue_narrowed(&self.app, Role::SuperAdmin, limited_to, None, tools, max_affected).await;
        Client::new(self.address, token, organization)
    }

    /// A client for an organization of its own, with the role that may call the tools.
    pub async fn agent(&self) -> Client {
        let organization = self.organization().await;
        self.client(Role::SuperAdmin, organization).await
    }

    /// Ends the product and keeps its database.
    pub fn end(self) -> Arc<Database> {
        self.database.clone()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
