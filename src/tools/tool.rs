//! A tool as it is called and shown: its draft with a family and with schemas that compile.
//!
//! What a tool does and what is said of it come from one value: its capability, its hints and its judgement of an input
//! cannot differ from what it is.

use std::collections::HashSet;

use docket_aggregates::ids::OrganizationId;
use serde_json::{Map, Value, json};

use super::call::{ChangeOptions, ConfirmOption};
use super::catalog::answer_tokens;
use super::context::{PageOptions, ReadOptions};
use super::draft::{Authoring, Confirm, Draft, Risk, Run};
use super::example::{Example, Known};
use super::refusal::FieldError;
use super::schema::{self, InputSchema};
use super::search;
use crate::aside;

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
    pub(super) run: Run,
}

impl Tool {
    pub(super) fn finish(draft: Draft, family: &'static str) -> Result<Self, String> {
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
    pub(super) async fn faults(&self, organization: OrganizationId, input: &mut Value) -> Vec<FieldError> {
        match self.heavy {
            true => aside::run(organization, async { self.judged(input) }).await,
            false => self.judged(input),
        }
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
    pub(super) fn entry(&self) -> search::Entry<'_> {
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::tools::catalog;
    use crate::tools::example::{AGENT_ID, CAMPAIGN_ID};

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
        let mut judged = std::pin::pin!(heavy.faults(OrganizationId::INSTANCE, &mut input));
        assert!(judged.as_mut().now_or_never().is_none(), "all places are taken");
        drop(places);
        judged.await;
        let light = catalog().get("list_campaigns").unwrap();
        let _places = aside::every_place().await;
        assert!(light.faults(OrganizationId::INSTANCE, &mut json!({})).now_or_never().is_some());
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
}
