//! What an agent may do: one catalog of tools, read by HTTP, MCP, the reference and the command line.
//!
//! A tool is one place: an input type whose comment is the description and whose field comments are the schema, an
//! output type, a function, and its line in `tools()` at the top of the same file. A tool that reads is a function from
//! its input to its answer. A tool that changes something is a function to a [`Plan`]; what dry runs, confirmation,
//! previews, idempotency and races mean is settled once, in `call`.

pub mod call;
mod concise;
pub mod context;
pub mod cursor;
pub mod input;
pub mod plan;
pub mod progress;
pub mod refusal;
pub mod schema;
pub mod search;
pub mod strict;

mod agents;
mod campaign_contacts;
mod campaigns;
mod comparisons;
mod contacts;
mod deduplication;
mod qualification_templates;
mod qualifications;
mod script_executions;
mod script_templates;
mod upserting;
pub mod workspace;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use call::{Listener, admit, answer, answer_to, enter, refuse};
pub use context::ToolContext;
pub use plan::{Effects, Mint, Plan};
pub use refusal::{FieldError, Kind, Refusal, ToolResult};

#[cfg(test)]
pub use qualification_templates::form_of_document;

use call::{ChangeOptions, ConfirmOption};
use context::{PageOptions, ReadOptions};
use schema::InputSchema;

use crate::app::App;
use crate::aside;
use crate::json;
use crate::readside::{Consistency, View};

/// The version of the contract.
pub const VERSION: &str = "1.0.0";

/// The tools of the contract, in its order. Those that the catalog does not have come with later versions, and a call
/// to one says so.
pub const CONTRACT: [&str; 37] = [
    "crm_resolve_workspace",
    "get_crm_workspace_overview",
    "list_outbound_agents",
    "bulk_get_agent_workloads",
    "list_campaigns",
    "get_campaign",
    "create_outbound_campaign",
    "update_outbound_campaign",
    "attach_campaign_templates",
    "bulk_add_contacts_to_campaign_by_filter",
    "bulk_remove_contacts_from_campaign",
    "find_contacts_in_multiple_campaigns",
    "get_campaign_contact_overlap",
    "bulk_get_campaign_contact_counts",
    "analyze_import_contact_deduplication",
    "bulk_assign_campaign_contacts",
    "list_outbound_contacts",
    "list_script_templates",
    "get_script_template",
    "create_script_template",
    "update_script_template",
    "delete_script_template",
    "import_script_templates",
    "export_script_template",
    "list_qualification_templates",
    "get_qualification_template",
    "create_qualification_template",
    "update_qualification_template",
    "import_qualification_templates",
    "export_qualification_template",
    "get_script_execution",
    "upsert_script_execution",
    "get_qualification_schema",
    "get_qualification",
    "create_qualification",
    "update_qualification",
    "list_qualifications",
];

type Running<T> = Pin<Box<dyn Future<Output = ToolResult<T>> + Send>>;
type ReadFn = Box<dyn Fn(ToolContext, Value) -> Running<Value> + Send + Sync>;
type PlanFn = Box<dyn Fn(ToolContext, Value, Mint) -> Running<Plan<Value>> + Send + Sync>;

/// Looks at as much of an input as can be read, although its schema refuses it: whoever writes a script is told of
/// everything at once.
type Authoring = fn(&Value) -> Vec<FieldError>;

/// What a tool does when it is called.
enum Run {
    /// Answers.
    Read(ReadFn),
    /// Plans a change.
    Plan(PlanFn),
}

/// What can go wrong when an agent is mistaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Changes nothing.
    Read,
    /// Changes one thing.
    Write,
    /// Changes many things.
    BulkWrite,
    /// Takes something away.
    Destructive,
}

/// Whether applying needs `confirm: true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// No.
    Never,
    /// Yes.
    Always,
    /// If this input field is given.
    With(&'static str),
}

