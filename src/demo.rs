//! The sample organization of `docket demo`, and how it gets into the product.
//!
//! `data` makes it up and touches nothing. What is here hands it in through the doors that everybody uses: the
//! organization, callers, imports, calls and follow-ups through the services behind the HTTP routes, campaigns through
//! the agent tools, mails through the senders, rules and people that decide about every mail. Nothing is written to the database in any other way, so that the sample's ledger can be verified,
//! replayed and rebuilt like any other.

pub mod data;
pub mod mailbox;
pub mod sending;

mod campaign;

use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::time::Duration;

use docket_aggregates::agent::{AgentError, AgentProfile};
use docket_aggregates::contact::LegalBasis;
use docket_aggregates::ids::{
    AgentId, CampaignId, ContentPieceId, ImportId, OrganizationId, OutboxId, QualificationTemplateId,
    ScriptTemplateId, SequenceId,
};
use docket_aggregates::import::OnDuplicate;
use docket_aggregates::organization::{OrganizationError, OrganizationProfile};
use serde_json::{Value, json};

use self::data::{DemoAgent, DemoData, DemoForm, DemoImport, DemoScript};
use self::mailbox::Mailbox;
use crate::app::App;
use crate::calls::WorkRefusal;
use crate::credentials::Caller;
use crate::imports::{self, Committed, ImportRefusal, Label, Outcome, Progress};
use crate::ledger::{Actor, DecideError, Origin};
use crate::readside::{Consistency, ReadSideError};
use crate::service::{Call, ServiceError};
use crate::{agents, organizations, tools};

