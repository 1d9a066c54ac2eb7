//! Stored events of an approval. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::approval_rules::RuleRef;
use crate::ids::{ApprovalId, MessageId, PrincipalId};
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ApprovalEvent {
    /// A person is asked.
    ApprovalRequested {
        /// Its id, which is also its stream.
        approval_id: ApprovalId,
        /// What is to be sent.
        message_id: MessageId,
        /// Keyed hash of what is shown.
        content_hash: String,
        /// Who drafted it.
        drafter: PrincipalId,
        /// The rule that queued it; none if no rule matched.
        rule: Option<RuleRef>,
        /// The approval that this one takes the place of.
        supersedes: Option<ApprovalId>,
        /// When nobody may answer any more.
        expires_at: Timestamp,
    },
    /// A person said yes.
    ApprovalGranted {
        /// Who.
        by: PrincipalId,
        /// The hash of what they saw.
        content_hash: String,
        /// Why. The subject is the approval.
        note: Option<Personal<String>>,
    },
    /// A person said no.
    ApprovalRejected {
        /// Who.
        by: PrincipalId,
        /// Why. The subject is the approval.
        note: Option<Personal<String>>,
    },
    /// A person wants another draft.
    RevisionRequested {
        /// Who.
        by: PrincipalId,
        /// What is to be changed. The subject is the approval.
        note: Option<Personal<String>>,
    },
    /// The draft changed.
    ApprovalSuperseded {
        /// The approval that takes its place; none if the draft needs none any more.
        by: Option<ApprovalId>,
    },
    /// Nobody answered in time.
    ApprovalExpired {},
}

stored_events!(ApprovalEvent {
    ApprovalRequested "1",
    ApprovalGranted "1",
    ApprovalRejected "1",
    RevisionRequested "1",
    ApprovalSuperseded "1",
    ApprovalExpired "1",
});