/// Stands in examples for the id of some campaign. `capabilities` of an organization puts one of its own there.
pub const CAMPAIGN_ID: &str = "CAMPAIGN_ID";
/// Stands in examples for the id of some agent.
pub const AGENT_ID: &str = "AGENT_ID";
/// Stands in examples for the id of a campaign in which somebody goes through a script at the moment.
pub const EXECUTION_CAMPAIGN_ID: &str = "EXECUTION_CAMPAIGN_ID";
/// Stands in examples for the id of the contact with whom that is done.
pub const CONTACT_ID: &str = "CONTACT_ID";
/// Stands in examples for the id of some script template.
pub const SCRIPT_TEMPLATE_ID: &str = "SCRIPT_TEMPLATE_ID";
/// Stands in examples for the id of that contact's open script execution.
pub const EXECUTION_ID: &str = "EXECUTION_ID";
/// Stands in examples for a question of the script that is gone through there.
pub const SCRIPT_NODE_ID: &str = "SCRIPT_NODE_ID";
/// Stands in examples for the id of some qualification template.
pub const QUALIFICATION_TEMPLATE_ID: &str = "QUALIFICATION_TEMPLATE_ID";
/// Stands in examples for the id of some qualification.
pub const QUALIFICATION_ID: &str = "QUALIFICATION_ID";
/// Stands in examples for the id of a campaign with a contact of whom no qualification is open.
pub const QUALIFIABLE_CAMPAIGN_ID: &str = "QUALIFIABLE_CAMPAIGN_ID";
/// Stands in examples for the id of that contact.
pub const QUALIFIABLE_CONTACT_ID: &str = "QUALIFIABLE_CONTACT_ID";

/// An input that works, for the reader and for the tests.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// What it is an example of.
    pub title: &'static str,
    /// The input.
    pub input: Value,
    /// What the organization does not have yet and the example needs, if anything is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// Ids of an organization that its examples may use.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// A campaign that takes contacts.
    pub campaign_id: Option<Uuid>,
    /// An agent that takes assignments.
    pub agent_id: Option<Uuid>,
    /// A script template that is not deleted.
    pub script_template_id: Option<Uuid>,
    /// An open script execution of any campaign that takes contacts.
    pub execution: Option<script_executions::Open>,
    /// A qualification template.
    pub qualification_template_id: Option<Uuid>,
    /// A qualification.
    pub qualification_id: Option<Uuid>,
    /// A campaign that takes contacts, and a contact of it of whom no qualification is open.
    pub qualifiable: Option<(Uuid, Uuid)>,
    /// Whether an organization was looked at: what it does not have is then said.
    pub looked: bool,
}

/// How a campaign stands that takes contacts: the examples look for what they need in all of these.
const TAKING_CONTACTS: [CampaignStatus; 3] =
    [CampaignStatus::Active, CampaignStatus::Draft, CampaignStatus::Paused];

impl Known {
    /// What the read models know at the moment.
    pub async fn of(app: &App, organization: OrganizationId) -> ToolResult<Self> {
        let mut view = app.readside.view(organization, Consistency::Eventual).await?;
        let campaign = open_campaign(&mut view, organization).await?;
        let agents = docket_projections::agents::active_ids(&mut view, organization, 1).await?;
        let script = docket_projections::script_templates::newest(&mut view, organization).await?;
        let execution = script_executions::some_open(&mut view, organization).await?;
        Ok(Self {
            campaign_id: campaign.map(|campaign| campaign.uuid()),
            agent_id: agents.first().map(|agent| agent.uuid()),
            script_template_id: script.map(|script| script.template_id.uuid()),
            execution,
            qualification_template_id: qualification_templates::some_template(&mut view, organization)
                .await?,
            qualification_id: qualifications::some_qualification(&mut view, organization).await?,
            qualifiable: qualifications::some_contact(&mut view, organization).await?,
            looked: true,
        })
    }

    fn fill(&self, example: &Example) -> Example {
        let mut filled = example.clone();
        self.fill_in(&mut filled.input);
        filled.needs = if self.looked { missing(&filled.input) } else { None };
        filled
    }

