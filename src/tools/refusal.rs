//! Every refusal of a tool: one variant, one sentence, one status, one code, one hint at the next call.
//!
//! A refusal changes nothing. What went wrong inside is logged and never told.

mod field;
mod kind;
mod qualifications;
mod told;

use std::error::Error;
use std::time::Duration;

use docket_aggregates::campaign::CampaignError;
use docket_aggregates::follow_up::FollowUpError;
use docket_aggregates::membership::MembershipError;
use docket_aggregates::qualification::QualificationError;
use docket_aggregates::qualification_template::QualificationTemplateError;
use docket_aggregates::roster::RosterError;
use docket_aggregates::script_execution::ScriptExecutionError;
use docket_aggregates::script_template::ScriptTemplateError;
use serde::Serialize;
use serde_json::{Value, json};

pub use field::{FieldError, MESSAGE_MAX, NAME_SHOWN, PATH_MAX, unknown_field};
pub use kind::Kind;
pub use told::Told;

use crate::json::Fault;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, KeyError};
use crate::qualifications::QualificationRefusal;
use crate::readside::ReadSideError;
use crate::service::ServiceError;
use told::INVALID_TEMPLATE;

/// What comes out of a tool.
pub type ToolResult<T> = Result<T, Refusal>;

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
    #[error("the analysis is under way: {done} of {rows} rows are read")]
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
    #[error("script template is attached to {}", counted(.0.len(), "campaign", "campaigns"))]
    TemplateInUse(Vec<uuid::Uuid>),
    /// The file holds templates that cannot be imported: all of what is wrong with it.
    #[error("{} against the import", counted(.0.len(), "fault stands", "faults stand"))]
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

/// How many, with the word for as many.
fn counted(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_as_one() {
        let fault = FieldError { path: "templates[0]".to_owned(), code: "REQUIRED", message: String::new() };
        for (refusal, said) in [
            (Refusal::ImportRefused(vec![fault.clone()]), "1 fault stands against the import"),
            (Refusal::ImportRefused(vec![fault.clone(), fault]), "2 faults stand against the import"),
            (Refusal::TemplateInUse(vec![uuid::Uuid::nil()]), "script template is attached to 1 campaign"),
            (Refusal::TemplateInUse(vec![]), "script template is attached to 0 campaigns"),
        ] {
            assert_eq!(refusal.to_string(), said);
        }
    }

    #[test]
    fn a_defect_tells_nothing_of_itself() {
        let defect = Refusal::Defect("column contacts.secret does not exist".into());
        assert!(!defect.sentence().contains("secret"));
        assert!(defect.for_the_log().contains("secret"));
    }
}
