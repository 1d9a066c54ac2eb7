//! What an agent is told when a qualification is refused: status, code, and the next call to make.

use docket_aggregates::qualification::QualificationError;

use crate::calls::WorkRefusal;
use crate::qualifications::QualificationRefusal;

/// Status, code and hint.
pub(super) type Words = (u16, &'static str, &'static str);

const NO_TEMPLATE: &str =
    "attach one with attach_campaign_templates, or name a templateId that list_qualification_templates shows";
/// Another qualification is open.
pub(super) const OPEN: Words =
    (409, "QUALIFICATION_OPEN", "call get_qualification with campaignId and contactId, and update that one");

/// Answers that do not fit their form.
pub(super) const UNFIT: Words = (
    422,
    "INVALID_ANSWERS",
    "correct the answers of meta.fieldErrors; get_qualification_schema shows what each may be",
);

pub(super) fn told(refusal: &QualificationRefusal) -> Words {
    match refusal {
        QualificationRefusal::Unknown => {
            (404, "QUALIFICATION_NOT_FOUND", "call list_qualifications for the ids of this organization")
        }
        QualificationRefusal::UnknownTemplate => {
            (404, "TEMPLATE_NOT_FOUND", "call list_qualification_templates for the ids of this organization")
        }
        QualificationRefusal::NoTemplate => (404, "NO_QUALIFICATION_TEMPLATE", NO_TEMPLATE),
        QualificationRefusal::StaleTemplate { .. } => (
            409,
            "STALE_TEMPLATE_VERSION",
            "call get_qualification_schema again, look at what changed, and send its version as templateVersion",
        ),
        QualificationRefusal::UnknownExecution => (
            404,
            "EXECUTION_NOT_FOUND",
            "call get_script_execution with campaignId and contactId for the id, or leave scriptExecutionId out",
        ),
        QualificationRefusal::OtherConversation => (
            422,
            "EXECUTION_MISMATCH",
            "call get_script_execution with campaignId and contactId for the id, or leave scriptExecutionId out",
        ),
        QualificationRefusal::Open(_) => OPEN,
        QualificationRefusal::Work(refusal) => work(refusal),
        QualificationRefusal::Decision(error) => match error {
            QualificationError::Unknown => {
                (404, "QUALIFICATION_NOT_FOUND", "call list_qualifications for the ids of this organization")
            }
            QualificationError::AlreadyOpened => {
                (409, "ALREADY_EXISTS", "call get_qualification: it was recorded by an earlier call")
            }
            QualificationError::Erased => (422, "ERASED", "what was erased cannot be changed; leave it out"),
            QualificationError::OtherVersion => {
                (409, "VERSION_CONFLICT", "call get_qualification, look at what changed, and call again")
            }
            QualificationError::Answers(_) => UNFIT,
        },
    }
}

fn work(refusal: &WorkRefusal) -> Words {
    match refusal {
        WorkRefusal::UnknownCampaign => {
            (404, "CAMPAIGN_NOT_FOUND", "call list_campaigns for the ids of this organization")
        }
        WorkRefusal::UnknownContact => {
            (404, "CONTACT_NOT_FOUND", "call list_outbound_contacts for the ids of this organization")
        }
        WorkRefusal::UnknownAgent | WorkRefusal::InactiveAgent => {
            (422, "AGENT_UNASSIGNABLE", "call list_outbound_agents with active true")
        }
        WorkRefusal::UnknownFollowUp | WorkRefusal::FollowUp(_) | WorkRefusal::FollowUpAgainstWill => {
            (409, "VERSION_CONFLICT", "others keep changing the same thing: call again in a moment")
        }
        WorkRefusal::CampaignOver(_) => (
            422,
            "CAMPAIGN_CLOSED",
            "choose a campaign that is draft, active or paused; list_campaigns filters by status",
        ),
        WorkRefusal::NotInCampaign => (
            422,
            "NOT_IN_CAMPAIGN",
            "add the contact with bulk_add_contacts_to_campaign_by_filter, or choose another campaign",
        ),
        WorkRefusal::DoNotContact => (422, "DO_NOT_CONTACT", "leave the contact alone"),
        WorkRefusal::Erased => (422, "ERASED", "leave out whoever was erased"),
    }
}
