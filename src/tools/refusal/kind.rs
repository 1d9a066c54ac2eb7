//! The things that a tool may be asked about by id: what each is called, and where its ids are to be had when one of them
//! does not exist.

/// Things that a tool may be asked about by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A campaign.
    Campaign,
    /// An outbound agent.
    Agent,
    /// A contact.
    Contact,
    /// An import folder.
    ImportFolder,
    /// A script template.
    ScriptTemplate,
    /// A qualification template.
    QualificationTemplate,
    /// A script execution.
    ScriptExecution,
    /// A qualification.
    Qualification,
}

impl Kind {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::Agent => "agent",
            Self::Contact => "contact",
            Self::ImportFolder => "import folder",
            Self::ScriptTemplate => "script template",
            Self::QualificationTemplate => "qualification template",
            Self::ScriptExecution => "script execution",
            Self::Qualification => "qualification",
        }
    }

    pub(super) const fn not_found(self) -> (&'static str, &'static str) {
        match self {
            Self::Campaign => ("CAMPAIGN_NOT_FOUND", "call list_campaigns for the ids of this organization"),
            Self::Agent => ("AGENT_NOT_FOUND", "call list_outbound_agents for the ids of this organization"),
            Self::Contact => {
                ("CONTACT_NOT_FOUND", "call list_outbound_contacts for the ids of this organization")
            }
            Self::ImportFolder => (
                "IMPORT_FOLDER_NOT_FOUND",
                "upload the file as an import first and use the id that it answers",
            ),
            Self::ScriptTemplate => {
                ("TEMPLATE_NOT_FOUND", "call list_script_templates for the ids of this organization")
            }
            Self::QualificationTemplate => {
                ("TEMPLATE_NOT_FOUND", "call list_qualification_templates for the ids of this organization")
            }
            Self::Qualification => {
                ("QUALIFICATION_NOT_FOUND", "call list_qualifications for the ids of this organization")
            }
            Self::ScriptExecution => (
                "EXECUTION_NOT_FOUND",
                "call upsert_script_execution with campaignId and contactId to begin one",
            ),
        }
    }
}
