//! One row per approval. `expired` is also a pending one seen after its time, so whoever asks brings the time.

use docket_aggregates::approval::{ApprovalEvent, ApprovalStatus};
use docket_aggregates::approval_rules::RuleRef;
use docket_aggregates::ids::{ApprovalId, MessageId, OrganizationId, PrincipalId, RuleId};
use docket_aggregates::{AnyEvent, Personal, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::columns::At;
use crate::recordset::{self, OneRow, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "approvals", tables: &["approvals"] };

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRow {
    /// The approval.
    pub approval_id: ApprovalId,
    /// What is to be sent.
    pub message_id: MessageId,
    /// Keyed hash of what is shown.
    pub content_hash: String,
    /// Who drafted it.
    pub drafter: PrincipalId,
    /// The rule that queued it.
    pub rule_id: Option<RuleId>,
    /// Which version of it.
    pub rule_version: Option<u32>,
    /// The approval that it took the place of.
    pub supersedes: Option<ApprovalId>,
    /// Where it stands, as recorded.
    pub status: ApprovalStatus,
    /// Who answered.
    pub answered_by: Option<PrincipalId>,
    /// What they said; none also once erased.
    pub note: Option<String>,
    /// When nobody may answer any more.
    pub expires_at: Timestamp,
    /// Events of its stream.
    pub version: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Recordset for ApprovalRow {
    const TABLE: &'static str = "approvals";
    const KEY: &'static str = "approval_id";
}

impl ApprovalRow {
    /// Where it stands at `now`.
    pub fn status_at(&self, now: Timestamp) -> ApprovalStatus {
        if self.status == ApprovalStatus::Pending && self.expires_at <= now {
            ApprovalStatus::Expired
        } else {
            self.status
        }
    }

    /// The rule that queued it.
    pub fn rule(&self) -> Option<RuleRef> {
        let (rule_id, version) = self.rule_id.zip(self.rule_version)?;
        Some(RuleRef { rule_id, version })
    }

    fn answer(&mut self, status: ApprovalStatus, by: PrincipalId, note: Option<&Personal<String>>) {
        self.status = status;
        self.answered_by = Some(by);
        self.note = note.and_then(|note| note.value().cloned());
    }
}

/// One approval.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    approval: ApprovalId,
) -> sqlx::Result<Option<ApprovalRow>> {
    Ok(by_ids(conn, organization, &[approval]).await?.pop())
}

/// Those of `approvals` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    approvals: &[ApprovalId],
) -> sqlx::Result<Vec<ApprovalRow>> {
    let ids: Vec<Uuid> = approvals.iter().map(|id| id.uuid()).collect();
    recordset::by_ids(conn, organization, &ids).await
}

/// Approvals, the oldest first, of one status at `now` or of all.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    status: Option<ApprovalStatus>,
    now: Timestamp,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<ApprovalRow>> {
    let mut query = recordset::of::<ApprovalRow>(organization);
    match status {
        None => (),
        Some(ApprovalStatus::Pending) => {
            query.push(" AND t.status = 'pending' AND t.expires_at > ").push_bind(At(now));
        }
        Some(ApprovalStatus::Expired) => {
            query.push(" AND (t.status = 'expired' OR t.status = 'pending' AND t.expires_at <= ");
            query.push_bind(At(now)).push(")");
        }
        Some(status) => {
            query.push(" AND t.status = ").push_bind(status.name());
        }
    }
    if let Some(after) = after {
        query.push(" AND t.approval_id > ").push_bind(after.id);
    }
    query.push(" ORDER BY t.approval_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &ApprovalRow| Keyset::id(row.approval_id)))
}

/// Approvals of any organization that are open although their time is over at `now`, after `after`, in the order of their
/// ids within organizations. Only a hint to whoever closes them: the approval itself decides.
pub async fn overdue(
    conn: &mut PgConnection,
    now: Timestamp,
    after: (OrganizationId, ApprovalId),
    limit: u32,
) -> sqlx::Result<Vec<(OrganizationId, ApprovalId)>> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT organization_id, approval_id FROM approvals \
         WHERE status IN ('pending', 'revision_requested') AND expires_at <= $1 \
         AND (organization_id, approval_id) > ($2, $3) ORDER BY organization_id, approval_id LIMIT $4",
    )
    .bind(At(now))
    .bind(after.0.uuid())
    .bind(after.1.uuid())
    .bind(i64::from(limit))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(organization, approval)| (organization.into(), approval.into())).collect())
}

/// Folds the batch into approvals.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    recordset::fold::<ApprovalRow>(conn, organization, batch).await
}

impl OneRow for ApprovalRow {
    type Event = ApprovalEvent;

    fn id(&self) -> Uuid {
        self.approval_id.uuid()
    }

    fn event(event: &AnyEvent) -> Option<&ApprovalEvent> {
        match event {
            AnyEvent::Approval(event) => Some(event),
            _ => None,
        }
    }

    fn begun(event: &ApprovalEvent, recorded: &Recorded) -> Option<Self> {
        let ApprovalEvent::ApprovalRequested {
            approval_id,
            message_id,
            content_hash,
            drafter,
            rule,
            supersedes,
            expires_at,
        } = event
        else {
            return None;
        };
        Some(Self {
            approval_id: *approval_id,
            message_id: *message_id,
            content_hash: content_hash.clone(),
            drafter: *drafter,
            rule_id: rule.map(|rule| rule.rule_id),
            rule_version: rule.map(|rule| rule.version),
            supersedes: *supersedes,
            status: ApprovalStatus::Pending,
            answered_by: None,
            note: None,
            expires_at: *expires_at,
            version: recorded.version(),
            created_at: recorded.occurred_at,
            updated_at: recorded.occurred_at,
        })
    }

    fn change(&mut self, event: &ApprovalEvent, recorded: &Recorded) {
        self.version = recorded.version();
        self.updated_at = recorded.occurred_at;
        match event {
            ApprovalEvent::ApprovalRequested { .. } => (),
            ApprovalEvent::ApprovalGranted { by, note, .. } => {
                self.answer(ApprovalStatus::Approved, *by, note.as_ref());
            }
            ApprovalEvent::ApprovalRejected { by, note } => {
                self.answer(ApprovalStatus::Rejected, *by, note.as_ref());
            }
            ApprovalEvent::RevisionRequested { by, note } => {
                self.answer(ApprovalStatus::RevisionRequested, *by, note.as_ref());
            }
            ApprovalEvent::ApprovalSuperseded { .. } => self.status = ApprovalStatus::Superseded,
            ApprovalEvent::ApprovalExpired {} => self.status = ApprovalStatus::Expired,
        }
    }
}
