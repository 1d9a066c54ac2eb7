//! The agent tools over HTTP: what they refuse, what they promise, and that a preview is what happens.
//!
//! Every answer that passes through here is held against the contract: an envelope with data or with an error and a
//! hint, and data that fits the tool's own output schema.

mod assigning;
mod bodies;
mod campaigns;
pub mod catalog;
mod contacts;
mod pages;
mod previews;
mod qualification_templates;
mod qualifications;
mod reading;
mod refusals;
mod repeating;
mod script_exchange;
mod script_executions;
mod script_templates;
mod strangers;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use docket_aggregates::token::Role;
use hyper::Method;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");
/// An id that nothing has.
const NOBODY: &str = "0190a0f0-0000-7000-8000-00000000000f";
/// Contacts of an office in Lyon, and in Villeurbanne.
pub const LYON: usize = 20;
const VILLEURBANNE: usize = 10;

/// What a tool answered.
pub struct Told {
    pub status: u16,
    body: Value,
}

impl Told {
    /// The answer of `tool`, once it has been held against the contract.
    fn checked(tool: &str, (status, body): (u16, Value)) -> Self {
        static OUTPUTS: LazyLock<HashMap<&str, Validator>> = LazyLock::new(|| {
            let tools = docket::tools::catalog().iter();
            tools.map(|tool| (tool.name, jsonschema::validator_for(&tool.output).unwrap())).collect()
        });
        if status == 200 {
            assert!(body["success"] == json!(true) && body["error"].is_null(), "{tool}: {body}");
            let faults: Vec<String> = OUTPUTS[tool]
                .iter_errors(&body["data"])
                .map(|fault| format!("{fault} at {}", fault.instance_path()))
                .collect();
            assert!(faults.is_empty(), "{tool}: {faults:?}");
        } else {
            assert!(body["success"] == json!(false) && body["data"].is_null(), "{tool}: {body}");
            assert!(body["error"].is_string() && body["meta"]["hint"].is_string(), "{tool}: {body}");
        }
        Self { status, body }
    }

    pub fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.body);
        &self.body["data"]
    }

    pub fn meta(&self) -> &Value {
        &self.body["meta"]
    }

    fn code(&self) -> &str {
        self.meta()["errorCode"].as_str().unwrap_or("")
    }

    /// The token of a preview.
    pub fn token(&self) -> Value {
        assert!(
            self.data()["dryRun"] == json!(true) && self.meta()["dryRun"] == json!(true),
            "{}",
            self.body
        );
        self.meta()["previewToken"].clone()
    }

    /// The data without what tells a preview from the change itself.
    fn outcome(&self) -> Value {
        let mut data = self.data().clone();
        let members = data.as_object_mut().unwrap();
        members.remove("dryRun").unwrap();
        members.remove("position").unwrap();
        data
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
    }
}

/// An organization, and how it is asked.
pub struct Office {
    pub app: TestApp,
    pub client: Client,
    /// Its callers, if it has any.
    agents: Vec<String>,
}

impl Office {
    /// With nobody in it.
    pub async fn empty() -> Self {
        let app = TestApp::start().await;
        let client = app.agent().await;
        Self { app, client, agents: Vec::new() }
    }

    /// With three callers and thirty contacts.
    pub async fn open() -> Self {
        let mut office = Self::empty().await;
        office.agents = furnish(&office.client).await;
        office
    }

    async fn ask(&self, tool: &str, input: Value) -> Told {
        ask(&self.client, tool, input).await
    }

    async fn ask_as(&self, request_id: &str, tool: &str, input: Value) -> Told {
        Told::checked(tool, self.client.try_tool(tool, &input, Some(request_id)).await.unwrap())
    }

    async fn done(&self, tool: &str, input: Value) -> Value {
        self.ask(tool, input).await.data().clone()
    }

    /// An active campaign.
    pub async fn campaign(&self, name: &str) -> String {
        campaign(&self.client, name).await
    }

    /// An active campaign with everybody in Lyon, and those contacts.
    pub async fn lyon(&self, name: &str) -> (String, Vec<String>) {
        let campaign = self.campaign(name).await;
        let add = json!({ "campaignId": campaign, "filter": { "source": "crm", "city": "Lyon" } });
        self.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        let listed = self
            .done(
                "list_outbound_contacts",
                json!({ "campaignId": campaign, "limit": 100, "responseFormat": "detailed" }),
            )
            .await;
        let contacts = texts(&listed["contacts"], "contactId");
        assert_eq!(contacts.len(), LYON);
        (campaign, contacts)
    }

    /// How a campaign's contacts stand.
    async fn counts(&self, campaign: &str) -> Value {
        let input = json!({ "campaignIds": [campaign], "groupBy": ["status", "agent", "source"] });
        self.done("bulk_get_campaign_contact_counts", input).await["counts"][0].clone()
    }

    /// Events in the whole ledger, counted in its own table: whatever is written anywhere shows.
    pub async fn events(&self) -> i64 {
        let pool = self.app.database.pool();
        sqlx::query_scalar("SELECT count(*) FROM ledger.events").fetch_one(&pool).await.unwrap()
    }
}

pub async fn ask(client: &Client, tool: &str, input: Value) -> Told {
    Told::checked(tool, client.tool(tool, input).await)
}

async fn campaign(client: &Client, name: &str) -> String {
    let input = json!({ "name": name, "status": "active" });
    text(&ask(client, "create_outbound_campaign", input).await.data()["campaign"]["campaignId"])
}

/// Imports the contacts and registers the callers.
async fn furnish(client: &Client) -> Vec<String> {
    let mut file = "Name,Email,Phone,City\n".to_owned();
    for n in 0..LYON + VILLEURBANNE {
        let city = if n < LYON { "Lyon" } else { "Villeurbanne" };
        writeln!(file, "Person {n:02},p{n:02}@example.com,06123456{n:02},{city}").unwrap();
    }
    let path = client.crm("imports?name=Fair");
    let headers = [("content-type", "text/csv")];
    let (_, folder) = client.send(Method::POST, &path, &headers, file.into_bytes()).await.unwrap();
    let commit = client.crm(&format!("imports/{}/commit", text(&folder["importFolderId"])));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
    let mut agents = Vec::new();
    for name in ["ada", "bea", "cleo"] {
        let profile = json!({ "name": name, "email": format!("{name}@example.com") });
        agents.push(text(&client.post(&client.crm("agents"), profile).await.1["agentId"]));
    }
    agents
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

pub fn texts(rows: &Value, field: &str) -> Vec<String> {
    rows.as_array().unwrap().iter().map(|row| text(&row[field])).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(number).sum()
}

/// The input with one member more.
fn with(mut input: Value, member: &str, value: impl Into<Value>) -> Value {
    input[member] = value.into();
    input
}

/// Whoever calls with a token of the role.
async fn caller(app: &TestApp, role: Role, client: &Client) -> Client {
    app.client(role, client.organization).await
}
