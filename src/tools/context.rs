//! What a tool is given beside its input.

use std::sync::{Arc, Mutex, PoisonError};

use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::Total;
use docket_projections::campaign_counters::{self, Totals};
use docket_projections::unfinished::Unfinished;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::cursor::Cursor;
use super::plan::Effects;
use super::refusal::{Refusal, ToolResult};
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::Warning;
use crate::ledger::Versioned;
use crate::readside::{Consistency, View};

/// How long an answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponseFormat {
    /// Without nulls, long texts shortened, and as much as fits into some 2 000 tokens.
    #[default]
    Concise,
    /// Everything.
    Detailed,
}

/// How new an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Includes everything that was recorded before the call.
    #[default]
    Strong,
    /// Whatever is there; does not wait.
    Eventual,
}

/// What every read takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadOptions {
    /// concise leaves out nulls, shortens long texts, and stays below some 2 000 tokens: pages hold as many rows as fit.
    pub response_format: Option<ResponseFormat>,
    /// strong (the default) includes everything recorded before the call; eventual does not wait.
    pub consistency: Option<Freshness>,
    /// A log position that the answer must include, as an earlier answer gave it in meta.position.
    #[schemars(range(min = 0))]
    pub min_position: Option<i64>,
    /// A moment of the log to answer from: an RFC 3339 instant or a position. Not available yet.
    #[schemars(schema_with = "moment_or_position")]
    pub as_of: Option<Value>,
}

fn moment_or_position(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "integer"] })
}

/// What every list takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PageOptions {
    /// Rows of one page, 25 if not said.
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<u32>,
    /// Continues the list: meta.pagination.nextCursor of the page before, with the same filters.
    #[schemars(length(min = 1, max = 2048))]
    pub cursor: Option<String>,
}

/// Rows of a page when nobody says.
pub const LIMIT: u32 = 25;

/// What applying a preview must keep to.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What was shown.
    pub effects: Arc<Effects>,
    /// Whether only what was shown may happen; else it is refused when it differs.
    pub intersect: bool,
}

/// What a tool learnt on its way to the answer.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// What the caller should know.
    pub warnings: Vec<Warning>,
    /// The position that the answer reflects.
    pub position: Option<i64>,
    /// Whether the answer leaves something out.
    pub truncated: bool,
    /// Where the list goes on, and how long it is.
    pub page: Option<(Option<Value>, Total)>,
    /// Whether a state was used as it was remembered.
    pub from_memory: bool,
    /// The position at which counts were right that were used as they were remembered; the append is their judge.
    pub counted_at: Option<i64>,
    /// The campaign that begins with what is planned.
    pub begins: Option<CampaignId>,
    /// Contacts that a change affects, where its answer does not count them as `applied`.
    pub affected: u64,
}

/// What a tool is given beside its input. Cheap to clone.
#[derive(Clone)]
pub struct ToolContext {
    pub(super) call: Arc<Call>,
    pub(super) notes: Arc<Mutex<Notes>>,
    /// Whether states may be used as they are remembered.
    memory: bool,
}

/// One call to a tool.
#[derive(Clone)]
pub(super) struct Call {
    pub app: App,
    pub caller: Caller,
    pub organization: OrganizationId,
    pub now: Timestamp,
    pub read: ReadOptions,
    pub limit: u32,
    pub cursor: Option<Cursor>,
    pub bound: Option<Bound>,
}