    fn fill_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let execution = self.execution.as_ref();
                let known = match text.as_str() {
                    CAMPAIGN_ID => self.campaign_id.map(|id| id.to_string()),
                    AGENT_ID => self.agent_id.map(|id| id.to_string()),
                    SCRIPT_TEMPLATE_ID => self.script_template_id.map(|id| id.to_string()),
                    EXECUTION_CAMPAIGN_ID => execution.map(|open| open.campaign_id.to_string()),
                    CONTACT_ID => execution.map(|open| open.contact_id.to_string()),
                    EXECUTION_ID => execution.map(|open| open.execution_id.to_string()),
                    SCRIPT_NODE_ID => execution.and_then(|open| open.question.clone()),
                    QUALIFICATION_TEMPLATE_ID => self.qualification_template_id.map(|id| id.to_string()),
                    QUALIFICATION_ID => self.qualification_id.map(|id| id.to_string()),
                    QUALIFIABLE_CAMPAIGN_ID => self.qualifiable.map(|(campaign, _)| campaign.to_string()),
                    QUALIFIABLE_CONTACT_ID => self.qualifiable.map(|(_, contact)| contact.to_string()),
                    _ => None,
                };
                if let Some(known) = known {
                    *text = known;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_in(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.fill_in(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }
}

/// A campaign that takes contacts: the newest that is active, else the newest.
async fn open_campaign(view: &mut View, organization: OrganizationId) -> ToolResult<Option<CampaignId>> {
    for statuses in [&TAKING_CONTACTS[..1], &TAKING_CONTACTS[1..]] {
        let newest = docket_projections::campaigns::ids_by_status(view, organization, statuses, 1).await?;
        if let Some(newest) = newest.first() {
            return Ok(Some(*newest));
        }
    }
    Ok(None)
}

/// What an example lacks that still has something standing in for an id.
fn missing(input: &Value) -> Option<String> {
    let text = match input {
        Value::String(text) => text.as_str(),
        Value::Array(items) => return items.iter().find_map(missing),
        Value::Object(members) => return members.values().find_map(missing),
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    let what = match text {
        CAMPAIGN_ID => "a campaign that is draft, active or paused",
        AGENT_ID => "an active agent",
        SCRIPT_TEMPLATE_ID => "a script template",
        EXECUTION_CAMPAIGN_ID | CONTACT_ID | EXECUTION_ID => {
            "an open script execution: begin one with upsert_script_execution"
        }
        SCRIPT_NODE_ID => "an open script execution whose script asks a question",
        QUALIFICATION_TEMPLATE_ID => "a qualification template",
        QUALIFICATION_ID => "a qualification",
        QUALIFIABLE_CAMPAIGN_ID | QUALIFIABLE_CONTACT_ID => {
            "a contact of an open campaign of whom no qualification is open"
        }
        _ => return None,
    };
    Some(format!("{text} is to be replaced: the organization does not have {what}"))
}

/// A tool as its file declares it.
pub struct Draft {
    name: &'static str,
    risk: Risk,
    scoped: bool,
    pages: bool,
    confirm: Confirm,
    repeatable: bool,
    adds: bool,
    whole: bool,
    levels: usize,
    open_world: bool,
    heavy: bool,
    examples: Vec<Example>,
    authoring: Option<Authoring>,
    input: fn(Map<String, Value>) -> Result<InputSchema, String>,
    output: fn() -> Value,
    run: Run,
}

impl Draft {
    fn new<I: JsonSchema, O: JsonSchema>(name: &'static str, risk: Risk, run: Run) -> Self {
        Self {
            name,
            risk,
            scoped: true,
            pages: false,
            confirm: Confirm::Never,
            repeatable: risk == Risk::Read,
            adds: false,
            whole: false,
            levels: json::DEPTH_MAX,
            open_world: false,
            heavy: false,
            examples: Vec::new(),
            authoring: None,
            input: InputSchema::new::<I>,
            output: schema::output::<O>,
            run,
        }
    }

    /// A tool that only reads.
    fn read<I, O, F, Fut>(name: &'static str, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + 'static,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ToolResult<O>> + Send + 'static,
    {
        let run: ReadFn = Box::new(move |context, input| match parsed::<I>(input) {
            Ok(input) => {
                let running = run(context, input);
                Box::pin(async move { written(&running.await?) })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        });
        Self::new::<I, O>(name, Risk::Read, Run::Read(run))
    }

    /// A tool that reads a list page by page.
    fn list<I, O, F, Fut>(name: &'static str, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + 'static,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ToolResult<O>> + Send + 'static,
    {
        Self { pages: true, ..Self::read(name, run) }
    }

    /// A tool that changes something.
    fn change<I, O, F, Fut>(risk: Risk, name: &'static str, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + 'static,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I, Mint) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ToolResult<Plan<O>>> + Send + 'static,
    {
        let run: PlanFn = Box::new(move |context, input, mint| match parsed::<I>(input) {
            Ok(input) => {
                let running = run(context, input, mint);
                Box::pin(async move {
                    let plan = running.await?;
                    let answer = written(&plan.answer)?;
                    Ok(plan.answering(|_| answer))
                })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        });
        Self::new::<I, O>(name, risk, Run::Plan(run))
    }

    /// It looks at every organization and takes no `organizationId`.
    fn unscoped(self) -> Self {
        Self { scoped: false, ..self }
    }

    /// Applying needs `confirm: true`.
    fn confirmed(self, confirm: Confirm) -> Self {
        Self { confirm, ..self }
    }

    /// Applying twice changes no more than applying once, whatever the input: a client may repeat it by itself.
    fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// It only adds: whatever was there before stays as it is.
    fn adding(self) -> Self {
        Self { adds: true, ..self }
    }

    /// Its texts and lists are never shortened: they are there to be sent back, or to be held against what is sent.
    fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Its body may be nested so deep.
    fn levels(self, levels: usize) -> Self {
        Self { levels, ..self }
    }

    /// What else is wrong with an input that the schema refuses.
    fn authored(self, authoring: Authoring) -> Self {
        Self { authoring: Some(authoring), ..self }
    }

    /// What it is sent may take long to judge: others go on meanwhile.
    fn heavy(self) -> Self {
        let run = match self.run {
            Run::Plan(run) => {
                let run = Arc::new(run);
                Run::Plan(Box::new(move |context, input, mint| {
                    let run = run.clone();
                    // Reading the input is part of what takes long.
                    Box::pin(aside::run(async move { run(context, input, mint).await }))
                }))
            }
            read @ Run::Read(_) => read,
        };
        Self { heavy: true, run, ..self }
    }

    /// It may reach services beyond Docket.
    #[allow(dead_code, reason = "no tool of this version does")]
    fn open_world(self) -> Self {
        Self { open_world: true, ..self }
    }

    /// An input that works in any organization, once [`CAMPAIGN_ID`] and its like are filled in.
    fn example(mut self, title: &'static str, input: Value) -> Self {
        self.examples.push(Example { title, input, needs: None });
        self
    }
}

fn parsed<I: DeserializeOwned>(input: Value) -> ToolResult<I> {
    // The schema has seen the input; what it cannot say (an instant beyond the year 9999) is said here.
    serde_json::from_value(input).map_err(|error| Refusal::field("", "INVALID", error.to_string()))
}

fn written<O: Serialize>(answer: &O) -> ToolResult<Value> {
    serde_json::to_value(answer).map_err(|error| Refusal::Defect(error.to_string()))
}

/// `tool!(read get_campaign)`: the function's name is the tool's name.
macro_rules! tool {
    (read $run:ident) => {
        $crate::tools::Draft::read(stringify!($run), $run)
    };
    (list $run:ident) => {
        $crate::tools::Draft::list(stringify!($run), $run)
    };
    ($risk:ident $run:ident) => {
        $crate::tools::Draft::change($crate::tools::Risk::$risk, stringify!($run), $run)
    };
}
use tool;

/// A tool.
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// To which family of the contract it belongs.
    pub family: &'static str,
    /// What can go wrong.
    pub risk: Risk,
    /// Whether it works in one organization.
    pub scoped: bool,
    /// Whether it reads a list page by page.
    pub pages: bool,
    /// Whether applying needs `confirm: true`.
    pub confirm: Confirm,
    /// Whether applying twice changes no more than applying once.
    pub repeatable: bool,
    /// Whether it only adds to what is there.
    pub adds: bool,
    /// Whether its texts are never shortened.
    pub whole: bool,
    /// Levels of arrays and objects within each other that its body may have.
    pub levels: usize,
    /// Whether it may reach services beyond Docket.
    pub open_world: bool,
    /// Inputs that work.
    pub examples: Vec<Example>,
    /// What may be sent.
    pub input: InputSchema,
    /// What is answered.
    pub output: Value,
    heavy: bool,
    authoring: Option<Authoring>,
    run: Run,
}

impl Tool {
    fn finish(draft: Draft, family: &'static str) -> Result<Self, String> {
        let mut options = Map::new();
        match &draft.run {
            Run::Read(_) => {
                if draft.pages {
                    options.extend(schema::properties::<PageOptions>());
                }
                options.extend(schema::properties::<ReadOptions>());
            }
            Run::Plan(_) => {
                options.extend(schema::properties::<ChangeOptions>());
                if draft.confirm != Confirm::Never {
                    options.extend(schema::properties::<ConfirmOption>());
                }
            }
        }
        let input = (draft.input)(options).map_err(|error| format!("{}: {error}", draft.name))?;
        let mut output = (draft.output)();
        if matches!(draft.run, Run::Plan(_)) && output["properties"].is_object() {
            output["properties"]["dryRun"] =
                json!({ "type": "boolean", "description": "Whether nothing was changed." });
            output["properties"]["position"] = json!({
                "type": ["integer", "null"],
                "description": "The log position of the last change, or the one that the preview was made at.",
            });
        }
        Ok(Self {
            name: draft.name,
            family,
            risk: draft.risk,
            scoped: draft.scoped,
            pages: draft.pages,
            confirm: draft.confirm,
            repeatable: draft.repeatable,
            adds: draft.adds,
            whole: draft.whole,
            levels: draft.levels,
            open_world: draft.open_world,
            examples: draft.examples,
            input,
            output,
            heavy: draft.heavy,
            authoring: draft.authoring,
            run: draft.run,
        })
    }

    /// Whether it may change something.
    pub fn mutating(&self) -> bool {
        matches!(self.run, Run::Plan(_))
    }

    /// Whether it may change many things in one call.
    pub fn bulk(&self) -> bool {
        matches!(self.risk, Risk::BulkWrite | Risk::Destructive)
    }

    /// Whether it may replace or take away what is there. The protocol's `destructiveHint` means this: false there says
    /// that a tool only adds.
    pub fn overwrites(&self) -> bool {
        self.mutating() && !self.adds
    }

    /// Whether applying this input needs `confirm: true`.
    pub fn gated(&self, input: &Value) -> bool {
        match self.confirm {
            Confirm::Never => false,
            Confirm::Always => true,
            Confirm::With(field) => input.get(field).is_some_and(|value| !value.is_null()),
        }
    }

    /// Everything that is wrong with the input, which is normalised first.
    async fn faults(&self, input: &mut Value) -> Vec<FieldError> {
        if self.heavy { aside::run(async { self.judged(input) }).await } else { self.judged(input) }
    }

    fn judged(&self, input: &mut Value) -> Vec<FieldError> {
        let mut faults = self.input.check(input);
        if let (false, Some(authoring)) = (faults.is_empty(), self.authoring) {
            let others = authoring(input);
            let told: HashSet<String> = faults.iter().map(|fault| fault.path.clone()).collect();
            faults.extend(others.into_iter().filter(|fault| !told.contains(&fault.path)));
        }
        faults
    }

    /// What the tool is searched by.
    fn entry(&self) -> search::Entry<'_> {
        search::Entry {
            name: self.name,
            description: &self.input.description,
            examples: self.examples.iter().map(|example| example.title).collect(),
            schema: &self.input.schema,
        }
    }

    /// The tool as `capabilities` shows it, its examples filled in with ids that exist.
    pub fn capability(&self, known: &Known) -> Value {
        let mut capability = json!({
            "name": self.name,
            "family": self.family,
            "description": self.input.description,
            "risk": self.risk,
            "scoped": self.scoped,
            "mutating": self.mutating(),
            "supportsDryRun": self.mutating(),
            "requiresConfirm": self.confirm == Confirm::Always,
            "hints": {
                "readOnly": !self.mutating(),
                "idempotent": self.repeatable,
                "destructive": self.overwrites(),
                "openWorld": self.open_world,
            },
            "inputSchema": self.input.schema,
            "strictInputSchema": self.input.strict,
            "outputSchema": self.output,
            "examples": self.examples.iter().map(|example| known.fill(example)).collect::<Vec<_>>(),
        });
        if let Some(tokens) = answer_tokens().get(self.name) {
            capability["answerTokens"] = tokens.clone();
        }
        if let Confirm::With(field) = self.confirm {
            capability["confirmWhen"] = format!("{field} is given").into();
        }
        capability
    }
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tool({})", self.name)
    }
}

/// Why a set of tools is no catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Two tools have one name.
    #[error("tool {0} is there twice")]
    Twice(&'static str),
    /// A tool is not in the contract.
    #[error("tool {0} is not in the contract")]
    NotInContract(&'static str),
    /// A tool does not say what it does.
    #[error("tool {0} has no description")]
    Undescribed(&'static str),
    /// A schema does not compile.
    #[error("schema of tool {0}")]
    Schema(String),
}

/// Every tool there is, in the order of the contract.
pub struct Catalog {
    tools: Vec<Tool>,
    by_name: HashMap<&'static str, usize>,
    index: search::Index,
}

impl Catalog {
    fn new(families: Vec<(&'static str, Vec<Draft>)>) -> Result<Self, CatalogError> {
        let mut tools = Vec::new();
        for (family, drafts) in families {
            for draft in drafts {
                let tool = Tool::finish(draft, family).map_err(CatalogError::Schema)?;
                if tool.input.description.is_empty() {
                    return Err(CatalogError::Undescribed(tool.name));
                }
                if !CONTRACT.contains(&tool.name) {
                    return Err(CatalogError::NotInContract(tool.name));
                }
                tools.push(tool);
            }
        }
        tools.sort_by_key(|tool| CONTRACT.iter().position(|name| *name == tool.name));
        if let Some(pair) = tools.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(CatalogError::Twice(pair[0].name));
        }
        let by_name = tools.iter().enumerate().map(|(index, tool)| (tool.name, index)).collect();
        let entries: Vec<search::Entry<'_>> = tools.iter().map(Tool::entry).collect();
        let index = search::Index::new(&entries);
        Ok(Self { tools, by_name, index })
    }

    /// The tool of that name.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.by_name.get(name).map(|index| &self.tools[*index])
    }

    /// Every tool, in the order of the contract.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter()
    }

    /// Every family, in the order of the contract.
    pub fn families(&self) -> Vec<&'static str> {
        let mut families: Vec<&'static str> = self.iter().map(|tool| tool.family).collect();
        families.dedup();
        families
    }

    /// The family of that name, whether it is written `Script templates` or `script_templates`.
    pub fn family(&self, name: &str) -> Option<&'static str> {
        let plain = |name: &str| name.trim().replace(['_', '-'], " ").to_lowercase();
        self.families().into_iter().find(|family| plain(family) == plain(name))
    }

    /// The tools as `capabilities` shows them: of one family, if one is named, and those that fit the query, the best
    /// first, if there is one.
    pub fn capabilities(&self, family: Option<&str>, query: Option<&str>, known: &Known) -> Vec<Value> {
        let order: Vec<usize> = match query {
            Some(query) => self.index.ranked(query),
            None => (0..self.tools.len()).collect(),
        };
        order
            .into_iter()
            .map(|index| &self.tools[index])
            .filter(|tool| family.is_none_or(|family| tool.family == family))
            .map(|tool| tool.capability(known))
            .collect()
    }
}

/// What an answer of each tool costs a model at the demo's size, measured by `tests/it/answer_tokens.rs`: the largest
/// answer to an example, concise and detailed.
pub fn answer_tokens() -> &'static Map<String, Value> {
    static MEASURED: LazyLock<Map<String, Value>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("tools/answer_tokens.json"))
            .expect("the file depends on nothing but this code, and a test reads it")
    });
    &MEASURED
}

