//! Every refusal of a tool: one variant, one sentence, one status, one code, one hint at the next call.
//!
//! A refusal changes nothing. What went wrong inside is logged and never told. The match below is exhaustive, so that
//! a new refusal of an aggregate, of the ledger or of the read side does not compile until somebody chose what an
//! agent is told about it.

mod qualifications;

use std::error::Error;
use std::time::Duration;

use docket_aggregates::campaign::CampaignError;
use docket_aggregates::claims::Scope;
use docket_aggregates::follow_up::FollowUpError;
use docket_aggregates::membership::MembershipError;
use docket_aggregates::qualification::QualificationError;
use docket_aggregates::qualification_template::QualificationTemplateError;
use docket_aggregates::roster::RosterError;
use docket_aggregates::script_execution::ScriptExecutionError;
use docket_aggregates::script_template::ScriptTemplateError;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::json::Fault;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, KeyError};
use crate::qualifications::QualificationRefusal;
use crate::readside::ReadSideError;
use crate::service::ServiceError;
use crate::spelling::shortened;

/// What comes out of a tool.
pub type ToolResult<T> = Result<T, Refusal>;

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Which one: its path in the body, as `input.filter.tagsAny[0]`.
    pub path: String,
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// Characters of a path that are told, at most: more than the deepest script has.
pub const PATH_MAX: usize = 600;
/// Characters of a message that are told, at most: it may list what there is to choose from.
pub const MESSAGE_MAX: usize = 2_000;
/// Characters by which a name is told that somebody sent and nobody knows.
pub const NAME_SHOWN: usize = 80;

/// What is said of a member that nobody knows.
pub fn unknown_field(name: &str) -> String {
    format!("unknown field {}", shortened(name, NAME_SHOWN))
}

impl FieldError {
    /// A fault of the field at `path` within the input.
    pub fn new(path: &str, code: &'static str, message: impl Into<String>) -> Self {
        let path = if path.is_empty() { "input".to_owned() } else { format!("input.{path}") };
        Self { path, code, message: message.into() }.shortened()
    }

    /// What was sent is repeated only so far: whoever reads the refusal has it already.
    pub fn shortened(self) -> Self {
        let path = shortened(&self.path, PATH_MAX).into_owned();
        Self { path, code: self.code, message: shortened(&self.message, MESSAGE_MAX).into_owned() }
    }
}

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
    const fn words(self) -> &'static str {
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

    const fn not_found(self) -> (&'static str, &'static str) {
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

/// How the state differs from what a preview showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Effects that the preview did not show.
    pub added: usize,
    /// Effects that the preview showed and that would not happen now.
    pub removed: usize,
    /// Up to 20 of the former.
    pub sample_added: Vec<DriftedEffect>,
    /// Up to 20 of the latter.
    pub sample_removed: Vec<DriftedEffect>,
}