/// What the ledger notes as the door through which the sample came in.
const DOOR: &str = "demo";
/// How long one import may take, how long the read models may take to catch up with anything, and how long a mail may take: a
/// busy machine loads slowly, and does load.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why the sample could not be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum DemoError {
    #[error("the sample organization was not founded")]
    Organization(#[from] DecideError<OrganizationError>),
    #[error("a sample caller was not registered")]
    Agent(#[from] ServiceError<AgentError>),
    #[error("a sample file was not imported")]
    Import(#[from] ServiceError<ImportRefusal>),
    #[error("a sample file was not put aside")]
    File(#[from] std::io::Error),
    #[error("the import {0:?} was not committed")]
    NotCommitted(&'static str),
    #[error("{tool} answered {code}: {sentence}")]
    Tool { tool: &'static str, code: String, sentence: String },
    #[error("{tool} answered without {field}")]
    NoAnswer { tool: &'static str, field: &'static str },
    #[error("a sample call was refused")]
    Call(#[from] ServiceError<WorkRefusal>),
    #[error("the read models do not follow")]
    ReadSide(#[from] ReadSideError),
    #[error("the read models cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the sample could not have {what}")]
    Sending { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("a sample mail did not come to what it was to come to")]
    NotSent,
    #[error("the sample's sequence does not take its steps, or does not stop for an answer")]
    NotTurned,
    #[error("the sample names {0:?}, which it does not have")]
    Unknown(&'static str),
}

/// What was loaded.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The sample organization.
    pub organization: OrganizationId,
    /// Its callers, by their keys within the sample.
    pub agents: BTreeMap<&'static str, AgentId>,
    /// Its import folders, in the order of the sample.
    pub imports: Vec<ImportId>,
    /// Its call scripts, by their keys within the sample.
    pub scripts: BTreeMap<&'static str, ScriptTemplateId>,
    /// Its campaigns, by their keys within the sample.
    pub campaigns: BTreeMap<&'static str, CampaignId>,
    /// Contacts that the imports made.
    pub contacts: u64,
    /// Calls that were logged.
    pub calls: u64,
    /// Follow-ups that were promised, closed ones among them.
    pub follow_ups: u64,
    /// Runs through a script, ended ones among them.
    pub executions: u64,
    /// Its qualification templates, by their keys within the sample.
    pub forms: BTreeMap<&'static str, QualificationTemplateId>,
    /// What was found out about contacts, drafts among it.
    pub qualifications: u64,
    /// Its senders, by their keys within the sample.
    pub outboxes: BTreeMap<&'static str, OutboxId>,
    /// Its content pieces, by their keys within the sample.
    pub pieces: BTreeMap<&'static str, ContentPieceId>,
    /// Its sequence.
    pub sequence: Option<SequenceId>,
    /// Mails that arrived in the mailbox.
    pub mails: u64,
    /// Mails that wait for a person.
    pub waiting: u64,
}

/// How far the loading has come: a sentence, and a share of the whole from 0 to 100.
pub type Watch<'a> = &'a (dyn Fn(&str, u64) + Sync);

/// Loads the sample in the name of `operator`, whose token must be a super-admin's. Nothing is sent yet.
pub async fn load(
    app: &App,
    operator: &Caller,
    data: &DemoData,
    watch: Watch<'_>,
) -> Result<Loaded, DemoError> {
    let app = &patient(app);
    let organization: OrganizationId = app.clock.mint();
    let mut loading =
        Loading { app, operator, organization, loaded: Loaded { organization, ..Loaded::default() } };
    watch("founding the organization", 0);
    loading.organization(data).await?;
    for agent in &data.agents {
        loading.agent(agent).await?;
    }
    for script in &data.scripts {
        loading.script(script).await?;
    }
    for form in &data.forms {
        loading.form(form).await?;
    }
    for (index, import) in data.imports.iter().enumerate() {
        watch(&format!("importing {}", import.name), 2 + 18 * index as u64);
        loading.import(import).await?;
    }
    loading.caught_up().await?;
    for (index, campaign) in data.campaigns.iter().enumerate() {
        watch(campaign.name, 56 + (40 * index / data.campaigns.len()) as u64);
        loading.campaign(campaign).await?;
    }
    loading.caught_up().await?;
    Ok(loading.loaded)
}

/// Sends the mails of the sample that was loaded. A dispatcher must be at work on `app`, with the channels of the mailbox,
/// and mail be taken in where the mailbox hands answers over.
pub async fn send(
    app: &App,
    operator: &Caller,
    data: &DemoData,
    loaded: Loaded,
    mailbox: &Mailbox,
    watch: Watch<'_>,
) -> Result<Loaded, DemoError> {
    watch("sending mails", 96);
    let app = &patient(app);
    let mut loading = Loading { app, operator, organization: loaded.organization, loaded };
    loading.sends(&data.sends, mailbox).await?;
    loading.caught_up().await?;
    Ok(loading.loaded)
}

/// The product for somebody who waits for the read models however long they take: nobody else waits for an answer.
fn patient(app: &App) -> App {
    App { readside: app.readside.patient(PATIENCE), ..app.clone() }
}

/// The sample on its way in.
struct Loading<'a> {
    app: &'a App,
    operator: &'a Caller,
    organization: OrganizationId,
    loaded: Loaded,
}

impl Loading<'_> {
    /// A call of a service by `actor`.
    fn call(&self, actor: Actor) -> Call {
        Call {
            origin: Origin { actor, ..Origin::system(DOOR) },
            ..Call::of_system(self.app, self.organization, DOOR)
        }
    }

    async fn organization(&self, data: &DemoData) -> Result<(), DemoError> {
        let origin = Origin { actor: self.operator.actor(), ..Origin::system(DOOR) };
        let profile = OrganizationProfile {
            name: data.organization.name.to_owned(),
            slug: data.organization.slug.to_owned(),
            owner_email: data.organization.owner_email.to_owned(),
        };
        organizations::create(self.app, &origin, None, self.organization, profile, true).await?;
        Ok(())
    }

    async fn agent(&mut self, agent: &DemoAgent) -> Result<(), DemoError> {
        let profile = AgentProfile {
            name: agent.name.to_owned(),
            email: agent.email.clone(),
            role: Some(agent.role.to_owned()),
        };
        let call = self.call(self.operator.actor());
        let registered = agents::register(self.app, &call, profile, agent.active).await?;
        self.loaded.agents.insert(agent.key, registered.entity.agent_id);
        Ok(())
    }

    async fn script(&mut self, script: &DemoScript) -> Result<(), DemoError> {
        const TOOL: &str = "create_script_template";
        let data = self.tool(TOOL, script.template.clone()).await?;
        let id = data["template"]["templateId"].as_str().and_then(|id| id.parse().ok());
        let id = id.ok_or(DemoError::NoAnswer { tool: TOOL, field: "templateId" })?;
        self.loaded.scripts.insert(script.key, id);
        Ok(())
    }

    async fn form(&mut self, form: &DemoForm) -> Result<(), DemoError> {
        const TOOL: &str = "create_qualification_template";
        let data = self.tool(TOOL, form.template.clone()).await?;
        let id = data["template"]["templateId"].as_str().and_then(|id| id.parse().ok());
        let id = id.ok_or(DemoError::NoAnswer { tool: TOOL, field: "templateId" })?;
        self.loaded.forms.insert(form.key, id);
        Ok(())
    }

    async fn import(&mut self, import: &DemoImport) -> Result<(), DemoError> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&import.csv)?;
        file.rewind()?;
        let label = Label {
            name: import.name.to_owned(),
            source: Some(import.source.to_owned()),
            legal_basis: import
                .legal_basis
                .parse::<LegalBasis>()
                .map_err(|_| DemoError::Unknown(import.legal_basis))?,
        };
        let unwatched = |_: Progress| ();
        let call = self.call(self.operator.actor());
        let staged = imports::stage_file(self.app, &call, file, label, &[], unwatched).await?.entity;

        let call = self.call(self.operator.actor());
        let folder = staged.import_folder_id;
        let mut ordered = imports::commit(self.app, &call, folder, OnDuplicate::Update, unwatched).await?;
        let Some(Outcome::Done(Committed { created, .. })) = ordered.ended(PATIENCE).await else {
            return Err(DemoError::NotCommitted(import.name));
        };
        self.loaded.imports.push(folder);
        self.loaded.contacts += created;
        Ok(())
    }

    /// Waits until the read models show everything that was loaded so far.
    async fn caught_up(&self) -> Result<(), DemoError> {
        Ok(self.app.readside.settle(self.organization).await?)
    }

    /// Calls a tool, and returns the data of its answer.
    async fn tool(&self, tool: &'static str, input: Value) -> Result<Value, DemoError> {
        let body = json!({ "organizationId": self.organization, "input": input, "reason": "sample data" });
        let mut answer = tools::answer(self.app, self.operator, tool, Ok(body)).await;
        if answer.status == 200 {
            return Ok(answer.body["data"].take());
        }
        let sentence = answer.body["error"].as_str().unwrap_or_default().to_owned();
        Err(DemoError::Tool { tool, code: answer.outcome.to_owned(), sentence })
    }

    fn agent_id(&self, key: &'static str) -> Result<AgentId, DemoError> {
        self.loaded.agents.get(key).copied().ok_or(DemoError::Unknown(key))
    }

    async fn view(&self) -> Result<crate::readside::View, DemoError> {
        Ok(self.app.readside.view(self.organization, Consistency::STRONG).await?)
    }
}