/// Every tool there is.
pub fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
        Catalog::new(vec![
            ("Workspace resolution", workspace::resolution()),
            (
                "Outbound operations",
                [
                    workspace::tools(),
                    agents::tools(),
                    campaigns::tools(),
                    campaign_contacts::tools(),
                    comparisons::tools(),
                    contacts::tools(),
                    deduplication::tools(),
                ]
                .into_iter()
                .flatten()
                .collect(),
            ),
            ("Script templates", script_templates::tools()),
            ("Qualification templates", qualification_templates::tools()),
            ("Script executions", script_executions::tools()),
            ("Qualifications", qualifications::tools()),
        ])
        .expect("the catalog depends on nothing but this code, and a test makes it")
    });
    &CATALOG
}

/// The tools of the contract that the catalog does not have yet.
pub fn announced() -> Vec<&'static str> {
    CONTRACT.into_iter().filter(|name| catalog().get(name).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn the_contract_has_37_tools() {
        let names: std::collections::HashSet<_> = CONTRACT.into_iter().collect();
        assert_eq!(names.len(), 37);
        assert_eq!(catalog().iter().count() + announced().len(), 37);
    }

    #[test]
    fn every_example_fits_its_schema() {
        for tool in catalog().iter() {
            assert!(tool.examples.len() >= 2, "{}", tool.name);
            for example in &tool.examples {
                let faults = tool.input.check(&mut example.input.clone());
                assert_eq!(faults, [], "{}: {}", tool.name, example.title);
            }
        }
    }

    #[test]
    fn examples_are_filled_in_with_ids_that_exist() {
        let known = Known {
            campaign_id: Some(Uuid::from_u128(1)),
            agent_id: Some(Uuid::from_u128(2)),
            script_template_id: Some(Uuid::from_u128(3)),
            execution: Some(script_executions::Open {
                execution_id: Uuid::from_u128(4),
                campaign_id: Uuid::from_u128(9),
                contact_id: Uuid::from_u128(5),
                question: Some("budget".to_owned()),
            }),
            qualification_template_id: Some(Uuid::from_u128(6)),
            qualification_id: Some(Uuid::from_u128(7)),
            qualifiable: Some((Uuid::from_u128(8), Uuid::from_u128(10))),
            looked: true,
        };
        let filled = Value::from(catalog().capabilities(None, None, &known)).to_string();
        for stand_in in [
            CAMPAIGN_ID,
            AGENT_ID,
            CONTACT_ID,
            SCRIPT_TEMPLATE_ID,
            EXECUTION_ID,
            SCRIPT_NODE_ID,
            QUALIFICATION_TEMPLATE_ID,
            QUALIFICATION_ID,
            QUALIFIABLE_CONTACT_ID,
            EXECUTION_CAMPAIGN_ID,
            QUALIFIABLE_CAMPAIGN_ID,
        ] {
            assert!(!filled.contains(&format!("\"{stand_in}\"")), "{stand_in}");
        }
        assert!(!filled.contains("is to be replaced"));
    }

    #[test]
    fn an_example_says_what_the_organization_does_not_have() {
        let looked = Known { looked: true, ..Known::default() };
        for (known, told) in [(looked, true), (Known::default(), false)] {
            for tool in catalog().capabilities(None, None, &known) {
                for example in tool["examples"].as_array().unwrap() {
                    let stands_in = example["input"].to_string().contains("_ID\"");
                    assert_eq!(example["needs"].is_string(), told && stands_in, "{example}");
                }
            }
        }
    }

    #[test]
    fn a_family_is_known_by_its_name_however_it_is_written() {
        for (name, family) in [
            ("Script templates", Some("Script templates")),
            ("script_templates", Some("Script templates")),
            (" SCRIPT-TEMPLATES ", Some("Script templates")),
            ("outbound operations", Some("Outbound operations")),
            ("scripts", None),
            ("", None),
        ] {
            assert_eq!(catalog().family(name), family, "{name}");
        }
        assert_eq!(catalog().families().len(), 6);
    }

    #[test]
    fn every_field_says_what_it_is() {
        for tool in catalog().iter() {
            for (name, property) in tool.input.schema["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{}.{name}", tool.name);
            }
        }
    }

    #[test]
    fn what_changes_something_can_be_tried_out() {
        for tool in catalog().iter() {
            let properties = tool.input.schema["properties"].as_object().unwrap();
            assert_eq!(properties.contains_key("dryRun"), tool.mutating(), "{}", tool.name);
            assert_eq!(properties.contains_key("confirm"), tool.confirm != Confirm::Never, "{}", tool.name);
            assert_eq!(properties.contains_key("asOf"), !tool.mutating(), "{}", tool.name);
        }
    }

    #[test]
    fn only_what_adds_and_nothing_else_is_called_harmless() {
        let adding = |tool: &&Tool| tool.mutating() && !tool.overwrites();
        let adding: Vec<&str> = catalog().iter().filter(adding).map(|tool| tool.name).collect();
        assert_eq!(
            adding,
            [
                "create_outbound_campaign",
                "bulk_add_contacts_to_campaign_by_filter",
                "create_script_template",
                "create_qualification_template",
            ]
        );
        for tool in catalog().iter() {
            let hints = tool.capability(&Known::default())["hints"].clone();
            assert_eq!(hints["destructive"], tool.overwrites(), "{}", tool.name);
            assert!(tool.risk != Risk::Destructive || tool.overwrites(), "{}", tool.name);
            assert!(tool.mutating() || tool.repeatable, "{}", tool.name);
        }
    }

    #[tokio::test]
    async fn who_judges_a_script_takes_a_place_among_those_who_judge() {
        let heavy = catalog().get("create_script_template").unwrap();
        let mut input = json!({ "name": "A", "steps": [] });
        let places = aside::every_place().await;
        let mut judged = std::pin::pin!(heavy.faults(&mut input));
        assert!(judged.as_mut().now_or_never().is_none(), "all places are taken");
        drop(places);
        judged.await;
        let light = catalog().get("list_campaigns").unwrap();
        let _places = aside::every_place().await;
        assert!(light.faults(&mut json!({})).now_or_never().is_some());
    }

    #[test]
    fn a_condition_that_names_nothing_is_refused() {
        let of = |member: &str| json!({ "campaignId": CAMPAIGN_ID, "filter": { member: [] } });
        let adding =
            |member: &str| json!({ "campaignId": CAMPAIGN_ID, "filter": { "source": "crm", member: [] } });
        let assigning =
            json!({ "campaignId": CAMPAIGN_ID, "agentIds": [AGENT_ID], "filter": { "statusIn": [] } });
        let (remove, assign) = ("bulk_remove_contacts_from_campaign", "bulk_assign_campaign_contacts");
        let add = "bulk_add_contacts_to_campaign_by_filter";
        for (tool, mut input, path) in [
            (remove, of("statusIn"), "input.filter.statusIn"),
            (remove, of("assignedAgentIds"), "input.filter.assignedAgentIds"),
            (remove, of("alsoInCampaignIds"), "input.filter.alsoInCampaignIds"),
            (assign, assigning, "input.filter.statusIn"),
            (add, adding("tagsAny"), "input.filter.tagsAny"),
            (add, adding("tagsAll"), "input.filter.tagsAll"),
            (add, adding("contactIds"), "input.filter.contactIds"),
            ("list_outbound_contacts", json!({ "statusIn": [] }), "input.statusIn"),
            ("find_contacts_in_multiple_campaigns", json!({ "statusIn": [] }), "input.statusIn"),
            ("list_qualifications", json!({ "statusIn": [] }), "input.statusIn"),
            ("list_campaigns", json!({ "status": [] }), "input.status"),
        ] {
            let faults = catalog().get(tool).unwrap().judged(&mut input);
            let told: Vec<_> = faults.iter().map(|fault| (fault.path.as_str(), fault.code)).collect();
            assert_eq!(told, [(path, "TOO_FEW_ITEMS")], "{tool}");
        }
    }

    #[test]
    fn a_catalog_has_each_name_once() {
        let twice = Catalog::new(vec![("A", workspace::resolution()), ("B", workspace::resolution())]);
        assert_eq!(twice.err(), Some(CatalogError::Twice("crm_resolve_workspace")));
    }
}
