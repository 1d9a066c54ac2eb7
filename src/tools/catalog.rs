//! Every tool there is, each once and in the order of the contract.
//!
//! The contract is the list of what may be called; the catalog is what the tools' own files declare. A tool that has no
//! name there, no description or no schema that compiles makes no catalog, and a test makes it.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::draft::Draft;
use super::example::Known;
use super::tool::Tool;
use super::{
    agents, campaign_contacts, campaigns, comparisons, contacts, deduplication, qualification_templates,
    qualifications, script_executions, script_templates, search, workspace,
};

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
    pub(super) index: search::Index,
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
        serde_json::from_str(include_str!("answer_tokens.json"))
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
    use super::*;

    #[test]
    fn the_contract_has_37_tools() {
        let names: std::collections::HashSet<_> = CONTRACT.into_iter().collect();
        assert_eq!(names.len(), 37);
        assert_eq!(catalog().iter().count() + announced().len(), 37);
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
    fn a_catalog_has_each_name_once() {
        let twice = Catalog::new(vec![("A", workspace::resolution()), ("B", workspace::resolution())]);
        assert_eq!(twice.err(), Some(CatalogError::Twice("crm_resolve_workspace")));
    }
}