/// One effect that is in one of the two only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DriftedEffect {
    /// On what.
    pub id: uuid::Uuid,
    /// Which.
    pub outcome: String,
}

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The route does not know the method.
    #[error("the route does not know this method")]
    MethodNotAllowed,
    /// No bearer token, or one that is not accepted.
    #[error("a valid bearer token is required")]
    Unauthenticated,
    /// Tokens cannot be checked at the moment.
    #[error("tokens cannot be checked at the moment")]
    CredentialsUnavailable,
    /// The agent tools are for super-admins.
    #[error("the agent tools need a super-admin token")]
    NotSuperAdmin,
    /// The token is limited to other tools.
    #[error("the token does not allow tool {0}")]
    ToolNotInScope(String),
    /// The token is limited to fewer contacts a call.
    #[error("{affected} contacts would be affected, and the token allows {max} a call")]
    TooManyAffected {
        /// How many the call would affect.
        affected: u64,
        /// How many it may.
        max: u64,
    },
    /// The token has made as many calls as it may for now.
    #[error("the token has made as many calls as it may for now")]
    RateLimited {
        /// When there is room again.
        retry_after: Duration,
    },
    /// The call took longer than it may.
    #[error("the call took too long")]
    DeadlineExceeded,
    /// There is no such tool.
    #[error("tool {name} does not exist")]
    UnknownTool {
        /// As it was called.
        name: String,
        /// The nearest one that exists.
        nearest: Option<&'static str>,
    },
    /// The tool is part of the contract and not available in this version.
    #[error("tool {0} is not available yet")]
    ToolNotYet(String),
    /// The body is larger than one mebibyte.
    #[error("the body is larger than 1 MiB")]
    BodyTooLarge,
    /// The body trickled in.
    #[error("the body did not arrive in time")]
    BodyStalled,
    /// The body broke off.
    #[error("the body did not arrive whole")]
    BodyInterrupted,
    /// The body is not JSON as we take it.
    #[error(transparent)]
    Body(#[from] Fault),
    /// Fields that cannot be accepted: all of them at once.
    #[error("{}", sentence(.0))]
    Fields(Vec<FieldError>),
    /// The tool works in an organization and none was named, or not in words that can be an id.
    #[error("organizationId must be 1 to 64 letters, digits, - or _")]
    OrganizationIdInvalid,
    /// There is no such organization, or the token may not enter it.
    #[error("organization does not exist")]
    UnknownOrganization,
    /// The outbound CRM module is off.
    #[error("the outbound CRM module is switched off for this organization")]
    ModuleDisabled,
    /// Answers from the past are not built yet.
    #[error("asOf is not available yet")]
    AsOfNotYet,
    /// The cursor was changed, belongs to another organization, tool or filter, or is none.
    #[error("the cursor does not continue this list")]
    InvalidCursor,
    /// A risky change needs `confirm: true`.
    #[error("dryRun false needs confirm true")]
    ConfirmRequired,
    /// No such preview, not of this organization, or no more.
    #[error("preview does not exist, is past its day, or made room for newer ones of its access token")]
    PreviewExpired,
    /// The preview was made by another tool or for another input.
    #[error("the preview was made for another tool or input")]
    PreviewMismatch,
    /// What would happen now is not what the preview showed.
    #[error("the affected set has changed since the preview: {} more, {} fewer", .0.added, .0.removed)]
    PreviewDrift(Drift),
    /// The thing is not at the version that the caller expects.
    #[error("expected version {expected}, but it is {actual}")]
    VersionConflict {
        /// What the caller said.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// There is no such thing in this organization.
    #[error("{} {id} does not exist", .kind.words())]
    NotFound {
        /// What kind of thing.
        kind: Kind,
        /// As it was given.
        id: String,
    },
    /// None of the ids given exists.
    #[error("none of the {count} ids given is a {}", .kind.words())]
    NoneFound {
        /// What kind of thing.
        kind: Kind,
        /// How many were given.
        count: usize,
    },
    /// A folder is larger than one analysis takes.
    #[error("the folder has {rows} rows; at most {max} are analysed at once")]
    TooManyRows {
        /// Its rows.
        rows: u64,
        /// The most that is taken.
        max: u64,
    },
    /// The work that the answer rests on takes longer than a call may.
    #[error("the folder is being analysed: {done} of {rows} rows are read")]
    AnalysisUnderWay {
        /// Its rows.
        rows: u64,
        /// Those read so far; then they are compared.
        done: u64,
        /// When to come again.
        retry_after: Duration,
    },
    /// As many analyses wait as may, or one was cut off.
    #[error("the analysis cannot be made at the moment")]
    AnalysesBusy {
        /// When to come again.
        retry_after: Duration,
    },
    /// The analysis that the cursor continues is not kept any more.
    #[error("the analysis is not kept any more")]
    AnalysisExpired,
    /// Contacts are neither added to nor assigned in a campaign whose work is over.
    #[error("a campaign that is {0} takes no contacts")]
    CampaignClosed(&'static str),
    /// Callers that do not exist or take no assignments.
    #[error("{} of the agents given cannot be assigned to", .0.len())]
    AgentsUnassignable(Vec<String>),
    /// A deleted script is not begun anew.
    #[error("script template {0} was deleted")]
    TemplateDeleted(String),
    /// A script is not deleted under campaigns that use it.
    #[error("script template is attached to {} campaigns", .0.len())]
    TemplateInUse(Vec<uuid::Uuid>),
    /// The file holds templates that cannot be imported: all of what is wrong with it.
    #[error("{} faults stand against the import", .0.len())]
    ImportRefused(Vec<FieldError>),
    /// Work on a contact within a campaign that it is not in.
    #[error("contact is not in the campaign")]
    NotInCampaign,
    /// Nobody said which script, and the campaign has none.
    #[error("the campaign has no script template")]
    NoScriptTemplate,
    /// The execution is not what the rest of the input says.
    #[error("script execution has another {0}")]
    ExecutionMismatch(&'static str),
    /// A script template says no.
    #[error(transparent)]
    ScriptTemplate(#[from] ScriptTemplateError),
    /// A script execution says no.
    #[error(transparent)]
    ScriptExecution(#[from] ScriptExecutionError),
    /// The work on a contact says no.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A campaign says no.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// A roster says no.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// A follow-up says no.
    #[error(transparent)]
    FollowUp(#[from] FollowUpError),
    /// Fields that are well formed and yet cannot be accepted: all of them at once.
    #[error("{}", sentence(.fields))]
    Unfit {
        /// A name for machines.
        code: &'static str,
        /// The next call to make.
        hint: &'static str,
        /// Which.
        fields: Vec<FieldError>,
    },
    /// A qualification template says no.
    #[error(transparent)]
    QualificationTemplate(#[from] QualificationTemplateError),
    /// A qualification says no.
    #[error(transparent)]
    Qualification(#[from] QualificationRefusal),
    /// The ledger says no.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Read(#[from] ReadError),
    /// A key cannot be had.
    #[error("a key cannot be read")]
    Key(#[from] KeyError),
    /// The read models cannot answer.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// A query of the read models failed.
    #[error("the read models are not available")]
    Query(#[from] sqlx::Error),
    /// A defect of ours.
    #[error("the call failed; the defect was logged")]
    Defect(String),
}

fn sentence(fields: &[FieldError]) -> String {
    match fields {
        [] => "the input cannot be accepted".to_owned(),
        [only] if only.path.is_empty() => only.message.clone(),
        [only] => format!("{}: {}", only.path, only.message),
        several => {
            let names: Vec<&str> = several.iter().take(10).map(|field| field.path.as_str()).collect();
            format!("{} fields cannot be accepted: {}", several.len(), names.join(", "))
        }
    }
}

/// What an agent is told of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// A name for machines.
    pub code: &'static str,
    /// The next call to make.
    pub hint: String,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

const SOON: Duration = Duration::from_secs(1);
const COME_AGAIN: &str = "repeat the same call, with the same requestId, after the time in Retry-After";

/// What to do about a template that is none.
const INVALID_TEMPLATE: &str = "correct everything that meta.fieldErrors names, and call again";

impl From<ServiceError<QualificationRefusal>> for Refusal {
    fn from(error: ServiceError<QualificationRefusal>) -> Self {
        match error {
            ServiceError::Refused(refusal) => Self::Qualification(refusal),
            ServiceError::Append(error) => Self::Append(error),
            ServiceError::Read(error) => Self::Read(error),
            ServiceError::ReadSide(error) => Self::ReadSide(error),
            ServiceError::Database(error) => Self::Query(error),
        }
    }
}

impl Refusal {
    /// A template that is none, and everything that is wrong with it.
    pub fn invalid_template(fields: Vec<FieldError>) -> Self {
        Self::Unfit { code: "INVALID_TEMPLATE", hint: INVALID_TEMPLATE, fields }
    }

    /// Answers that do not fit are named with the path of the input's answers; any other refusal stays what it is.
    pub fn with_answers_at(self, path: &str) -> Self {
        let faults = match &self {
            Self::Qualification(QualificationRefusal::Decision(QualificationError::Answers(faults))) => {
                faults
            }
            _ => return self,
        };
        let (_, code, hint) = qualifications::UNFIT;
        let fields = faults
            .iter()
            .map(|fault| FieldError::new(&format!("{path}.{}", fault.path), fault.code, &*fault.message))
            .collect();
        Self::Unfit { code, hint, fields }
    }

    /// One field that cannot be accepted.
    pub fn field(path: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::Fields(vec![FieldError::new(path, code, message)])
    }

    /// A thing that does not exist here.
    pub fn not_found(kind: Kind, id: impl Into<String>) -> Self {
        Self::NotFound { kind, id: id.into() }
    }

    /// The fields that are wrong.
    pub fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::Fields(fields) | Self::Unfit { fields, .. } => fields.clone(),
            Self::OrganizationIdInvalid => vec![FieldError {
                path: "organizationId".to_owned(),
                code: "WRONG_FORMAT",
                message: "must be 1 to 64 letters, digits, hyphens or underscores".to_owned(),
            }],
            Self::Body(fault) => vec![FieldError {
                path: fault.path().to_owned(),
                code: fault.code(),
                message: fault.to_string(),
            }],
            Self::AgentsUnassignable(agents) => agents
                .iter()
                .map(|agent| {
                    let message = format!("{agent} is unknown or inactive");
                    FieldError::new("agentIds", "AGENT_UNASSIGNABLE", message)
                })
                .collect(),
            Self::ImportRefused(fields) => fields.clone(),
            Self::ScriptTemplate(ScriptTemplateError::Invalid(findings)) => findings
                .iter()
                .map(|finding| FieldError::new(&finding.path, finding.code, finding.message.clone()))
                .collect(),
            Self::ScriptExecution(ScriptExecutionError::InvalidAnswers(faults)) => faults
                .iter()
                .map(|fault| {
                    let path = format!("responses[{}].{}", fault.index, fault.field);
                    FieldError::new(&path, fault.code, fault.message.clone())
                })
                .collect(),
            Self::ScriptExecution(ScriptExecutionError::RequiredUnanswered(nodes)) => nodes
                .iter()
                .map(|node| {
                    FieldError::new("responses", "REQUIRED_UNANSWERED", format!("{node} must be answered"))
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// More, where there is more to say: goes to `meta.details`.
    pub fn details(&self) -> Option<Value> {
        match self {
            Self::PreviewDrift(drift) => Some(json!({ "drift": drift })),
            Self::VersionConflict { expected, actual } => {
                Some(json!({ "expectedVersion": expected, "actualVersion": actual }))
            }
            Self::Qualification(QualificationRefusal::Open(other)) => {
                Some(json!({ "qualificationId": other }))
            }
            Self::Qualification(QualificationRefusal::StaleTemplate { given, current }) => {
                Some(json!({ "templateVersion": given, "currentVersion": current }))
            }
            Self::TemplateInUse(campaigns) => Some(json!({ "campaignIds": campaigns })),
            Self::ScriptExecution(ScriptExecutionError::RequiredUnanswered(nodes)) => {
                Some(json!({ "nodeIds": nodes }))
            }
            Self::TooManyAffected { affected, max } => {
                Some(json!({ "affected": affected, "maxAffected": max }))
            }
            Self::AnalysisUnderWay { rows, done, .. } => Some(json!({ "rows": rows, "rowsRead": done })),
            Self::ReadSide(ReadSideError::Parked { position }) => Some(json!({ "parkedPosition": position })),
            Self::ReadSide(ReadSideError::BeyondHead { wanted, head }) => {
                Some(json!({ "wantedPosition": wanted, "headPosition": head }))
            }
            _ => None,
        }
    }

    /// Status, code and hint of every refusal.
    pub fn told(&self) -> Told {
        let told = |status, code, hint: &str| Told { status, code, hint: hint.to_owned(), retry_after: None };
        let later = |status, code, after| Told {
            status,
            code,
            hint: COME_AGAIN.to_owned(),
            retry_after: Some(after),
        };
        match self {
            Self::MethodNotAllowed => told(
                405,
                "METHOD_NOT_ALLOWED",
                "GET /crm/agent/capabilities, POST /crm/agent/tools/{toolName}",
            ),
            Self::Unauthenticated => {
                told(401, "UNAUTHENTICATED", "send the header Authorization: Bearer dkt_…")
            }
            Self::CredentialsUnavailable => later(503, "UNAVAILABLE", SOON),
            Self::NotSuperAdmin => {
                told(403, "NOT_SUPER_ADMIN", "ask the operator for a token of the role super-admin")
            }
            Self::ToolNotInScope(_) => {
                told(403, "TOOL_NOT_IN_SCOPE", "use a tool that the token allows, or ask for another token")
            }
            Self::TooManyAffected { .. } => told(
                403,
                "TOO_MANY_AFFECTED",
                "narrow the filter or send fewer ids, or ask for a token that allows more; dryRun shows the number",
            ),
            Self::RateLimited { retry_after } => later(429, "RATE_LIMITED", *retry_after),
            Self::DeadlineExceeded => later(503, "DEADLINE_EXCEEDED", SOON),
            Self::UnknownTool { nearest: Some(name), .. } => told(
                404,
                "TOOL_NOT_FOUND",
                &format!("did you mean {name}? GET /crm/agent/capabilities lists every tool"),
            ),
            Self::UnknownTool { nearest: None, .. } => {
                told(404, "TOOL_NOT_FOUND", "GET /crm/agent/capabilities lists every tool")
            }
            Self::ToolNotYet(_) => told(
                404,
                "TOOL_NOT_FOUND",
                "this tool is part of the contract and comes with a later version; GET /crm/agent/capabilities lists \
                 what is available now",
            ),
            Self::BodyTooLarge => told(413, "BODY_TOO_LARGE", "send fewer ids in one call, or a filter instead of ids"),
            Self::BodyStalled => told(408, "BODY_STALLED", "repeat the call with its whole body at once"),
            Self::BodyInterrupted => told(400, "BODY_INTERRUPTED", "repeat the call with its whole body"),
            Self::Body(fault) => told(400, fault.code(), "send one JSON object {organizationId, input}"),
            Self::Fields(fields) => {
                let unknown = !fields.is_empty() && fields.iter().all(|field| field.code == "UNKNOWN_FIELD");
                told(
                    400,
                    if unknown { "UNKNOWN_FIELD" } else { "INVALID_INPUT" },
                    "correct the fields of meta.fieldErrors; the tool's input schema is in capabilities over HTTP and in tools/list over MCP",
                )
            }
            Self::OrganizationIdInvalid => told(
                400,
                "INVALID_ORGANIZATION_ID",
                "call crm_resolve_workspace and use the organizationId that it answers",
            ),
            Self::UnknownOrganization => told(
                404,
                "ORG_NOT_FOUND",
                "call crm_resolve_workspace with the name, slug or owner's e-mail address",
            ),
            Self::ModuleDisabled => told(
                403,
                "CRM_MODULE_DISABLED",
                "ask an administrator to switch the outbound CRM module on, or choose another organization",
            ),
            Self::AsOfNotYet => told(400, "AS_OF_NOT_YET", "leave asOf out to read the present state"),
            Self::InvalidCursor => told(
                400,
                "INVALID_CURSOR",
                "repeat the call without cursor; keep every filter the same from page to page",
            ),
            Self::ConfirmRequired => told(
                422,
                "CONFIRM_REQUIRED",
                "call again with dryRun true to see what would happen, then with confirm true and the previewToken",
            ),
            Self::PreviewExpired => told(410, "PREVIEW_EXPIRED", "call again with dryRun true for a new preview"),
            Self::PreviewMismatch => told(
                409,
                "PREVIEW_MISMATCH",
                "send exactly the input of the preview with previewToken, or make a new preview",
            ),
            Self::PreviewDrift(_) => told(
                409,
                "PREVIEW_DRIFT",
                "make a new preview with dryRun true; of a change of many, onDrift intersect applies what is still as shown",
            ),
            Self::VersionConflict { .. } => told(
                409,
                "VERSION_CONFLICT",
                "read the present version, look at what changed, and send it as expectedVersion",
            ),
            Self::NotFound { kind, .. } | Self::NoneFound { kind, .. } => {
                let (code, hint) = kind.not_found();
                told(404, code, hint)
            }
            Self::TooManyRows { .. } => {
                told(422, "TOO_MANY_ROWS", "split the file into smaller folders")
            }
            Self::AnalysisUnderWay { retry_after, .. } => Told {
                hint: "repeat the same call after the time in Retry-After: the work goes on, and is done once".to_owned(),
                ..later(503, "ANALYSIS_UNDER_WAY", *retry_after)
            },
            Self::AnalysesBusy { retry_after } => later(503, "OVERLOADED", *retry_after),
            Self::AnalysisExpired => told(410, "ANALYSIS_EXPIRED", "repeat the call without cursor for a new analysis"),
            Self::CampaignClosed(_) => told(
                422,
                "CAMPAIGN_CLOSED",
                "choose a campaign that is draft, active or paused; list_campaigns filters by status",
            ),
            Self::AgentsUnassignable(_) => {
                told(422, "AGENT_UNASSIGNABLE", "call list_outbound_agents with active true for agents to assign to")
            }
            Self::TemplateDeleted(_) => {
                told(422, "TEMPLATE_DELETED", "call list_script_templates for templates that can be used")
            }
            Self::TemplateInUse(_) => told(
                409,
                "TEMPLATE_IN_USE",
                "detach it with attach_campaign_templates, or send force true to detach it everywhere",
            ),
            Self::ImportRefused(_) => told(
                422,
                "IMPORT_INVALID",
                "correct the entries of meta.fieldErrors, or send onError skip to import the others",
            ),
            Self::NotInCampaign => told(
                422,
                "NOT_IN_CAMPAIGN",
                "add the contact with bulk_add_contacts_to_campaign_by_filter, or choose one of the campaign's contacts",
            ),
            Self::NoScriptTemplate => told(
                422,
                "NO_SCRIPT_TEMPLATE",
                "send scriptTemplateId, or attach a script with attach_campaign_templates first",
            ),
            Self::ExecutionMismatch(_) => told(
                422,
                "EXECUTION_MISMATCH",
                "call get_script_execution and send the ids that it answers, or leave them out",
            ),
            Self::ScriptTemplate(error) => match error {
                ScriptTemplateError::Unknown => {
                    let (code, hint) = Kind::ScriptTemplate.not_found();
                    told(404, code, hint)
                }
                ScriptTemplateError::AlreadyCreated => {
                    told(409, "ALREADY_EXISTS", "call get_script_template: it was created by an earlier call")
                }
                ScriptTemplateError::Deleted => {
                    told(422, "TEMPLATE_DELETED", "call list_script_templates for templates that can be used")
                }
                ScriptTemplateError::Erased => {
                    told(422, "ERASED", "erased text cannot be built upon; create a new template")
                }
                ScriptTemplateError::Invalid(_) => told(
                    422,
                    "SCRIPT_INVALID",
                    "correct every finding of meta.fieldErrors at once: each names its path and what was probably meant",
                ),
            },
            Self::ScriptExecution(error) => match error {
                ScriptExecutionError::Unknown => {
                    let (code, hint) = Kind::ScriptExecution.not_found();
                    told(404, code, hint)
                }
                ScriptExecutionError::AlreadyStarted => told(409, "VERSION_CONFLICT", COME_AGAIN),
                ScriptExecutionError::Closed(_) => told(
                    409,
                    "EXECUTION_CLOSED",
                    "leave executionId out to begin another execution with the contact",
                ),
                ScriptExecutionError::InvalidAnswers(_) => told(
                    422,
                    "ANSWERS_INVALID",
                    "correct the fields of meta.fieldErrors; get_script_template with the execution's version shows the \
                     nodes and options",
                ),
                ScriptExecutionError::RequiredUnanswered(_) => told(
                    422,
                    "REQUIRED_UNANSWERED",
                    "answer the nodes of meta.details.nodeIds, or send status abandoned",
                ),
            },
            Self::Membership(error) => match error {
                MembershipError::DoNotContact => told(
                    422,
                    "DO_NOT_CONTACT",
                    "the contact asked not to be contacted: begin nothing with it, in any campaign",
                ),
                MembershipError::StayIsOver => told(409, "VERSION_CONFLICT", COME_AGAIN),
            },
            Self::Campaign(error) => match error {
                CampaignError::Unknown => {
                    let (code, hint) = Kind::Campaign.not_found();
                    told(404, code, hint)
                }
                CampaignError::AlreadyCreated => {
                    told(409, "ALREADY_EXISTS", "call get_campaign: it was created by an earlier call")
                }
                CampaignError::Erased => told(422, "ERASED", "erased text cannot be changed; create a new campaign"),
                CampaignError::CannotStartAs(_) => {
                    told(422, "ILLEGAL_STATUS", "create the campaign as draft or active")
                }
                CampaignError::IllegalTransition { .. } => told(
                    422,
                    "ILLEGAL_TRANSITION",
                    "draft becomes active or archived, active and paused become each other, completed or archived, \
                     completed becomes archived",
                ),
                CampaignError::Archived => {
                    told(422, "CAMPAIGN_ARCHIVED", "an archived campaign stays as it is; create a new one")
                }
                CampaignError::EndsBeforeStart => {
                    told(400, "INVALID_INPUT", "give an endDate that is not before startDate")
                }
            },
            Self::Roster(RosterError::UnevenAssignment { .. }) => told(500, "INTERNAL", "report the audit id"),
            Self::FollowUp(error) => match error {
                FollowUpError::Unknown | FollowUpError::AlreadyScheduled => {
                    told(409, "VERSION_CONFLICT", COME_AGAIN)
                }
                FollowUpError::IllegalTransition { .. } => {
                    told(422, "ILLEGAL_TRANSITION", "done and cancelled follow-ups are final")
                }
            },
            Self::Unfit { code, hint, .. } => told(422, code, hint),
            Self::QualificationTemplate(error) => match error {
                QualificationTemplateError::Unknown => {
                    let (code, hint) = Kind::QualificationTemplate.not_found();
                    told(404, code, hint)
                }
                QualificationTemplateError::AlreadyCreated => told(
                    409,
                    "ALREADY_EXISTS",
                    "call get_qualification_template: it was created by an earlier call",
                ),
                QualificationTemplateError::Erased => {
                    told(422, "ERASED", "erased text cannot be changed; create a new template")
                }
                QualificationTemplateError::Faulty(_) => told(422, "INVALID_TEMPLATE", INVALID_TEMPLATE),
            },
            Self::Qualification(refusal) => {
                let (status, code, hint) = qualifications::told(refusal);
                told(status, code, hint)
            }
            Self::Append(error) => match error {
                AppendError::Conflict => {
                    told(409, "VERSION_CONFLICT", "others keep changing the same thing: call again in a moment")
                }
                AppendError::Taken(Scope::OpenQualification) => {
                    let (status, code, hint) = qualifications::OPEN;
                    told(status, code, hint)
                }
                AppendError::Taken(_) => told(409, "ALREADY_TAKEN", "choose another value"),
                AppendError::Present(_) => {
                    told(422, "SUPPRESSED", "the address asked not to be contacted; leave it out")
                }
                AppendError::Replayed(_) => told(409, "ALREADY_ANSWERED", COME_AGAIN),
                AppendError::RequestConflict => told(
                    409,
                    "IDEMPOTENCY_CONFLICT",
                    "use a new requestId for a new input; repeat the first input to get its answer",
                ),
                AppendError::OrganizationBusy { retry_after } => later(429, "ORGANIZATION_BUSY", *retry_after),
                AppendError::Overloaded { retry_after } => later(503, "OVERLOADED", *retry_after),
                AppendError::OutcomeUnknown(_) => later(503, "OUTCOME_UNKNOWN", SOON),
                AppendError::Unavailable => later(503, "UNAVAILABLE", SOON),
                AppendError::UnknownOrganization => Self::UnknownOrganization.told(),
                AppendError::SubjectErased => told(422, "ERASED", "leave out whoever was erased"),
                AppendError::TooLarge { .. } => told(413, "COMMAND_TOO_LARGE", "change fewer contacts in one call"),
                AppendError::Unstorable(_) => told(500, "INTERNAL", "report the audit id to the operator"),
            },
            Self::ReadSide(error) => match error {
                ReadSideError::Behind { retry_after } => Told {
                    hint: "repeat the call after the time in Retry-After, or send consistency eventual for what is \
                           there"
                        .to_owned(),
                    ..later(503, "READ_MODEL_BEHIND", *retry_after)
                },
                ReadSideError::Parked { .. } => told(
                    503,
                    "READ_MODEL_PARKED",
                    "an operator must repair this organization's read models; consistency eventual answers from before",
                ),
                ReadSideError::BeyondHead { .. } => told(
                    400,
                    "POSITION_BEYOND_HEAD",
                    "send a minPosition that an earlier answer gave as meta.position for this organization",
                ),
                ReadSideError::UnknownOrganization => Self::UnknownOrganization.told(),
                ReadSideError::Unavailable => later(503, "UNAVAILABLE", SOON),
            },
            Self::Read(ReadError::Database(_)) | Self::Key(KeyError::Database(_)) => later(503, "UNAVAILABLE", SOON),
            Self::Key(KeyError::UnknownOrganization) => Self::UnknownOrganization.told(),
            Self::Key(KeyError::Erased) => told(422, "ERASED", "leave out whoever was erased"),
            Self::Query(error) if !is_defect(error) => later(503, "UNAVAILABLE", SOON),
            Self::Query(_)
            | Self::Read(_)
            | Self::Key(KeyError::OtherMasterKey | KeyError::Damaged(_))
            | Self::Defect(_) => told(500, "INTERNAL", "report the audit id to the operator"),
        }
    }

    /// The sentence for the caller: a defect of ours tells nothing of itself.
    pub fn sentence(&self) -> String {
        if self.told().status == 500 {
            "the call failed; the defect was logged".to_owned()
        } else {
            self.to_string()
        }
    }

    /// Everything that is known of a failure inside, for the log. Postgres may quote values in its messages, so that
    /// only its code is taken.
    pub fn for_the_log(&self) -> String {
        if let Self::Defect(what) = self {
            return what.clone();
        }
        let mut chain = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            match error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error) {
                Some(database) => {
                    let code = database.code().unwrap_or_default();
                    return format!("{chain}: SQLSTATE {code}");
                }
                None => chain = format!("{chain}: {error}"),
            }
            source = error.source();
        }
        chain
    }
}

/// The database answered and we did not understand it, or it did not understand us.
fn is_defect(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            // Class 22: a value, 23: a constraint, 42: the statement. Everything else passes.
            database.code().is_some_and(|code| ["22", "23", "42"].iter().any(|class| code.starts_with(class)))
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::campaign::CampaignStatus;
    use docket_aggregates::ids::CommandId;

    #[test]
    fn every_refusal_has_a_status_a_code_and_a_hint() {
        let unknown = FieldError::new("x", "UNKNOWN_FIELD", "is unknown");
        let missing = FieldError::new("y", "REQUIRED", "is required");
        let illegal =
            CampaignError::IllegalTransition { from: CampaignStatus::Archived, to: CampaignStatus::Active };
        let wait = Duration::from_secs(2);
        for (refusal, status, code) in [
            (Refusal::Unauthenticated, 401, "UNAUTHENTICATED"),
            (Refusal::NotSuperAdmin, 403, "NOT_SUPER_ADMIN"),
            (Refusal::UnknownTool { name: "x".into(), nearest: None }, 404, "TOOL_NOT_FOUND"),
            (Refusal::ToolNotYet("get_qualification".into()), 404, "TOOL_NOT_FOUND"),
            (Refusal::ToolNotInScope("x".into()), 403, "TOOL_NOT_IN_SCOPE"),
            (Refusal::TooManyAffected { affected: 2, max: 1 }, 403, "TOO_MANY_AFFECTED"),
            (Refusal::RateLimited { retry_after: wait }, 429, "RATE_LIMITED"),
            (Refusal::DeadlineExceeded, 503, "DEADLINE_EXCEEDED"),
            (Refusal::BodyTooLarge, 413, "BODY_TOO_LARGE"),
            (Refusal::BodyStalled, 408, "BODY_STALLED"),
            (Refusal::BodyInterrupted, 400, "BODY_INTERRUPTED"),
            (Refusal::Body(Fault::NotUtf8), 400, "NOT_UTF8"),
            (Refusal::Fields(vec![unknown.clone()]), 400, "UNKNOWN_FIELD"),
            (Refusal::Fields(vec![unknown, missing]), 400, "INVALID_INPUT"),
            (Refusal::UnknownOrganization, 404, "ORG_NOT_FOUND"),
            (Refusal::ModuleDisabled, 403, "CRM_MODULE_DISABLED"),
            (Refusal::AsOfNotYet, 400, "AS_OF_NOT_YET"),
            (Refusal::ConfirmRequired, 422, "CONFIRM_REQUIRED"),
            (Refusal::PreviewExpired, 410, "PREVIEW_EXPIRED"),
            (Refusal::AnalysisExpired, 410, "ANALYSIS_EXPIRED"),
            (Refusal::AnalysisUnderWay { rows: 2, done: 1, retry_after: wait }, 503, "ANALYSIS_UNDER_WAY"),
            (Refusal::AnalysesBusy { retry_after: wait }, 503, "OVERLOADED"),
            (Refusal::VersionConflict { expected: 1, actual: 2 }, 409, "VERSION_CONFLICT"),
            (Refusal::not_found(Kind::ScriptTemplate, "x"), 404, "TEMPLATE_NOT_FOUND"),
            (Refusal::Campaign(illegal), 422, "ILLEGAL_TRANSITION"),
            (Refusal::TemplateDeleted("x".into()), 422, "TEMPLATE_DELETED"),
            (Refusal::TemplateInUse(vec![]), 409, "TEMPLATE_IN_USE"),
            (Refusal::ScriptTemplate(ScriptTemplateError::Invalid(vec![])), 422, "SCRIPT_INVALID"),
            (Refusal::ScriptExecution(ScriptExecutionError::Unknown), 404, "EXECUTION_NOT_FOUND"),
            (
                Refusal::ScriptExecution(ScriptExecutionError::RequiredUnanswered(vec!["a".into()])),
                422,
                "REQUIRED_UNANSWERED",
            ),
            (Refusal::Membership(MembershipError::DoNotContact), 422, "DO_NOT_CONTACT"),
            (Refusal::Append(AppendError::RequestConflict), 409, "IDEMPOTENCY_CONFLICT"),
            (Refusal::Append(AppendError::OrganizationBusy { retry_after: wait }), 429, "ORGANIZATION_BUSY"),
            (Refusal::Append(AppendError::OutcomeUnknown(CommandId::default())), 503, "OUTCOME_UNKNOWN"),
            (Refusal::ReadSide(ReadSideError::Behind { retry_after: wait }), 503, "READ_MODEL_BEHIND"),
            (Refusal::ReadSide(ReadSideError::Parked { position: 1 }), 503, "READ_MODEL_PARKED"),
            (
                Refusal::ReadSide(ReadSideError::BeyondHead { wanted: 2, head: 1 }),
                400,
                "POSITION_BEYOND_HEAD",
            ),
            (Refusal::Defect("a table is gone".into()), 500, "INTERNAL"),
        ] {
            let told = refusal.told();
            assert_eq!((told.status, told.code), (status, code), "{refusal}");
            assert!(!told.hint.is_empty());
            let waits = !matches!(refusal, Refusal::ReadSide(ReadSideError::Parked { .. }));
            assert_eq!(told.retry_after.is_some(), matches!(status, 429 | 503) && waits, "{refusal}");
        }
    }

    #[test]
    fn a_defect_tells_nothing_of_itself() {
        let defect = Refusal::Defect("column contacts.secret does not exist".into());
        assert!(!defect.sentence().contains("secret"));
        assert!(defect.for_the_log().contains("secret"));
    }
}
