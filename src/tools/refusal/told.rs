//! The table of what an agent is told: status, code and the next call to make, for every refusal there is.
//!
//! The match is exhaustive, so that a new refusal of an aggregate, of the ledger or of the read side does not compile until
//! somebody chose what an agent is told about it.

use std::time::Duration;

use docket_aggregates::campaign::CampaignError;
use docket_aggregates::claims::Scope;
use docket_aggregates::follow_up::FollowUpError;
use docket_aggregates::membership::MembershipError;
use docket_aggregates::qualification_template::QualificationTemplateError;
use docket_aggregates::roster::RosterError;
use docket_aggregates::script_execution::ScriptExecutionError;
use docket_aggregates::script_template::ScriptTemplateError;

use super::{Kind, Refusal, qualifications};
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, KeyError};
use crate::readside::ReadSideError;

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
pub(super) const INVALID_TEMPLATE: &str = "correct everything that meta.fieldErrors names, and call again";

impl Refusal {
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
    use crate::json::Fault;
    use crate::tools::refusal::FieldError;
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
}