impl ToolContext {
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self { call, notes: Arc::default(), memory: false }
    }

    /// For a plan of which the append is the judge: states may be used as they are remembered.
    pub(super) fn by_memory(call: Arc<Call>) -> Self {
        Self { memory: true, ..Self::new(call) }
    }

    /// An aggregate's state to decide on. It may be old where that does no harm: a plan that is recorded is judged by the
    /// append, and any other (refused, drifted, beyond a limit, nothing to do) is made again on the state as it is now.
    pub async fn state<A: Decides + Clone + 'static>(&self, id: impl Into<Uuid>) -> ToolResult<Versioned<A>> {
        let ledger = &self.call.app.ledger;
        if self.memory {
            self.note(|notes| notes.from_memory = true);
            Ok(ledger.glance(self.call.organization, id).await?)
        } else {
            Ok(ledger.load(self.call.organization, id).await?)
        }
    }

    /// The product.
    pub fn app(&self) -> &App {
        &self.call.app
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.call.caller
    }

    /// The organization that is entered; the instance itself for an unscoped tool.
    pub fn organization(&self) -> OrganizationId {
        self.call.organization
    }

    /// When the call came in.
    pub fn now(&self) -> Timestamp {
        self.call.now
    }

    /// A consistent view of the read models, as new as the call asks for.
    pub async fn view(&self) -> ToolResult<View> {
        let consistency = match (self.call.read.consistency.unwrap_or_default(), self.call.read.min_position)
        {
            (Freshness::Eventual, None) => Consistency::Eventual,
            (_, min_position) => Consistency::Strong { min_position },
        };
        let view = self.call.app.readside.view(self.call.organization, consistency).await?;
        self.note(|notes| notes.position = Some(view.position));
        Ok(view)
    }

    /// Up to five campaigns of that name, for a change that warns of them.
    pub async fn campaigns_named(&self, name: &str) -> ToolResult<Vec<CampaignId>> {
        let asked = self.call.app.readside.campaigns_named(self.call.organization, name.to_owned());
        let (found, position) = asked.await?;
        self.note(|notes| notes.position = Some(position));
        Ok(found)
    }

    /// What is still to do on a campaign, for a change that ends it.
    pub async fn unfinished(&self, campaign: CampaignId) -> ToolResult<Unfinished> {
        let asked = self.call.app.readside.unfinished(self.call.organization, campaign, self.call.now);
        let (found, position) = asked.await?;
        self.note(|notes| notes.position = Some(position));
        Ok(found)
    }

    /// How many contacts a campaign has now, for a change that shows it beside its own decision.
    pub async fn totals(&self, campaign: CampaignId) -> ToolResult<Totals> {
        if !self.memory {
            let mut view = self.view().await?;
            let organization = self.call.organization;
            let totals = campaign_counters::totals_of_one(&mut view, organization, campaign).await?;
            self.call.app.readside.remember_totals(organization, campaign, totals, view.position);
            return Ok(totals);
        }
        let readside = &self.call.app.readside;
        if let Some((totals, position)) = readside.remembered_totals(self.call.organization, campaign) {
            self.note(|notes| {
                notes.from_memory = true;
                notes.counted_at = Some(notes.counted_at.map_or(position, |earlier| earlier.min(position)));
                notes.position = Some(position);
            });
            return Ok(totals);
        }
        let (totals, position) = readside.totals(self.call.organization, campaign).await?;
        self.note(|notes| notes.position = Some(position));
        Ok(totals)
    }

    /// Says that a campaign begins with what is planned: once that is recorded, nobody need ask how many contacts it has.
    pub fn begins(&self, campaign: CampaignId) {
        self.note(|notes| notes.begins = Some(campaign));
    }

    /// Rows of one page.
    pub fn limit(&self) -> u32 {
        self.call.limit
    }

    /// A position that the answer must include, if one is asked for.
    pub fn least_position(&self) -> Option<i64> {
        self.call.read.min_position
    }

    /// Where the list goes on; none for its first page.
    pub fn after<K: DeserializeOwned>(&self) -> ToolResult<Option<K>> {
        let Some(cursor) = &self.call.cursor else { return Ok(None) };
        serde_json::from_value(cursor.after.clone()).map(Some).map_err(|_| Refusal::InvalidCursor)
    }

    /// Says where the list goes on and how long it is.
    pub fn paginate(&self, next: Option<impl Serialize>, total: Total) -> ToolResult<()> {
        let next = next.map(serde_json::to_value).transpose();
        let next = next.map_err(|error| Refusal::Defect(error.to_string()))?;
        self.note(|notes| notes.page = Some((next, total)));
        Ok(())
    }

    /// Whether the caller wants everything.
    pub fn detailed(&self) -> bool {
        self.call.read.response_format == Some(ResponseFormat::Detailed)
    }

    /// What applying a preview must keep to; none where no preview is applied.
    pub fn bound(&self) -> Option<&Bound> {
        self.call.bound.as_ref()
    }

    /// Something that the caller should know although the call succeeds.
    pub fn warn(&self, code: &str, message: impl Into<String>, path: Option<&str>) {
        let path = path.map(|path| format!("input.{path}"));
        let warning = Warning { code: code.to_owned(), message: message.into(), path };
        self.note(|notes| notes.warnings.push(warning));
    }

    /// Says how many contacts a change affects, for a tool whose answer does not count them as `applied`.
    pub fn affects(&self, contacts: u64) {
        self.note(|notes| notes.affected = contacts);
    }

    /// The warnings so far.
    pub fn warnings(&self) -> Vec<Warning> {
        self.notes().warnings
    }

    /// Says that the answer leaves something out.
    pub fn truncated(&self) {
        self.note(|notes| notes.truncated = true);
    }

    pub(super) fn notes(&self) -> Notes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
